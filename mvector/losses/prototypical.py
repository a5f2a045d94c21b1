"""Angular prototypical loss."""

import torch
from torch import Tensor
from torch.nn import functional

from mvector.losses.batch_speakers import BatchSpeakers, BatchSpeakersLoss
from mvector.registry import LOSSES


@LOSSES.register("PrototypicalLoss")
class PrototypicalLoss(BatchSpeakersLoss):
    """Angular prototypical loss (Chung 2020, "In defence of metric learning for speaker recognition").

    forward(logits, labels [B] int64, embeddings [B, E]) -> scalar float32: each speaker's first utterance in the batch
    is compared with every speaker's prototype, the mean of the other utterances, w · cosine + b, and the cross-entropy
    of its own speaker is averaged over the speakers.

    `init_w` and `init_b` are where the learned w > 0 and b start. The softmax does not depend on b, which is
    kept as the paper has it. The logits are not looked at and no classifier is trained; needs P×K batches.
    """

    def compare(self, embeddings: Tensor, speakers: BatchSpeakers) -> tuple[Tensor, Tensor]:
        query = embeddings[speakers.member.argmax(0)]  # [P, E]: of several ones argmax takes the first
        prototype = speakers.member.T @ embeddings - query  # [P, E]: the mean but for its length
        compared = speakers.utterances > 1
        cosines = functional.normalize(query[compared]) @ functional.normalize(prototype[compared]).T
        return cosines, torch.arange(len(cosines), device=cosines.device)
