"""ResNet with squeeze and excitation as published by the mvector package."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mvector.errors import ConfigError
from mvector.models.layers import channels_last, require_frames
from mvector.models.resnet import projection, residual_stages
from mvector.registry import BACKBONES, POOLINGS

REDUCTION = 8  # of the channels inside the gates


class ChannelGates(nn.Module):
    """Scales channels by gates computed from their means over the map: [B, C, D, F] -> [B, C, D, F].

    Hu 2018, "Squeeze-and-Excitation Networks".
    """

    def __init__(self, channels: int):
        super().__init__()
        if channels < REDUCTION:
            raise ConfigError(f"channel gates need at least {REDUCTION} channels, found {channels}: widen num_filters.")
        self.fc = nn.Sequential(
            nn.Linear(channels, channels // REDUCTION),
            nn.ReLU(),
            nn.Linear(channels // REDUCTION, channels),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc(x.mean((2, 3)))[:, :, None, None]


class SEBottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, gates and a shortcut: [B, C_in, D, F] -> [B, 2 C, D / stride, F / stride]."""

    expansion = 2

    def __init__(self, in_channels: int, channels: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, self.expansion * channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(self.expansion * channels)
        self.se = ChannelGates(self.expansion * channels)
        self.downsample = projection(in_channels, self.expansion * channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x)).relu_()
        y = self.bn2(self.conv2(y)).relu_()
        return (self.se(self.bn3(self.conv3(y))) + self.downsample(x)).relu_()


@BACKBONES.register("ResNetSE")
class ResNetSE(nn.Module):
    """Residual network with channel gates (Hu 2018, "Squeeze-and-Excitation Networks"), over bins and frames.

    forward(features [B, F, D]) -> embeddings [B, E]; any F from 1 on. `layers` and `num_filters` are the numbers of
    blocks and the widths of the four stages; `pooling_type` is the name of any pooling, `pooling_args` its arguments.

    9,123,896 parameters with 80 bins and the defaults. State-dict keys are those of the mvector package.
    """

    def __init__(
        self,
        input_size: int,
        embd_dim: int = 192,
        pooling_type: str = "ASP",
        pooling_args: dict[str, Any] | None = None,
        layers: Sequence[int] = (3, 4, 6, 3),
        num_filters: Sequence[int] = (32, 64, 128, 256),
    ):
        super().__init__()
        self.embd_dim = embd_dim
        self.min_frames = 1
        self.conv1 = nn.Conv2d(1, num_filters[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(num_filters[0])
        self.layer1, self.layer2, self.layer3, self.layer4 = residual_stages(
            SEBottleneck, num_filters[0], num_filters, layers
        )
        channels = SEBottleneck.expansion * num_filters[-1] * ((input_size + 7) // 8)
        self.pooling = POOLINGS.build(pooling_type, pooling_args, channels=channels)
        self.bn2 = nn.BatchNorm1d(self.pooling.output_size)
        self.linear = nn.Linear(self.pooling.output_size, embd_dim)
        self.bn3 = nn.BatchNorm1d(embd_dim)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, features: Tensor) -> Tensor:
        require_frames(features, self.min_frames, self)
        x = features.transpose(1, 2).unsqueeze(1)  # [B, 1, D, F]
        x = self.layer1(channels_last(self.bn1(self.conv1(x)).relu_()))
        x = self.layer4(self.layer3(self.layer2(x)))  # [B, C, D / 8, F / 8]
        return self.bn3(self.linear(self.bn2(self.pooling(x.flatten(1, 2)))))
