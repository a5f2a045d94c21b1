"""The plain convolutional networks of PANNs, with an embedding in the place of the tags."""

from torch import Tensor, nn
from torch.nn import functional

from mvector.errors import ConfigError
from mvector.models.layers import FrameNorm, repeat_up_to, require_frames
from mvector.registry import BACKBONES

# Kernel size, convolutions of a block, blocks, and how many of them halve frames and bins (the last of CNN14 doesn't).
DEPTHS = {6: (5, 1, 4, 4), 10: (3, 2, 4, 4), 14: (3, 2, 6, 5)}


class ConvBlock(nn.Module):
    """One or two convolutions with batch norm and ReLU: [B, C_in, F, D] -> [B, C_out, F, D]."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, convolutions: int):
        super().__init__()
        for i in range(1, convolutions + 1):
            conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
            self.add_module(f"conv{i}", conv)
            self.add_module(f"bn{i}", nn.BatchNorm2d(out_channels))
            in_channels = out_channels

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = layer(x)
            if isinstance(layer, nn.BatchNorm2d):
                x = x.relu()
        return x


@BACKBONES.register("PANNS_CNN")
class PANNS_CNN(nn.Module):
    """CNN6, CNN10 and CNN14 (Kong 2020, "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern
    Recognition"); `depth` is 6, 10 or 14. The first block has `channels` outputs, every further one twice as many.

    forward(features [B, F, D]) -> embeddings [B, E]: convolutions, the mean over bins, maximum plus mean over frames,
    a rectified linear layer, and instead of AudioSet's 527 tags a linear layer to the embedding. It takes at least 16
    bins (depth 14: 32); one frame is the least, and utterances of less than the 16 (32) frames that the halvings need
    are repeated as a whole until there are. Frames before bins, and state-dict keys up to that last layer, as
    published: weights trained on AudioSet (64 mel bins) fit.

    5,047,456 parameters with 80 bins and the defaults (depth 10); 4,665,632 for depth 6, 80,067,232 for depth 14. With
    AudioSet's 64 bins and 527 outputs they are the published 4,837,455, 5,219,279 and 80,753,615.
    """

    def __init__(self, input_size: int, embd_dim: int = 192, depth: int = 10, channels: int = 64):
        super().__init__()
        if depth not in DEPTHS:
            raise ConfigError(f"PANNS_CNN: depth must be 6, 10 or 14, found {depth!r}.")
        kernel_size, convolutions, blocks, self.halvings = DEPTHS[depth]
        if input_size < 2**self.halvings:
            raise ConfigError(
                f"PANNS_CNN of depth {depth} needs at least {2**self.halvings} bins, found {input_size}: "
                "give the feature more bins, or take a smaller depth."
            )
        self.embd_dim = embd_dim
        self.min_frames = 1
        self.bn0 = FrameNorm(input_size)
        in_channels = 1
        for i in range(blocks):
            out_channels = channels * 2**i
            self.add_module(f"conv_block{i + 1}", ConvBlock(in_channels, out_channels, kernel_size, convolutions))
            in_channels = out_channels
        self.fc1 = nn.Linear(in_channels, in_channels)
        self.embedding = nn.Linear(in_channels, embd_dim)

    def forward(self, features: Tensor) -> Tensor:
        require_frames(features, self.min_frames, self)
        x = repeat_up_to(features, 2**self.halvings)
        x = self.bn0(x).unsqueeze(1)  # [B, 1, F, D]
        blocks = [module for module in self.children() if isinstance(module, ConvBlock)]
        for i, block in enumerate(blocks):
            x = block(x)
            if i < self.halvings:
                x = functional.avg_pool2d(x, 2)
            x = functional.dropout(x, 0.2, self.training)
        x = x.mean(3)  # [B, C, F / 16]
        x = x.amax(2) + x.mean(2)
        x = self.fc1(functional.dropout(x, 0.5, self.training)).relu()
        return self.embedding(functional.dropout(x, 0.5, self.training))
