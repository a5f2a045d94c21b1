"""Additive margin softmax."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mvector.precision import at_least_float32
from mvector.registry import LOSSES


@LOSSES.register("AMLoss")
class AMLoss(nn.Module):
    """Additive margin softmax (CosFace, Wang 2018; AM-Softmax, Wang 2018).

    forward(logits [B, S] cosines, labels [B] int64) -> scalar float32: the cross-entropy of scale · (cos θ - margin)
    for the right speaker and scale · cos θ for the others. Computed in float32 whatever autocast says.
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

    def margined(self, cosines: Tensor) -> Tensor:
        """What the margin makes of a right speaker's cosine; any shape."""
        return cosines - self.margin

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            cosines = at_least_float32(logits)
            right = labels.unsqueeze(1)
            scores = self.scale * cosines.scatter(1, right, self.margined(cosines.gather(1, right)))
            return functional.cross_entropy(scores, labels, label_smoothing=self.label_smoothing)
