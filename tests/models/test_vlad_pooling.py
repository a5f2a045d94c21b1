"""NetVLAD and GhostVLAD against loops in float64, and the maximum."""

import math

import pytest
import torch

from mvector.errors import ConfigError
from mvector.models.max_pooling import GlobalMaxPooling
from mvector.models.vlad_pooling import GhostVLAD, NetVLAD, ResidualPooling


def vlad_by_loops(pooling: ResidualPooling, utterance: torch.Tensor) -> list[float]:
    """Definition of one utterance [C, F], scalar by scalar; clusters beyond the centres are ghosts."""
    weight, bias = pooling.assignment.weight.tolist(), pooling.assignment.bias.tolist()
    centres = pooling.centres.tolist()
    residuals = [[0.0] * len(utterance) for _ in centres]
    for frame in utterance.T.tolist():
        scores = [sum(w * x for w, x in zip(row, frame, strict=True)) + b for row, b in zip(weight, bias, strict=True)]
        total = sum(math.exp(score) for score in scores)
        for k, centre in enumerate(centres):
            share = math.exp(scores[k]) / total
            residuals[k] = [r + share * (x - c) for r, x, c in zip(residuals[k], frame, centre, strict=True)]
    unit = [[r / math.hypot(*row) for r in row] for row in residuals]
    norm = math.hypot(*(r for row in unit for r in row))
    return [r / norm for row in unit for r in row]


@pytest.mark.parametrize(
    ("pooling", "assigned"),
    [(NetVLAD(5, clusters=3), 3), (GhostVLAD(5, clusters=3, ghost_clusters=2), 5), (GhostVLAD(5, clusters=1), 3)],
    ids=["net", "ghost", "one cluster"],
)
def test_values_are_those_of_the_definition(pooling, assigned):
    torch.manual_seed(3)
    pooling = pooling.double()
    with torch.no_grad():
        pooling.assignment.bias.normal_()
    assert pooling.assignment.out_features == assigned
    assert pooling.output_size == 5 * len(pooling.centres)
    x = 2 * torch.randn(2, 5, 7, dtype=torch.float64)
    expected = torch.tensor([vlad_by_loops(pooling, utterance) for utterance in x], dtype=torch.float64)
    torch.testing.assert_close(pooling(x), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kind", [NetVLAD, GhostVLAD])
def test_gradients_in_double_precision(kind):
    torch.manual_seed(1)
    pooling = kind(4, clusters=3).double()
    x = torch.randn(2, 4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: pooling(x), (x, *pooling.parameters()))


def test_frames_that_go_to_a_ghost_do_not_count():
    torch.manual_seed(2)
    pooling = GhostVLAD(6, clusters=4, ghost_clusters=1)
    with torch.no_grad():
        pooling.assignment.weight[4] = torch.tensor([0.0, 0, 0, 0, 0, 8])  # the ghost takes what the last channel marks
    speech = torch.randn(1, 6, 9)
    speech[:, 5] = 0
    noise = torch.randn(1, 6, 20)
    noise[:, 5] = 10
    both = torch.cat([speech, noise], dim=2)
    torch.testing.assert_close(pooling(both), pooling(speech), rtol=1e-4, atol=1e-5)
    net = NetVLAD(6, clusters=4)
    assert (net(both) - net(speech)).abs().max() > 0.05


def test_the_number_of_frames_does_not_matter():
    torch.manual_seed(4)
    pooling = GhostVLAD(6)
    x = torch.randn(2, 6, 11)
    torch.testing.assert_close(pooling(torch.cat([x, x, x], dim=2)), pooling(x), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(pooling(x).norm(dim=1), torch.ones(2))


def test_statistics_are_in_full_precision_under_autocast():
    torch.manual_seed(5)
    pooling = GhostVLAD(6)
    x = torch.randn(2, 6, 40).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        y = pooling(x)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, pooling(x.float()), rtol=0, atol=0)


@pytest.mark.parametrize(("arguments", "found"), [({"clusters": 0}, "0 and 2"), ({"ghost_clusters": -1}, "8 and -1")])
def test_wrong_numbers_of_clusters(arguments, found):
    with pytest.raises(ConfigError, match=f"GhostVLAD needs at least one cluster.*found {found}"):
        GhostVLAD(4, **arguments)


def test_maximum_over_frames():
    x = torch.randn(3, 4, 9)
    expected = [[max(channel) for channel in utterance] for utterance in x.tolist()]
    torch.testing.assert_close(GlobalMaxPooling(4)(x), torch.tensor(expected), rtol=0, atol=0)
