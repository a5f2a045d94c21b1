"""TDNN as published by the mvector package: the x-vector's frame layers, any pooling, one embedding layer."""

from typing import Any

from torch import Tensor, nn

from mvector.models.layers import repeat_up_to, require_frames
from mvector.registry import BACKBONES, POOLINGS

# The convolutions are not padded: this many frames leave one (5, then 3 with dilation 2, then 3 with dilation 3).
CONTEXT_FRAMES = 15


@BACKBONES.register("TDNN")
class TDNN(nn.Module):
    """Time-delay network with attentive pooling (after Snyder 2018, "X-vectors: Robust DNN Embeddings for Speaker
    Recognition", and Okabe 2018, "Attentive Statistics Pooling for Deep Speaker Embedding").

    forward(features [B, F, D]) -> embeddings [B, E]; any F from 1 on. The published network cannot take fewer than 15
    frames; here such an utterance is repeated. `pooling_type` is the name of any pooling and `pooling_args` its
    arguments.

    2,770,880 parameters with 80 bins and the defaults. State-dict keys are those of the mvector package.
    """

    def __init__(
        self,
        input_size: int,
        embd_dim: int = 192,
        pooling_type: str = "ASP",
        channels: int = 512,
        pooling_args: dict[str, Any] | None = None,
    ):
        super().__init__()
        self.embd_dim = embd_dim
        self.min_frames = 1
        self.td_layer1 = nn.Conv1d(input_size, channels, 5)
        self.bn1 = nn.BatchNorm1d(channels)
        self.td_layer2 = nn.Conv1d(channels, channels, 3, dilation=2)
        self.bn2 = nn.BatchNorm1d(channels)
        self.td_layer3 = nn.Conv1d(channels, channels, 3, dilation=3)
        self.bn3 = nn.BatchNorm1d(channels)
        self.td_layer4 = nn.Conv1d(channels, channels, 1)
        self.bn4 = nn.BatchNorm1d(channels)
        self.td_layer5 = nn.Conv1d(channels, channels, 1)
        self.pooling = POOLINGS.build(pooling_type, pooling_args, channels=channels)
        self.bn5 = nn.BatchNorm1d(self.pooling.output_size)
        self.linear = nn.Linear(self.pooling.output_size, embd_dim)
        self.bn6 = nn.BatchNorm1d(embd_dim)

    def forward(self, features: Tensor) -> Tensor:
        require_frames(features, self.min_frames, self)
        x = repeat_up_to(features, CONTEXT_FRAMES).transpose(1, 2)  # [B, D, F]
        x = self.bn1(self.td_layer1(x).relu())  # [B, C, F - 4]
        x = self.bn2(self.td_layer2(x).relu())  # [B, C, F - 8]
        x = self.bn3(self.td_layer3(x).relu())  # [B, C, F - 14]
        x = self.bn4(self.td_layer4(x).relu())
        x = self.td_layer5(x).relu()
        return self.bn6(self.linear(self.bn5(self.pooling(x))))
