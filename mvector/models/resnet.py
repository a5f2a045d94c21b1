"""The r-vector family as published by WeSpeaker and 3D-Speaker: ResNets over bins and frames with few channels."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mvector.errors import ConfigError
from mvector.models.layers import channels_last, require_frames
from mvector.registry import BACKBONES, POOLINGS


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """What a shortcut needs to fit [B, C_out, D / stride, F / stride]: nothing, or a 1x1 convolution and batch norm."""
    if stride == 1 and in_channels == out_channels:
        return nn.Sequential()
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
    )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: [B, C_in, D, F] -> [B, C, ceil(D / stride), ceil(F / stride)]."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = projection(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x)).relu_()
        return (self.bn2(self.conv2(y)) + self.shortcut(x)).relu_()


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut: [B, C_in, D, F] -> [B, 4 C, ceil(D / stride), ceil(F / stride)]."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, self.expansion * channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(self.expansion * channels)
        self.shortcut = projection(in_channels, self.expansion * channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x)).relu_()
        y = self.bn2(self.conv2(y)).relu_()
        return (self.bn3(self.conv3(y)) + self.shortcut(x)).relu_()


# Depth -> kind of block and number of blocks in the four stages.
DEPTHS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], Sequence[int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
    221: (Bottleneck, (6, 16, 48, 3)),
    293: (Bottleneck, (10, 20, 64, 3)),
}


def residual_stages(
    block: Any, in_channels: int, widths: Sequence[int], counts: Sequence[int]
) -> tuple[nn.Sequential, nn.Sequential, nn.Sequential, nn.Sequential]:
    """Four stages of `counts` blocks that are `widths` wide; each but the first starts with a stride of 2.

    Together [B, C_in, D, F] -> [B, expansion · widths[3], ceil(D / 8), ceil(F / 8)]. `block` is a class with an
    `expansion`, built with (input channels, channels, stride).
    """
    if not len(widths) == len(counts) == 4 or min(counts) < 1:
        raise ConfigError(
            "four stages need a width each and a number of blocks, at least one; "
            f"found widths {list(widths)} and blocks {list(counts)}."
        )
    stages: list[nn.Sequential] = []
    for width, count in zip(widths, counts, strict=True):
        stage = nn.Sequential(block(in_channels, width, 2 if stages else 1))
        in_channels = block.expansion * width
        stage.extend(block(in_channels, width) for _ in range(count - 1))
        stages.append(stage)
    first, second, third, fourth = stages
    return first, second, third, fourth


@BACKBONES.register("ResNet")
class ResNet(nn.Module):
    """Residual network of depth 18, 34, 50, 101, 152, 221 or 293 (He 2016, "Deep Residual Learning").

    Narrow and without max-pooling, as in Zeinali 2019, "BUT System Description to VoxCeleb Speaker Recognition
    Challenge 2019" (r-vectors). forward(features [B, F, D]) -> embeddings [B, E]; any F from 1 on (one frame after the
    strides has variance zero; the published networks give NaN there).

    `m_channels` is the width of the first of four stages, doubled in each next one. `num_blocks` replaces the numbers
    of blocks that belong to `depth`. `pooling_type` is the name of any pooling and `pooling_args` its arguments. With
    `two_emb_layer` ReLU, batch norm and a second linear layer follow the first, and the embedding is the second's.

    6,634,336 parameters with 80 bins and the defaults; depth 18: 4,105,440; 50: 11,131,360; 101: 15,892,448;
    152: 19,814,880; 221: 23,792,224; 293: 28,626,016. State-dict keys are those of WeSpeaker and 3D-Speaker.
    """

    def __init__(
        self,
        input_size: int,
        embd_dim: int = 256,
        depth: int = 34,
        m_channels: int = 32,
        pooling_type: str = "TSTP",
        pooling_args: dict[str, Any] | None = None,
        two_emb_layer: bool = False,
        num_blocks: Sequence[int] | None = None,
    ):
        super().__init__()
        if depth not in DEPTHS:
            raise ConfigError(f"ResNet: there is no depth {depth}; choose {', '.join(map(str, DEPTHS))}.")
        block, counts = DEPTHS[depth]
        counts = counts if num_blocks is None else num_blocks
        self.embd_dim = embd_dim
        self.min_frames = 1
        self.two_emb_layer = two_emb_layer

        self.conv1 = nn.Conv2d(1, m_channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(m_channels)
        widths = [m_channels * 2**i for i in range(4)]
        self.layer1, self.layer2, self.layer3, self.layer4 = residual_stages(block, m_channels, widths, counts)
        channels = block.expansion * widths[-1] * ((input_size + 7) // 8)
        self.pool = POOLINGS.build(pooling_type, pooling_args, channels=channels)
        self.seg_1 = nn.Linear(self.pool.output_size, embd_dim)
        if two_emb_layer:
            self.seg_bn_1 = nn.BatchNorm1d(embd_dim, affine=False)
            self.seg_2 = nn.Linear(embd_dim, embd_dim)

    def forward(self, features: Tensor) -> Tensor:
        require_frames(features, self.min_frames, self)
        x = features.transpose(1, 2).unsqueeze(1)  # [B, 1, D, F]
        x = self.layer1(channels_last(self.bn1(self.conv1(x)).relu_()))  # [B, C, D, F]
        x = self.layer4(self.layer3(self.layer2(x)))  # [B, 8 C, D / 8, F / 8], four times as wide with bottlenecks
        embedding = self.seg_1(self.pool(x.flatten(1, 2)))
        if self.two_emb_layer:
            embedding = self.seg_2(self.seg_bn_1(embedding.relu()))
        return embedding
