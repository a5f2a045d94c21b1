import pytest
import torch
from torch import nn

from mvector.errors import ConfigError
from mvector.models import XVector
from mvector.registry import POOLINGS

SMALL = {"embd_dim": 6, "channels": 16, "stats_channels": 24}


# Counted in WeSpeaker and 3D-Speaker.
@pytest.mark.parametrize(
    ("bins", "arguments", "parameters"),
    [
        (80, {}, 4_610_524),
        (40, {}, 4_508_124),
        (80, {"two_emb_layer": False}, 4_347_868),
        (80, {"pooling_type": "TAP"}, 3_842_524),
        (80, {"pooling_type": "TSDP"}, 3_842_524),
        (80, {"pooling_type": "ASTP"}, 4_996_152),
        (80, {"pooling_type": "MQMHASTP", "stats_channels": 1504}, 6_545_824),
        (40, {"channels": 256, "stats_channels": 600, "embd_dim": 128}, 835_416),
    ],
)
def test_parameter_count(bins, arguments, parameters):
    with torch.device("meta"):
        model = XVector(bins, **arguments)
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize("pooling_type", POOLINGS.names())
def test_any_pooling_trains(pooling_type):
    model = XVector(23, pooling_type=pooling_type, **SMALL).train()
    embeddings = model(torch.randn(3, 25, 23))
    embeddings.square().sum().backward()
    assert embeddings.shape == (3, 6)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def randomised(**arguments) -> XVector:
    torch.manual_seed(3)
    model = XVector(23, **SMALL, **arguments).train()
    with torch.no_grad():
        model(3 * torch.randn(8, 40, 23))
    return model.eval()


def frames_of_plain_layers(model: XVector, features: torch.Tensor) -> torch.Tensor:
    """What is pooled, in float64, as one matrix product for every window of 15 frames."""
    layers = [getattr(model, f"frame_{i}").double() for i in range(1, 6)]
    outputs = []
    for start in range(features.shape[1] - 14):
        x = features[:, start : start + 15].double()  # [B, 15, D]
        for layer, (kernel, dilation) in zip(layers, ((5, 1), (3, 2), (3, 3), (1, 1), (1, 1)), strict=True):
            kept = x.shape[1] - dilation * (kernel - 1)
            taps = torch.stack([x[:, k * dilation : k * dilation + kept] for k in range(kernel)], dim=3)
            x = torch.einsum("bfck,dck->bfd", taps, layer.conv_1d.weight) + layer.conv_1d.bias
            x = (x.relu() - layer.bn.running_mean) / (layer.bn.running_var + 1e-5).sqrt()
        outputs.append(x.squeeze(1))
    model.float()
    return torch.stack(outputs, dim=2)


@pytest.mark.parametrize("frames", [16, 30])
def test_two_embedding_layers_after_the_statistics_of_all_windows(frames):
    model = randomised()
    features = torch.randn(2, frames, 23)
    with torch.no_grad():
        x = frames_of_plain_layers(model, features)
        statistics = torch.cat([x.mean(2), (x.var(2) + 1e-7).sqrt()], dim=1).float()
        hidden = model.seg_1(statistics).relu()
        norm = model.seg_bn_1
        expected = model.seg_2((hidden - norm.running_mean) / (norm.running_var + norm.eps).sqrt())
        torch.testing.assert_close(model(features), expected, rtol=1e-4, atol=1e-5)


def test_one_embedding_layer_ends_in_the_first():
    model = randomised(two_emb_layer=False, pooling_type="TAP")
    features = torch.randn(2, 20, 23)
    with torch.no_grad():
        expected = model.seg_1(frames_of_plain_layers(model, features).mean(2).float())
        torch.testing.assert_close(model(features), expected, rtol=1e-4, atol=1e-5)
    assert not hasattr(model, "seg_2")


def test_a_single_window_has_the_deviation_of_silence():
    model = randomised(pooling_args={"epsilon": 0.25})
    seen = []
    model.pool.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    model(torch.randn(2, 15, 23))
    torch.testing.assert_close(seen[0][:, 24:], torch.full((2, 24), 0.5))


@pytest.mark.parametrize(("frames", "times"), [(14, 2), (5, 3), (1, 15)])
def test_fewer_frames_than_a_window_are_repeated(frames, times):
    model = randomised()
    features = torch.randn(2, frames, 23)
    with torch.no_grad():
        torch.testing.assert_close(model(features), model(torch.cat([features] * times, dim=1)))


def test_norms_of_frames_have_no_parameters():
    norms = [module for module in XVector(23, **SMALL).modules() if isinstance(module, nn.BatchNorm1d)]
    assert len(norms) == 6
    assert not any(list(norm.parameters()) for norm in norms)


def test_a_misspelt_pooling_argument_is_refused():
    with pytest.raises(ConfigError, match=r"TSTP takes no argument 'epsilonn'.*Did you mean 'epsilon'"):
        XVector(23, pooling_args={"epsilonn": 1e-8})
