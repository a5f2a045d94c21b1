"""ECAPA-TDNN as published by SpeechBrain, 3D-Speaker and the mvector package (padding by reflection)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mvector.errors import ConfigError
from mvector.models.layers import FrameConv, FrameNorm, TDNNBlock, named, require_frames
from mvector.registry import BACKBONES, POOLINGS


class Res2NetBlock(nn.Module):
    """A hierarchy of small convolutions over `scale` groups of channels: [B, F, C] -> [B, F, C].

    Gao 2019, "Res2Net", figure 2: each group is added to the output of the one before; the first passes unchanged.
    """

    def __init__(self, channels: int, scale: int = 8, kernel_size: int = 3, dilation: int = 1):
        super().__init__()
        if channels % scale:
            raise ConfigError(f"channels ({channels}) must be a multiple of res2net_scale ({scale}).")
        self.scale = scale
        width = channels // scale
        self.blocks = nn.ModuleList(TDNNBlock(width, width, kernel_size, dilation) for _ in range(scale - 1))

    def forward(self, x: Tensor) -> Tensor:
        first, *groups = x.chunk(self.scale, dim=2)
        outputs = [first]
        for block, group in zip(self.blocks, groups, strict=True):
            outputs.append(block(group if len(outputs) == 1 else group + outputs[-1]))
        return torch.cat(outputs, dim=2)


class SEBlock(nn.Module):
    """Gates of the channels from their mean over frames (Hu 2018, "Squeeze-and-Excitation"): [B, F, C] -> [B, 1, C]."""

    def __init__(self, channels: int, se_channels: int):
        super().__init__()
        self.conv1 = named("conv", FrameConv(channels, se_channels))
        self.conv2 = named("conv", FrameConv(se_channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x.mean(1, keepdim=True)).relu()).sigmoid()


class SERes2NetBlock(nn.Module):
    """1x1 convolution, Res2Net block, 1x1 convolution, channel gates, and a shortcut: [B, F, C_in] -> [B, F, C_out]."""

    def __init__(
        self, in_channels: int, out_channels: int, scale: int, se_channels: int, kernel_size: int, dilation: int
    ):
        super().__init__()
        self.tdnn1 = TDNNBlock(in_channels, out_channels)
        self.res2net_block = Res2NetBlock(out_channels, scale, kernel_size, dilation)
        self.tdnn2 = TDNNBlock(out_channels, out_channels)
        self.se_block = SEBlock(out_channels, se_channels)
        self.shortcut = None
        if in_channels != out_channels:
            self.shortcut = named("conv", FrameConv(in_channels, out_channels))

    def forward(self, x: Tensor) -> Tensor:
        residual = x if self.shortcut is None else self.shortcut(x)
        x = self.tdnn2(self.res2net_block(self.tdnn1(x)))
        return torch.addcmul(residual, x, self.se_block(x))


@BACKBONES.register("EcapaTdnn")
class EcapaTdnn(nn.Module):
    """ECAPA-TDNN in the form of SpeechBrain, 3D-Speaker and the mvector package.

    Desplanques 2020, "ECAPA-TDNN: Emphasized Channel Attention, Propagation and Aggregation in TDNN Based Speaker
    Verification".

    forward(features [B, F, D]) -> embeddings [B, E]; fewer than `min_frames` frames (5 with the defaults, because
    reflection needs them) raise TooShortError. `channels`, `kernel_sizes` and `dilations` are those of the first
    convolution, the SE-Res2Net blocks, and the aggregation of their outputs.

    6,194,048 parameters with 80 bins and the defaults; 20,767,552 with channels [1024, 1024, 1024, 1024, 3072].
    State-dict keys are those of SpeechBrain, 3D-Speaker and the mvector package.
    """

    def __init__(
        self,
        input_size: int,
        embd_dim: int = 192,
        pooling_type: str = "ASP",
        channels: Sequence[int] = (512, 512, 512, 512, 1536),
        kernel_sizes: Sequence[int] = (5, 3, 3, 3, 1),
        dilations: Sequence[int] = (1, 2, 3, 4, 1),
        attention_channels: int = 128,
        res2net_scale: int = 8,
        se_channels: int = 128,
        global_context: bool = True,
    ):
        super().__init__()
        if not len(channels) == len(kernel_sizes) == len(dilations) >= 3:
            raise ConfigError(
                "EcapaTdnn: channels, kernel_sizes and dilations must have the same number of entries, at least 3; "
                f"found {len(channels)}, {len(kernel_sizes)} and {len(dilations)}."
            )
        self.embd_dim = embd_dim
        self.min_frames = 1 + max(d * (k - 1) // 2 for k, d in zip(kernel_sizes, dilations, strict=True))

        self.blocks = nn.ModuleList([TDNNBlock(input_size, channels[0], kernel_sizes[0], dilations[0])])
        for i in range(1, len(channels) - 1):
            self.blocks.append(
                SERes2NetBlock(channels[i - 1], channels[i], res2net_scale, se_channels, kernel_sizes[i], dilations[i])
            )
        self.mfa = TDNNBlock(sum(channels[1:-1]), channels[-1], kernel_sizes[-1], dilations[-1])

        # The published SAP keeps 128 attention channels whatever `attention_channels` says.
        options = {"attention_channels": attention_channels, "global_context": global_context}
        self.asp = POOLINGS.build(pooling_type, options if pooling_type == "ASP" else {}, channels=channels[-1])
        norm = FrameNorm(self.asp.output_size)
        self.asp_bn = named("norm", norm) if pooling_type == "ASP" else norm
        self.fc = named("conv", FrameConv(self.asp.output_size, embd_dim))

    def forward(self, features: Tensor) -> Tensor:
        require_frames(features, self.min_frames, self)
        x = features
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        x = self.mfa(torch.cat(outputs[1:], dim=2))  # [B, F, channels[-1]]
        x = self.asp_bn(self.asp(x.transpose(1, 2)))  # [B, output_size]
        return self.fc(x)
