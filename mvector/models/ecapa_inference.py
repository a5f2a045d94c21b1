"""ECAPA-TDNN's parts for inference in half precision.

A norm behind a ReLU is s·relu(|a|·x) + c with signs s: |a| goes into the convolution before it, s and c (`Affine`) into
the one behind it where there is one. Padding by reflection bears that exactly, as it pads by frames.
"""

import math
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from mvector.models.ecapa_tdnn import EcapaTdnn, SERes2NetBlock
from mvector.models.layers import FrameConv, TDNNBlock
from mvector.models.pooling import VARIANCE_FLOOR, AttentiveStatisticsPooling
from mvector.models.products import PreparedFrameConv, Product, Taps

LOG2_E = math.log2(math.e)
LARGEST_SCORE = 80.0  # exp() of it, and the sum of many, still fit into bfloat16 and float32


class Affine(NamedTuple):
    """factor ∘ x + shift, over channels [C]."""

    factor: Tensor
    shift: Tensor

    def before(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Weight [C_out, C, kernel] and bias of the convolution of this x, for x itself."""
        return weight * self.factor.unsqueeze(1), bias + weight.sum(2) @ self.shift

    def __call__(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.shift, x, self.factor)


def affine(norm: nn.BatchNorm1d) -> Affine:
    """What a norm does in evaluation."""
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    factor = norm.weight / (variance + norm.eps).sqrt()
    return Affine(factor, norm.bias - mean * factor)


def rectified(block: TDNNBlock) -> tuple[FrameConv, Tensor, Tensor, Affine]:
    """The convolution, its weight and bias with the norm's |a|, and what the norm then still does after ReLU."""
    conv, norm = cast(FrameConv, block.conv[0]), cast(nn.BatchNorm1d, block.norm[0])
    factor, shift = affine(norm)
    rest = Affine(torch.where(factor < 0, -1.0, 1.0), shift)
    return conv, conv.weight * factor.abs()[:, None, None], cast(Tensor, conv.bias) * factor.abs(), rest


class PreparedTDNNBlock(nn.Module):
    """:class:`TDNNBlock`, whose norm remains."""

    def __init__(self, block: TDNNBlock, dtype: torch.dtype):
        super().__init__()
        self.conv = PreparedFrameConv(cast(FrameConv, block.conv[0]), dtype, after="relu")
        self.norm = block.norm

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.norm(self.conv(x)))


class PreparedSERes2NetBlock(nn.Module):
    """:class:`SERes2NetBlock` of what `entering` gives."""

    def __init__(self, block: SERes2NetBlock, dtype: torch.dtype, entering: Affine | None = None):
        super().__init__()
        self.shortcut, self.entering = None, None
        _, weight, bias, joined = rectified(block.tdnn1)
        if entering is not None:
            weight, bias = entering.before(weight, bias)
        self.product1 = Product(weight.squeeze(2), bias, dtype, after="relu")
        if block.shortcut is not None:
            shortcut = cast(FrameConv, block.shortcut[0])
            weight, bias = shortcut.weight, cast(Tensor, shortcut.bias)
            if entering is not None:
                weight, bias = entering.before(weight, bias)
            self.shortcut = Product(weight.squeeze(2), bias, dtype)
        elif entering is not None:
            self.entering = Affine(*(part.to(dtype) for part in entering))

        self.scale = block.res2net_block.scale
        groups = [Affine(*rest) for rest in zip(*(part.chunk(self.scale) for part in joined), strict=True)]
        outputs = groups[:1]
        self.convs: list[tuple[Taps, Product]] = []  # of the groups but the first; all see the same frames
        self.turned: list[Tensor | None] = []  # signs of a sum's second term, as its first one counts; None: all +
        for group, tdnn in zip(groups[1:], cast("list[TDNNBlock]", block.res2net_block.blocks), strict=True):
            if self.convs:
                turned = group.factor * outputs[-1].factor
                self.turned.append(None if (turned > 0).all() else turned.to(dtype))
                group = Affine(group.factor, group.shift + outputs[-1].shift)
            conv, weight, bias, rest = rectified(tdnn)
            weight, bias = group.before(weight, bias)
            self.convs.append((Taps(conv), Product(weight.transpose(1, 2).flatten(1), bias, dtype, after="relu")))
            outputs.append(rest)

        joined = Affine(*(torch.cat(parts) for parts in zip(*outputs, strict=True)))
        _, weight, bias, rest = rectified(block.tdnn2)
        weight, bias = joined.before(weight, bias)
        self.product2 = Product(weight.squeeze(2), bias, dtype, after="relu")
        self.sign, self.shift = rest.factor.to(dtype), rest.shift.to(dtype)
        squeeze, excite = (cast(FrameConv, part[0]) for part in (block.se_block.conv1, block.se_block.conv2))
        weight, bias = rest.before(squeeze.weight, cast(Tensor, squeeze.bias))
        self.squeeze = Product(weight.squeeze(2), bias, dtype, after="relu")
        self.excite = Product(excite.weight.squeeze(2), excite.bias, dtype, after="sigmoid")

    def forward(self, x: Tensor) -> Tensor:
        entered = x if self.shortcut is None else self.shortcut(x)
        first, *groups = self.product1(x).chunk(self.scale, dim=2)
        frames = self.convs[0][0].frames(x) if self.convs else None
        outputs = [first]
        for i, ((taps, product), group) in enumerate(zip(self.convs, groups, strict=True)):
            if i:
                turned = self.turned[i - 1]
                group = group + outputs[-1] if turned is None else torch.addcmul(group, outputs[-1], turned)
            outputs.append(product(taps(group, frames)))
        x = self.product2(torch.cat(outputs, dim=2))
        gates = self.excite(self.squeeze(x.sum(1, keepdim=True) / x.shape[1]))  # [B, 1, C]
        shift = gates * self.shift
        if self.entering is None:
            residual = entered + shift
        else:
            residual = torch.addcmul(shift + self.entering.shift, entered, self.entering.factor)
        return torch.addcmul(residual, x, gates * self.sign)


class PreparedAttentivePooling(nn.Module):
    """:class:`AttentiveStatisticsPooling` of what `rest` gives; whatever has frames is in half precision."""

    def __init__(self, pooling: AttentiveStatisticsPooling, dtype: torch.dtype, rest: Affine | None = None):
        super().__init__()
        self.dtype = dtype
        self.rest = rest
        _, weight, bias, between = rectified(pooling.tdnn)
        # tanh(x) = 2 sigmoid(2x) - 1 and exp(x) = 2^(x log2 e): both are quicker, and the constants go into products.
        self.between = Affine(*((2 * part).to(dtype) for part in between))
        for_x, *for_context = weight.split(pooling.channels, dim=1)  # [N, C, 1] each
        if rest is not None:
            for_x, bias = rest.before(for_x, bias)
            if for_context:
                for_context[0], bias = rest.before(for_context[0], bias)
        self.project = Product(for_x.squeeze(2), None if for_context else bias, dtype)
        self.project_context = Product(torch.cat(for_context, 1).squeeze(2), bias, dtype) if for_context else None
        score = cast(FrameConv, pooling.conv[0])
        weight, bias = score.weight, cast(Tensor, score.bias)
        self.score = Product(2 * LOG2_E * weight.squeeze(2), LOG2_E * (bias - weight.sum((1, 2))), dtype)
        # Behind tanh no score is larger than this, so that as a rule no maximum has to be looked for before exp().
        self.is_bounded = bool((weight.abs().sum((1, 2)) + bias.abs()).max() < LARGEST_SCORE)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2).to(self.dtype)  # [B, F, C]
        frames = x.shape[1]
        hidden = self.project(x)  # brings x into the cache, row after row, as sums over frames would not
        reference = x.sum(1) / frames  # sums are float32 inside
        centred = x - reference.unsqueeze(1)
        if self.project_context is not None:
            deviation = (centred.square().sum(1) / frames).clamp_min(VARIANCE_FLOOR).sqrt()
            hidden += self.project_context(torch.cat([reference, deviation], dim=1)).unsqueeze(1)
        weights = self.score(self.between(hidden.relu_()).sigmoid_())  # [B, F, C], to be divided by their sum
        if not self.is_bounded:
            weights -= weights.amax(1, keepdim=True)
        total = weights.exp2_().sum(1).float()
        shift = weights.mul_(centred).sum(1).float() / total
        variance = weights.mul_(centred).sum(1).float() / total - shift.square()
        mean = reference + shift
        if self.rest is not None:
            mean = self.rest(mean)
        return torch.cat([mean, variance.clamp_min(VARIANCE_FLOOR).sqrt()], dim=1)


def join_norms_of_first_block(network: EcapaTdnn, dtype: torch.dtype) -> None:
    """Exchange the first two blocks of `network` for those with the norm between them in the second."""
    first, second, *_ = network.blocks
    conv, weight, bias, rest = rectified(cast(TDNNBlock, first))
    network.blocks[0] = PreparedFrameConv(conv, dtype, "relu", weight, bias)
    network.blocks[1] = PreparedSERes2NetBlock(cast(SERes2NetBlock, second), dtype, rest)


def join_norms_around_pooling(network: EcapaTdnn, dtype: torch.dtype) -> None:
    """Exchange the last convolution, the pooling and the last product of `network` for those with the norms between
    them in these."""
    if isinstance(network.asp, AttentiveStatisticsPooling):
        conv, weight, bias, rest = rectified(network.mfa)
        network.add_module("asp", PreparedAttentivePooling(network.asp, dtype, rest))
        network.add_module("mfa", PreparedFrameConv(conv, dtype, "relu", weight, bias))
        norm = affine(cast(nn.BatchNorm1d, cast(nn.Sequential, network.asp_bn)[0]))
        conv = cast(FrameConv, network.fc[0])
        network.add_module("asp_bn", nn.Identity())
        weight, bias = norm.before(conv.weight, cast(Tensor, conv.bias))
        network.add_module("fc", PreparedFrameConv(conv, dtype, "none", weight, bias))
