import pytest
import torch
from torch.nn import functional

from mvector.errors import ConfigError
from mvector.models import TDNN
from mvector.models.layers import repeat_up_to
from mvector.registry import POOLINGS

SMALL = {"embd_dim": 6, "channels": 16}


# Counted in the mvector package.
@pytest.mark.parametrize(
    ("bins", "arguments", "parameters"),
    [
        (80, {}, 2_770_880),
        (80, {"pooling_type": "SAP"}, 2_540_224),
        (80, {"pooling_type": "TAP"}, 2_408_512),
        (80, {"pooling_type": "TSP"}, 2_507_840),
        (40, {"channels": 256, "embd_dim": 128}, 777_472),
    ],
)
def test_parameter_count(bins, arguments, parameters):
    with torch.device("meta"):
        model = TDNN(bins, **arguments)
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize("pooling_type", POOLINGS.names())
def test_any_pooling_trains(pooling_type):
    model = TDNN(23, pooling_type=pooling_type, **SMALL).train()
    embeddings = model(torch.randn(3, 25, 23))
    embeddings.square().sum().backward()
    assert embeddings.shape == (3, 6)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_pooling_takes_its_arguments():
    model = TDNN(23, pooling_args={"attention_channels": 5, "global_context": False}, **SMALL)
    assert model.pooling.tdnn.conv.conv.weight.shape == (5, 16, 1)
    with pytest.raises(ConfigError, match=r"unknown pooling 'ASPP'.*Did you mean 'ASP'"):
        TDNN(23, pooling_type="ASPP", **SMALL)


def written_out(model: TDNN, features: torch.Tensor) -> torch.Tensor:
    """The network in evaluation mode with average pooling, step by step over its state dict."""
    weights = model.state_dict()

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        statistics = (weights[f"{name}.running_mean"], weights[f"{name}.running_var"])
        return functional.batch_norm(x, *statistics, weights[f"{name}.weight"], weights[f"{name}.bias"])

    x = features.transpose(1, 2)
    for i, dilation in enumerate((1, 2, 3, 1, 1), start=1):
        layer = f"td_layer{i}"
        x = functional.conv1d(x, weights[f"{layer}.weight"], weights[f"{layer}.bias"], dilation=dilation).relu()
        if i < 5:
            x = norm(x, f"bn{i}")
    x = norm(x.mean(2), "bn5")
    return norm(functional.linear(x, weights["linear.weight"], weights["linear.bias"]), "bn6")


@pytest.fixture
def trained() -> TDNN:
    """With batch-norm statistics that differ from the initial ones, in evaluation mode."""
    torch.manual_seed(3)
    model = TDNN(23, pooling_type="TAP", **SMALL).train()
    with torch.no_grad():
        model(3 * torch.randn(8, 40, 23))
    return model.eval()


@pytest.mark.parametrize("frames", [15, 16, 50])
def test_convolutions_are_not_padded(trained, frames):
    features = torch.randn(2, frames, 23)
    with torch.no_grad():
        torch.testing.assert_close(trained(features), written_out(trained, features), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("frames", "times"), [(14, 2), (8, 2), (7, 3), (1, 15)])
def test_fewer_frames_than_the_context_are_repeated(trained, frames, times):
    features = torch.randn(2, frames, 23)
    repeated = torch.cat([features] * times, dim=1)
    with torch.no_grad():
        torch.testing.assert_close(trained(features), written_out(trained, repeated), rtol=1e-4, atol=1e-5)


def test_repetition_stops_as_soon_as_there_is_enough():
    for frames in range(1, 40):
        count = repeat_up_to(torch.zeros(1, frames, 1), 15).shape[1]
        assert count == next(n for n in range(frames, 60, frames) if n >= 15)


@pytest.mark.slow
def test_export_takes_any_number_of_frames_from_16_on():
    model = TDNN(23, **SMALL).eval()
    frames = torch.export.Dim("frames", min=16, max=5000)
    program = torch.export.export(model, (torch.randn(2, 50, 23),), dynamic_shapes=({1: frames},), strict=False)
    for count in (16, 133):
        x = torch.randn(2, count, 23)
        torch.testing.assert_close(program.module()(x), model(x))
