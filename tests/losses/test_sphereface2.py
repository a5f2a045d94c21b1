"""SphereFace2 against the binary classifications one by one, and against recorded numbers."""

import math

import pytest
import torch

from mvector.errors import ConfigError
from mvector.losses import SphereFace2
from tests.losses.loss_data import recorded_cosines, some_cosines


def spread(z, t):
    return 2 * ((z + 1) / 2) ** t - 1


def one_by_one(cosines, labels, margin, scale, lanbuda, t, margin_type, bias):
    """Logistic losses of every example and speaker, with the angles themselves."""
    total = 0.0
    for row, label in zip(cosines.tolist(), labels.tolist(), strict=True):
        for speaker, value in enumerate(row):
            right = speaker == label
            angle = math.acos(value)
            if margin_type == "C":
                score = spread(value, t) - margin if right else spread(value, t) + margin
            elif not right:
                score = spread(math.cos(angle - margin), t)
            elif angle < math.pi - margin:
                score = spread(math.cos(angle + margin), t)
            else:
                score = spread(value - 1 + math.cos(margin), t)
            weight, logit = (lanbuda, -scale * score - bias) if right else (1 - lanbuda, scale * score + bias)
            total += weight * math.log(1 + math.exp(logit))
    return total / len(labels)


@pytest.mark.parametrize("margin_type", ["C", "A"])
@pytest.mark.parametrize("margin", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("t", [1, 3, 5])
def test_sum_of_binary_classifications(margin_type, margin, t):
    cosines, labels = some_cosines()
    loss = SphereFace2(margin, 24.0, 0.6, t, margin_type)
    loss.bias.data.fill_(-1.5)
    expected = one_by_one(cosines, labels, margin, 24.0, 0.6, t, margin_type, -1.5)
    # float64, but the learned bias is float32
    assert loss(cosines, labels).item() == pytest.approx(expected, rel=1e-8)
    assert loss(cosines.float(), labels).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "recorded"),  # by the mvector package 1.1.7
    [({}, 22.5110236013), ({"margin_type": "A", "margin": 0.15, "t": 5, "lanbuda": 0.6, "scale": 24.0}, 17.3047255599)],
)
def test_recorded_losses(arguments, recorded):
    loss = SphereFace2(**arguments)(recorded_cosines(12, 5), torch.arange(12) % 5)
    assert loss.item() == pytest.approx(recorded, rel=1e-9)


@pytest.mark.parametrize("t", [1, 2, 2.5, 3])
@pytest.mark.parametrize("margin_type", ["C", "A"])
def test_the_right_cosine_is_always_pulled_up_and_a_wrong_one_pushed_down(t, margin_type):
    """Over the whole range, the angular margin's straight line below -1 included."""
    cosines = torch.linspace(-0.9999, 0.97, 400).repeat(2, 1).T.contiguous().requires_grad_()
    SphereFace2(0.2, 8.0, 0.7, t, margin_type)(cosines, torch.zeros(400, dtype=torch.int64)).backward()
    assert (cosines.grad[:, 0] < 0).all()
    assert (cosines.grad[:, 1] > 0).all()


def test_large_scores_stay_finite():
    loss = SphereFace2(scale=1000.0)(torch.tensor([[-1.0, 1.0]]), torch.tensor([0]))
    # 0.7 · 1000 · 1.2 for the right speaker at -1, 0.3 · 1000 · 1.2 for the wrong one at 1
    assert loss.item() == pytest.approx(1200, rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"margin_type": "c"}, "margin_type must be one of C, A, found 'c'"), ({"t": 0.5}, "t must be at least 1")],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ConfigError, match=message):
        SphereFace2(**arguments)
