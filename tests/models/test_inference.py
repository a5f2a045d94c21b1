"""The copy for inference computes what the network does: exactly in float32, up to rounding in bfloat16."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mvector.models import products
from mvector.models.ecapa_tdnn import SERes2NetBlock
from mvector.models.inference import InferenceCopy, prepared
from mvector.models.layers import FrameConv
from mvector.models.products import PreparedFrameConv, Product, reorders
from mvector.registry import BACKBONES, POOLINGS
from tests.models.test_all_backbones import BINS, small


def with_any_norms(network: nn.Module) -> nn.Module:
    """`network` in evaluation mode, its norms with statistics, scales of both signs, zeros among them, and shifts."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        network.train()(torch.randn(4, 60, BINS, generator=generator))
        for norm in network.modules():
            if isinstance(norm, _BatchNorm) and norm.affine:
                norm.weight.normal_(generator=generator)[0] = 0.0
                norm.bias.normal_(generator=generator)
    return network.eval()


def relative_difference(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float((actual - expected).norm() / expected.norm())


def assert_nearly(network: nn.Module, frames: int) -> None:
    features = torch.randn(2, frames, BINS)
    with torch.inference_mode():
        expected = network(features)
        found = InferenceCopy(torch.bfloat16)(network, features).float()
    assert torch.cosine_similarity(found, expected).min() >= 0.9999


@pytest.mark.parametrize("name", BACKBONES.names())
def test_every_backbone_keeps_its_embeddings(name):
    network = with_any_norms(small(name))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with torch.inference_mode():
        exact = prepared(copy.deepcopy(network), torch.float32)
        for frames in (network.min_frames, network.min_frames + 1, 50, 199):
            features = torch.randn(2, frames, BINS)
            assert relative_difference(exact(features), network(features)) <= 1e-5, frames
    assert_nearly(network, 199)
    assert network.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("name", POOLINGS.names())
def test_every_pooling_keeps_its_embeddings(name):
    network = with_any_norms(small("EcapaTdnn", pooling_type=name))
    features = torch.randn(2, 50, BINS)
    with torch.inference_mode():
        exact = prepared(copy.deepcopy(network), torch.float32)
        assert relative_difference(exact(features), network(features)) <= 1e-5
    assert_nearly(network, 199)


@pytest.mark.parametrize(
    "arguments",
    [
        {"global_context": False},
        {"channels": (16, 24, 16, 32, 32), "res2net_scale": 4},  # blocks with a shortcut
        {"res2net_scale": 1},
        {"kernel_sizes": (3, 5, 1, 3, 3), "dilations": (2, 1, 1, 5, 2)},
    ],
)
def test_every_form_of_ecapa_keeps_its_embeddings(arguments):
    network = with_any_norms(small("EcapaTdnn", **arguments))
    features = torch.randn(2, 50, BINS)
    with torch.inference_mode():
        exact = prepared(copy.deepcopy(network), torch.float32)
        assert relative_difference(exact(features), network(features)) <= 1e-5
    assert_nearly(network, 199)


def test_norms_go_into_the_products():
    def norms(network: nn.Module) -> int:
        return sum(isinstance(module, _BatchNorm) for module in prepared(network, torch.float32).modules())

    with torch.no_grad():
        assert norms(small("ResNet").eval()) == 0
        assert norms(small("ERes2NetV2").eval()) == 0
        assert norms(small("EcapaTdnn").eval()) == 0
        assert norms(small("CAMPPlus").eval()) == 110  # those before ReLU after a sum, and of the one-dimensional part


def test_scores_of_any_size_are_weighed(monkeypatch):
    monkeypatch.setattr("mvector.models.ecapa_inference.LARGEST_SCORE", 0.0)  # the maximum is looked for
    assert_nearly(with_any_norms(small("EcapaTdnn")), 199)


def test_without_the_layout_of_onednn(monkeypatch):
    monkeypatch.setattr(products, "reorders", lambda weight: False)
    assert_nearly(with_any_norms(small("EcapaTdnn")), 199)
    assert_nearly(with_any_norms(small("CAMPPlus")), 199)


@pytest.mark.skipif(not reorders(torch.ones(1, dtype=torch.bfloat16)), reason="needs an x86 CPU with bfloat16")
@pytest.mark.parametrize("after", ["none", "relu", "sigmoid"])
def test_products_in_the_layout_of_onednn_are_rounded_once(after):
    x, weight, bias = torch.randn(3, 7, 40).bfloat16(), torch.randn(24, 40).bfloat16(), 100 * torch.randn(24)
    expected = x.float() @ weight.float().T + bias
    expected = {"none": expected, "relu": expected.relu(), "sigmoid": expected.sigmoid()}[after].bfloat16()
    found = Product(weight.float(), bias, torch.bfloat16, after)(x)
    torch.testing.assert_close(found, expected, rtol=2**-7, atol=1e-4)


@pytest.mark.parametrize("padding_mode", ["reflect", "zeros"])
@pytest.mark.parametrize(("kernel_size", "dilation", "stride"), [(1, 1, 1), (1, 1, 2), (3, 1, 1), (5, 2, 1), (3, 3, 2)])
def test_convolutions_over_frames(kernel_size, dilation, stride, padding_mode):
    conv = FrameConv(6, 8, kernel_size, dilation, stride, padding_mode=padding_mode)
    with torch.inference_mode():
        fast = PreparedFrameConv(conv, torch.float32)
        for frames in (5, 6, 31):
            x = torch.randn(2, frames, 6)
            torch.testing.assert_close(fast(x), conv(x))


def test_the_copy_is_kept_until_something_changes():
    network = small("EcapaTdnn").eval()
    inference = InferenceCopy(torch.bfloat16)
    first = inference.of(network)
    assert inference.of(network) is first
    with torch.no_grad():
        network.fc[0].bias.add_(1.0)
    second = inference.of(network)
    assert second is not first
    block = network.blocks[1]
    network.blocks[1] = SERes2NetBlock(16, 16, 8, 8, 3, 2).eval()
    third = inference.of(network)
    assert third is not second
    network.blocks[1] = block
    assert inference.of(network) is not third
    assert inference.of(small("EcapaTdnn").eval()) is not first


def test_copies_and_pickles_start_afresh():
    network = small("EcapaTdnn").eval()
    inference = InferenceCopy(torch.bfloat16)
    features = torch.randn(1, 50, BINS)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        expected = inference.of(network)(features)
        for other in (copy.deepcopy(inference), pickle.loads(pickle.dumps(inference))):
            assert torch.equal(other.of(network)(features), expected)
