"""ECAPA-TDNN as published by WeSpeaker: zero padding, a narrow aggregation, and its own attentive pooling."""

from typing import Any

import torch
from torch import Tensor, nn

from mvector.errors import ConfigError
from mvector.models.layers import FrameConv, FrameNorm, require_frames
from mvector.registry import BACKBONES, POOLINGS

RES2NET_SCALE = 8
SE_CHANNELS = 128


class ConvReluNorm(nn.Module):
    """Convolution (padded with zeros), ReLU, batch norm: [B, F, C_in] -> [B, F, C_out]."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 1):
        super().__init__()
        self.conv = FrameConv(in_channels, out_channels, kernel_size, padding_mode="zeros")
        self.bn = FrameNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x).relu())


class Res2Block(nn.Module):
    """A hierarchy of small convolutions over eight groups of channels, the last of which passes unchanged.

    [B, F, C] -> [B, F, C] (Gao 2019, "Res2Net", figure 2, from the other end: there the first group passes).
    """

    def __init__(self, channels: int, dilation: int):
        super().__init__()
        if channels % RES2NET_SCALE:
            raise ConfigError(f"channels ({channels}) must be a multiple of {RES2NET_SCALE}.")
        width = channels // RES2NET_SCALE
        convolved = RES2NET_SCALE - 1
        self.convs = nn.ModuleList(FrameConv(width, width, 3, dilation, padding_mode="zeros") for _ in range(convolved))
        self.bns = nn.ModuleList(FrameNorm(width) for _ in range(convolved))

    def forward(self, x: Tensor) -> Tensor:
        *groups, last = x.chunk(RES2NET_SCALE, dim=2)
        outputs: list[Tensor] = []
        for conv, bn, group in zip(self.convs, self.bns, groups, strict=True):
            outputs.append(bn(conv(group + outputs[-1] if outputs else group).relu()))
        return torch.cat([*outputs, last], dim=2)


class SEGate(nn.Module):
    """Channels weighted by gates from their mean over frames (Hu 2018): [B, F, C] -> [B, F, C]."""

    def __init__(self, channels: int):
        super().__init__()
        self.linear1 = nn.Linear(channels, SE_CHANNELS)
        self.linear2 = nn.Linear(SE_CHANNELS, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.linear2(self.linear1(x.mean(1, keepdim=True)).relu()).sigmoid()


class SERes2Block(nn.Module):
    """1x1 convolution, Res2Net block, 1x1 convolution, channel gates, and a shortcut: [B, F, C] -> [B, F, C]."""

    def __init__(self, channels: int, dilation: int):
        super().__init__()
        self.se_res2block = nn.Sequential(
            ConvReluNorm(channels, channels),
            Res2Block(channels, dilation),
            ConvReluNorm(channels, channels),
            SEGate(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.se_res2block(x)


@BACKBONES.register("EcapaTdnnGlob")
class EcapaTdnnGlob(nn.Module):
    """ECAPA-TDNN in WeSpeaker's form.

    Desplanques 2020, "ECAPA-TDNN: Emphasized Channel Attention, Propagation and Aggregation in TDNN Based Speaker
    Verification".

    forward(features [B, F, D]) -> embeddings [B, E]; any F from 1 on (the published network needs 2).

    Named after its published member with global context in the attention, ECAPA_TDNN_GLOB. It differs from
    :class:`~mvector.models.EcapaTdnn` in zero padding, in the aggregation of the blocks, which is 1536 wide
    (`mfa_channels`) at any `channels` and has no batch norm, and in the pooling. `pooling_type` is the name of any
    pooling and `pooling_args` its arguments; of ASTP's, `global_context_att` is on unless they say otherwise. `emb_bn`
    normalises the embedding.

    6,190,720 parameters with 80 bins and the defaults, 5,797,504 without global context; with 1024 channels 14,657,088
    and 14,263,872. State-dict keys are those of WeSpeaker.
    """

    def __init__(
        self,
        input_size: int,
        embd_dim: int = 192,
        pooling_type: str = "ASTP",
        channels: int = 512,
        mfa_channels: int = 1536,
        pooling_args: dict[str, Any] | None = None,
        emb_bn: bool = False,
    ):
        super().__init__()
        self.embd_dim = embd_dim
        self.min_frames = 1
        self.layer1 = ConvReluNorm(input_size, channels, 5)
        self.layer2 = SERes2Block(channels, dilation=2)
        self.layer3 = SERes2Block(channels, dilation=3)
        self.layer4 = SERes2Block(channels, dilation=4)
        self.conv = FrameConv(3 * channels, mfa_channels)
        if pooling_type == "ASTP":
            pooling_args = {"global_context_att": True, **(pooling_args or {})}
        self.pool = POOLINGS.build(pooling_type, pooling_args, channels=mfa_channels)
        self.bn = nn.BatchNorm1d(self.pool.output_size)
        self.linear = nn.Linear(self.pool.output_size, embd_dim)
        self.bn2 = nn.BatchNorm1d(embd_dim) if emb_bn else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        require_frames(features, self.min_frames, self)
        x2 = self.layer2(self.layer1(features))  # [B, F, C]
        x3 = self.layer3(x2)
        x4 = self.layer4(x3)
        x = self.conv(torch.cat([x2, x3, x4], dim=2)).relu()  # [B, F, mfa_channels]
        x = self.bn(self.pool(x.transpose(1, 2)))  # [B, output_size]
        return self.bn2(self.linear(x))
