"""Real additive margin softmax."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mvector.precision import at_least_float32
from mvector.registry import LOSSES


@LOSSES.register("ARMLoss")
class ARMLoss(nn.Module):
    """Real additive margin softmax (Li 2022, "Real Additive Margin Softmax for Speaker Verification").

    forward(logits [B, S] cosines, labels [B] int64) -> scalar float32: AMLoss in which a wrong speaker counts only
    where his cosine violates the margin. The score of one who does not, scale · cos θ < scale · (cos θ_right - margin),
    becomes zero, a constant, and passes no gradient on. Computed in float32 whatever autocast says.

    As the authors' code and the mvector package have it.
    """

    needs_cosines = True

    def __init__(self, margin: float = 0.3, scale: float = 32, label_smoothing: float = 0.0):
        super().__init__()
        self.scale = scale
        self.label_smoothing = label_smoothing
        self.update(margin)

    def update(self, margin: float) -> None:
        """Set the margin, a difference of cosines (a margin scheduler calls this at every step)."""
        self.margin = margin

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            cosines = at_least_float32(logits)
            right = labels.unsqueeze(1)
            target = cosines.gather(1, right) - self.margin  # [B, 1]
            violating = cosines.masked_fill(cosines < target, 0).scatter(1, right, target)
            return functional.cross_entropy(self.scale * violating, labels, label_smoothing=self.label_smoothing)
