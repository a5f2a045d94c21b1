"""Pooling over time: a sequence [B, C, F] becomes one vector per utterance [B, `output_size`].

Every pooling is built with the number of channels and tells its `output_size`. Statistics come out in float32
under autocast.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from mvector.models.layers import FrameConv, TDNNBlock, named
from mvector.precision import at_least_float32
from mvector.registry import POOLINGS

VARIANCE_FLOOR = 1e-12


def mean_and_unbiased_variance(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Mean and variance (divided by F - 1) of x over `dim`, in float32 at least; a single frame has variance zero."""
    x = at_least_float32(x)
    mean = x.mean(dim, keepdim=True)
    # Counted as a tensor: TorchScript's tracing and some exporters would fix the example's number.
    others = (x.new_ones(x.shape[dim]).sum() - 1).clamp_min(1)
    variance = (x - mean).square().sum(dim) / others
    return mean.squeeze(dim), variance


@POOLINGS.register("TAP")
class TemporalAveragePooling(nn.Module):
    """Mean over frames: forward(x [B, C, F]) -> [B, C]."""

    def __init__(self, channels: int):
        super().__init__()
        self.output_size = channels

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(2)


@POOLINGS.register("TSP")
class TemporalStatisticsPooling(nn.Module):
    """Mean and unbiased *variance* over frames: forward(x [B, C, F]) -> [B, 2 C].

    After statistics pooling (Snyder 2018, "X-vectors"), which takes the standard deviation; the mvector package takes
    the variance, kept here so that its checkpoints work.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.output_size = 2 * channels

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(mean_and_unbiased_variance(x, 2), dim=1)


@POOLINGS.register("SAP")
class SelfAttentivePooling(nn.Module):
    """Mean over frames with one learned weight per frame and channel: forward(x [B, C, F]) -> [B, C].

    After Zhu 2018, "Self-Attentive Speaker Embeddings", eq. 5-7, with a weight for every channel.
    """

    def __init__(self, channels: int, attention_channels: int = 128):
        super().__init__()
        self.output_size = channels
        self.linear1 = FrameConv(channels, attention_channels)
        self.linear2 = FrameConv(attention_channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)  # [B, F, C]
        weights = self.linear2(self.linear1(x).tanh()).softmax(1)
        return (weights * x).sum(1)


@POOLINGS.register("ASP")
class AttentiveStatisticsPooling(nn.Module):
    """Attention-weighted mean and standard deviation: forward(x [B, C, F]) -> [B, 2 C].

    Okabe 2018, with a weight per channel and the utterance's own mean and deviation as context of the attention
    (ECAPA-TDNN, Desplanques 2020, section 3.1 and eq. 1-4).
    """

    def __init__(self, channels: int, attention_channels: int = 128, global_context: bool = True):
        super().__init__()
        self.channels = channels
        self.output_size = 2 * channels
        self.global_context = global_context
        self.tdnn = TDNNBlock(3 * channels if global_context else channels, attention_channels)
        self.conv = named("conv", FrameConv(attention_channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)  # [B, F, C]
        mean = x.mean(1)
        # All moments are taken about the plain mean: no cancellation, and one tensor serves every statistic. The
        # results do not depend on the point of reference, so no gradient flows through it.
        reference = mean.detach()
        centred = x - reference.unsqueeze(1)
        if self.global_context:
            deviation = at_least_float32(centred.square().mean(1)).clamp_min(VARIANCE_FLOOR).sqrt()
            hidden = self._project(x, torch.cat([mean, deviation], dim=1))
        else:
            hidden = self.tdnn.conv(x)
        weights = self.conv(self.tdnn.norm(hidden.relu()).tanh()).softmax(1)  # [B, F, C]
        weighted = weights * centred
        shift = at_least_float32(weighted.sum(1))
        variance = at_least_float32((weighted * centred).sum(1)) - shift.square()
        return torch.cat([reference + shift, variance.clamp_min(VARIANCE_FLOOR).sqrt()], dim=1)

    def _project(self, x: Tensor, context: Tensor) -> Tensor:
        """The convolution of [x, mean, deviation] without repeating the last two at every frame."""
        conv = cast(FrameConv, self.tdnn.conv[0])
        for_x, for_context = conv.weight.squeeze(2).split([self.channels, 2 * self.channels], dim=1)
        return functional.linear(x, for_x) + functional.linear(context, for_context, conv.bias).unsqueeze(1)
