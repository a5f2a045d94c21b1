"""Additive angular margin softmax."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mvector.losses.angles import add_angular_margin
from mvector.precision import at_least_float32
from mvector.registry import LOSSES


@LOSSES.register("AAMLoss")
class AAMLoss(nn.Module):
    """Additive angular margin softmax (ArcFace, Deng 2019; for speakers Xiang 2019, "Margin Matters").

    forward(logits [B, S] cosines, labels [B] int64) -> scalar float32: the cross-entropy of scale · cos(θ + margin)
    for the right speaker and scale · cos θ for the others. Computed in float32 whatever autocast says.

    Past θ = π - margin, where cos(θ + margin) would rise again, cos θ - (1 - cos margin) takes its place; with
    `easy_margin` the margin applies for θ < π/2 only, and cos θ elsewhere.
    """

    needs_cosines = True

    def __init__(self, margin: float = 0.2, scale: float = 32, easy_margin: bool = False, label_smoothing: float = 0.0):
        super().__init__()
        self.scale = scale
        self.easy_margin = easy_margin
        self.label_smoothing = label_smoothing
        self.update(margin)

    def update(self, margin: float) -> None:
        """Set the margin in radians (a margin scheduler calls this at every step)."""
        self.margin = margin

    def margined(self, cosines: Tensor) -> Tensor:
        """What the margin makes of a right speaker's cosine; any shape."""
        return add_angular_margin(cosines, self.margin, self.easy_margin)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            cosines = at_least_float32(logits)
            right = labels.unsqueeze(1)
            margined = self.margined(cosines.gather(1, right))  # [B, 1]
            scores = self.scale * cosines.scatter(1, right, margined)
            return functional.cross_entropy(scores, labels, label_smoothing=self.label_smoothing)
