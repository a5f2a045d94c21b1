"""The angular prototypical loss against loops, and against recorded numbers."""

import pytest
import torch

from mvector.losses import PrototypicalLoss
from tests.losses.loss_data import cosine, mean, mean_cross_entropy, recorded_embeddings, some_embeddings


def scores_by_loops(embeddings, labels, w, b):
    """One row per speaker with two or more utterances: its first one against every such speaker's others."""
    groups: dict[int, list[list[float]]] = {}
    for embedding, label in zip(embeddings.tolist(), labels.tolist(), strict=True):
        groups.setdefault(label, []).append(embedding)
    kept = [group for _, group in sorted(groups.items()) if len(group) > 1]
    return [[w * cosine(query[0], mean(others[1:])) + b for others in kept] for query in kept]


@pytest.mark.parametrize("counts", [[2, 2, 2], [4, 4, 4, 4], [3, 1, 2, 5]])
def test_first_utterances_against_prototypes(counts):
    embeddings, labels = some_embeddings(counts)
    loss = PrototypicalLoss(4.0, -1.0)
    scores = scores_by_loops(embeddings, labels, 4.0, -1.0)
    expected = mean_cross_entropy(scores, list(range(len(scores))))
    assert loss(None, labels, embeddings).item() == pytest.approx(expected, rel=1e-12)
    right = sum(row.index(max(row)) == number for number, row in enumerate(scores))
    assert loss.accuracy(embeddings, labels).item() == pytest.approx(right / len(scores))


@pytest.mark.parametrize(("w", "b", "recorded"), [(10.0, -5.0, 3.80738109737), (3.0, 1.0, 1.89485129941)])
def test_recorded_losses(w, b, recorded):
    """By the formulas of voxceleb_trainer's angleproto, on speakers × utterances."""
    embeddings = recorded_embeddings(12, 7)
    assert PrototypicalLoss(w, b)(None, torch.arange(12) % 4, embeddings).item() == pytest.approx(recorded, rel=1e-9)


def test_speakers_with_one_utterance_play_no_part():
    embeddings, labels = some_embeddings([3, 1, 4, 1])
    several = (labels == 0) | (labels == 20)
    assert PrototypicalLoss()(None, labels, embeddings) == PrototypicalLoss()(
        None, labels[several], embeddings[several]
    )
