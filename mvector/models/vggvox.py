"""VGGVox, the network that came with VoxCeleb."""

from torch import Tensor, nn
from torch.nn import functional

from mvector.errors import ConfigError
from mvector.models.layers import FrameNorm, repeat_up_to, require_frames
from mvector.registry import BACKBONES

# What the convolutions and maxima need for one frame to come out; 33 bins are left as one row in the same way.
RECEPTIVE_FRAMES = 65
MIN_BINS = 33
MAX_ROWS = 5  # of the last maximum


def convolution(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Sequential:
    """Convolution padded by one, batch norm and ReLU of [B, C, D, F]."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )


@BACKBONES.register("VGGVox")
class VGGVox(nn.Module):
    """VGG-M for spectrograms, averaged over time (Nagrani 2017, "VoxCeleb: a large-scale speaker identification
    dataset", table 4).

    forward(features [B, F, D]) -> embeddings [B, E] from at least 33 bins; one frame is the least, and utterances of
    less than the 65 frames that the strides need are repeated as a whole until there are. `embd_dim` is the
    number of outputs of the last layer (1024 in the published verification network).

    Published for spectrograms of 512 bins, of which 9 rows are left for the fully connected layer. Here that layer is
    as high as what is left (1 row of 80 bins), and so is the last maximum, over 5 rows, where there are fewer.

    9,283,616 parameters with 80 bins and the defaults; 17,672,224 with 512. Convolutions followed by batch norm have no
    bias.
    """

    def __init__(self, input_size: int, embd_dim: int = 1024):
        super().__init__()
        if input_size < MIN_BINS:
            raise ConfigError(f"VGGVox needs at least {MIN_BINS} bins, found {input_size}: take a spectrogram.")
        self.embd_dim = embd_dim
        self.min_frames = 1
        self.conv1 = convolution(1, 96, 7, stride=2)
        self.conv2 = convolution(96, 256, 5, stride=2)
        self.conv3 = convolution(256, 384, 3)
        self.conv4 = convolution(384, 256, 3)
        self.conv5 = convolution(256, 256, 3)
        rows = ((input_size - 5) // 2 + 1 - 3) // 2 + 1  # after conv1 and its maximum
        rows = ((rows - 3) // 2 + 1 - 3) // 2 + 1  # after conv2 and its maximum
        self.max_rows = min(MAX_ROWS, rows)
        rows = (rows - self.max_rows) // 3 + 1
        self.fc6 = nn.Sequential(
            nn.Conv2d(256, 4096, (rows, 1), bias=False),
            nn.BatchNorm2d(4096),
            nn.ReLU(),
        )
        self.fc7 = nn.Sequential(nn.Linear(4096, 1024, bias=False), FrameNorm(1024), nn.ReLU())
        self.fc8 = nn.Linear(1024, embd_dim)

    def forward(self, features: Tensor) -> Tensor:
        require_frames(features, self.min_frames, self)
        x = repeat_up_to(features, RECEPTIVE_FRAMES)
        x = x.transpose(1, 2).unsqueeze(1)  # [B, 1, D, F]
        x = functional.max_pool2d(self.conv1(x), 3, stride=2)
        x = functional.max_pool2d(self.conv2(x), 3, stride=2)  # [B, 256, D / 16, F / 16]
        x = self.conv5(self.conv4(self.conv3(x)))
        x = functional.max_pool2d(x, (self.max_rows, 3), stride=(3, 2))
        x = self.fc6(x).squeeze(2).mean(2)  # [B, 4096]
        return self.fc8(self.fc7(x))
