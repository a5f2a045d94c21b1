"""WeSpeaker's and 3D-Speaker's poolings of means and deviations; state-dict keys are those of WeSpeaker.

Both families build the same estimators with their own `epsilon`: WeSpeaker 1e-7 (the defaults here), 3D-Speaker 1e-8
in plain statistics and 1e-10 in attentive ones. It matters: after a ReLU many channels are constant zero, and their
deviation is the root of epsilon.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from mvector.errors import ConfigError
from mvector.models.layers import FrameConv
from mvector.models.pooling import mean_and_unbiased_variance
from mvector.precision import at_least_float32
from mvector.registry import POOLINGS

EPSILON = 1e-7


def attended_statistics(x: Tensor, scores: Tensor, epsilon: float) -> Tensor:
    """Mean and deviation of x [B, F, C] under weights: [B, 2 C], in float32 at least.

    `scores` [B, F, C] or [B, F, 1] are the logarithms of the weights up to a constant; variances under `epsilon` count
    as `epsilon`. The variance is taken about the mean, not as a difference of moments, which cancels.
    """
    x, weights = at_least_float32(x), at_least_float32(scores).softmax(1)
    mean = (weights * x).sum(1, keepdim=True)
    variance = (weights * (x - mean).square()).sum(1)
    return torch.cat([mean.squeeze(1), variance.clamp_min(epsilon).sqrt()], dim=1)


@POOLINGS.register("TSDP")
class TemporalDeviationPooling(nn.Module):
    """Standard deviation over frames, the root of unbiased variance + `epsilon`: forward(x [B, C, F]) -> [B, C].

    Wang 2021, "Revisiting the Statistics Pooling Layer in Deep Speaker Embedding Learning".
    """

    def __init__(self, channels: int, epsilon: float = EPSILON):
        super().__init__()
        self.output_size = channels
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        _, variance = mean_and_unbiased_variance(x, 2)
        return (variance + self.epsilon).sqrt()


@POOLINGS.register("TSTP")
class TemporalStatisticsDeviationPooling(nn.Module):
    """Mean and standard deviation, the root of unbiased variance + `epsilon`: forward(x [B, C, F]) -> [B, 2 C].

    Statistics pooling as in Snyder 2018, "X-vectors". One frame has variance zero (the published ones give NaN).
    """

    def __init__(self, channels: int, epsilon: float = EPSILON):
        super().__init__()
        self.output_size = 2 * channels
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        mean, variance = mean_and_unbiased_variance(x, 2)
        return torch.cat([mean, (variance + self.epsilon).sqrt()], dim=1)


@POOLINGS.register("ASTP")
class AttentiveStatisticsTanhPooling(nn.Module):
    """Attention-weighted mean and standard deviation: forward(x [B, C, F]) -> [B, 2 C].

    WeSpeaker's form of Okabe 2018, "Attentive Statistics Pooling for Deep Speaker Embedding", with a weight per
    channel: tanh alone between the two layers of the attention. With `global_context_att` the attention also sees
    the utterance's mean and unbiased deviation (Desplanques 2020).
    """

    def __init__(
        self, channels: int, bottleneck_dim: int = 128, global_context_att: bool = False, epsilon: float = EPSILON
    ):
        super().__init__()
        self.channels = channels
        self.output_size = 2 * channels
        self.global_context_att = global_context_att
        self.epsilon = epsilon
        self.linear1 = FrameConv(3 * channels if global_context_att else channels, bottleneck_dim)
        self.linear2 = FrameConv(bottleneck_dim, channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)  # [B, F, C]
        hidden = self._project(x) if self.global_context_att else self.linear1(x)
        return attended_statistics(x, self.linear2(hidden.tanh()), self.epsilon)

    def _project(self, x: Tensor) -> Tensor:
        """`linear1` of [x, mean, deviation] without repeating the last two at every frame."""
        mean, variance = mean_and_unbiased_variance(x, 1)
        context = torch.cat([mean, (variance + self.epsilon).sqrt()], dim=1)
        for_x, for_context = self.linear1.weight.squeeze(2).split([self.channels, 2 * self.channels], dim=1)
        return functional.linear(x, for_x) + functional.linear(context, for_context, self.linear1.bias).unsqueeze(1)


@POOLINGS.register("MHASTP")
class MultiHeadAttentiveStatisticsPooling(nn.Module):
    """Attentive statistics of `head_num` equal groups of channels: forward(x [B, C, F]) -> [B, 2 C].

    India 2019, "Self Multi-Head Attention for Speaker Recognition". Each head scores frames from its own channels with
    `layer_num` layers (tanh between them, `bottleneck_dim` wide). `d_s` of 1 gives one weight per frame and head, more
    than 1 one per channel of the head, as WeSpeaker reads it. The output is mean and deviation of the first head,
    then of the next. ConfigError where channels are not a multiple of heads.
    """

    def __init__(
        self,
        channels: int,
        layer_num: int = 2,
        head_num: int = 2,
        d_s: int = 1,
        bottleneck_dim: int = 64,
        epsilon: float = EPSILON,
    ):
        super().__init__()
        if head_num < 1 or channels % head_num:
            raise ConfigError(f"channels ({channels}) must be a multiple of head_num ({head_num}).")
        if layer_num < 1:
            raise ConfigError(f"layer_num must be 1 or more, found {layer_num}.")
        self.output_size = 2 * channels
        self.epsilon = epsilon
        self.head_size = channels // head_num
        sizes = [self.head_size, *[bottleneck_dim] * (layer_num - 1), self.head_size if d_s > 1 else 1]
        self.heads_att_trans = nn.ModuleList(_attention(sizes) for _ in range(head_num))

    def forward(self, x: Tensor) -> Tensor:
        heads = x.transpose(1, 2).split(self.head_size, dim=2)  # of [B, F, C / head_num]
        pairs = zip(heads, self.heads_att_trans, strict=True)
        return torch.cat([attended_statistics(head, score(head), self.epsilon) for head, score in pairs], dim=1)


def _attention(sizes: list[int]) -> nn.Sequential:
    """Layers of the given widths with tanh between them, under WeSpeaker's names."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i in range(len(sizes) - 1):
        if i:
            layers[f"tanh{i - 1}"] = nn.Tanh()
        layers[f"att_{i}"] = FrameConv(sizes[i], sizes[i + 1])
    return nn.Sequential(layers)


@POOLINGS.register("MQMHASTP")
class MultiQueryMultiHeadPooling(nn.Module):
    """Attentive statistics of heads, `query_num` times over: forward(x [B, C, F]) -> [B, 2 · query_num · C].

    Zhao 2022, "Multi-Query Multi-Head Attention Pooling and Inter-Topk Penalty for Speaker Verification". Each query
    is one :class:`MultiHeadAttentiveStatisticsPooling`; the arguments are its.
    """

    def __init__(
        self,
        channels: int,
        layer_num: int = 2,
        query_num: int = 2,
        head_num: int = 8,
        d_s: int = 2,
        bottleneck_dim: int = 64,
        epsilon: float = EPSILON,
    ):
        super().__init__()
        self.output_size = 2 * query_num * channels
        self.n_query = nn.ModuleList(
            MultiHeadAttentiveStatisticsPooling(channels, layer_num, head_num, d_s, bottleneck_dim, epsilon)
            for _ in range(query_num)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([query(x) for query in self.n_query], dim=1)
