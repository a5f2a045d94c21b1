import pytest
import torch

from mvector.errors import ConfigError
from mvector.models import EcapaTdnn
from mvector.registry import POOLINGS

SMALL = {"channels": (16, 16, 16, 16, 48), "embd_dim": 8, "attention_channels": 8, "se_channels": 8}


@pytest.mark.parametrize(
    ("bins", "arguments", "parameters"),
    [(80, {}, 6_194_048), (80, {"channels": (1024, 1024, 1024, 1024, 3072)}, 20_767_552)],
)
def test_parameter_count(bins, arguments, parameters):
    with torch.device("meta"):
        model = EcapaTdnn(bins, **arguments)
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize("pooling_type", POOLINGS.names())
def test_every_pooling_trains(pooling_type):
    model = EcapaTdnn(20, pooling_type=pooling_type, **SMALL).train()
    embeddings = model(torch.randn(3, 25, 20))
    embeddings.square().sum().backward()
    assert embeddings.shape == (3, 8)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_a_change_of_width_has_a_projected_shortcut():
    model = EcapaTdnn(20, **{**SMALL, "channels": (8, 16, 16, 24, 32)})
    assert model.blocks[1].shortcut is not None
    assert model.blocks[2].shortcut is None
    assert model.mfa.conv.conv.in_channels == 16 + 16 + 24
    assert model(torch.randn(2, 10, 20)).shape == (2, 8)


def test_min_frames_follows_kernels_and_dilations():
    arguments = {**SMALL, "kernel_sizes": (5, 3, 3, 5, 1), "dilations": (1, 2, 3, 4, 1)}
    model = EcapaTdnn(20, **arguments).eval()
    assert model.min_frames == 9
    assert model(torch.randn(1, 9, 20)).isfinite().all()
    assert EcapaTdnn(20, **SMALL).min_frames == 5


def test_global_context_can_be_left_out():
    model = EcapaTdnn(20, global_context=False, **SMALL)
    assert model.asp.tdnn.conv.conv.in_channels == 48
    assert model(torch.randn(2, 10, 20)).shape == (2, 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pooling_type": "ASPP"}, "unknown pooling 'ASPP'.*Did you mean 'ASP'"),
        ({"channels": (16, 16, 16, 48)}, "same number of entries.*found 4, 5 and 5"),
        ({"channels": (16, 16, 20, 16, 48)}, r"channels \(20\) must be a multiple of res2net_scale \(8\)"),
        ({"kernel_sizes": (5, 2, 3, 3, 1)}, "odd kernel size, found 2"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ConfigError, match=message):
        EcapaTdnn(20, **{**SMALL, **arguments})


@pytest.mark.slow
def test_export_takes_any_number_of_frames():
    model = EcapaTdnn(20, **SMALL).eval()
    frames = torch.export.Dim("frames", min=model.min_frames, max=5000)
    program = torch.export.export(model, (torch.randn(2, 50, 20),), dynamic_shapes=({1: frames},), strict=False)
    x = torch.randn(2, 133, 20)
    torch.testing.assert_close(program.module()(x), model(x))
