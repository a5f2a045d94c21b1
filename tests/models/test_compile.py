"""torch.compile: the compiled networks give the numbers of the plain ones, in inference and over steps of training."""

import copy
import shutil
import sys

import pytest
import torch
from torch import nn

from mvector.registry import BACKBONES

TINY = {  # as small as they can be: each kernel is a C++ program that has to be compiled
    "EcapaTdnn": {
        "embd_dim": 16,
        "channels": [16, 16, 24],
        "kernel_sizes": [5, 3, 1],
        "dilations": [1, 2, 1],
        "attention_channels": 8,
        "res2net_scale": 4,
        "se_channels": 8,
    },
    "ResNet": {"embd_dim": 16, "m_channels": 4, "num_blocks": [1, 1, 1, 1]},
}
needs_compiler = pytest.mark.skipif(
    sys.platform == "win32" or not (shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")),
    reason="torch.compile needs a C++ compiler, a system package",
)


def build(name: str) -> nn.Module:
    torch.manual_seed(5)
    return BACKBONES.build(name, TINY[name], input_size=24)


def train(network: nn.Module, forward: nn.Module, precision: torch.dtype, steps: int) -> list[float]:
    """Losses of `steps` towards fixed labels; `forward` shares the weights of `network`."""
    generator = torch.Generator().manual_seed(8)
    features, labels = torch.randn(6, 40, 24, generator=generator), torch.arange(6) % 4
    torch.manual_seed(6)
    head = nn.Linear(16, 4)
    optimizer = torch.optim.SGD([*network.parameters(), *head.parameters()], lr=0.1)
    network.train()
    losses = []
    for _ in range(steps):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision is torch.bfloat16):
            logits = head(forward(features))
        loss = nn.functional.cross_entropy(logits.float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("name", sorted(TINY))
def test_a_compiled_network_trains_as_the_plain_one(name):
    """One step gives the same weights and batch statistics; over more steps rounding errors grow, in both."""
    plain = build(name)
    network = copy.deepcopy(plain)
    torch.compiler.reset()
    compiled = torch.compile(network)
    expected, found = (train(*both, torch.float32, steps=1) for both in ((plain, plain), (network, compiled)))
    assert found == pytest.approx(expected, rel=1e-5)
    for key, value in plain.state_dict().items():  # the same keys, and batch statistics are kept
        assert torch.allclose(network.state_dict()[key].float(), value.float(), rtol=1e-4, atol=1e-5), key
    further = train(network, compiled, torch.float32, steps=4)
    assert further[-1] < 0.7 * expected[0]  # it learns


@pytest.mark.slow
@needs_compiler
def test_a_compiled_network_trains_under_autocast():
    network = build("EcapaTdnn")
    torch.compiler.reset()
    losses = train(network, torch.compile(network), torch.bfloat16, steps=5)
    expected = train(plain := build("EcapaTdnn"), plain, torch.bfloat16, steps=5)
    assert losses == pytest.approx(expected, rel=0.1)


@pytest.mark.slow
@needs_compiler
def test_a_compiled_network_embeds_as_the_plain_one():
    """Of any length: the graph is compiled for a second one, and must serve a third."""
    network = build("EcapaTdnn").eval()
    torch.compiler.reset()
    compiled = torch.compile(network, dynamic=True)
    generator = torch.Generator().manual_seed(9)
    with torch.inference_mode():
        for frames in (40, 61, 123):
            features = torch.randn(1, frames, 24, generator=generator)
            expected = network(features)
            assert (compiled(features) - expected).norm() <= 1e-5 * expected.norm()
