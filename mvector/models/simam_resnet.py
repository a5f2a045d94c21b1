"""ResNets with parameter-free attention, as published by WeSpeaker (pre-trained on VoxBlink2)."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from mvector.errors import ConfigError
from mvector.models.layers import FrameConv, FrameNorm, channels_last, require_frames
from mvector.models.resnet import projection, residual_stages
from mvector.models.statistics_pooling import attended_statistics
from mvector.registry import BACKBONES

# Depth -> number of blocks in the four stages.
DEPTHS = {34: (3, 4, 6, 3), 100: (6, 16, 24, 3)}
ENERGY_FLOOR = 1e-4  # the lambda of SimAM
ATTENTION_CHANNELS = 128
VARIANCE_FLOOR = 1e-5


def simam(x: Tensor) -> Tensor:
    """Gates every point of every map by how far it is from the map's mean: [B, C, D, F] -> [B, C, D, F].

    Yang 2021, "SimAM: A Simple, Parameter-Free Attention Module for Convolutional Neural Networks": the gate is the
    sigmoid of the inverse of the minimal energy. The variance is unbiased; a map of one point has variance zero.
    """
    distance = (x - x.mean((2, 3), keepdim=True)).square()
    # Counted as a tensor: a maximum of plain numbers becomes a constant in TorchScript.
    points = x.new_ones(x.shape[2] * x.shape[3], dtype=torch.float32).sum()
    variance = distance.sum((2, 3), keepdim=True) / (points - 1).clamp_min(1)
    return x * (distance / (4 * (variance + ENERGY_FLOOR)) + 0.5).sigmoid()


class SimAMBlock(nn.Module):
    """Two 3x3 convolutions, SimAM and a shortcut: [B, C_in, D, F] -> [B, C, ceil(D / stride), ceil(F / stride)]."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = projection(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x)).relu_()
        return (simam(self.bn2(self.conv2(y))) + self.downsample(x)).relu_()


class MapAttention(nn.Module):
    """Attention-weighted mean and deviation over frames: forward(x [B, C, F]) -> [B, 2 C].

    After Okabe 2018 with a weight per channel, in the form that WeSpeaker has for this network alone: ReLU and batch
    norm between the two layers of the attention. (The poolings ASP and ASTP differ from it and from each other.)
    """

    def __init__(self, channels: int):
        super().__init__()
        self.output_size = 2 * channels
        self.attention = nn.Sequential(
            FrameConv(channels, ATTENTION_CHANNELS),
            nn.ReLU(),
            FrameNorm(ATTENTION_CHANNELS),
            FrameConv(ATTENTION_CHANNELS, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)  # [B, F, C]
        return attended_statistics(x, self.attention(x), VARIANCE_FLOOR)


@BACKBONES.register("SimAMResNet")
class SimAMResNet(nn.Module):
    """Residual network of depth 34 or 100 with SimAM in every block and attentive statistics pooling.

    Qin 2022, "Simple Attention Module Based Speaker Verification with Iterative Noisy Label Detection".
    forward(features [B, F, D]) -> embeddings [B, E]; any F from 1 on. `m_channels` is the width of the first of four
    stages, doubled in each next one; `dropout` is the probability with which a pooled value is dropped in training.

    25,213,760 parameters with 80 bins and the defaults; depth 100: 50,232,896. State-dict keys are those of WeSpeaker.
    """

    def __init__(
        self, input_size: int, embd_dim: int = 256, depth: int = 34, m_channels: int = 64, dropout: float = 0.0
    ):
        super().__init__()
        if depth not in DEPTHS:
            raise ConfigError(f"SimAMResNet: there is no depth {depth}; choose {' or '.join(map(str, DEPTHS))}.")
        self.embd_dim = embd_dim
        self.min_frames = 1
        front: OrderedDict[str, nn.Module] = OrderedDict()
        front["conv1"] = nn.Conv2d(1, m_channels, 3, padding=1, bias=False)
        front["bn1"] = nn.BatchNorm2d(m_channels)
        front["relu"] = nn.ReLU(inplace=True)
        widths = [m_channels * 2**i for i in range(4)]
        for i, stage in enumerate(residual_stages(SimAMBlock, m_channels, widths, DEPTHS[depth]), start=1):
            front[f"layer{i}"] = stage
        self.front = nn.Sequential(front)
        self.pooling = MapAttention(widths[-1] * ((input_size + 7) // 8))
        self.drop = nn.Dropout(dropout)
        self.bottleneck = nn.Linear(self.pooling.output_size, embd_dim)

    def forward(self, features: Tensor) -> Tensor:
        require_frames(features, self.min_frames, self)
        x = self.front[:3](features.transpose(1, 2).unsqueeze(1))  # [B, C, D, F]
        x = self.front[3:](channels_last(x))  # [B, 8 C, D / 8, F / 8]
        return self.bottleneck(self.drop(self.pooling(x.flatten(1, 2))))
