"""AM loss against loops, and against numbers recorded from published implementations."""

import pytest
import torch

from mvector.losses import AMLoss
from tests.losses.loss_data import mean_cross_entropy, recorded_cosines, some_cosines


@pytest.mark.parametrize("margin", [0.0, 0.3])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_the_right_cosine_loses_the_margin(margin, label_smoothing):
    cosines, labels = some_cosines()
    scores = [
        [20 * (value - margin * (column == right)) for column, value in enumerate(row)]
        for row, right in zip(cosines.tolist(), labels.tolist(), strict=True)
    ]
    expected = mean_cross_entropy(scores, labels, label_smoothing)
    assert AMLoss(margin, 20, label_smoothing)(cosines, labels).item() == pytest.approx(expected, rel=1e-12)
    assert AMLoss(margin, 20, label_smoothing)(cosines.float(), labels).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "recorded"),  # by the mvector package 1.1.7, which subtracts its margin in float32
    [({}, 24.414555011), ({"margin": 0.15, "scale": 16, "label_smoothing": 0.1}, 10.2850493726)],
)
def test_recorded_losses(arguments, recorded):
    loss = AMLoss(**arguments)(recorded_cosines(12, 5), torch.arange(12) % 5)
    assert loss.item() == pytest.approx(recorded, rel=1e-7)
