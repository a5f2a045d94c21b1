"""Circle loss against its formula, weights held constant for the gradient."""

import math

import pytest
import torch

from mvector.losses import CircleLoss
from tests.losses.loss_data import some_cosines


def by_formula(cosines, labels, margin, scale, weights_of=None):
    """log(1 + Σ exp(…) · exp(…)), with the weights of the cosines `weights_of` (their own by default)."""
    weights_of = cosines if weights_of is None else weights_of
    total = 0.0
    for row, weight_row, right in zip(cosines.tolist(), weights_of.tolist(), labels.tolist(), strict=True):
        positive = max(0, 1 + margin - weight_row[right]) * (row[right] - (1 - margin))
        negatives = [max(0, weight_row[j] + margin) * (value - margin) for j, value in enumerate(row) if j != right]
        total += math.log(1 + sum(math.exp(scale * negative) for negative in negatives) * math.exp(-scale * positive))
    return total / len(labels)


@pytest.mark.parametrize("margin", [0.0, 0.25, 0.4])
def test_value(margin):
    cosines, labels = some_cosines()
    expected = by_formula(cosines, labels, margin, 32)
    assert CircleLoss(margin, 32)(cosines, labels).item() == pytest.approx(expected, rel=1e-12)
    assert CircleLoss(margin, 32)(cosines.float(), labels).item() == pytest.approx(expected, rel=1e-5)


def test_gradient_with_constant_weights():
    cosines, labels = some_cosines(6, 4)
    cosines.requires_grad_()
    CircleLoss(0.25, 8)(cosines, labels).backward()
    exact = cosines.detach()
    for row in range(6):
        for column in range(4):
            shift = torch.zeros_like(exact)
            shift[row, column] = 1e-6
            slope = (
                by_formula(exact + shift, labels, 0.25, 8, exact) - by_formula(exact - shift, labels, 0.25, 8, exact)
            ) / 2e-6
            assert cosines.grad[row, column].item() == pytest.approx(slope, rel=1e-5, abs=1e-9)


def test_a_smaller_margin_asks_for_more():
    cosines = torch.tensor([[0.7, 0.3]])
    label = torch.tensor([0])
    losses = [CircleLoss(margin)(cosines, label).item() for margin in (0.4, 0.25, 0.1)]
    assert losses == sorted(losses)
    # These cosines lie √2 · 0.3 from the ideal (1, 0): with m = 0.3 they are on the boundary.
    assert CircleLoss(0.3)(cosines, label).item() == pytest.approx(math.log(2), rel=1e-4)
