"""What the Res2Net family of 3D-Speaker and WeSpeaker shares: blocks, fusion, and the network around them.

Maps are laid out [B, C, D, F] (bins before frames). Module names are the published ones, because they are the keys of
the checkpoints.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mvector.errors import ConfigError
from mvector.models.layers import require_frames
from mvector.registry import POOLINGS

FUSION_REDUCTION = 4


def clipped_relu(x: Tensor) -> Tensor:
    """ReLU that stops at 20, in place: `x` must be a fresh result, as a batch norm's or a sum's.

    In place because these maps are large: keeping the values before and after would double the memory of training.
    """
    return functional.hardtanh(x, 0.0, 20.0, inplace=True)


class AttentionalFusion(nn.Module):
    """A mixture of two maps of the same shape, weighted at every point: two times [B, C, D, F] -> [B, C, D, F].

    x·(1 + a) + y·(1 - a) with a in (-1, 1) computed from both (ERes2Net, Chen 2023, eq. 2-3; after Dai 2021,
    "Attentional Feature Fusion").
    """

    def __init__(self, channels: int):
        super().__init__()
        hidden = channels // FUSION_REDUCTION
        if not hidden:
            raise ConfigError(
                f"an attentional fusion needs at least {FUSION_REDUCTION} channels, found {channels}: "
                "give a larger m_channels, base_width or expansion."
            )
        self.local_att = nn.Sequential(
            nn.Conv2d(2 * channels, hidden, 1),
            nn.BatchNorm2d(hidden),
            nn.SiLU(inplace=True),
            nn.Conv2d(hidden, channels, 1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        weights = self.local_att(torch.cat([x, y], dim=1)).tanh()
        return torch.addcmul(x + y, weights, x - y)


class Res2Block(nn.Module):
    """1x1 convolution, 3x3 convolutions of `scale` groups of channels, 1x1 convolution, and a shortcut.

    [B, C_in, D, F] -> [B, expansion · planes, ceil(D / stride), ceil(F / stride)]

    Gao 2019, "Res2Net", figure 2: each group is added to the output of the one before; here the last passes unchanged.
    A group is `base_width` channels wide where `planes` is 64, and in proportion elsewhere.
    """

    unchanged_groups = 1

    def __init__(self, in_channels: int, planes: int, stride: int, base_width: int, scale: int, expansion: int):
        super().__init__()
        width = planes * base_width // 64
        convolved = scale - self.unchanged_groups
        if width < 1 or convolved < 1:
            raise ConfigError(
                f"a Res2Net block of {planes} planes with base_width {base_width} and scale {scale} has no channels to "
                "convolve: give larger ones."
            )
        out_channels = planes * expansion
        self.scale = scale
        self.conv1 = nn.Conv2d(in_channels, width * scale, 1, stride=stride, bias=False)
        self.bn1 = nn.BatchNorm2d(width * scale)
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(convolved))
        self.bns = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(convolved))
        self.conv3 = nn.Conv2d(width * scale, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        groups = clipped_relu(self.bn1(self.conv1(x))).chunk(self.scale, dim=1)
        outputs: list[Tensor] = []
        for i, (conv, bn) in enumerate(zip(self.convs, self.bns, strict=True)):
            joined = self.join(i, outputs[-1], groups[i]) if outputs else groups[i]
            outputs.append(clipped_relu(bn(conv(joined))))
        y = torch.cat([*outputs, *groups[len(outputs) :]], dim=1)
        return clipped_relu(self.bn3(self.conv3(y)) + self.shortcut(x))

    def join(self, i: int, previous: Tensor, group: Tensor) -> Tensor:
        """What group i's convolution sees, i > 0: [B, C, D, F] twice -> [B, C, D, F]."""
        return previous + group


class ConvolvedBlock(Res2Block):
    """ERes2Net's block for the early stages: every group is convolved."""

    unchanged_groups = 0


class FusedBlock(ConvolvedBlock):
    """ERes2Net's block for the late stages: groups are joined by an attentional fusion instead of a sum."""

    def __init__(self, in_channels: int, planes: int, stride: int, base_width: int, scale: int, expansion: int):
        super().__init__(in_channels, planes, stride, base_width, scale, expansion)
        width = planes * base_width // 64
        self.fuse_models = nn.ModuleList(AttentionalFusion(width) for _ in range(scale - 1))

    def join(self, i: int, previous: Tensor, group: Tensor) -> Tensor:
        return self.fuse_models[i - 1](previous, group)


class Res2NetTrunk(nn.Module):
    """Stem, four stages, pooling and embedding: forward(features [B, F, D]) -> embeddings [B, E].

    Stages 2 to 4 halve bins and frames (rounding up). `blocks` are the kinds of blocks of the four stages;
    `pooling_args` are options of the pooling. With `two_emb_layer` a second linear layer follows, after ReLU and batch
    norm. A subclass that does more than chain the stages overrides `maps`.
    """

    def __init__(
        self,
        input_size: int,
        embd_dim: int,
        pooling_type: str,
        pooling_args: dict[str, Any] | None,
        num_blocks: Sequence[int],
        m_channels: int,
        base_width: int,
        scale: int,
        expansion: int,
        two_emb_layer: bool,
        blocks: Sequence[type[Res2Block]],
    ):
        super().__init__()
        if len(num_blocks) != 4 or min(num_blocks) < 1:
            raise ConfigError(f"num_blocks must give four stages at least one block each, found {list(num_blocks)}.")
        self.embd_dim = embd_dim
        self.min_frames = 1
        self.conv1 = nn.Conv2d(1, m_channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(m_channels)
        stages = []
        channels = m_channels
        for i, (block, count) in enumerate(zip(blocks, num_blocks, strict=True)):
            planes = m_channels * 2**i
            stage = nn.Sequential()
            for j in range(count):
                stride = 2 if i > 0 and j == 0 else 1
                stage.append(block(channels, planes, stride, base_width, scale, expansion))
                channels = planes * expansion
            stages.append(stage)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages

        bins = (input_size + 7) // 8
        self.pool = POOLINGS.build(pooling_type, pooling_args, channels=channels * bins)
        self.seg_1 = nn.Linear(self.pool.output_size, embd_dim)
        self.two_emb_layer = two_emb_layer
        if two_emb_layer:
            self.seg_bn_1 = nn.BatchNorm1d(embd_dim, affine=False)
            self.seg_2 = nn.Linear(embd_dim, embd_dim)

    def maps(self, x: Tensor) -> Tensor:
        """What is pooled, from the stem's output: [B, C, D, F] -> [B, 8 · expansion · C, ceil(D / 8), ceil(F / 8)]."""
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def forward(self, features: Tensor) -> Tensor:
        require_frames(features, self.min_frames, self)
        x = features.transpose(1, 2).unsqueeze(1)  # [B, 1, D, F]
        x = self.maps(self.bn1(self.conv1(x)).relu_())
        x = self.seg_1(self.pool(x.flatten(1, 2)))
        return self.seg_2(self.seg_bn_1(x.relu())) if self.two_emb_layer else x
