"""AAM loss against the angles themselves, in float64 with acos."""

import math

import pytest
import torch

from mvector.losses import AAMLoss


def brute_force(cosines, labels, margin, scale, easy_margin=False, label_smoothing=0.0):
    """Mean cross-entropy by loops over plain floats."""
    losses = []
    for row, label in zip(cosines.double().tolist(), labels.tolist(), strict=True):
        logits = list(row)
        angle = math.acos(row[label])
        if easy_margin:
            applies, otherwise = angle < math.pi / 2, row[label]
        else:
            applies, otherwise = angle < math.pi - margin, row[label] - (1 - math.cos(margin))
        logits[label] = math.cos(angle + margin) if applies else otherwise
        logits = [scale * value for value in logits]
        top = max(logits)
        log_sum = top + math.log(sum(math.exp(value - top) for value in logits))
        smooth = label_smoothing / len(logits)
        targets = [smooth + (1 - label_smoothing if j == label else 0) for j in range(len(logits))]
        losses.append(-sum(t * (value - log_sum) for t, value in zip(targets, logits, strict=True)))
    return sum(losses) / len(losses)


def some_cosines(batch=64, speakers=7):
    generator = torch.Generator().manual_seed(3)
    cosines = 2 * torch.rand(batch, speakers, generator=generator) - 1
    return cosines * 0.999, torch.randint(speakers, (batch,), generator=generator)


@pytest.mark.parametrize("margin", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("easy_margin", [False, True])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_loss_is_that_of_the_angles(margin, easy_margin, label_smoothing):
    cosines, labels = some_cosines()
    loss = AAMLoss(margin, 32, easy_margin, label_smoothing)(cosines, labels)
    expected = brute_force(cosines, labels, margin, 32, easy_margin, label_smoothing)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_angles_past_pi_minus_margin_take_the_straight_line():
    cosines = torch.tensor([[-0.99, 0.1], [-0.97, 0.1]])  # cos(pi - 0.2) is -0.9801
    labels = torch.tensor([0, 0])
    for row in range(2):
        expected = brute_force(cosines[row : row + 1], labels[:1], 0.2, 8)
        assert AAMLoss(0.2, 8)(cosines[row : row + 1], labels[:1]).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("easy_margin", [False, True])
def test_gradients_are_finite_at_the_ends(dtype, easy_margin):
    rows = [[1.0, 0.0], [-1.0, 0.0], [1.0, 1.0], [-1.0, -1.0], [0.0, 0.0], [1.0000001, 0.0], [-1.0000001, 0.0]]
    logits = torch.tensor(rows, dtype=dtype, requires_grad=True)
    loss = AAMLoss(0.3, 32, easy_margin)(logits, torch.zeros(len(rows), dtype=torch.int64))
    loss.backward()
    assert loss.isfinite()
    assert loss.dtype == torch.float32
    assert logits.grad.isfinite().all()


def test_gradient_is_that_of_the_angles():
    cosines, labels = some_cosines(16, 5)
    cosines.requires_grad_()
    AAMLoss(0.2, 10)(cosines, labels).backward()
    for index in [(0, labels[0].item()), (0, (labels[0].item() + 1) % 5), (7, labels[7].item())]:
        shift = torch.zeros(16, 5, dtype=torch.float64)
        shift[index] = 1e-6
        exact = cosines.detach().double()
        slope = (brute_force(exact + shift, labels, 0.2, 10) - brute_force(exact - shift, labels, 0.2, 10)) / 2e-6
        assert cosines.grad[index].item() == pytest.approx(slope, rel=1e-3, abs=1e-5)


def test_autocast_changes_nothing():
    cosines, labels = some_cosines()
    loss = AAMLoss()
    with torch.autocast("cpu", torch.bfloat16):
        assert loss(cosines, labels).item() == loss(cosines, labels).item()
        inside = loss(cosines, labels)
    assert inside.dtype == torch.float32
    assert inside.item() == loss(cosines, labels).item()


def test_update_sets_the_margin():
    cosines, labels = some_cosines()
    loss = AAMLoss(0.1)
    loss.update(0.4)
    assert loss.margin == 0.4
    assert loss(cosines, labels).item() == AAMLoss(0.4)(cosines, labels).item()


def test_margin_zero_is_plain_scaled_softmax():
    cosines, labels = some_cosines()
    expected = torch.nn.functional.cross_entropy(32 * cosines, labels)
    torch.testing.assert_close(AAMLoss(0.0)(cosines, labels), expected)
