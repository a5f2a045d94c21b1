"""Circle loss with class labels."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mvector.precision import at_least_float32
from mvector.registry import LOSSES


@LOSSES.register("CircleLoss")
class CircleLoss(nn.Module):
    """Circle loss with class labels (Sun 2020): the farther a cosine is from where it should be, the harder the pull.

    forward(logits [B, S] cosines, labels [B] int64) -> scalar float32, the mean over the batch of

        log(1 + Σ_wrong exp(scale · a_n · (cos θ_wrong - m)) · exp(-scale · a_p · (cos θ_right - (1 - m))))

    with the weights a_p = max(0, 1 + m - cos θ_right) and a_n = max(0, cos θ_wrong + m), through which no gradient
    flows. It is the cross-entropy of the weighted scores. Computed in float32 whatever autocast says.

    The margin m relaxes: the boundary between speakers is a circle of radius m · √2 around the ideal cosines (1, 0), so
    a smaller one asks for more. A margin schedule should therefore fall (initial_margin 0.4, final_margin 0.25, say).
    """

    needs_cosines = True

    def __init__(self, margin: float = 0.25, scale: float = 256):
        super().__init__()
        self.scale = scale
        self.update(margin)

    def update(self, margin: float) -> None:
        """Set the margin, a difference of cosines (a margin scheduler calls this at every step)."""
        self.margin = margin

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            cosines = at_least_float32(logits)
            right = labels.unsqueeze(1)
            target = cosines.gather(1, right)  # [B, 1]
            positive = (1 + self.margin - target.detach()).clamp_min(0) * (target - (1 - self.margin))
            negative = (cosines.detach() + self.margin).clamp_min(0) * (cosines - self.margin)  # [B, S]
            return functional.cross_entropy(self.scale * negative.scatter(1, right, positive), labels)
