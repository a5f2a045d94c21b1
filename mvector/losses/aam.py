"""Additive angular margin softmax."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from mvector.registry import LOSSES

# Under the square root, so that the gradient stays finite at |cos| = 1; the spacing of float32 just under 1 is 6e-8.
SINE_SQUARED_FLOOR = 1e-7


@LOSSES.register("AAMLoss")
class AAMLoss(nn.Module):
    """Additive angular margin softmax (ArcFace, Deng 2019; for speakers Xiang 2019, "Margin Matters").

    forward(logits [B, S] cosines, labels [B] int64) -> scalar float32: the cross-entropy of scale · cos(θ + margin)
    for the right speaker and scale · cos θ for the others. Computed in float32 whatever autocast says.

    Past θ = π - margin, where cos(θ + margin) would rise again, cos θ - (1 - cos margin) takes its place; with
    `easy_margin` the margin applies for θ < π/2 only, and cos θ elsewhere.
    """

    def __init__(self, margin: float = 0.2, scale: float = 32, easy_margin: bool = False, label_smoothing: float = 0.0):
        super().__init__()
        self.scale = scale
        self.easy_margin = easy_margin
        self.label_smoothing = label_smoothing
        self.update(margin)

    def update(self, margin: float) -> None:
        """Set the margin in radians (a margin scheduler calls this at every step)."""
        self.margin = margin

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            cosines = logits.float()
            target = cosines.gather(1, labels.unsqueeze(1))  # [B, 1]
            margined = cosines.scatter(1, labels.unsqueeze(1), self._add_margin(target))
            return functional.cross_entropy(self.scale * margined, labels, label_smoothing=self.label_smoothing)

    def _add_margin(self, cosine: Tensor) -> Tensor:
        sine = (1 - cosine.square()).clamp_min(SINE_SQUARED_FLOOR).sqrt()
        shifted = cosine * math.cos(self.margin) - sine * math.sin(self.margin)
        if self.easy_margin:
            return torch.where(cosine > 0, shifted, cosine)
        return torch.where(cosine > -math.cos(self.margin), shifted, cosine - (1 - math.cos(self.margin)))
