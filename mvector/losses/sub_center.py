"""Additive angular margin softmax with several centres per speaker and a penalty for the nearest wrong speakers."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mvector.losses.angles import add_angular_margin, subtract_angular_margin
from mvector.precision import at_least_float32
from mvector.registry import LOSSES

MP_MARGIN = 0.2  # the margin at which the penalty is `mp` itself
LEAST_MARGIN_WITH_PENALTY = 1e-3


@LOSSES.register("SubCenterLoss")
class SubCenterLoss(nn.Module):
    """AAMLoss with K centres per speaker (Sub-center ArcFace, Deng 2020) and the inter-top-k penalty (Zhao 2022).

    forward(logits [B, S · K] cosines, the K of a speaker side by side, labels [B] int64) -> scalar float32. A speaker's
    cosine is that of his nearest centre, so that a speaker may sound in several ways and wrong labels gather at a
    centre of their own; then as in AAMLoss. Set model_conf.classifier.K to the same K.

    With `k_top` > 0 the k_top wrong speakers of highest cosine (all of them where there are fewer) score
    cos(θ - penalty) instead of cos θ. The penalty follows the margin: mp · margin / 0.2 radians, none for a margin
    up to 0.001, as in WeSpeaker, whose recipe has k_top 5 and mp 0.06 (and k_top 0 in large-margin fine-tuning).
    Computed in float32 whatever autocast says.
    """

    needs_cosines = True

    def __init__(
        self,
        margin: float = 0.2,
        scale: float = 32,
        easy_margin: bool = False,
        K: int = 3,
        label_smoothing: float = 0.0,
        k_top: int = 0,
        mp: float = 0.06,
    ):
        super().__init__()
        self.scale = scale
        self.easy_margin = easy_margin
        self.K = K
        self.label_smoothing = label_smoothing
        self.k_top = k_top
        self.mp = mp
        self.update(margin)

    def update(self, margin: float) -> None:
        """Set the margin in radians, and the penalty that follows it (a margin scheduler calls this at every step)."""
        self.margin = margin
        self.penalty = self.mp * margin / MP_MARGIN if margin > LEAST_MARGIN_WITH_PENALTY else 0.0

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            cosines = at_least_float32(logits).unflatten(1, (-1, self.K)).amax(2)  # [B, S]
            right = labels.unsqueeze(1)
            margined = add_angular_margin(cosines.gather(1, right), self.margin, self.easy_margin)  # [B, 1]
            scores = cosines.scatter(1, right, margined)
            k_top = min(self.k_top, cosines.shape[1] - 1)
            if k_top > 0:
                wrong = cosines.detach().scatter(1, right, -torch.inf)
                nearest = wrong.topk(k_top, dim=1).indices  # [B, k_top]
                penalised = subtract_angular_margin(cosines.gather(1, nearest), self.penalty)
                scores = scores.scatter(1, nearest, penalised)
            return functional.cross_entropy(self.scale * scores, labels, label_smoothing=self.label_smoothing)
