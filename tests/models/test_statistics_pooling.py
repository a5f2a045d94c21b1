"""Statistics poolings against loops over utterances, heads and frames in float64."""

import math

import pytest
import torch
from torch.nn import functional

from mvector.errors import ConfigError
from mvector.models.statistics_pooling import attended_statistics
from mvector.registry import POOLINGS


def plain_statistics(x: torch.Tensor, epsilon: float) -> tuple[list[list[float]], list[list[float]]]:
    """Mean and root of unbiased variance + epsilon of every row of [B, C, F]."""
    means, deviations = [], []
    for utterance in x.double().tolist():
        means.append([math.fsum(row) / len(row) for row in utterance])
        deviations.append(
            [
                math.sqrt(math.fsum((value - mean) ** 2 for value in row) / (len(row) - 1) + epsilon)
                for row, mean in zip(utterance, means[-1], strict=True)
            ]
        )
    return means, deviations


@pytest.mark.parametrize("epsilon", [1e-7, 0.25])
def test_tstp_and_tsdp_are_mean_and_root_of_variance_plus_epsilon(epsilon):
    x = 30 + torch.randn(2, 3, 7)
    means, deviations = plain_statistics(x, epsilon)
    tstp = POOLINGS.build("TSTP", {"epsilon": epsilon}, channels=3)
    tsdp = POOLINGS.build("TSDP", {"epsilon": epsilon}, channels=3)
    torch.testing.assert_close(tstp(x), torch.cat([torch.tensor(means), torch.tensor(deviations)], dim=1))
    torch.testing.assert_close(tsdp(x), torch.tensor(deviations))


@pytest.mark.parametrize(("name", "epsilon"), [("TSTP", 1e-7), ("TSTP", 1e-8), ("TSDP", 1e-7)])
@pytest.mark.parametrize("frames", [1, 5])
def test_without_variance_the_deviation_is_the_root_of_epsilon(name, epsilon, frames):
    x = torch.full((2, 3, frames), 4.0, requires_grad=True)
    pooling = POOLINGS.build(name, {"epsilon": epsilon} if epsilon != 1e-7 else {}, channels=3)
    y = pooling(x)
    torch.testing.assert_close(y[:, -3:], torch.full((2, 3), math.sqrt(epsilon)))
    y.sum().backward()
    assert x.grad.isfinite().all()


def convolved(x: torch.Tensor, state: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    return functional.conv1d(x, state[f"{name}.weight"], state[f"{name}.bias"])


def weighted(x: torch.Tensor, weights: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Weighted mean and deviation of [C, F] as a loop over channels: [2 C]."""
    weights = weights.expand_as(x)
    means, deviations = [], []
    for row, row_weights in zip(x.tolist(), weights.tolist(), strict=True):
        mean = math.fsum(w * value for w, value in zip(row_weights, row, strict=True))
        variance = math.fsum(w * (value - mean) ** 2 for w, value in zip(row_weights, row, strict=True))
        means.append(mean)
        deviations.append(math.sqrt(max(variance, epsilon)))
    return torch.tensor(means + deviations, dtype=torch.float64)


def sharpened(name: str, options: dict, channels: int) -> torch.nn.Module:
    """A pooling in float64 whose attention is far from uniform."""
    torch.manual_seed(3)
    pooling = POOLINGS.build(name, options, channels=channels).double()
    with torch.no_grad():
        for parameter in pooling.parameters():
            parameter.mul_(3)
    return pooling


@pytest.mark.parametrize("global_context_att", [False, True])
def test_astp_is_the_published_formula(global_context_att):
    pooling = sharpened("ASTP", {"bottleneck_dim": 4, "global_context_att": global_context_att}, channels=5)
    state = pooling.state_dict()
    assert sorted(state) == ["linear1.bias", "linear1.weight", "linear2.bias", "linear2.weight"]
    x = 2 + torch.randn(3, 5, 9, dtype=torch.float64)
    seen = x
    if global_context_att:
        deviation = (x.var(2, keepdim=True) + 1e-7).sqrt()
        seen = torch.cat([x, x.mean(2, keepdim=True).expand_as(x), deviation.expand_as(x)], dim=1)
    weights = convolved(convolved(seen, state, "linear1").tanh(), state, "linear2").softmax(2)
    assert weights.max() > 0.5
    expected = torch.stack([weighted(row, w, 1e-7) for row, w in zip(x, weights, strict=True)])
    torch.testing.assert_close(pooling(x), expected)


def test_astp_epsilon_is_the_smallest_variance():
    x = torch.full((2, 4, 6), 3.0, requires_grad=True)
    for epsilon in (1e-7, 1e-10):
        y = POOLINGS.build("ASTP", {"epsilon": epsilon, "global_context_att": True}, channels=4)(x)
        torch.testing.assert_close(y, torch.cat([torch.full((2, 4), 3.0), torch.full((2, 4), epsilon**0.5)], dim=1))
    y.sum().backward()
    assert x.grad.isfinite().all()


HEADS = [
    {"layer_num": 1, "head_num": 3, "d_s": 1},
    {"layer_num": 2, "head_num": 2, "d_s": 1, "bottleneck_dim": 4},
    {"layer_num": 3, "head_num": 2, "d_s": 2, "bottleneck_dim": 4},
]


def heads_one_by_one(x: torch.Tensor, state: dict[str, torch.Tensor], prefix: str, options: dict) -> torch.Tensor:
    """Mean and deviation of each head in turn, from convolutions under the published names."""
    size = x.shape[1] // options["head_num"]
    outputs = []
    for head in range(options["head_num"]):
        own = x[:, head * size : (head + 1) * size]
        scores = own
        for i in range(options["layer_num"]):
            scores = convolved(scores.tanh() if i else scores, state, f"{prefix}heads_att_trans.{head}.att_{i}")
        assert scores.shape[1] == (size if options["d_s"] > 1 else 1)
        weights = scores.softmax(2)
        outputs.append(torch.stack([weighted(row, w, 1e-7) for row, w in zip(own, weights, strict=True)]))
    return torch.cat(outputs, dim=1)


@pytest.mark.parametrize("options", HEADS)
def test_mhastp_is_the_published_formula(options):
    pooling = sharpened("MHASTP", options, channels=6)
    x = torch.randn(2, 6, 8, dtype=torch.float64)
    torch.testing.assert_close(pooling(x), heads_one_by_one(x, pooling.state_dict(), "", options))


@pytest.mark.parametrize("options", HEADS)
def test_mqmhastp_joins_the_queries(options):
    pooling = sharpened("MQMHASTP", {"query_num": 3, **options}, channels=6)
    assert pooling.output_size == 36
    x = torch.randn(2, 6, 8, dtype=torch.float64)
    state = pooling.state_dict()
    queries = [heads_one_by_one(x, state, f"n_query.{q}.", options) for q in range(3)]
    assert not torch.allclose(queries[0], queries[1])
    torch.testing.assert_close(pooling(x), torch.cat(queries, dim=1))


@pytest.mark.parametrize(("name", "heads"), [("MHASTP", 2), ("MQMHASTP", 8)])
def test_channels_must_be_shared_out_evenly(name, heads):
    with pytest.raises(ConfigError, match=rf"channels \(13\) must be a multiple of head_num \({heads}\)"):
        POOLINGS.build(name, channels=13)
    with pytest.raises(ConfigError, match="layer_num must be 1 or more"):
        POOLINGS.build(name, {"layer_num": 0}, channels=16)


def test_deviations_far_from_zero_do_not_cancel():
    x = 1000 + torch.randn(2, 50, 3)
    scores = torch.randn(2, 50, 1)
    exact = attended_statistics(x.double(), scores.double(), 1e-7)
    torch.testing.assert_close(attended_statistics(x, scores, 1e-7).double(), exact, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", ["TSTP", "TSDP", "ASTP", "MHASTP", "MQMHASTP"])
def test_statistics_are_float32_under_autocast(name):
    x = (5 + torch.randn(2, 16, 40)).bfloat16()
    torch.manual_seed(0)
    pooling = POOLINGS.build(name, channels=16)
    exact = pooling(x.float())
    with torch.autocast("cpu", torch.bfloat16):
        y = pooling(x)
    assert y.dtype == torch.float32
    # bfloat16 has steps of 0.03 at 5; only the attention's weights may come from it.
    torch.testing.assert_close(y, exact, rtol=5e-3, atol=5e-3)
