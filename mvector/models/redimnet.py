"""ReDimNet B0 to B6 as published by WeSpeaker (the network of 2024; ReDimNet2 is another family).

A sequence is kept as [B, D·C, F] and seen in turn as a map [B, C', D', F] with C'·D' = C·D, so that no stage loses
information to a stride: a stage with fewer bins has as many times more channels.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from mvector.errors import ConfigError, nearest
from mvector.models.layers import named, require_frames
from mvector.registry import BACKBONES, POOLINGS

NORM_EPSILON = 1e-6
ATTENTION_HEADS = 4
CONTEXT_KERNELS = (7, 19, 31, 59)  # of the convolutions over frames before each attention


class Stage(NamedTuple):
    """`blocks` blocks over maps with `stride` times fewer bins, `widening` times wider inside, then time context.

    The time context works on `reduction` times fewer channels; a stage whose `reduction` is None has none.
    """

    stride: int
    blocks: int
    widening: int
    reduction: int | None


@dataclass(frozen=True)
class Size:
    """`channels` of the first map, kind of the blocks, channels in one group of their convolutions, and the stages."""

    channels: int
    block: Literal["convnext", "residual", "gated residual"]
    group_channels: int
    stages: Sequence[Stage]


MEDIUM_STAGES = (
    Stage(1, 4, 2, 48),
    Stage(2, 4, 2, 48),
    Stage(1, 6, 2, 48),
    Stage(2, 6, 1, 32),
    Stage(1, 8, 1, 24),
    Stage(2, 4, 1, 16),
)
SIZES = {
    "B0": Size(
        10,
        "residual",
        1,
        (Stage(1, 2, 1, 30), Stage(2, 3, 2, 30), Stage(1, 3, 3, 30), Stage(2, 4, 2, 10), Stage(1, 3, 1, 10)),
    ),
    "B1": Size(
        12,
        "convnext",
        8,
        (Stage(1, 2, 1, None), Stage(2, 3, 1, None), Stage(3, 4, 1, 12), Stage(2, 5, 1, 12), Stage(2, 3, 1, 8)),
    ),
    "B2": Size(
        16,
        "convnext",
        4,
        (
            Stage(1, 2, 1, 12),
            Stage(2, 2, 1, 12),
            Stage(1, 3, 1, 12),
            Stage(2, 4, 1, 8),
            Stage(1, 4, 1, 8),
            Stage(2, 4, 1, 4),
        ),
    ),
    "B3": Size(
        16,
        "gated residual",
        1,
        (
            Stage(1, 6, 4, 32),
            Stage(2, 6, 2, 32),
            Stage(1, 8, 2, 32),
            Stage(2, 10, 2, 16),
            Stage(1, 10, 1, 16),
            Stage(2, 8, 1, 16),
        ),
    ),
    "B4": Size(32, "gated residual", 1, MEDIUM_STAGES),
    "B5": Size(32, "gated residual", 16, MEDIUM_STAGES),
    "B6": Size(
        32,
        "residual",
        32,
        (
            Stage(1, 4, 4, 32),
            Stage(2, 6, 2, 32),
            Stage(1, 6, 2, 24),
            Stage(3, 8, 1, 24),
            Stage(1, 8, 1, 16),
            Stage(2, 8, 1, 16),
        ),
    ),
}


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of [B, C, …], at every point by itself."""

    def __init__(self, channels: int):
        super().__init__(channels, eps=NORM_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class ConvNextBlock(nn.Module):
    """Convolution in groups, batch norm, GELU, 1x1 convolution, and a shortcut: [B, C, …] -> [B, C, …].

    After Liu 2022, "A ConvNet for the 2020s". `conv` and `norm` are those of torch for sequences or for maps.
    """

    def __init__(
        self,
        conv: type[nn.Conv1d] | type[nn.Conv2d],
        norm: type[nn.BatchNorm1d] | type[nn.BatchNorm2d],
        channels: int,
        kernel_size: int,
        groups: int,
    ):
        super().__init__()
        spatial = conv(channels, channels, kernel_size, padding=kernel_size // 2, groups=groups)
        self.dwconvs = nn.ModuleList([spatial])
        self.norm = norm(channels)
        self.pwconv1 = conv(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pwconv1(functional.gelu(self.norm(self.dwconvs[0](x))))


class BinGates(nn.Module):
    """Gates of the bins from their mean over channels and frames: [B, C, D, F] -> [B, 1, D, 1]."""

    def __init__(self, bins: int, hidden: int):
        super().__init__()
        self.squeeze = nn.Linear(bins, hidden)
        self.exitation = nn.Linear(hidden, bins)

    def forward(self, x: Tensor) -> Tensor:
        gates = self.exitation(self.squeeze(x.mean((1, 3))).relu()).sigmoid()  # [B, D]
        return gates[:, None, :, None]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions in groups, each with a 1x1 convolution, and a shortcut: [B, C, D, F] -> [B, C, D, F].

    With `gated`, the bins are weighted by gates before the shortcut is added.
    """

    def __init__(self, channels: int, bins: int, groups: int, gated: bool):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False)
        self.conv1pw = nn.Conv2d(channels, channels, 1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False)
        self.conv2pw = nn.Conv2d(channels, channels, 1)
        self.bn2 = nn.BatchNorm2d(channels)
        self.se = BinGates(bins, min(64, max(channels, 32))) if gated else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1pw(self.conv1(x)).relu())
        y = self.bn2(self.conv2pw(self.conv2(y)))
        if self.se is not None:
            y = y * self.se(y)
        return (x + y).relu()


class SelfAttention(nn.Module):
    """Every frame as a mixture of all (Vaswani 2017, "Attention Is All You Need"): [B, F, C] -> [B, F, C]."""

    def __init__(self, channels: int):
        super().__init__()
        self.k_proj = nn.Linear(channels, channels)
        self.v_proj = nn.Linear(channels, channels)
        self.q_proj = nn.Linear(channels, channels)
        self.out_proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        queries, keys, values = (
            projection(x).unflatten(2, (ATTENTION_HEADS, -1)).transpose(1, 2)  # [B, heads, F, C / heads]
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed = functional.scaled_dot_product_attention(queries, keys, values)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class AttentionLayer(nn.Module):
    """Self-attention and two linear layers, each with a shortcut and layer norm after it: [B, C, F] -> [B, C, F]."""

    def __init__(self, channels: int):
        super().__init__()
        self.attention = SelfAttention(channels)
        self.layer_norm = nn.LayerNorm(channels, eps=NORM_EPSILON)
        self.feed_forward = nn.Sequential(
            OrderedDict(
                intermediate_dense=nn.Linear(channels, channels),
                gelu=nn.GELU(approximate="tanh"),
                output_dense=nn.Linear(channels, channels),
            )
        )
        self.final_layer_norm = nn.LayerNorm(channels, eps=NORM_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        x = self.layer_norm(x + self.attention(x))
        x = self.final_layer_norm(x + self.feed_forward(x))
        return x.transpose(1, 2)


class TimeContext(nn.Module):
    """Convolutions over frames and attention on `hidden` channels, and a shortcut: [B, C, F] -> [B, C, F]."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.red_dim_conv = nn.Sequential(nn.Conv1d(channels, hidden, 1), ChannelNorm(hidden))
        convolutions = [ConvNextBlock(nn.Conv1d, nn.BatchNorm1d, hidden, size, hidden) for size in CONTEXT_KERNELS]
        self.tcm = nn.Sequential(*convolutions, AttentionLayer(hidden))
        self.exp_dim_conv = nn.Conv1d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.exp_dim_conv(self.tcm(self.red_dim_conv(x)))


class MapToSequence(nn.Module):
    """Maps [B, C, D, F] as sequences [B, D·C, F]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2).flatten(1, 2)


def stage_layers(stage: Stage, size: Size, channels: int, bins: int, width: int) -> nn.Sequential:
    """One stage: maps [B, `channels`, `bins`, F] -> sequences [B, `width`, F]."""
    bins //= stage.stride
    outer = channels * stage.stride
    inner = outer * stage.widening
    layers = nn.Sequential(nn.Conv2d(channels, inner, (stage.stride, 1), (stage.stride, 1)))
    for _ in range(stage.blocks):
        groups = inner // size.group_channels
        if size.block == "convnext":
            block: nn.Module = ConvNextBlock(nn.Conv2d, nn.BatchNorm2d, inner, 3, groups)
        else:
            block = ResidualBlock(inner, bins, groups, gated=size.block == "gated residual")
        layers.append(named("conv_block", block))
    if stage.widening != 1:
        layers.append(
            nn.Sequential(
                nn.Conv2d(inner, outer, 3, padding=1, groups=outer // size.group_channels),
                nn.BatchNorm2d(outer, eps=NORM_EPSILON),
                nn.GELU(),
                nn.Conv2d(outer, outer, 1),
            )
        )
    layers.append(MapToSequence())
    if stage.reduction is not None:
        # Rounded down to what the heads can share; where that changes something the published code refuses.
        hidden = width // stage.reduction // ATTENTION_HEADS * ATTENTION_HEADS
        layers.append(TimeContext(width, max(hidden, ATTENTION_HEADS)))
    return layers


class DimensionReshaping(nn.Module):
    """Stem and stages, each fed with a learned mixture of all that came before: [B, D, F] -> [B, D·C, F]."""

    def __init__(self, bins: int, size: Size):
        super().__init__()
        self.output_size = size.channels * bins
        self.stem = nn.Sequential(nn.Conv2d(1, size.channels, 3, padding=1), ChannelNorm(size.channels))
        self.to_sequence = MapToSequence()
        # Weights before softmax. The first, of a mixture of one, is published although it has no effect.
        mixtures = [nn.Parameter(torch.ones(1, 1, 1, 1))]
        self.maps: list[tuple[int, int]] = []  # bins and channels of each stage's input
        channels = size.channels
        for i, stage in enumerate(size.stages):
            self.maps.append((bins, channels))
            self.add_module(f"stage{i}", stage_layers(stage, size, channels, bins, self.output_size))
            mixtures.append(nn.Parameter(torch.zeros(1, i + 2, self.output_size, 1)))
            channels, bins = channels * stage.stride, bins // stage.stride
        self.inputs_weights = nn.ParameterList(mixtures)

    def mixture(self, sequences: Sequence[Tensor]) -> Tensor:
        """The mean of `sequences` [B, D·C, F] with weights for every channel: [B, D·C, F]."""
        weights = self.inputs_weights[len(sequences) - 1].softmax(1)  # [1, sequences, D·C, 1]
        mixed = weights[:, 0] * sequences[0]
        for i in range(1, len(sequences)):
            mixed = mixed + weights[:, i] * sequences[i]
        return mixed

    def forward(self, x: Tensor) -> Tensor:
        sequences = [self.to_sequence(self.stem(x.unsqueeze(1)))]
        for i, (bins, channels) in enumerate(self.maps):
            x = self.mixture(sequences).unflatten(1, (bins, channels)).transpose(1, 2)  # [B, C', D', F]
            sequences.append(self.get_submodule(f"stage{i}")(x))
        return self.mixture(sequences)


@BACKBONES.register("ReDimNet")
class ReDimNet(nn.Module):
    """ReDimNet (Yakovlev 2024, "Reshape Dimensions Network for Speaker Recognition").

    forward(features [B, F, D]) -> embeddings [B, E]; any F from 1 on.

    `size` is "B0" to "B6". Published are B0 with 60 bins and the others with 72; any number works that the strides of
    the stages divide: multiples of 4 (B0), 24 (B1), 12 (B6) or 8 (the others). `pooling_type` is the name of any
    pooling and `pooling_args` its arguments; of ASTP's, `global_context_att` is on unless they say otherwise. With
    `two_emb_layer` ReLU, batch norm and a second linear layer follow the first, and the embedding is the second's.

    Parameters with the published numbers of bins: B0 1,001,851, B1 2,123,481, B2 4,888,241, B3 3,220,413,
    B4 6,432,305, B5 7,650,545, B6 15,006,257. B2 with 80 bins: 5,806,345. State-dict keys are those of WeSpeaker.
    """

    def __init__(
        self,
        input_size: int,
        embd_dim: int = 192,
        size: str = "B2",
        pooling_type: str = "ASTP",
        pooling_args: dict[str, Any] | None = None,
        two_emb_layer: bool = False,
    ):
        super().__init__()
        if size not in SIZES:
            raise ConfigError(f"ReDimNet: unknown size {size!r}; there are: {', '.join(SIZES)}.{nearest(size, SIZES)}")
        divisor = prod(stage.stride for stage in SIZES[size].stages)
        if input_size < 1 or input_size % divisor:
            raise ConfigError(
                f"ReDimNet {size} needs a number of feature bins that is a multiple of {divisor}, found {input_size}; "
                f"it is published with {60 if size == 'B0' else 72}."
            )
        self.embd_dim = embd_dim
        self.min_frames = 1
        self.two_emb_layer = two_emb_layer
        self.backbone = DimensionReshaping(input_size, SIZES[size])
        if pooling_type == "ASTP":
            pooling_args = {"global_context_att": True, **(pooling_args or {})}
        self.pool = POOLINGS.build(pooling_type, pooling_args, channels=self.backbone.output_size)
        self.seg_1 = nn.Linear(self.pool.output_size, embd_dim)
        if two_emb_layer:
            self.seg_bn_1 = nn.BatchNorm1d(embd_dim, affine=False)
            self.seg_2 = nn.Linear(embd_dim, embd_dim)

    def forward(self, features: Tensor) -> Tensor:
        require_frames(features, self.min_frames, self)
        x = self.backbone(features.transpose(1, 2))  # [B, D·C, F]
        embedding = self.seg_1(self.pool(x))
        if self.two_emb_layer:
            embedding = self.seg_2(self.seg_bn_1(embedding.relu()))
        return embedding
