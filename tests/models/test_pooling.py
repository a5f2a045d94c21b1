"""What every registered pooling promises; four of them against loops and plain convolutions in float64."""

import pytest
import torch
from torch.nn import functional

from mvector.models.pooling import (
    AttentiveStatisticsPooling,
    SelfAttentivePooling,
    TemporalAveragePooling,
    TemporalStatisticsPooling,
)
from mvector.registry import POOLINGS

LENGTHS = (1, 2, 7, 50, 199, 1000)  # in frames; every pooling takes one
every_pooling = pytest.mark.parametrize("name", POOLINGS.names())


def test_registered_names():
    assert {"ASP", "SAP", "TAP", "TSP"} <= set(POOLINGS.names())


def small(name: str) -> torch.nn.Module:
    """With 8 channels; batch-norm statistics and weights other than the initial ones, which have zeros among them."""
    torch.manual_seed(0)
    pooling = POOLINGS.build(name, channels=8)
    with torch.no_grad():
        for parameter in pooling.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        pooling.train()(torch.randn(4, 8, 20))
    return pooling.eval()


@every_pooling
@pytest.mark.parametrize("frames", LENGTHS)
def test_forward_and_backward_are_finite_at_every_length(name, frames):
    pooling = small(name).train()
    x = torch.randn(3, 8, frames, requires_grad=True)
    y = pooling(x)
    assert y.shape == (3, pooling.output_size)
    assert y.dtype == torch.float32
    (y * torch.randn_like(y)).sum().backward()
    assert y.isfinite().all()
    assert x.grad.isfinite().all()
    if (name, frames) != ("TSDP", 1):  # the deviation of one frame is zero whatever the frame is
        assert x.grad.any()
    for key, parameter in pooling.named_parameters():
        assert parameter.grad is not None, f"{key} is not used"
        assert parameter.grad.isfinite().all(), key
    assert POOLINGS.get(name).__doc__


@every_pooling
@pytest.mark.parametrize("frames", LENGTHS)
def test_an_utterance_alone_gives_what_it_gives_in_a_batch(name, frames):
    pooling = small(name)
    x = torch.randn(3, 8, frames)
    with torch.inference_mode():
        alone = pooling(x[1:2])
        assert alone.shape == (1, pooling.output_size)
        torch.testing.assert_close(alone, pooling(x)[1:2], rtol=1e-5, atol=1e-5)


@every_pooling
def test_gradients_are_those_of_finite_differences(name):
    pooling = small(name).double()
    keys, parameters = zip(*pooling.named_parameters(), strict=True) if list(pooling.parameters()) else ((), ())

    def pooled(x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(pooling, dict(zip(keys, values, strict=True)), (x,))

    x = torch.randn(2, 8, 5, dtype=torch.float64, requires_grad=True)  # no two values alike: a maximum has a gradient
    assert torch.autograd.gradcheck(pooled, (x, *parameters), fast_mode=True)


@every_pooling
def test_the_same_seed_gives_the_same_pooling(name):
    x = torch.randn(2, 8, 30)
    with torch.inference_mode():
        first, second = small(name), small(name)
        assert torch.equal(first(x), second(x))
        assert torch.equal(first(x), first(x))


@every_pooling
def test_bfloat16_autocast_stays_close_and_trains(name):
    pooling = small(name)
    x = torch.randn(3, 8, 60, requires_grad=True)
    exact = pooling(x).detach()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = pooling(x).float()
    assert torch.cosine_similarity(exact, rounded).min() > 0.999
    rounded.square().sum().backward()
    for leaf in (x, *pooling.parameters()):
        assert leaf.grad.dtype == torch.float32
        assert leaf.grad.isfinite().all()


@every_pooling
def test_compiles_without_graph_breaks(name):
    pooling = small(name)
    x = torch.randn(2, 8, 40)
    torch.compiler.reset()
    with torch.inference_mode():
        compiled = torch.compile(pooling, backend="eager", fullgraph=True)(x)
        torch.testing.assert_close(compiled, pooling(x), rtol=1e-4, atol=1e-5)


def test_tap_is_the_mean():
    x = torch.randn(2, 3, 7)
    expected = [[sum(row.tolist()) / 7 for row in utterance] for utterance in x]
    torch.testing.assert_close(TemporalAveragePooling(3)(x), torch.tensor(expected))


def test_tsp_is_mean_and_unbiased_variance():
    x = 100 + torch.randn(2, 3, 7)
    y = TemporalStatisticsPooling(3)(x)
    for utterance, statistics in zip(x.double(), y, strict=True):
        for channel in range(3):
            values = utterance[channel].tolist()
            mean = sum(values) / 7
            assert statistics[channel].item() == pytest.approx(mean, rel=1e-6)
            variance = sum((v - mean) ** 2 for v in values) / 6
            assert statistics[3 + channel].item() == pytest.approx(variance, rel=1e-4)


def test_tsp_of_a_single_frame_has_variance_zero():
    x = torch.randn(2, 3, 1)
    torch.testing.assert_close(TemporalStatisticsPooling(3)(x), torch.cat([x[..., 0], torch.zeros(2, 3)], dim=1))


def test_sap_is_an_attention_weighted_mean():
    pooling = SelfAttentivePooling(5, attention_channels=4).double()
    x = torch.randn(2, 5, 9, dtype=torch.float64)
    hidden = functional.conv1d(x, pooling.linear1.weight, pooling.linear1.bias).tanh()
    weights = functional.conv1d(hidden, pooling.linear2.weight, pooling.linear2.bias).softmax(2)
    torch.testing.assert_close(pooling(x), (weights * x).sum(2))


def published_asp(pooling: AttentiveStatisticsPooling, x: torch.Tensor) -> torch.Tensor:
    """ASP step by step with convolutions of the concatenated context, as the paper writes it."""
    attention_input = x
    if pooling.global_context:
        mean = x.mean(2, keepdim=True)
        std = (x - mean).square().mean(2, keepdim=True).sqrt()
        attention_input = torch.cat([x, mean.expand_as(x), std.expand_as(x)], dim=1)
    tdnn, norm, conv = pooling.tdnn.conv.conv, pooling.tdnn.norm.norm, pooling.conv.conv
    hidden = functional.conv1d(attention_input, tdnn.weight, tdnn.bias).relu()
    hidden = functional.batch_norm(hidden, None, None, norm.weight, norm.bias, training=True).tanh()
    weights = functional.conv1d(hidden, conv.weight, conv.bias).softmax(2)
    mean = (weights * x).sum(2)
    std = (weights * (x - mean.unsqueeze(2)).square()).sum(2).sqrt()
    return torch.cat([mean, std], dim=1)


@pytest.mark.parametrize("global_context", [True, False])
def test_asp_values_and_gradients_are_those_of_the_definition(global_context):
    torch.manual_seed(1)
    pooling = AttentiveStatisticsPooling(6, attention_channels=4, global_context=global_context).train()
    with torch.no_grad():
        pooling.conv.conv.weight.mul_(5)  # attention far from uniform
    x = (2 + torch.randn(3, 6, 12)).requires_grad_()
    weights = torch.randn(3, 12)
    inputs = [x, *pooling.parameters()]
    ours = pooling(x)
    our_gradients = torch.autograd.grad((ours * weights).sum(), inputs)
    expected = published_asp(pooling, x)
    expected_gradients = torch.autograd.grad((expected * weights).sum(), inputs)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
    for ours_, expected_ in zip(our_gradients, expected_gradients, strict=True):
        torch.testing.assert_close(ours_, expected_, rtol=1e-3, atol=1e-4)


def test_asp_of_a_constant_sequence_is_finite():
    x = torch.full((2, 4, 8), 1000.0, requires_grad=True)
    y = AttentiveStatisticsPooling(4).train()(x)
    y.sum().backward()
    assert y.isfinite().all()
    assert x.grad.isfinite().all()
    assert y[:, 4:].max() < 1e-3
