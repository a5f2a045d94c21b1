"""CAM++ as published by 3D-Speaker, WeSpeaker and the mvector package."""

import math
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from mvector.models.layers import FrameConv, FrameNorm, channels_last, require_frames
from mvector.models.pooling import VARIANCE_FLOOR, mean_and_unbiased_variance
from mvector.registry import BACKBONES, POOLINGS

SEGMENT_FRAMES = 100  # of the context of the masks
# Layers, kernel size and dilation of the three dense blocks (table 1 of the paper).
DENSE_BLOCKS = ((12, 3, 1), (24, 3, 2), (16, 3, 2))


def norm_relu(channels: int) -> nn.Sequential:
    """Batch norm and ReLU of [B, F, C]."""
    return nn.Sequential(OrderedDict(batchnorm=FrameNorm(channels), relu=nn.ReLU()))


def segment_means(x: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Means of [B, F, C] over successive segments of `length` frames, and the segment of each frame.

    Returns [B, N, C] and int64 [F]; the mean of the last segment is over the frames that it has. A product with a
    matrix of zeros and ones instead of ``avg_pool1d(ceil_mode=True)``, which exported models compute differently;
    N is one more than needed, because an export would fix a size that can be 1 and is broadcast.
    """
    frames = x.shape[1]
    segment_of_frame = torch.arange(frames, device=x.device) // length
    segments = torch.arange((frames + length - 1) // length + 1, device=x.device)
    members = (segments.unsqueeze(1) == segment_of_frame).to(x.dtype)  # [N, F]
    return (members @ x) / members.sum(1, keepdim=True).clamp_min(1), segment_of_frame


class ContextMaskedLayer(nn.Module):
    """Convolution whose outputs are gated by context: [B, F, C_in] -> [B, F, C_out].

    The context of a frame is the mean of the utterance plus the mean of the frame's segment (eq. 3-6 of the paper);
    all frames of a segment share it, so the gates are computed once per segment.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, dilation: int):
        super().__init__()
        self.linear_local = FrameConv(
            in_channels, out_channels, kernel_size, dilation, bias=False, padding_mode="zeros"
        )
        self.linear1 = FrameConv(in_channels, in_channels // 2)
        self.linear2 = FrameConv(in_channels // 2, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        means, segment_of_frame = segment_means(x, SEGMENT_FRAMES)
        context = x.mean(1, keepdim=True) + means  # [B, N, C_in]
        gates = self.linear2(self.linear1(context).relu()).sigmoid()  # [B, N, C_out]
        return self.linear_local(x) * gates[:, segment_of_frame]


class DenseLayer(nn.Module):
    """Bottleneck and context-masked convolution: [B, F, C_in] -> [B, F, growth]."""

    def __init__(self, in_channels: int, bottleneck: int, growth: int, kernel_size: int, dilation: int):
        super().__init__()
        self.nonlinear1 = norm_relu(in_channels)
        self.linear1 = FrameConv(in_channels, bottleneck, bias=False)
        self.nonlinear2 = norm_relu(bottleneck)
        self.cam_layer = ContextMaskedLayer(bottleneck, growth, kernel_size, dilation)

    def forward(self, x: Tensor) -> Tensor:
        return self.cam_layer(self.nonlinear2(self.linear1(self.nonlinear1(x))))


class DenseBlock(nn.Module):
    """Layers that each append `growth` channels to all channels before: [B, F, C] -> [B, F, C + layers · growth]."""

    def __init__(self, layers: int, in_channels: int, bottleneck: int, growth: int, kernel_size: int, dilation: int):
        super().__init__()
        for i in range(layers):
            layer = DenseLayer(in_channels + i * growth, bottleneck, growth, kernel_size, dilation)
            self.add_module(f"tdnnd{i + 1}", layer)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = torch.cat([x, layer(x)], dim=2)
        return x


class ResidualBlock2d(nn.Module):
    """Two 3x3 convolutions over bins and frames with a shortcut: [B, C, D, F] -> [B, C, ceil(D / stride), F]."""

    def __init__(self, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, stride=(stride, 1), padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, channels, 1, stride=(stride, 1), bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x)).relu()
        return (self.bn2(self.conv2(y)) + self.shortcut(x)).relu()


class ChannelsFirst(nn.Module):
    """[B, F, C] -> [B, C, F], as poolings take it."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


@POOLINGS.register("StatsPool")
class MeanAndDeviation(nn.Module):
    """Mean and unbiased standard deviation over frames, with no epsilon: forward(x [B, C, F]) -> [B, 2 C].

    Statistics pooling (Snyder 2018, "X-vectors") as in 3D-Speaker's CAM++.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.output_size = 2 * channels

    def forward(self, x: Tensor) -> Tensor:
        mean, variance = mean_and_unbiased_variance(x, 2)
        return torch.cat([mean, variance.clamp_min(VARIANCE_FLOOR).sqrt()], dim=1)


class FrontEnd(nn.Module):
    """Residual convolutions over bins and frames, eight times fewer bins: [B, F, D] -> [B, F, `output_size`]."""

    def __init__(self, input_size: int, channels: int = 32):
        super().__init__()
        self.conv1 = nn.Conv2d(1, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.layer1 = nn.Sequential(ResidualBlock2d(channels, 2), ResidualBlock2d(channels, 1))
        self.layer2 = nn.Sequential(ResidualBlock2d(channels, 2), ResidualBlock2d(channels, 1))
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=(2, 1), padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.output_size = channels * math.ceil(input_size / 8)

    def forward(self, features: Tensor) -> Tensor:
        x = features.transpose(1, 2).unsqueeze(1)  # [B, 1, D, F]
        x = channels_last(self.bn1(self.conv1(x)).relu())
        x = self.layer2(self.layer1(x))
        x = self.bn2(self.conv2(x)).relu()  # [B, 32, D / 8, F]
        return x.permute(0, 3, 1, 2).flatten(2)


@BACKBONES.register("CAMPPlus")
class CAMPPlus(nn.Module):
    """CAM++ (Wang 2023, "CAM++: A Fast and Efficient Network for Speaker Verification Using Context-Aware Masking").

    forward(features [B, F, D]) -> embeddings [B, E]; any F from 1 on (one frame after the stride of 2 has standard
    deviation zero; the published network gives NaN there).

    `pooling_type` is the name of any pooling and `pooling_args` its arguments: StatsPool as in 3D-Speaker and the
    mvector package, TSTP as in WeSpeaker.

    With 80 bins 7,176,224 parameters for 512 embedding values, 6,848,544 for 192. State-dict keys are those of the
    three families.
    """

    def __init__(
        self,
        input_size: int,
        embd_dim: int = 512,
        growth_rate: int = 32,
        bn_size: int = 4,
        init_channels: int = 128,
        pooling_type: str = "StatsPool",
        pooling_args: dict[str, Any] | None = None,
    ):
        super().__init__()
        self.embd_dim = embd_dim
        self.min_frames = 1
        self.head = FrontEnd(input_size)
        xvector: OrderedDict[str, nn.Module] = OrderedDict()
        first = FrameConv(self.head.output_size, init_channels, 5, stride=2, bias=False, padding_mode="zeros")
        xvector["tdnn"] = nn.Sequential(OrderedDict(linear=first, nonlinear=norm_relu(init_channels)))
        channels = init_channels
        for i, (layers, kernel_size, dilation) in enumerate(DENSE_BLOCKS, start=1):
            xvector[f"block{i}"] = DenseBlock(
                layers, channels, bn_size * growth_rate, growth_rate, kernel_size, dilation
            )
            channels += layers * growth_rate
            halve = FrameConv(channels, channels // 2, bias=False)
            xvector[f"transit{i}"] = nn.Sequential(OrderedDict(nonlinear=norm_relu(channels), linear=halve))
            channels //= 2
        xvector["out_nonlinear"] = norm_relu(channels)
        stats = POOLINGS.build(pooling_type, pooling_args, channels=channels)
        xvector["channels_first"] = ChannelsFirst()
        xvector["stats"] = stats
        xvector["dense"] = nn.Sequential(
            OrderedDict(
                linear=FrameConv(stats.output_size, embd_dim, bias=False),
                nonlinear=nn.Sequential(OrderedDict(batchnorm=FrameNorm(embd_dim, affine=False))),
            )
        )
        self.xvector = nn.Sequential(xvector)
        for module in self.modules():
            if isinstance(module, FrameConv):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, features: Tensor) -> Tensor:
        require_frames(features, self.min_frames, self)
        return self.xvector(self.head(features))
