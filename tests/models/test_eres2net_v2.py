import pytest
import torch

from mvector.errors import ConfigError
from mvector.models import ERes2NetV2
from mvector.registry import POOLINGS

SMALL = {"m_channels": 4, "num_blocks": (1, 1, 2, 1), "embd_dim": 8}


@pytest.mark.parametrize(
    ("arguments", "parameters", "entries"),
    [
        ({}, 5_458_202, 557),
        ({"m_channels": 64}, 17_859_632, 557),
        ({"m_channels": 64, "base_width": 24, "scale": 4, "expansion": 4}, 53_513_632, 1001),
    ],
)
def test_parameter_count_of_every_published_size(arguments, parameters, entries):
    with torch.device("meta"):
        model = ERes2NetV2(80, **arguments)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert len(model.state_dict()) == entries


@pytest.mark.parametrize("base_width", [14, 26, 48])
@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("expansion", [1, 2, 4])
def test_widths(base_width, scale, expansion):
    model = ERes2NetV2(24, **{**SMALL, "m_channels": 8}, base_width=base_width, scale=scale, expansion=expansion)
    width = 8 * base_width // 64
    assert model.layer1[0].conv1.out_channels == width * scale
    assert model.maps(torch.randn(2, 8, 24, 17)).shape == (2, 64 * expansion, 3, 3)
    assert model(torch.randn(2, 17, 24)).shape == (2, 8)


@pytest.mark.parametrize("bins", [1, 7, 8, 9, 40, 41, 72, 83])
def test_any_number_of_bins(bins):
    assert ERes2NetV2(bins, **SMALL).eval()(torch.randn(1, 20, bins)).shape == (1, 8)


@pytest.mark.parametrize("two_emb_layer", [False, True])
@pytest.mark.parametrize("pooling_type", POOLINGS.names())
def test_every_pooling_trains(pooling_type, two_emb_layer):
    model = ERes2NetV2(20, pooling_type=pooling_type, two_emb_layer=two_emb_layer, **SMALL).train()
    embeddings = model(torch.randn(3, 25, 20))
    embeddings.square().sum().backward()
    assert embeddings.shape == (3, 8)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_only_the_last_two_stages_are_fused():
    model = ERes2NetV2(24, **SMALL).eval()
    x = torch.randn(2, 4, 24, 17)
    stage3 = model.layer3(model.layer2(model.layer1(x)))
    weights = model.fuse34.local_att(torch.cat([model.layer4(stage3), model.layer3_ds(stage3)], dim=1)).tanh()
    expected = model.layer4(stage3) * (1 + weights) + model.layer3_ds(stage3) * (1 - weights)
    torch.testing.assert_close(model.maps(x), expected, rtol=1e-4, atol=1e-5)


def test_wrong_arguments():
    with pytest.raises(ConfigError, match=r"four stages at least one block each, found \[3, 4, 6\]"):
        ERes2NetV2(20, **{**SMALL, "num_blocks": (3, 4, 6)})
    with pytest.raises(ConfigError, match="base_width 8 and scale 2 has no channels to convolve"):
        ERes2NetV2(20, **SMALL, base_width=8)


@pytest.mark.slow
def test_export_takes_any_number_of_frames_and_utterances():
    model = ERes2NetV2(20, **{**SMALL, "num_blocks": (1, 1, 1, 1)}).eval()
    dynamic = torch.export.Dim.DYNAMIC
    example = (torch.randn(2, 50, 20),)
    program = torch.export.export(model, example, dynamic_shapes=({0: dynamic, 1: dynamic},), strict=False)
    for batch, frames in [(1, 133), (3, 9), (2, 16)]:
        x = torch.randn(batch, frames, 20)
        torch.testing.assert_close(program.module()(x), model(x))
