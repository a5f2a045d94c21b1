"""Building blocks that the backbones share. Sequences are laid out [B, F, C] (frames before channels).

With channels last, a convolution over frames is one matrix product and batch norm sees a plain matrix: on a CPU
with bfloat16 this is the fastest layout, and no transpose is needed between features and pooling. The parameters
stay those of ``nn.Conv1d`` and ``nn.BatchNorm1d``, so that published checkpoints load as they are.
"""

from collections import OrderedDict
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from mvector.errors import ConfigError, TooShortError


def require_frames(features: Tensor, min_frames: int, model: nn.Module) -> None:
    """Raise TooShortError unless features [B, F, D] have the frames that `model` needs."""
    if features.shape[1] < min_frames:
        raise TooShortError(
            f"{type(model).__name__} needs at least {min_frames} frames, found {features.shape[1]}: "
            "give a longer recording."
        )


def repeat_up_to(features: Tensor, frames: int) -> Tensor:
    """`features` [B, F, D] repeated as a whole until there are at least `frames` frames; unchanged where there are.

    Without a branch on F, so that exported models do it too; as a whole, so that every frame counts the same.
    """
    return features.repeat(1, 1 + (frames - 1) // features.shape[1], 1)


LEAST_CHANNELS = 16


def channels_last(maps: Tensor) -> Tensor:
    """`maps` [B, C, D, F] as they are, laid out in memory with the channels innermost.

    Convolutions, batch norms and sums keep the layout, so one call behind the stem serves a whole network. On CPUs
    training is 1.1 to 1.3 times as quick with it, and GPUs want it in half precision. Weights stay as they are:
    neither state dict nor export know of it.

    With fewer than LEAST_CHANNELS the maps stay as they are on a CPU: the gradient of a 1×1 convolution of 4 or 8
    channels in this layout writes outside its memory there (oneDNN in torch 2.13; "double free or corruption").
    """
    if not maps.is_cuda and maps.shape[1] < LEAST_CHANNELS:
        return maps
    return maps.contiguous(memory_format=torch.channels_last)


class FrameConv(nn.Conv1d):
    """Convolution over frames, "same" padding by reflection or zeros: [B, F, C_in] -> [B, ceil(F / stride), C_out].

    Parameters and state-dict keys are those of ``nn.Conv1d``. Reflection needs more than dilation·(kernel - 1)/2
    frames; an even kernel size is a ConfigError, because "same" would be lopsided.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        dilation: int = 1,
        stride: int = 1,
        bias: bool = True,
        padding_mode: Literal["reflect", "zeros"] = "reflect",
    ):
        if kernel_size % 2 == 0:
            raise ConfigError(f"a convolution over frames needs an odd kernel size, found {kernel_size}.")
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=dilation * (kernel_size - 1) // 2,
            dilation=dilation,
            bias=bias,
            padding_mode=padding_mode,
        )

    def forward(self, x: Tensor) -> Tensor:
        (kernel_size,), (dilation,), (stride,) = self.kernel_size, self.dilation, self.stride
        padding = dilation * (kernel_size - 1) // 2
        if kernel_size == 1 and stride == 1:
            return functional.linear(x, self.weight.squeeze(2), self.bias)
        if self.padding_mode == "reflect":
            x = torch.cat([x[:, 1 : padding + 1].flip(1), x, x[:, -padding - 1 : -1].flip(1)], dim=1)
        else:
            x = functional.pad(x, (0, 0, padding, padding))
        span = x.shape[1] - 2 * padding
        taps = [x[:, k * dilation : k * dilation + span : stride] for k in range(kernel_size)]
        weight = self.weight.transpose(1, 2).flatten(1)  # [C_out, kernel · C_in], as the taps are laid out
        return functional.linear(torch.cat(taps, dim=2), weight, self.bias)


class FrameNorm(nn.BatchNorm1d):
    """Batch normalisation of [B, F, C] or [B, C] over everything but channels; parameters of ``nn.BatchNorm1d``."""

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 2:
            return super().forward(x)
        return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def named(name: str, module: nn.Module) -> nn.Sequential:
    """`module` under one more level of name: published checkpoints say 'conv.conv.weight' and 'norm.norm.bias'."""
    return nn.Sequential(OrderedDict([(name, module)]))


class TDNNBlock(nn.Module):
    """Convolution (padded by reflection), ReLU, batch norm: [B, F, C_in] -> [B, F, C_out].

    This order, with the norm last, is that of the published ECAPA-TDNN.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 1, dilation: int = 1):
        super().__init__()
        self.conv = named("conv", FrameConv(in_channels, out_channels, kernel_size, dilation))
        self.norm = named("norm", FrameNorm(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x).relu())
