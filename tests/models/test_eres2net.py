import pytest
import torch

from mvector.errors import ConfigError
from mvector.models import ERes2Net
from mvector.registry import POOLINGS

SMALL = {"m_channels": 4, "num_blocks": (1, 1, 2, 1), "embd_dim": 8}
HUGE = {"m_channels": 64, "base_width": 24, "scale": 3, "expansion": 4}


@pytest.mark.parametrize(
    ("arguments", "parameters", "entries"),
    [
        ({}, 6_610_688, 587),
        ({"embd_dim": 512}, 9_887_808, 587),
        ({"m_channels": 64}, 22_462_784, 587),
        ({"m_channels": 64, "embd_dim": 512}, 29_016_704, 587),
        (HUGE, 55_165_024, 809),
    ],
)
def test_parameter_count_of_every_published_size(arguments, parameters, entries):
    with torch.device("meta"):
        model = ERes2Net(80, **arguments)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert len(model.state_dict()) == entries


@pytest.mark.parametrize("widths", [{}, {"base_width": 24, "scale": 3, "expansion": 4}, {"scale": 1, "expansion": 1}])
def test_widths(widths):
    model = ERes2Net(24, **{**SMALL, "m_channels": 16, **widths})
    channels = 8 * 16 * widths.get("expansion", 2)
    assert model.maps(torch.randn(2, 16, 24, 30)).shape == (2, channels, 3, 4)
    assert model(torch.randn(2, 30, 24)).shape == (2, 8)


@pytest.mark.parametrize("bins", [1, 7, 8, 9, 40, 41, 72, 83])
def test_any_number_of_bins(bins):
    assert ERes2Net(bins, **SMALL).eval()(torch.randn(1, 20, bins)).shape == (1, 8)


@pytest.mark.parametrize("two_emb_layer", [False, True])
@pytest.mark.parametrize("pooling_type", POOLINGS.names())
def test_every_pooling_trains(pooling_type, two_emb_layer):
    model = ERes2Net(20, pooling_type=pooling_type, two_emb_layer=two_emb_layer, **SMALL).train()
    embeddings = model(torch.randn(3, 25, 20))
    embeddings.square().sum().backward()
    assert embeddings.shape == (3, 8)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_pooling_takes_its_own_arguments():
    model = ERes2Net(20, pooling_args={"epsilon": 4.0}, **SMALL).eval()
    constant = torch.ones(1, model.seg_1.in_features // 2, 3)
    assert model.pool(constant)[0, -1] == 2


def test_second_embedding_layer_follows_the_first():
    model = ERes2Net(20, two_emb_layer=True, **SMALL).eval()
    model.seg_bn_1.running_mean.uniform_(-1, 1)
    first = ERes2Net(20, **SMALL).eval()
    first.load_state_dict({key: value for key, value in model.state_dict().items() if key in first.state_dict()})
    features = torch.randn(2, 25, 20)
    hidden = (first(features).relu() - model.seg_bn_1.running_mean) / (1 + model.seg_bn_1.eps) ** 0.5
    torch.testing.assert_close(model(features), hidden @ model.seg_2.weight.T + model.seg_2.bias, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pooling_type": "TSTO"}, "unknown pooling 'TSTO'.*Did you mean 'TSTP'"),
        ({"pooling_args": {"epsilom": 1e-8}}, "TSTP takes no argument 'epsilom'.*Did you mean 'epsilon'"),
        ({"num_blocks": (3, 4, 6)}, r"four stages at least one block each, found \[3, 4, 6\]"),
        ({"num_blocks": (3, 0, 6, 3)}, r"four stages at least one block each, found \[3, 0, 6, 3\]"),
        ({"m_channels": 1}, "base_width 32 and scale 2 has no channels to convolve"),
        ({"m_channels": 1, "base_width": 64, "expansion": 1}, "at least 4 channels, found 2"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ConfigError, match=message):
        ERes2Net(20, **{**SMALL, **arguments})


@pytest.mark.slow
def test_export_takes_any_number_of_frames_and_utterances():
    model = ERes2Net(20, **{**SMALL, "num_blocks": (1, 1, 1, 1)}).eval()
    dynamic = torch.export.Dim.DYNAMIC
    example = (torch.randn(2, 50, 20),)
    program = torch.export.export(model, example, dynamic_shapes=({0: dynamic, 1: dynamic},), strict=False)
    for batch, frames in [(1, 133), (3, 9), (2, 16)]:
        x = torch.randn(batch, frames, 20)
        torch.testing.assert_close(program.module()(x), model(x))
