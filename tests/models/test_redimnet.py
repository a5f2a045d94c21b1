import math

import pytest
import torch
from torch import nn

from mvector.errors import ConfigError
from mvector.models import ReDimNet
from mvector.models.redimnet import (
    SIZES,
    AttentionLayer,
    BinGates,
    ChannelNorm,
    ConvNextBlock,
    DimensionReshaping,
    MapToSequence,
    ResidualBlock,
    SelfAttention,
    Size,
    Stage,
)
from mvector.registry import POOLINGS

TINY = Size(2, "convnext", 1, (Stage(1, 1, 1, None), Stage(2, 1, 2, 1)))


# Counted in WeSpeaker.
@pytest.mark.parametrize(
    ("size", "bins", "arguments", "parameters", "entries"),
    [
        ("B0", 60, {}, 1_001_851, 583),
        ("B1", 72, {}, 2_123_481, 353),
        ("B2", 72, {}, 4_888_241, 548),
        ("B3", 72, {}, 3_220_413, 1373),
        ("B4", 72, {}, 6_432_305, 1044),
        ("B5", 72, {}, 7_650_545, 1044),
        ("B6", 72, {}, 15_006_257, 1044),
        ("B0", 24, {}, 402_271, 583),
        ("B3", 80, {}, 3_584_985, 1373),
        ("B6", 96, {"embd_dim": 256}, 18_926_913, 1044),
        ("B2", 72, {"two_emb_layer": True}, 4_925_297, 553),
        ("B4", 72, {"pooling_type": "TSTP"}, 5_250_225, 1040),
        ("B1", 72, {"pooling_type": "TAP", "two_emb_layer": True}, 1_551_289, 354),
        ("B1", 72, {"pooling_type": "MQMHASTP", "two_emb_layer": True}, 2_272_889, 418),
    ],
)
def test_parameters_and_entries(size, bins, arguments, parameters, entries):
    with torch.device("meta"):
        model = ReDimNet(bins, size=size, **arguments)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert len(model.state_dict()) == entries


@pytest.mark.parametrize(
    ("size", "bins", "divisor"),
    [("B0", 62, 4), ("B1", 80, 24), ("B2", 84, 8), ("B3", 70, 8), ("B4", 4, 8), ("B5", 60, 8), ("B6", 80, 12)],
)
def test_bins_that_the_strides_do_not_divide_are_refused(size, bins, divisor):
    with pytest.raises(ConfigError, match=rf"ReDimNet {size} .* a multiple of {divisor}, found {bins};.* published"):
        ReDimNet(bins, size=size)


def test_an_unknown_size_is_refused():
    with pytest.raises(ConfigError, match=r"unknown size 'b2'; there are: B0, .* B6\. Did you mean 'B2'"):
        ReDimNet(72, size="b2")


def test_with_other_bins_than_the_published_the_heads_still_share_the_channels():
    with torch.device("meta"):
        model = ReDimNet(80, size="B2")
    hidden = [m.q_proj.in_features for m in model.modules() if isinstance(m, SelfAttention)]
    assert hidden == [104, 104, 104, 160, 160, 320]  # 16 · 80 / (12, 12, 12, 8, 8, 4), down to multiples of 4


@pytest.mark.parametrize("pooling_type", POOLINGS.names())
def test_any_pooling_trains(pooling_type, monkeypatch):
    monkeypatch.setitem(SIZES, "tiny", TINY)
    model = ReDimNet(8, 6, "tiny", pooling_type, two_emb_layer=True).train()
    embeddings = model(torch.randn(3, 25, 8))
    embeddings.square().sum().backward()
    assert embeddings.shape == (3, 6)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_attention_of_the_pooling_sees_the_utterance_unless_told_otherwise(monkeypatch):
    monkeypatch.setitem(SIZES, "tiny", TINY)
    assert ReDimNet(8, 6, "tiny").pool.linear1.in_channels == 3 * 16
    assert ReDimNet(8, 6, "tiny", pooling_args={"global_context_att": False}).pool.linear1.in_channels == 16


def test_maps_and_sequences_hold_the_same_values():
    x = torch.randn(2, 3, 4, 5)  # channels 3, bins 4
    sequence = MapToSequence()(x)
    for channel in range(3):
        for bin_ in range(4):
            assert torch.equal(sequence[:, bin_ * 3 + channel], x[:, channel, bin_])


def test_every_stage_sees_a_mixture_of_all_before():
    backbone = DimensionReshaping(8, TINY).eval()
    with torch.no_grad():
        for weights in backbone.inputs_weights:
            weights.normal_()
    x = torch.randn(2, 8, 9)
    first = MapToSequence()(backbone.stem(x.unsqueeze(1)))
    second = backbone.stage0(first.reshape(2, 8, 2, 9).transpose(1, 2))
    sequences = [first, second]
    for stage in ("stage1", None):
        weights = backbone.inputs_weights[len(sequences) - 1][0, :, :, 0].exp()  # [sequences, D·C]
        weights = (weights / weights.sum(0)).unsqueeze(2)
        mixed = sum(weight * sequence for weight, sequence in zip(weights, sequences, strict=True))
        if stage:
            sequences.append(backbone.stage1(mixed.reshape(2, 8, 2, 9).transpose(1, 2)))
    torch.testing.assert_close(backbone(x), mixed, rtol=1e-5, atol=1e-6)


def test_new_networks_weigh_all_stages_alike():
    sequences = [torch.randn(2, 16, 5) for _ in range(3)]
    mixed = DimensionReshaping(8, TINY).mixture(sequences)
    torch.testing.assert_close(mixed, torch.stack(sequences).mean(0))


def test_norm_is_over_the_channels_of_each_point():
    norm = ChannelNorm(6)
    with torch.no_grad():
        norm.weight.uniform_(1, 2)
        norm.bias.normal_()
    x = 3 + torch.randn(2, 6, 4, 5)
    y = (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, correction=0) + 1e-6).sqrt()
    expected = y * norm.weight.view(1, 6, 1, 1) + norm.bias.view(1, 6, 1, 1)
    torch.testing.assert_close(norm(x), expected, rtol=1e-4, atol=1e-5)


def test_attention_weighs_frames_by_their_products():
    attention = SelfAttention(8)
    x = torch.randn(2, 7, 8)
    q, k, v = (projection(x) for projection in (attention.q_proj, attention.k_proj, attention.v_proj))
    heads = []
    for head in range(4):
        part = slice(2 * head, 2 * head + 2)
        scores = q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(2)
        heads.append(scores.softmax(2) @ v[..., part])
    torch.testing.assert_close(attention(x), attention.out_proj(torch.cat(heads, dim=2)))


def test_norms_come_after_the_shortcuts():
    layer = AttentionLayer(8)
    x = torch.randn(2, 8, 7)
    with torch.no_grad():
        layer.feed_forward.output_dense.weight.zero_()
        layer.feed_forward.output_dense.bias.zero_()
        layer.attention.out_proj.weight.zero_()
        layer.attention.out_proj.bias.zero_()
        expected = ChannelNorm(8)(x)  # twice, but a second norm changes next to nothing
        torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("gated", [True, False])
def test_residual_block_written_out(gated):
    block = ResidualBlock(6, bins=4, groups=3, gated=gated).eval()
    x = torch.randn(2, 6, 4, 5)
    unit = (1 + 1e-5) ** 0.5  # what an untrained batch norm divides by
    y = torch.relu(block.conv1pw(block.conv1(x))) / unit
    y = block.conv2pw(block.conv2(y)) / unit
    if gated:
        means = y.mean((1, 3))  # [B, D]
        y = y * block.se.exitation(block.se.squeeze(means).relu()).sigmoid().view(2, 1, 4, 1)
    torch.testing.assert_close(block(x), (x + y).relu(), rtol=1e-4, atol=1e-5)
    assert block.conv1.weight.shape == (6, 2, 3, 3)


@pytest.mark.parametrize(("channels", "hidden"), [(10, 32), (40, 40), (128, 64)])
def test_width_of_the_gates_follows_the_channels(channels, hidden):
    block = ResidualBlock(channels, bins=4, groups=channels, gated=True)
    assert isinstance(block.se, BinGates)
    assert block.se.squeeze.out_features == hidden


def test_convnext_block_of_sequences_written_out():
    block = ConvNextBlock(nn.Conv1d, nn.BatchNorm1d, 4, 7, 4).eval()
    x = torch.randn(2, 4, 9)
    padded = torch.cat([torch.zeros(2, 4, 3), x, torch.zeros(2, 4, 3)], dim=2)
    spatial = block.dwconvs[0]
    windows = padded.unfold(2, 7, 1)  # [B, C, F, 7]
    y = (windows * spatial.weight[:, 0].view(1, 4, 1, 7)).sum(3) + spatial.bias.view(1, 4, 1)
    y = y / (1 + 1e-5) ** 0.5
    y = 0.5 * y * (1 + torch.erf(y / math.sqrt(2)))
    torch.testing.assert_close(block(x), x + block.pwconv1(y), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_export_takes_any_number_of_frames(monkeypatch):
    monkeypatch.setitem(SIZES, "tiny", TINY)
    model = ReDimNet(8, 6, "tiny").eval()
    frames = torch.export.Dim("frames", min=2, max=5000)
    program = torch.export.export(model, (torch.randn(2, 50, 8),), dynamic_shapes=({1: frames},), strict=False)
    for count in (2, 133):
        x = torch.randn(2, count, 8)
        torch.testing.assert_close(program.module()(x), model(x))
