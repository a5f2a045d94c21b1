"""GE2E against loops, and against recorded numbers."""

import math

import pytest
import torch

from mvector.losses import GE2ELoss
from tests.losses.loss_data import cosine, mean, mean_cross_entropy, recorded_embeddings, some_embeddings


def unit(row):
    length = math.sqrt(sum(x * x for x in row))
    return [x / length for x in row]


def scores_by_loops(embeddings, labels, w, b):
    """A row per utterance that is not its speaker's only one: every speaker's centroid, its own without itself."""
    rows, labels = [unit(row) for row in embeddings.tolist()], labels.tolist()
    speakers = sorted(set(labels))
    scores, right = [], []
    for i, row in enumerate(rows):
        if labels.count(labels[i]) < 2:
            continue
        members = {s: [other for j, other in enumerate(rows) if labels[j] == s and j != i] for s in speakers}
        scores.append([w * cosine(row, mean(members[s])) + b for s in speakers])
        right.append(speakers.index(labels[i]))
    return scores, right


@pytest.mark.parametrize("counts", [[2, 2, 2], [4, 4, 4, 4], [3, 1, 2, 5]])
def test_every_utterance_against_every_centroid(counts):
    embeddings, labels = some_embeddings(counts)
    loss = GE2ELoss(4.0, -1.0)
    scores, right = scores_by_loops(embeddings, labels, 4.0, -1.0)
    expected = mean_cross_entropy(scores, right)
    assert loss(None, labels, embeddings).item() == pytest.approx(expected, rel=1e-12)
    hits = sum(row.index(max(row)) == number for row, number in zip(scores, right, strict=True))
    assert loss.accuracy(embeddings, labels).item() == pytest.approx(hits / len(right))


@pytest.mark.parametrize(("w", "b", "recorded"), [(10.0, -5.0, 3.59908124496), (3.0, 1.0, 1.7620422626)])
def test_recorded_losses(w, b, recorded):
    """By the formulas of voxceleb_trainer's ge2e, on unit-length embeddings and without its clamp of the cosines."""
    embeddings = recorded_embeddings(12, 7)
    assert GE2ELoss(w, b)(None, torch.arange(12) % 4, embeddings).item() == pytest.approx(recorded, rel=1e-9)


def test_lengths_of_embeddings_do_not_matter():
    embeddings, labels = some_embeddings([3, 3, 3])
    longer = embeddings * torch.linspace(0.1, 9, len(labels))[:, None]
    torch.testing.assert_close(GE2ELoss()(None, labels, longer), GE2ELoss()(None, labels, embeddings))


def test_the_weight_counts_as_positive():
    embeddings, labels = some_embeddings([3, 3, 3])
    assert GE2ELoss(-7.0)(None, labels, embeddings) == GE2ELoss(7.0)(None, labels, embeddings)


def test_nobody_to_compare_with_is_loss_zero():
    embeddings, labels = some_embeddings([1, 1, 1])
    embeddings.requires_grad_()
    loss = GE2ELoss()
    value = loss(None, labels, embeddings)
    value.backward()
    assert value.item() == 0
    assert torch.equal(embeddings.grad, torch.zeros_like(embeddings))
    assert loss.accuracy(embeddings.detach(), labels) == 0
