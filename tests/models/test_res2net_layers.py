"""The shared blocks against their definitions, group by group and point by point."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from mvector.errors import ConfigError
from mvector.models.res2net_layers import AttentionalFusion, ConvolvedBlock, FusedBlock, Res2Block, clipped_relu

KINDS = (Res2Block, ConvolvedBlock, FusedBlock)


def with_statistics(module: nn.Module) -> nn.Module:
    """`module` in evaluation mode with batch norms that do something."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.running_mean, -0.5, 0.5)
            nn.init.uniform_(norm.running_var, 0.5, 2)
            nn.init.uniform_(norm.bias, -0.5, 0.5)
    return module.double().eval()


def test_clipped_relu():
    x = torch.tensor([-3.0, 0.0, 0.5, 20.0, 21.0])
    assert clipped_relu(x).tolist() == [0.0, 0.0, 0.5, 20.0, 20.0]


def test_fusion_weighs_every_point_on_its_own():
    fusion = with_statistics(AttentionalFusion(8))
    x, y = torch.randn(2, 2, 8, 3, 5, dtype=torch.float64)
    fused = fusion(x, y)
    reduce, reduce_norm, _, restore, restore_norm = fusion.local_att
    for d in range(3):
        for f in range(5):
            point = torch.cat([x[:, :, d, f], y[:, :, d, f]], dim=1)
            hidden = point @ reduce.weight.squeeze().T + reduce.bias
            hidden = (hidden - reduce_norm.running_mean) / (reduce_norm.running_var + reduce_norm.eps).sqrt()
            hidden = functional.silu(hidden * reduce_norm.weight + reduce_norm.bias)
            scores = hidden @ restore.weight.squeeze().T + restore.bias
            scores = (scores - restore_norm.running_mean) / (restore_norm.running_var + restore_norm.eps).sqrt()
            weights = 1 + torch.tanh(scores * restore_norm.weight + restore_norm.bias)
            expected = x[:, :, d, f] * weights + y[:, :, d, f] * (2 - weights)
            torch.testing.assert_close(fused[:, :, d, f], expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("in_channels", "stride"), [(16, 1), (32, 1), (32, 2)])
def test_block_is_the_published_chain_of_groups(kind, in_channels, stride):
    block = with_statistics(kind(in_channels, planes=16, stride=stride, base_width=28, scale=4, expansion=2))
    x = 3 * torch.randn(2, in_channels, 7, 9, dtype=torch.float64)
    y = block.bn1(functional.conv2d(x, block.conv1.weight, stride=stride)).clamp(0, 20)
    first, second, third, last = y.split(7, dim=1)  # 28 · 16 / 64 channels

    def convolved(i, group):
        return block.bns[i](functional.conv2d(group, block.convs[i].weight, padding=1)).clamp(0, 20)

    def joined(i, previous, group):
        return block.fuse_models[i - 1](previous, group) if kind is FusedBlock else previous + group

    outputs = [convolved(0, first)]
    outputs.append(convolved(1, joined(1, outputs[0], second)))
    outputs.append(convolved(2, joined(2, outputs[1], third)))
    outputs.append(last if kind is Res2Block else convolved(3, joined(3, outputs[2], last)))
    y = block.bn3(functional.conv2d(torch.cat(outputs, dim=1), block.conv3.weight))
    if in_channels == 32 and stride == 1:
        assert len(block.shortcut) == 0
        residual = x
    else:
        conv, norm = block.shortcut
        residual = norm(functional.conv2d(x, conv.weight, stride=stride))
    torch.testing.assert_close(block(x), (y + residual).clamp(0, 20))


@pytest.mark.parametrize("kind", KINDS)
def test_training_in_place_gives_the_gradients_of_finite_differences(kind):
    block = kind(8, planes=8, stride=1, base_width=32, scale=2, expansion=1).double().train()
    x = torch.randn(2, 8, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(block, (x,), eps=1e-7, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (Res2Block, {"scale": 1}, "scale 1 has no channels to convolve"),
        (ConvolvedBlock, {"scale": 0}, "scale 0 has no channels to convolve"),
        (ConvolvedBlock, {"base_width": 3}, "16 planes with base_width 3 and scale 2 has no channels"),
        (
            FusedBlock,
            {"base_width": 12},
            "at least 4 channels, found 3: give a larger m_channels, base_width or expansion",
        ),
    ],
)
def test_blocks_without_channels_are_refused(kind, arguments, message):
    with pytest.raises(ConfigError, match=message):
        kind(**{"in_channels": 8, "planes": 16, "stride": 1, "base_width": 32, "scale": 2, "expansion": 2, **arguments})
