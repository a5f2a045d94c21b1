"""SimAM-ResNet against published counts and formulas written as loops."""

import math

import pytest
import torch
from torch.nn import functional

from mvector.errors import ConfigError
from mvector.models.simam_resnet import MapAttention, SimAMBlock, SimAMResNet, simam


@pytest.mark.parametrize(("depth", "parameters", "entries"), [(34, 25_213_760, 227), (100, 50_232_896, 623)])
def test_parameters_and_entries(depth, parameters, entries):
    with torch.device("meta"):
        model = SimAMResNet(80, depth=depth)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert len(model.state_dict()) == entries


def test_gates_of_every_map_are_those_of_the_paper():
    x = 3 + torch.randn(2, 3, 4, 5)
    y = simam(x)
    for utterance, gated in zip(x.double(), y, strict=True):
        for values, ours in zip(utterance.flatten(1).tolist(), gated.flatten(1).tolist(), strict=True):
            mean = sum(values) / 20
            variance = sum((value - mean) ** 2 for value in values) / 19
            energy_inverse = [((value - mean) ** 2 + 2 * variance + 2e-4) / (4 * (variance + 1e-4)) for value in values]
            expected = [value / (1 + math.exp(-e)) for value, e in zip(values, energy_inverse, strict=True)]
            assert ours == pytest.approx(expected, rel=1e-5)


def test_gates_of_a_single_point():
    x = torch.tensor([2.0, -3.0]).reshape(1, 2, 1, 1)
    torch.testing.assert_close(simam(x), x / (1 + math.exp(-0.5)))


def test_block_adds_the_gated_map_to_the_shortcut():
    block = SimAMBlock(3, 5, stride=2).eval()
    x = torch.randn(2, 3, 7, 9)
    inner = block.bn2(functional.conv2d(block.bn1(block.conv1(x)).clamp_min(0), block.conv2.weight, padding=1))
    shortcut = functional.conv2d(x, block.downsample[0].weight, stride=2) / math.sqrt(1 + 1e-5)
    torch.testing.assert_close(block(x), (simam(inner) + shortcut).clamp_min(0), rtol=1e-4, atol=1e-6)


def test_attention_is_the_published_one():
    torch.manual_seed(0)
    pooling = MapAttention(6).double()
    with torch.no_grad():
        for value in pooling.state_dict().values():
            if value.is_floating_point():
                value.uniform_(0.2, 2)
    pooling.eval()
    state = pooling.state_dict(prefix="pooling.")
    x = torch.randn(2, 6, 11, dtype=torch.float64)
    hidden = functional.conv1d(x, *(state[f"pooling.attention.0.{n}"] for n in ("weight", "bias"))).relu()
    norm = [state[f"pooling.attention.2.{n}"] for n in ("running_mean", "running_var", "weight", "bias")]
    hidden = functional.batch_norm(hidden, *norm)
    weights = functional.conv1d(hidden, *(state[f"pooling.attention.3.{n}"] for n in ("weight", "bias"))).softmax(2)
    mean = (weights * x).sum(2)
    deviation = ((weights * x.square()).sum(2) - mean.square()).clamp_min(1e-5).sqrt()
    torch.testing.assert_close(pooling(x), torch.cat([mean, deviation], dim=1))


@pytest.mark.parametrize("bins", [8, 20, 41])
def test_any_number_of_bins_from_one_frame_on(bins):
    model = SimAMResNet(bins, 6, m_channels=2).eval()
    for frames in (1, 8, 30):
        embedding = model(torch.randn(1, frames, bins))
        assert embedding.shape == (1, 6)
        assert embedding.isfinite().all()


def test_dropout_is_for_training_only():
    torch.manual_seed(0)
    model = SimAMResNet(16, 6, m_channels=2, dropout=0.5)
    features = torch.randn(2, 20, 16)
    assert not torch.equal(model(features), model(features))
    model.eval()
    assert torch.equal(model(features), model(features))


def test_unknown_depth():
    with pytest.raises(ConfigError, match="no depth 50; choose 34 or 100"):
        SimAMResNet(80, depth=50)
