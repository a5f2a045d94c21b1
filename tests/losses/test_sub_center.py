"""Sub-centres and the inter-top-k penalty against loops over angles, and against recorded numbers."""

import math

import pytest
import torch

from mvector.losses import AAMLoss, SpeakerClassifier, SubCenterLoss
from tests.losses.loss_data import mean_cross_entropy, recorded_cosines, some_cosines


def by_angles(cosines, labels, K, margin, scale, easy_margin=False, label_smoothing=0.0, k_top=0, penalty=0.0):
    scores = []
    for row, right in zip(cosines.tolist(), labels.tolist(), strict=True):
        nearest = [max(row[speaker * K : (speaker + 1) * K]) for speaker in range(len(row) // K)]
        wrong = sorted((j for j in range(len(nearest)) if j != right), key=lambda j: -nearest[j])
        scored = list(nearest)
        for j in wrong[:k_top]:
            scored[j] = math.cos(math.acos(nearest[j]) - penalty)
        angle = math.acos(nearest[right])
        if easy_margin:
            applies, otherwise = angle < math.pi / 2, nearest[right]
        else:
            applies, otherwise = angle < math.pi - margin, nearest[right] - (1 - math.cos(margin))
        scored[right] = math.cos(angle + margin) if applies else otherwise
        scores.append([scale * score for score in scored])
    return mean_cross_entropy(scores, labels, label_smoothing)


@pytest.mark.parametrize("easy_margin", [False, True])
@pytest.mark.parametrize("K", [1, 3])
@pytest.mark.parametrize(("k_top", "penalised"), [(0, 0), (3, 3), (50, 6)])  # of 6 wrong speakers
def test_nearest_centre_margin_and_penalty(easy_margin, K, k_top, penalised):
    cosines, labels = some_cosines(per_speaker=K)
    loss = SubCenterLoss(0.3, 20, easy_margin, K, 0.1, k_top=k_top, mp=0.08)
    expected = by_angles(cosines, labels, K, 0.3, 20, easy_margin, 0.1, penalised, penalty=0.08 * 0.3 / 0.2)
    assert loss(cosines, labels).item() == pytest.approx(expected, rel=1e-12)
    assert loss(cosines.float(), labels).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "recorded"),
    [
        # by the mvector package 1.1.7
        ({}, 13.6710026328),
        ({"margin": 0.3, "scale": 16, "easy_margin": True, "label_smoothing": 0.1}, 7.72629431203),
        # by the formulas of WeSpeaker's arc_margin_intertopk_subcenter
        ({"k_top": 3, "mp": 0.06}, 14.1881808376),
        ({"margin": 0.1, "k_top": 2, "mp": 0.1}, 12.0416117538),
    ],
)
def test_recorded_losses(arguments, recorded):
    loss = SubCenterLoss(**arguments)(recorded_cosines(12, 15), torch.arange(12) % 5)
    assert loss.item() == pytest.approx(recorded, rel=1e-9)


def test_one_centre_without_penalty_is_aam():
    cosines, labels = some_cosines()
    torch.testing.assert_close(SubCenterLoss(0.25, K=1)(cosines, labels), AAMLoss(0.25)(cosines, labels))


@pytest.mark.parametrize(("margin", "penalty"), [(0.0, 0.0), (0.001, 0.0), (0.002, 0.0006), (0.2, 0.06), (0.3, 0.09)])
def test_the_penalty_follows_the_margin(margin, penalty):
    loss = SubCenterLoss(k_top=5, mp=0.06)
    loss.update(margin)
    assert (loss.margin, loss.penalty) == (margin, pytest.approx(penalty, abs=1e-15))
    assert SubCenterLoss(margin, k_top=5, mp=0.06).penalty == loss.penalty


def test_gradients_reach_the_nearest_centres_only():
    classifier = SpeakerClassifier(6, 4, K=3)
    embeddings, labels = torch.randn(1, 6), torch.tensor([2])
    logits = classifier(embeddings)
    SubCenterLoss()(logits, labels).backward()
    moved = classifier.weight.grad.abs().sum(1).reshape(4, 3) > 0
    assert torch.equal(moved.nonzero()[:, 1], logits.reshape(4, 3).argmax(1))
    assert moved.sum() == 4
