"""Res2Net in the two forms that speaker recognition uses.

They share a name and an idea but no part: the mvector package's is the image network (a stem that keeps a sixth of
bins and frames, blocks of expansion 4 that stride in the 3x3 convolutions, batch norms around the embedding),
WeSpeaker's and 3D-Speaker's a ResNet-34 of full resolution with ERes2Net's conventions. Hence two classes.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mvector.errors import ConfigError
from mvector.models.layers import FrameNorm, require_frames
from mvector.models.res2net_layers import Res2Block, Res2NetTrunk
from mvector.registry import BACKBONES, POOLINGS

EXPANSION = 4
STEM_KERNEL_SIZE = 7
STEM_PADDING = 1


class Bottleneck(nn.Module):
    """1x1 convolution, 3x3 convolutions of `scale` groups of channels, 1x1 convolution, and a shortcut.

    [B, C, D, F] -> [B, 4 · planes, ceil(D / stride), ceil(F / stride)]

    Each group is added to the output of the one before and the last passes unchanged; in the `first` block of a stage
    they are not added and the last is averaged over its neighbours, as in the reference code of Gao 2019.
    """

    def __init__(self, in_channels: int, planes: int, stride: int, base_width: int, scale: int, first: bool):
        super().__init__()
        width = planes * base_width // 64
        if width < 1 or scale < 1:
            raise ConfigError(
                f"a Res2Net block of {planes} planes with base_width {base_width} and scale {scale} has no channels to "
                "convolve: give larger ones."
            )
        out_channels = EXPANSION * planes
        convolved = max(scale - 1, 1)
        self.stride, self.scale, self.first = stride, scale, first
        self.conv1 = nn.Conv2d(in_channels, width * scale, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width * scale)
        self.convs = nn.ModuleList(
            nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False) for _ in range(convolved)
        )
        self.bns = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(convolved))
        self.conv3 = nn.Conv2d(width * scale, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = None
        if first:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        groups = self.bn1(self.conv1(x)).relu_().chunk(self.scale, dim=1)
        outputs: list[Tensor] = []
        for group, conv, bn in zip(groups, self.convs, self.bns, strict=False):
            joined = group if self.first or not outputs else group + outputs[-1]
            outputs.append(bn(conv(joined)).relu_())
        if self.scale > 1:
            last = groups[-1]
            outputs.append(functional.avg_pool2d(last, 3, self.stride, padding=1) if self.first else last)
        residual = x if self.downsample is None else self.downsample(x)
        return (self.bn3(self.conv3(torch.cat(outputs, dim=1))) + residual).relu_()


@BACKBONES.register("Res2Net")
class Res2Net(nn.Module):
    """Res2Net (Gao 2019, "Res2Net: A New Multi-scale Backbone Architecture") in the mvector package's form.

    forward(features [B, F, D]) -> embeddings [B, E]; fewer than `min_frames` (5, of which the stem makes one) raise
    TooShortError, fewer than 5 bins are a ConfigError. The pooling sees about a 48th of the bins and frames.

    5,611,840 parameters with 80 bins and the defaults. State-dict keys are those of the mvector package.
    """

    def __init__(
        self,
        input_size: int,
        m_channels: int = 32,
        layers: Sequence[int] = (3, 4, 6, 3),
        base_width: int = 32,
        scale: int = 2,
        embd_dim: int = 192,
        pooling_type: str = "ASP",
    ):
        super().__init__()
        self.embd_dim = embd_dim
        self.min_frames = STEM_KERNEL_SIZE - 2 * STEM_PADDING
        if input_size < self.min_frames:
            raise ConfigError(f"Res2Net needs features of at least {self.min_frames} bins, found {input_size}.")
        if len(layers) != 4 or min(layers) < 1:
            raise ConfigError(f"layers must give four stages at least one block each, found {list(layers)}.")
        self.conv1 = nn.Conv2d(1, m_channels, STEM_KERNEL_SIZE, stride=3, padding=STEM_PADDING, bias=False)
        self.bn1 = nn.BatchNorm2d(m_channels)
        self.max_pool = nn.MaxPool2d(3, stride=2, padding=1)
        stages = []
        channels = m_channels
        for i, count in enumerate(layers):
            planes = m_channels * 2**i
            stage = nn.Sequential()
            for j in range(count):
                stride = 2 if i > 0 and j == 0 else 1
                stage.append(Bottleneck(channels, planes, stride, base_width, scale, first=j == 0))
                channels = EXPANSION * planes
            stages.append(stage)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages

        bins = (input_size + 2 * STEM_PADDING - STEM_KERNEL_SIZE) // 3 + 1
        for _ in range(4):  # the max pooling and stages 2 to 4
            bins = (bins + 1) // 2
        self.pooling = POOLINGS.build(pooling_type, channels=channels * bins)
        self.bn2 = FrameNorm(self.pooling.output_size)
        self.linear = nn.Linear(self.pooling.output_size, embd_dim)
        self.bn3 = FrameNorm(embd_dim)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, features: Tensor) -> Tensor:
        require_frames(features, self.min_frames, self)
        x = features.transpose(1, 2).unsqueeze(1)  # [B, 1, D, F]
        x = self.max_pool(self.bn1(self.conv1(x)).relu_())  # [B, m_channels, D / 6, F / 6]
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))  # [B, 32 · m_channels, D / 48, F / 48]
        return self.bn3(self.linear(self.bn2(self.pooling(x.flatten(1, 2)))))


@BACKBONES.register("Res2Net34")
class Res2Net34(Res2NetTrunk):
    """Res2Net (Gao 2019, "Res2Net: A New Multi-scale Backbone Architecture") in the form of WeSpeaker and 3D-Speaker.

    forward(features [B, F, D]) -> embeddings [B, E]; any F from 1 on (up to eight frames become one, whose standard
    deviation is zero; the published networks give NaN there).

    4,033,600 parameters with 80 bins and the defaults (3D-Speaker's Res2Net, epsilon 1e-8); 4,689,024 with embd_dim 256
    (WeSpeaker's Res2Net34_Base; its Large has m_channels 64). State-dict keys are those of both.
    """

    def __init__(
        self,
        input_size: int,
        embd_dim: int = 192,
        pooling_type: str = "TSTP",
        pooling_args: dict[str, Any] | None = None,
        num_blocks: Sequence[int] = (3, 4, 6, 3),
        m_channels: int = 32,
        base_width: int = 32,
        scale: int = 2,
        expansion: int = 2,
        two_emb_layer: bool = False,
    ):
        super().__init__(
            input_size,
            embd_dim,
            pooling_type,
            pooling_args,
            num_blocks,
            m_channels,
            base_width,
            scale,
            expansion,
            two_emb_layer,
            (Res2Block,) * 4,
        )
