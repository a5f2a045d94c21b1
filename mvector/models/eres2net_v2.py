"""ERes2NetV2 as published by 3D-Speaker and the mvector package."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mvector.models.res2net_layers import AttentionalFusion, ConvolvedBlock, FusedBlock, Res2NetTrunk
from mvector.registry import BACKBONES


@BACKBONES.register("ERes2NetV2")
class ERes2NetV2(Res2NetTrunk):
    """ERes2NetV2 (Chen 2024, "ERes2NetV2: Boosting Short-Duration Speaker Verification Performance with Computational
    Efficiency").

    forward(features [B, F, D]) -> embeddings [B, E]; any F from 1 on (up to eight frames become one, whose standard
    deviation is zero; the published network gives NaN there). Of ERes2Net's global fusion the last step remains; the
    blocks are narrower inside and the network is wider.

    5,458,202 parameters with 80 bins and the defaults, which are the mvector package's; 3D-Speaker's network
    (m_channels 64): 17,859,632; its larger one (w24s4ep4: m_channels 64, base_width 24, scale 4, expansion 4):
    53,513,632. State-dict keys are those of both, which pool with an epsilon of 1e-8.
    """

    def __init__(
        self,
        input_size: int,
        embd_dim: int = 192,
        pooling_type: str = "TSTP",
        pooling_args: dict[str, Any] | None = None,
        num_blocks: Sequence[int] = (3, 4, 6, 3),
        m_channels: int = 32,
        base_width: int = 26,
        scale: int = 2,
        expansion: int = 2,
        two_emb_layer: bool = False,
    ):
        super().__init__(
            input_size,
            embd_dim,
            pooling_type,
            pooling_args,
            num_blocks,
            m_channels,
            base_width,
            scale,
            expansion,
            two_emb_layer,
            (ConvolvedBlock, ConvolvedBlock, FusedBlock, FusedBlock),
        )
        c3, c4 = 4 * m_channels * expansion, 8 * m_channels * expansion
        self.layer3_ds = nn.Conv2d(c3, c4, 3, stride=2, padding=1, bias=False)
        self.fuse34 = AttentionalFusion(c4)

    def maps(self, x: Tensor) -> Tensor:
        stage3 = self.layer3(self.layer2(self.layer1(x)))  # [B, c3, D / 4, F / 4]
        return self.fuse34(self.layer4(stage3), self.layer3_ds(stage3))
