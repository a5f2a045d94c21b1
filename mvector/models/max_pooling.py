"""Pooling by the largest value."""

from torch import Tensor, nn

from mvector.registry import POOLINGS


@POOLINGS.register("GMP")
class GlobalMaxPooling(nn.Module):
    """Maximum over frames of every channel: forward(x [B, C, F]) -> [B, C]."""

    def __init__(self, channels: int):
        super().__init__()
        self.output_size = channels

    def forward(self, x: Tensor) -> Tensor:
        return x.amax(2)
