import math

import pytest
import torch

from mvector.losses import CELoss
from mvector.registry import LOSSES


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_cross_entropy_by_hand(label_smoothing):
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.0, 3.0]])
    labels = [0, 1]
    expected = 0.0
    for row, label in zip(logits.tolist(), labels, strict=True):
        log_sum = math.log(sum(math.exp(value) for value in row))
        for j, value in enumerate(row):
            target = label_smoothing / 3 + (1 - label_smoothing if j == label else 0)
            expected -= target * (value - log_sum) / 2
    loss = CELoss(label_smoothing)(logits, torch.tensor(labels))
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_half_precision_logits_are_computed_in_float32():
    logits = torch.randn(4, 3).bfloat16()
    labels = torch.tensor([0, 1, 2, 0])
    with torch.autocast("cpu", torch.bfloat16):
        loss = CELoss()(logits, labels)
    assert loss.dtype == torch.float32
    assert loss.item() == CELoss()(logits.float(), labels).item()


def test_losses_are_found_by_name():
    assert {"AAMLoss", "CELoss"} <= set(LOSSES.names())
    assert LOSSES.get("CELoss") is CELoss
