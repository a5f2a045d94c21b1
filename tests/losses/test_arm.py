"""ARM loss against loops, and against numbers recorded from published implementations."""

import pytest
import torch

from mvector.losses import AMLoss, ARMLoss
from tests.losses.loss_data import mean_cross_entropy, recorded_cosines, some_cosines


@pytest.mark.parametrize("margin", [0.0, 0.3])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_only_speakers_within_the_margin_count(margin, label_smoothing):
    cosines, labels = some_cosines()
    scores, zeros = [], 0
    for row, right in zip(cosines.tolist(), labels.tolist(), strict=True):
        target = 20 * (row[right] - margin)
        scored = [target if j == right else 20 * value for j, value in enumerate(row)]
        scored = [value if value >= target else 0.0 for value in scored]
        zeros += scored.count(0.0)
        scores.append(scored)
    assert 0 < zeros < cosines.numel()  # both kinds occur
    expected = mean_cross_entropy(scores, labels, label_smoothing)
    assert ARMLoss(margin, 20, label_smoothing)(cosines, labels).item() == pytest.approx(expected, rel=1e-12)


def test_a_speaker_outside_the_margin_is_not_pushed_farther():
    cosines = torch.tensor([[0.9, 0.7, 0.5, -0.2]], requires_grad=True)
    ARMLoss(0.3, 8)(cosines, torch.tensor([0])).backward()
    assert (cosines.grad[0, 1] > 0, cosines.grad[0, 2].item(), cosines.grad[0, 3].item()) == (True, 0, 0)


def test_where_everybody_violates_the_margin_it_is_am():
    cosines = torch.tensor([[-0.5, 0.7, 0.5, 0.2]])
    label = torch.tensor([0])
    assert ARMLoss(0.3, 8)(cosines, label).item() == AMLoss(0.3, 8)(cosines, label).item()


@pytest.mark.parametrize(
    ("arguments", "recorded"),  # by the mvector package 1.1.7, which subtracts its margin in float32
    [({}, 25.0054722299), ({"margin": 0.15, "scale": 16, "label_smoothing": 0.1}, 10.346857047)],
)
def test_recorded_losses(arguments, recorded):
    loss = ARMLoss(**arguments)(recorded_cosines(12, 5), torch.arange(12) % 5)
    assert loss.item() == pytest.approx(recorded, rel=1e-7)
