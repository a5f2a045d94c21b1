"""Both forms of Res2Net."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from mvector.errors import ConfigError
from mvector.models import Res2Net, Res2Net34
from mvector.models.res2net import Bottleneck
from mvector.registry import POOLINGS

SMALL = {"m_channels": 4, "layers": (1, 2, 1, 1), "embd_dim": 8}
SMALL34 = {"m_channels": 4, "num_blocks": (1, 2, 1, 1), "embd_dim": 8}


@pytest.mark.parametrize(
    ("bins", "arguments", "parameters", "entries"),
    [
        (80, {}, 5_611_840, 339),
        (80, {"pooling_type": "SAP"}, 4_689_984, 334),
        (80, {"pooling_type": "TAP"}, 4_163_520, 330),
        (80, {"pooling_type": "TSP", "scale": 4}, 8_322_880, 522),
        (64, {"m_channels": 64, "embd_dim": 256}, 19_225_984, 339),
    ],
)
def test_parameter_count_is_that_of_the_mvector_package(bins, arguments, parameters, entries):
    with torch.device("meta"):
        model = Res2Net(bins, **arguments)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert len(model.state_dict()) == entries


@pytest.mark.parametrize(
    ("arguments", "parameters", "entries"),
    [
        ({}, 4_033_600, 320),
        ({"embd_dim": 256}, 4_689_024, 320),
        ({"embd_dim": 256, "m_channels": 64}, 13_481_472, 320),
        ({"pooling_type": "TAP", "m_channels": 48, "num_blocks": (2, 2, 2, 2)}, 4_132_080, 176),
        ({"embd_dim": 256, "pooling_type": "MQMHASTP", "two_emb_layer": True}, 8_698_240, 389),
    ],
)
def test_parameter_count_is_that_of_wespeaker_and_3d_speaker(arguments, parameters, entries):
    with torch.device("meta"):
        model = Res2Net34(80, **arguments)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert len(model.state_dict()) == entries


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize(("stride", "scale"), [(1, 4), (2, 4), (2, 2), (1, 1)])
def test_block_is_the_published_chain_of_groups(first, stride, scale):
    if not first:
        stride = 1  # only the first block of a stage has a stride
    block = Bottleneck(16 if first else 64, planes=16, stride=stride, base_width=28, scale=scale, first=first)
    for norm in block.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.running_mean, -0.5, 0.5)
    block = block.double().eval()
    x = torch.randn(2, 16 if first else 64, 7, 9, dtype=torch.float64)
    groups = block.bn1(functional.conv2d(x, block.conv1.weight)).clamp_min(0).split(7, dim=1)
    outputs = []
    for i in range(max(scale - 1, 1)):
        group = groups[i] if first or i == 0 else groups[i] + outputs[i - 1]
        convolved = functional.conv2d(group, block.convs[i].weight, stride=stride, padding=1)
        outputs.append(block.bns[i](convolved).clamp_min(0))
    if scale > 1 and first:  # the mean of nine neighbours, zeros beyond the border included
        ones = torch.ones(7, 1, 3, 3, dtype=torch.float64)
        outputs.append(functional.conv2d(groups[-1], ones, stride=stride, padding=1, groups=7) / 9)
    elif scale > 1:
        outputs.append(groups[-1])
    y = block.bn3(functional.conv2d(torch.cat(outputs, dim=1), block.conv3.weight))
    residual = x
    if first:
        conv, norm = block.downsample
        residual = norm(functional.conv2d(x, conv.weight, stride=stride))
    torch.testing.assert_close(block(x), (y + residual).clamp_min(0))


def test_any_number_of_bins():
    for bins in [*range(5, 60), 64, 72, 80, 81, 96, 100, 128, 161]:
        model = Res2Net(bins, m_channels=2, layers=(1, 1, 1, 1), embd_dim=4, pooling_type="TAP").eval()
        assert model(torch.randn(1, 7, bins)).shape == (1, 4), bins
    for bins in (1, 7, 8, 9, 40, 41, 72, 83):
        assert Res2Net34(bins, **SMALL34).eval()(torch.randn(1, 20, bins)).shape == (1, 8), bins


@pytest.mark.parametrize("pooling_type", POOLINGS.names())
def test_every_pooling_trains(pooling_type):
    model = Res2Net(40, pooling_type=pooling_type, **SMALL).train()
    embeddings = model(torch.randn(3, 25, 40))
    embeddings.square().sum().backward()
    assert embeddings.shape == (3, 8)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("two_emb_layer", [False, True])
@pytest.mark.parametrize("pooling_type", POOLINGS.names())
def test_every_pooling_of_the_other_form_trains(pooling_type, two_emb_layer):
    model = Res2Net34(20, pooling_type=pooling_type, two_emb_layer=two_emb_layer, **SMALL34).train()
    embeddings = model(torch.randn(3, 25, 20))
    embeddings.square().sum().backward()
    assert embeddings.shape == (3, 8)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Res2Net(4, **SMALL), "features of at least 5 bins, found 4"),
        (lambda: Res2Net(20, **{**SMALL, "layers": (3, 4, 6)}), r"at least one block each, found \[3, 4, 6\]"),
        (lambda: Res2Net(20, **SMALL, base_width=8), "base_width 8 and scale 2 has no channels to convolve"),
        (lambda: Res2Net(20, **SMALL, scale=0), "scale 0 has no channels to convolve"),
        (lambda: Res2Net(20, **SMALL, pooling_type="APS"), "unknown pooling 'APS'"),
        (lambda: Res2Net34(20, **SMALL34, scale=1), "scale 1 has no channels to convolve"),
        (lambda: Res2Net34(20, **{**SMALL34, "num_blocks": (3,)}), r"at least one block each, found \[3\]"),
    ],
)
def test_wrong_arguments(build, message):
    with pytest.raises(ConfigError, match=message):
        build()


@pytest.mark.slow
@pytest.mark.parametrize("form", [Res2Net, Res2Net34])
def test_export_takes_any_number_of_frames_and_utterances(form):
    model = form(40, **(SMALL if form is Res2Net else SMALL34)).eval()
    dynamic = torch.export.Dim.DYNAMIC
    example = (torch.randn(2, 200, 40),)
    program = torch.export.export(model, example, dynamic_shapes=({0: dynamic, 1: dynamic},), strict=False)
    for batch, frames in [(1, 333), (3, 100), (2, 80)]:
        x = torch.randn(batch, frames, 40)
        torch.testing.assert_close(program.module()(x), model(x))
