"""Plain softmax cross-entropy."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mvector.precision import at_least_float32
from mvector.registry import LOSSES


@LOSSES.register("CELoss")
class CELoss(nn.Module):
    """Softmax cross-entropy: forward(logits [B, S], labels [B] int64) -> scalar, in float32 whatever autocast says.

    For a classifier of type Linear: the cosines of the other type, in [-1, 1], are too small for it to learn from.
    """

    def __init__(self, label_smoothing: float = 0.0):
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            return functional.cross_entropy(at_least_float32(logits), labels, label_smoothing=self.label_smoothing)
