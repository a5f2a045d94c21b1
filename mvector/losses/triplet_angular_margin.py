"""Triplet loss on the hardest pairs of a batch, with cross-entropy beside it."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from mvector.precision import at_least_float32
from mvector.registry import LOSSES


@LOSSES.register("TripletAngularMarginLoss")
class TripletAngularMarginLoss(nn.Module):
    """Triplet loss on the hardest pairs of a P×K batch (Hermans 2017) with a margin between cosines, and cross-entropy.

    forward(logits [B, S], labels [B] int64, embeddings [B, E]) -> scalar float32. For every utterance, with p its
    lowest cosine to one of the same speaker and n its highest to one of another speaker, the mean of

        max(0, n - p + margin) + absolute_loss_weight · (max(0, ap_value - p) + max(0, n - an_value))

    plus the cross-entropy of the logits as they are (so a classifier of type Linear fits). Without `add_absolute`
    the second term is left out; without `normalize_feature` p and n are inner products. Computed in float32 whatever
    autocast says.

    As in the mvector package, but for two faults: where n is under `an_value` that package adds one instead of
    nothing, and it fails where speakers have unequal numbers of utterances in the batch.
    """

    needs_embeddings = True
    needs_pk_batches = True

    def __init__(
        self,
        margin: float = 0.5,
        normalize_feature: bool = True,
        add_absolute: bool = True,
        absolute_loss_weight: float = 1.0,
        ap_value: float = 0.8,
        an_value: float = 0.4,
        label_smoothing: float = 0.0,
    ):
        super().__init__()
        self.normalize_feature = normalize_feature
        self.add_absolute = add_absolute
        self.absolute_loss_weight = absolute_loss_weight
        self.ap_value = ap_value
        self.an_value = an_value
        self.label_smoothing = label_smoothing
        self.update(margin)

    def update(self, margin: float) -> None:
        """Set the margin, a difference of cosines (a margin scheduler calls this at every step)."""
        self.margin = margin

    def forward(self, logits: Tensor, labels: Tensor, embeddings: Tensor) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            classification = functional.cross_entropy(
                at_least_float32(logits), labels, label_smoothing=self.label_smoothing
            )
            return self._triplets(at_least_float32(embeddings), labels) + classification

    def _triplets(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        if self.normalize_feature:
            embeddings = functional.normalize(embeddings)
        similarity = embeddings @ embeddings.T  # [B, B]
        same = labels.unsqueeze(0) == labels.unsqueeze(1)
        # The utterance itself is among those of its speaker: with cosines it is the hardest only where it is alone.
        positive = similarity.masked_fill(~same, torch.inf).amin(1)  # [B]
        negative = similarity.masked_fill(same, -torch.inf).amax(1)
        losses = (negative - positive + self.margin).relu()
        if self.add_absolute:
            absolute = (self.ap_value - positive).relu() + (negative - self.an_value).relu()
            losses = losses + self.absolute_loss_weight * absolute
        return losses.mean()
