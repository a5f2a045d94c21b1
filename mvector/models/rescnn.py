"""The residual network of Deep Speaker."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from mvector.models.layers import require_frames
from mvector.registry import BACKBONES

CEILING = 20.0  # of the clipped ReLU


def clipped_relu(x: Tensor) -> Tensor:
    return functional.hardtanh(x, 0.0, CEILING)


class SequenceNorm(nn.BatchNorm1d):
    """Batch normalisation of every channel of every bin over batch and frames: [B, C, D, F] -> [B, C, D, F].

    Deep Speech 2's "sequence-wise" normalisation, with C · D scales and shifts: the parameter counts of Deep Speaker's
    tables have them (2048 and 2048 beside each convolution).
    """

    def __init__(self, channels: int, bins: int):
        super().__init__(channels * bins)
        self.channels_and_bins = (channels, bins)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1, 2)).unflatten(1, self.channels_and_bins)


class HalvingConv(nn.Module):
    """5x5 convolution with stride 2, norm, clipped ReLU: [B, C_in, D, F] -> [B, C_out, ceil(D / 2), ceil(F / 2)]."""

    def __init__(self, in_channels: int, out_channels: int, bins: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 5, stride=2, padding=2, bias=False)
        self.norm = SequenceNorm(out_channels, (bins + 1) // 2)

    def forward(self, x: Tensor) -> Tensor:
        return clipped_relu(self.norm(self.conv(x)))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with norm, and a shortcut: [B, C, D, F] -> [B, C, D, F]."""

    def __init__(self, channels: int, bins: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = SequenceNorm(channels, bins)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = SequenceNorm(channels, bins)

    def forward(self, x: Tensor) -> Tensor:
        y = clipped_relu(self.norm1(self.conv1(x)))
        return clipped_relu(self.norm2(self.conv2(y)) + x)


@BACKBONES.register("ResCNN")
class ResCNN(nn.Module):
    """ResCNN of Deep Speaker (Li 2017, "Deep Speaker: an End-to-End Neural Speaker Embedding System", table 1).

    forward(features [B, F, D]) -> embeddings [B, E], from one frame on; the length normalisation that follows in the
    paper is left to the classifier and to cosine scoring. Each entry of `channels` is a stage that halves bins and
    frames and has three residual blocks.

    24,557,632 parameters with 80 bins and the defaults; 24,266,816 with the paper's 64 (24 million there).
    """

    def __init__(self, input_size: int, embd_dim: int = 512, channels: Sequence[int] = (64, 128, 256, 512)):
        super().__init__()
        self.embd_dim = embd_dim
        self.min_frames = 1
        layers: list[nn.Module] = []
        in_channels, bins = 1, input_size
        for out_channels in channels:
            layers.append(HalvingConv(in_channels, out_channels, bins))
            in_channels, bins = out_channels, (bins + 1) // 2
            layers += [ResidualBlock(out_channels, bins) for _ in range(3)]
        self.layers = nn.Sequential(*layers)
        self.affine = nn.Linear(in_channels * bins, embd_dim)

    def forward(self, features: Tensor) -> Tensor:
        require_frames(features, self.min_frames, self)
        x = self.layers(features.transpose(1, 2).unsqueeze(1))  # [B, C, D / 16, F / 16]
        return self.affine(x.mean(3).flatten(1))
