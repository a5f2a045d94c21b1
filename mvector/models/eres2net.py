"""ERes2Net as published by 3D-Speaker, WeSpeaker and the mvector package."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mvector.models.res2net_layers import AttentionalFusion, ConvolvedBlock, FusedBlock, Res2NetTrunk
from mvector.registry import BACKBONES


@BACKBONES.register("ERes2Net")
class ERes2Net(Res2NetTrunk):
    """ERes2Net (Chen 2023, "An Enhanced Res2Net with Local and Global Feature Fusion for Speaker Verification").

    forward(features [B, F, D]) -> embeddings [B, E]; any F from 1 on (up to eight frames become one, whose standard
    deviation is zero; the published network gives NaN there). Local fusion joins the groups of a block in stages 3
    and 4, global fusion the outputs of the four stages.

    6,610,688 parameters with 80 bins and the defaults; large (m_channels 64): 22,462,784; huge (m_channels 64,
    base_width 24, scale 3, expansion 4; 3D-Speaker's network for 200,000 speakers): 55,165,024. State-dict keys are
    those of 3D-Speaker and the mvector package, which pool with an epsilon of 1e-8.
    """

    def __init__(
        self,
        input_size: int,
        embd_dim: int = 192,
        pooling_type: str = "TSTP",
        pooling_args: dict[str, Any] | None = None,
        num_blocks: Sequence[int] = (3, 4, 6, 3),
        m_channels: int = 32,
        base_width: int = 32,
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
        c1, c2, c3, c4 = (m_channels * expansion * factor for factor in (1, 2, 4, 8))
        self.layer1_downsample = nn.Conv2d(c1, c2, 3, stride=2, padding=1, bias=False)
        self.layer2_downsample = nn.Conv2d(c2, c3, 3, stride=2, padding=1, bias=False)
        self.layer3_downsample = nn.Conv2d(c3, c4, 3, stride=2, padding=1, bias=False)
        self.fuse_mode12 = AttentionalFusion(c2)
        self.fuse_mode123 = AttentionalFusion(c3)
        self.fuse_mode1234 = AttentionalFusion(c4)

    def maps(self, x: Tensor) -> Tensor:
        stage1 = self.layer1(x)  # [B, c1, D, F]
        stage2 = self.layer2(stage1)  # [B, c2, D / 2, F / 2]
        fused = self.fuse_mode12(stage2, self.layer1_downsample(stage1))
        stage3 = self.layer3(stage2)  # [B, c3, D / 4, F / 4]
        fused = self.fuse_mode123(stage3, self.layer2_downsample(fused))
        stage4 = self.layer4(stage3)  # [B, c4, D / 8, F / 8]
        return self.fuse_mode1234(stage4, self.layer3_downsample(fused))
