"""The x-vector network as published by WeSpeaker (two embedding layers) and 3D-Speaker (one)."""

from collections import OrderedDict
from typing import Any

from torch import Tensor, nn

from mvector.models.layers import repeat_up_to, require_frames
from mvector.models.tdnn import CONTEXT_FRAMES
from mvector.registry import BACKBONES, POOLINGS


def frame_layer(in_channels: int, out_channels: int, kernel_size: int, dilation: int = 1) -> nn.Sequential:
    """Convolution without padding, ReLU, batch norm: [B, C_in, F] -> [B, C_out, F - dilation·(kernel - 1)].

    The norm has no scale and shift, as Kaldi's.
    """
    return nn.Sequential(
        OrderedDict(
            conv_1d=nn.Conv1d(in_channels, out_channels, kernel_size, dilation=dilation),
            relu=nn.ReLU(),
            bn=nn.BatchNorm1d(out_channels, affine=False),
        )
    )


@BACKBONES.register("XVector")
class XVector(nn.Module):
    """X-vector (Snyder 2018, "X-vectors: Robust DNN Embeddings for Speaker Recognition", table 1).

    forward(features [B, F, D]) -> embeddings [B, E]; any F from 1 on. The published networks fail under 15 frames and
    give NaN at 15; here a shorter utterance is repeated, and the deviation of a single frame is that of silence.

    `channels` is the width of the first four frame layers, `stats_channels` of the fifth, which is pooled.
    `pooling_type` is the name of any pooling and `pooling_args` its arguments. With `two_emb_layer` ReLU, batch norm
    and a second linear layer follow the first, and the embedding is the second's.

    4,610,524 parameters with 80 bins and the defaults; 4,347,868 with one embedding layer. State-dict keys are those
    of WeSpeaker and 3D-Speaker.
    """

    def __init__(
        self,
        input_size: int,
        embd_dim: int = 512,
        channels: int = 512,
        stats_channels: int = 1500,
        pooling_type: str = "TSTP",
        pooling_args: dict[str, Any] | None = None,
        two_emb_layer: bool = True,
    ):
        super().__init__()
        self.embd_dim = embd_dim
        self.min_frames = 1
        self.two_emb_layer = two_emb_layer
        self.frame_1 = frame_layer(input_size, channels, 5)
        self.frame_2 = frame_layer(channels, channels, 3, dilation=2)
        self.frame_3 = frame_layer(channels, channels, 3, dilation=3)
        self.frame_4 = frame_layer(channels, channels, 1)
        self.frame_5 = frame_layer(channels, stats_channels, 1)
        self.pool = POOLINGS.build(pooling_type, pooling_args, channels=stats_channels)
        self.seg_1 = nn.Linear(self.pool.output_size, embd_dim)
        if two_emb_layer:
            self.seg_bn_1 = nn.BatchNorm1d(embd_dim, affine=False)
            self.seg_2 = nn.Linear(embd_dim, embd_dim)

    def forward(self, features: Tensor) -> Tensor:
        require_frames(features, self.min_frames, self)
        x = repeat_up_to(features, CONTEXT_FRAMES).transpose(1, 2)  # [B, D, F]
        x = self.frame_5(self.frame_4(self.frame_3(self.frame_2(self.frame_1(x)))))  # [B, C, F - 14]
        embedding = self.seg_1(self.pool(x))
        if self.two_emb_layer:
            embedding = self.seg_2(self.seg_bn_1(embedding.relu()))
        return embedding
