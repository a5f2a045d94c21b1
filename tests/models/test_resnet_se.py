"""ResNetSE against the published count and its parts written out."""

import pytest
import torch
from torch.nn import functional

from mvector.errors import ConfigError
from mvector.models.resnet_se import ChannelGates, ResNetSE, SEBottleneck
from mvector.registry import POOLINGS


def test_parameters_and_entries():
    with torch.device("meta"):
        model = ResNetSE(80)
    assert sum(p.numel() for p in model.parameters()) == 9_123_896
    assert len(model.state_dict()) == 403


def test_gates_come_from_the_mean_of_each_channel():
    gates = ChannelGates(16)
    x = 1 + torch.randn(2, 16, 3, 5)
    first, second = gates.fc[0], gates.fc[2]
    for utterance, y in zip(x, gates(x), strict=True):
        means = torch.stack([channel.mean() for channel in utterance])
        hidden = (first.weight @ means + first.bias).clamp_min(0)
        scale = 1 / (1 + (-(second.weight @ hidden + second.bias)).exp())
        torch.testing.assert_close(y, utterance * scale.reshape(16, 1, 1))


@pytest.mark.parametrize(("in_channels", "stride"), [(5, 1), (8, 2), (8, 1)])
def test_block_is_the_published_one(in_channels, stride):
    block = SEBottleneck(in_channels, 4, stride).eval()
    for name, value in block.state_dict().items():
        if "running_var" in name:
            value.uniform_(0.5, 2)
    x = torch.randn(2, in_channels, 6, 9)
    y = block.bn1(functional.conv2d(x, block.conv1.weight)).clamp_min(0)
    y = block.bn2(functional.conv2d(y, block.conv2.weight, stride=stride, padding=1)).clamp_min(0)
    y = block.se(block.bn3(functional.conv2d(y, block.conv3.weight)))
    if in_channels == 8 and stride == 1:
        assert len(block.downsample) == 0
        shortcut = x
    else:
        conv, norm = block.downsample
        shortcut = norm(functional.conv2d(x, conv.weight, stride=stride))
    torch.testing.assert_close(block(x), (y + shortcut).clamp_min(0))


@pytest.mark.parametrize(
    ("pooling", "options", "per_channel"),
    [("ASP", {"attention_channels": 3}, 2), ("SAP", None, 1), ("TSP", None, 2), ("TAP", None, 1), ("TSTP", None, 2)],
)
def test_poolings_widths_and_depths(pooling, options, per_channel):
    model = ResNetSE(24, 6, pooling, options, layers=(1, 2, 1, 1), num_filters=(4, 6, 8, 10)).eval()
    assert model.linear.in_features == per_channel * 10 * 2 * 3
    assert [len(stage) for stage in (model.layer1, model.layer2, model.layer3, model.layer4)] == [1, 2, 1, 1]
    assert model(torch.randn(2, 20, 24)).shape == (2, 6)


@pytest.mark.parametrize("pooling_type", POOLINGS.names())
def test_every_pooling_trains(pooling_type):
    model = ResNetSE(20, 6, pooling_type, layers=(1, 1, 1, 1), num_filters=(4, 4, 8, 8)).train()
    embeddings = model(torch.randn(3, 25, 20))
    embeddings.square().sum().backward()
    assert embeddings.shape == (3, 6)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("bins", [8, 20, 41])
def test_any_number_of_bins(bins):
    model = ResNetSE(bins, 6, "TSP", layers=(1, 1, 1, 1), num_filters=(4, 4, 4, 4)).eval()
    assert model(torch.randn(1, 20, bins)).shape == (1, 6)


def test_embedding_is_normalised_over_the_batch():
    model = ResNetSE(16, 6, layers=(1, 1, 1, 1), num_filters=(4, 4, 4, 4)).train()
    embeddings = model(torch.randn(8, 20, 16))
    torch.testing.assert_close(embeddings.mean(0), torch.zeros(6), rtol=0, atol=1e-5)
    torch.testing.assert_close(embeddings.var(0, correction=0), torch.ones(6), rtol=1e-2, atol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": (3, 4, 6)}, r"four stages .* blocks \[3, 4, 6\]"),
        ({"num_filters": (32, 64)}, r"four stages .* widths \[32, 64\]"),
        ({"num_filters": (2, 4, 8, 16)}, "at least 8 channels, found 4: widen num_filters"),
        ({"pooling_type": "AXP"}, "unknown pooling 'AXP'"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ConfigError, match=message):
        ResNetSE(80, **arguments)
