"""Generalized end-to-end loss."""

from torch import Tensor
from torch.nn import functional

from mvector.losses.batch_speakers import BatchSpeakers, BatchSpeakersLoss
from mvector.registry import LOSSES


@LOSSES.register("GE2ELoss")
class GE2ELoss(BatchSpeakersLoss):
    """Generalized end-to-end loss, softmax form (GE2E, Wan 2018).

    forward(logits, labels [B] int64, embeddings [B, E]) -> scalar float32: every utterance is compared with the
    centroid of every speaker in the batch, w · cosine + b, and the cross-entropy of its own speaker is averaged over
    the utterances. A centroid is the mean of unit-length embeddings; the utterance itself is left out of its own
    speaker's.

    `init_w` and `init_b` are where the learned w > 0 and b start. The softmax does not depend on b, which is
    kept as the paper has it. The logits are not looked at and no classifier is trained; needs P×K batches.
    """

    def compare(self, embeddings: Tensor, speakers: BatchSpeakers) -> tuple[Tensor, Tensor]:
        unit = functional.normalize(embeddings)  # [B, E]
        sums = speakers.member.T @ unit  # [P, E]: the centroids but for their length, which the cosine does not see
        others = sums[speakers.number] - unit  # [B, E]: of the own speaker, without the utterance
        own = (unit * functional.normalize(others)).sum(1, keepdim=True)
        cosines = (unit @ functional.normalize(sums).T).scatter(1, speakers.number.unsqueeze(1), own)  # [B, P]
        compared = speakers.utterances[speakers.number] > 1
        return cosines[compared], speakers.number[compared]
