"""The thin ResNet-34 of VGG-Speaker-Recognition."""

from torch import Tensor, nn
from torch.nn import functional

from mvector.errors import ConfigError, nearest
from mvector.models.layers import require_frames
from mvector.registry import BACKBONES, POOLINGS

# Stride of the first convolution, then blocks, width, output channels and stride of each stage.
SIZES = {
    "small": (1, ((2, 48, 96, 1), (3, 96, 128, 2), (3, 128, 256, 2), (3, 256, 512, 2))),
    "large": (2, ((3, 64, 256, 1), (3, 128, 512, 2), (3, 256, 1024, 1), (3, 512, 2048, 2))),
}
STEM_CHANNELS = 64
DESCRIPTOR_SIZE = 512  # of the frames that are pooled


class BottleneckBlock(nn.Module):
    """1x1, 3x3 and 1x1 convolution and a shortcut: [B, C_in, D, F] -> [B, C_out, ceil(D / stride), ceil(F / stride)].

    The first 1x1 convolution has the stride. The shortcut of a stage's first block is a convolution even where the
    shapes would fit without one.
    """

    def __init__(self, in_channels: int, width: int, out_channels: int, stride: int, project: bool):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 1, stride=stride, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.shortcut = nn.Sequential()
        if project:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        return (self.bn3(self.conv3(y)) + self.shortcut(x)).relu()


@BACKBONES.register("ThinResNet")
class ThinResNet(nn.Module):
    """Thin ResNet-34 with NetVLAD or GhostVLAD (Xie 2019, "Utterance-level Aggregation for Speaker Recognition in the
    Wild"), with the strides and the last ReLU of its authors' VGG-Speaker-Recognition.

    forward(features [B, F, D]) -> embeddings [B, E], none of whose entries is negative; at least `min_frames` frames
    (2 for "small", 3 for "large"). `size` is "small" (resnet34s there) or "large" (resnet34l), `pooling_type` any
    pooling; NetVLAD and GhostVLAD have `clusters` centres, GhostVLAD `ghost_clusters` ghosts too.

    Published for 257 bins, of which the strides leave 16 rows, the last maximum over 3 rows 7, and a convolution of
    height 7 one descriptor per 16 frames. Here that convolution is as high as what is left (2 rows of 80 bins), and the
    maximum over fewer rows where there are not three. The softmax of the VLAD poolings looks at the descriptors, as the
    paper writes it; the published code computes it beside them with a second convolution of height 7.

    "small": 6,321,930 parameters with 80 bins and the defaults, 7,632,650 with 257. "large": 24,074,698 and 29,317,578.
    """

    def __init__(
        self,
        input_size: int,
        embd_dim: int = 512,
        size: str = "small",
        pooling_type: str = "GhostVLAD",
        clusters: int = 8,
        ghost_clusters: int = 2,
    ):
        super().__init__()
        if size not in SIZES:
            raise ConfigError(f"ThinResNet: size must be 'small' or 'large', found {size!r}.{nearest(size, SIZES)}")
        stem_stride, stages = SIZES[size]
        rows = (input_size + stem_stride - 1) // stem_stride // 2
        if rows < 1:
            raise ConfigError(f"ThinResNet needs at least {stem_stride + 1} bins, found {input_size}.")
        self.embd_dim = embd_dim
        self.min_frames = stem_stride + 1  # leaves a frame for the maximum over two

        self.conv1 = nn.Conv2d(1, STEM_CHANNELS, 7, stride=stem_stride, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM_CHANNELS)
        blocks: list[nn.Module] = []
        channels = STEM_CHANNELS
        for count, width, out_channels, stride in stages:
            for i in range(count):
                blocks.append(BottleneckBlock(channels, width, out_channels, stride if i == 0 else 1, project=i == 0))
                channels = out_channels
            rows = (rows + stride - 1) // stride
        self.blocks = nn.Sequential(*blocks)
        self.max_rows = min(3, rows)
        rows = (rows - self.max_rows) // 2 + 1
        self.descriptor = nn.Conv2d(channels, DESCRIPTOR_SIZE, (rows, 1))

        options = {
            "NetVLAD": {"clusters": clusters},
            "GhostVLAD": {"clusters": clusters, "ghost_clusters": ghost_clusters},
        }
        self.pooling = POOLINGS.build(pooling_type, options.get(pooling_type, {}), channels=DESCRIPTOR_SIZE)
        self.fc = nn.Linear(self.pooling.output_size, embd_dim)

    def forward(self, features: Tensor) -> Tensor:
        require_frames(features, self.min_frames, self)
        x = features.transpose(1, 2).unsqueeze(1)  # [B, 1, D, F]
        x = functional.max_pool2d(self.bn1(self.conv1(x)).relu(), 2)
        x = self.blocks(x)  # [B, C, D / 16, F / 16]
        x = functional.max_pool2d(x, (self.max_rows, 1), stride=(2, 1))
        x = self.descriptor(x).relu().squeeze(2)  # [B, 512, F / 16]
        return self.fc(self.pooling(x)).relu()
