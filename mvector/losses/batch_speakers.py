"""Softmax over the speakers of a batch: what GE2E and the prototypical loss share."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from mvector.precision import at_least_float32


class BatchSpeakers(NamedTuple):
    """Who speaks in a batch of B utterances by P speakers."""

    number: Tensor  # [B] int64: each utterance's speaker, 0 … P-1
    member: Tensor  # [B, P] in the embeddings' type: 1 where the utterance is the speaker's
    utterances: Tensor  # [P] int64: how many each speaker has

    @classmethod
    def of(cls, labels: Tensor, dtype: torch.dtype) -> "BatchSpeakers":
        _, number, utterances = labels.unique(return_inverse=True, return_counts=True)
        return cls(number, functional.one_hot(number, len(utterances)).to(dtype), utterances)


class BatchSpeakersLoss(nn.Module):
    """Cross-entropy of w · cosine + b between utterances and the speakers of the same batch, w and b learned.

    forward(logits, labels [B] int64, embeddings [B, E]) -> scalar float32; the logits are not looked at (None will do),
    so no classifier is trained. An utterance whose speaker has no other one in the batch is not compared; a batch in
    which all are such has loss zero. A subclass says in `compare` which utterances are compared with what. Computed in
    float32 whatever autocast says.
    """

    needs_embeddings = True
    needs_pk_batches = True
    trains_classifier = False

    def __init__(self, init_w: float = 10.0, init_b: float = -5.0):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(float(init_w)))
        self.b = nn.Parameter(torch.tensor(float(init_b)))

    def compare(self, embeddings: Tensor, speakers: BatchSpeakers) -> tuple[Tensor, Tensor]:
        """Cosines [Q, P] of Q of the utterances with P speakers, and the right one of each [Q] int64."""
        raise NotImplementedError

    def forward(self, logits: Tensor | None, labels: Tensor, embeddings: Tensor) -> Tensor:
        with torch.autocast(embeddings.device.type, enabled=False):
            cosines, right = self._compare(embeddings, labels)
            # w is positive in the papers; its absolute value keeps it so, and keeps a gradient on either side of zero.
            scores = self.w.abs() * cosines + self.b
            if len(right) == 0:
                return scores.sum()  # zero, and every gradient is zero
            return functional.cross_entropy(scores, right)

    @torch.no_grad()
    def accuracy(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Share of the compared utterances whose cosine is highest with their own speaker, a scalar."""
        with torch.autocast(embeddings.device.type, enabled=False):
            cosines, right = self._compare(embeddings, labels)
        return (cosines.argmax(1) == right).sum() / max(1, len(right))

    def _compare(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        embeddings = at_least_float32(embeddings)
        return self.compare(embeddings, BatchSpeakers.of(labels, embeddings.dtype))
