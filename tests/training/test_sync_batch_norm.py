"""Batch norm over two processes equals ordinary batch norm on the joined batch, gradients included."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from mvector.models import EcapaTdnn
from mvector.models.layers import FrameNorm
from mvector.training.ranks import gather_rows, sum_gradients
from mvector.training.sync_batch_norm import SyncBatchNorm, leave_out_of_graphs, synchronise_batch_norm
from tests.training.two_ranks import run_ranks

NETWORK = "a whole network, 2 x 32"
# name -> (layer, shape of the joined batch, rows of the first rank): batches and values per rank differ in number
CASES = {
    "1d": (lambda: nn.BatchNorm1d(4), (9, 4), 5),
    "1d over time": (lambda: nn.BatchNorm1d(4, affine=False), (7, 4, 11), 2),
    "2d": (lambda: nn.BatchNorm2d(3, momentum=None), (6, 3, 5, 4), 3),
    "frames first": (lambda: FrameNorm(5), (5, 8, 5), 4),
    "no running statistics": (lambda: nn.BatchNorm1d(4, track_running_stats=False), (6, 4), 3),
    # In float64, because a deep network multiplies float32's rounding errors by thousands.
    NETWORK: (lambda: EcapaTdnn(6, 8, channels=[16] * 4 + [24], attention_channels=8, se_channels=8), (64, 12, 6), 32),
    "far from zero": (lambda: nn.BatchNorm1d(4, eps=1e-3), (8, 4, 20), 6),
}


def network_and_data(name: str) -> tuple[nn.Module, torch.Tensor, int]:
    make, shape, first = CASES[name]
    generator = torch.Generator().manual_seed(1)
    torch.manual_seed(1)
    layer = make()
    if name != NETWORK:
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    data = 2 * torch.randn(shape, generator=generator) + torch.randn(shape, generator=generator).square()
    if name == "far from zero":
        data = data + 1000
    if name == NETWORK:
        layer, data = layer.double(), data.double()
    return nn.Sequential(layer), data, first


def two_steps(network: nn.Module, x: torch.Tensor, weights: torch.Tensor) -> dict[str, torch.Tensor]:
    """Two forward passes and a gradient, of an objective that is a sum over the values."""
    x = x.clone().requires_grad_()
    network(x.detach() * 0.5 - 1)
    y = network(x)
    (y * weights if y.shape == weights.shape else y.cos()).sum().backward()
    sum_gradients(network.parameters())
    found = {"y": y.detach(), "x": x.grad, **dict(network.named_buffers())}
    found |= {f"gradient of {key}": parameter.grad for key, parameter in network.named_parameters()}
    found["evaluated"] = network.eval()(x.detach()) if any("running_mean" in key for key in found) else y.detach()
    return found


def in_one_rank(number: int) -> dict[str, dict[str, torch.Tensor]]:
    results = {}
    for name in CASES:
        network, data, first = network_and_data(name)
        synchronise_batch_norm(network)
        own = slice(None, first) if number == 0 else slice(first, None)
        found = two_steps(network, data[own], data.cos()[own])
        results[name] = found | {key: gather_rows(found[key].contiguous()) for key in ("y", "x", "evaluated")}
    network, data, first = network_and_data("frames first")
    synchronise_batch_norm(network)
    own = slice(None, first) if number == 0 else slice(first, None)
    leave_out_of_graphs()
    compiled = torch.compile(network, backend="eager")
    results["compiled"] = gather_rows(compiled(data[own]).detach())
    network, data, first = network_and_data("2d")
    synchronise_batch_norm(network)
    with torch.autocast("cpu", torch.bfloat16):
        results["dtype"] = network(data.bfloat16()).dtype == torch.bfloat16
    return results


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, torch.Tensor]]]:
    return run_ranks(in_one_rank, tmp_path_factory.mktemp("ranks"))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_two_ranks_equal_the_joined_batch(found, name):
    network, data, _ = network_and_data(name)
    expected = two_steps(network, data, data.cos())
    atol = {"far from zero": 1e-4, NETWORK: 1e-9}.get(name, 2e-6)
    for of_rank in found:
        assert of_rank[name].keys() == expected.keys()
        for key, value in expected.items():
            torch.testing.assert_close(of_rank[name][key], value, rtol=1e-5, atol=atol)


@pytest.mark.slow
def test_a_compiled_network_exchanges_as_well(found):
    network, data, _ = network_and_data("frames first")
    for of_rank in found:
        torch.testing.assert_close(of_rank["compiled"], network.train()(data).detach(), rtol=1e-5, atol=2e-6)


@pytest.mark.slow
def test_half_precision_stays_what_it_was(found):
    assert all(of_rank["dtype"] for of_rank in found)


def test_one_process_is_ordinary_batch_norm():
    network, data, _ = network_and_data("2d")
    ordinary = copy.deepcopy(network)
    before = dict(network.named_parameters())
    synchronise_batch_norm(network)
    assert isinstance(network[0], nn.BatchNorm2d)
    assert isinstance(network[0], SyncBatchNorm)
    assert all(parameter is before[name] for name, parameter in network.named_parameters())
    for key, value in two_steps(ordinary, data, data.cos()).items():
        assert torch.equal(two_steps(copy.deepcopy(network), data, data.cos())[key], value)


def test_a_training_does_not_load_the_compiler():
    """It would be 80 MB in the trainer, and counted again in each of its loader processes."""
    program = "import sys, mvector.trainer; print('torch._dynamo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "False"
