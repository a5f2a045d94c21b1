import pytest
import torch
from torch.nn import functional

from mvector.errors import ConfigError
from mvector.models import EcapaTdnnGlob
from mvector.models.ecapa_tdnn_glob import Res2Block, SEGate
from mvector.registry import POOLINGS

SMALL = {"embd_dim": 6, "channels": 16, "mfa_channels": 24}
NO_CONTEXT = {"pooling_args": {"global_context_att": False}}


# Counted in WeSpeaker.
@pytest.mark.parametrize(
    ("bins", "arguments", "parameters", "entries"),
    [
        (80, {}, 6_190_720, 221),
        (80, NO_CONTEXT, 5_797_504, 221),
        (80, {"channels": 1024}, 14_657_088, 221),
        (80, {"channels": 1024, **NO_CONTEXT}, 14_263_872, 221),
        (80, {"emb_bn": True}, 6_191_104, 226),
        (80, {"pooling_type": "TSTP"}, 5_402_624, 217),
        (80, {"pooling_type": "TAP", "emb_bn": True}, 5_105_024, 222),
        (80, {"pooling_type": "MQMHASTP"}, 6_395_904, 281),
        (60, {"channels": 256, **NO_CONTEXT}, 2_911_904, 221),
    ],
)
def test_parameters_and_entries(bins, arguments, parameters, entries):
    with torch.device("meta"):
        model = EcapaTdnnGlob(bins, **arguments)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert len(model.state_dict()) == entries


@pytest.mark.parametrize("pooling_type", POOLINGS.names())
def test_any_pooling_trains(pooling_type):
    model = EcapaTdnnGlob(23, pooling_type=pooling_type, emb_bn=True, **SMALL).train()
    embeddings = model(torch.randn(3, 25, 23))
    embeddings.pow(3).sum().backward()
    assert embeddings.shape == (3, 6)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("dilation", [2, 4])
def test_groups_are_chained_and_the_last_passes_unchanged(dilation):
    block = Res2Block(32, dilation).eval()
    for bn in block.bns:
        bn.running_mean.normal_()
        bn.running_var.uniform_(0.5, 2.0)
    x = torch.randn(2, 11, 32)
    groups = x.transpose(1, 2).split(4, dim=1)
    outputs = []
    previous = torch.zeros(2, 4, 11)
    for conv, bn, group in zip(block.convs, block.bns, groups[:7], strict=True):
        y = functional.conv1d(group + previous, conv.weight, conv.bias, padding=dilation, dilation=dilation).relu()
        previous = functional.batch_norm(y, bn.running_mean, bn.running_var)
        outputs.append(previous)
    expected = torch.cat([*outputs, groups[7]], dim=1).transpose(1, 2)
    torch.testing.assert_close(block(x), expected, rtol=1e-5, atol=1e-5)


def test_gates_are_computed_from_the_mean_of_the_utterance():
    gate = SEGate(6)
    x = torch.randn(2, 9, 6)
    hidden = (x.mean(1) @ gate.linear1.weight.T + gate.linear1.bias).clamp_min(0)
    gates = torch.sigmoid(hidden @ gate.linear2.weight.T + gate.linear2.bias)
    torch.testing.assert_close(gate(x), x * gates.unsqueeze(1))


def test_blocks_are_chained_and_aggregated_without_norm():
    model = EcapaTdnnGlob(23, pooling_type="TAP", **SMALL).eval()
    features = torch.randn(2, 20, 23)
    outputs = []
    x = features
    for name in ("layer1", "layer2", "layer3", "layer4"):
        x = getattr(model, name)(x)
        outputs.append(x)
    aggregated = functional.linear(torch.cat(outputs[1:], dim=2), model.conv.weight[..., 0], model.conv.bias).relu()
    expected = model.linear(aggregated.mean(1) / (1 + model.bn.eps) ** 0.5)
    torch.testing.assert_close(model(features), expected, rtol=1e-4, atol=1e-5)


def test_edges_are_padded_with_zeros():
    model = EcapaTdnnGlob(4, **SMALL)
    with torch.no_grad():
        model.layer1.conv.weight.fill_(1.0)
        model.layer1.conv.bias.zero_()
        summed = model.layer1.conv(torch.ones(1, 5, 4))[0, :, 0]
    assert summed.tolist() == [12, 16, 20, 16, 12]


def test_attention_sees_the_utterance_unless_told_otherwise():
    assert EcapaTdnnGlob(23, **SMALL).pool.linear1.in_channels == 3 * 24
    assert EcapaTdnnGlob(23, **NO_CONTEXT, **SMALL).pool.linear1.in_channels == 24
    narrow = EcapaTdnnGlob(23, pooling_args={"bottleneck_dim": 8}, **SMALL).pool.linear1
    assert (narrow.in_channels, narrow.out_channels) == (3 * 24, 8)


def test_channels_that_cannot_be_grouped_are_refused():
    with pytest.raises(ConfigError, match=r"channels \(20\) must be a multiple of 8"):
        EcapaTdnnGlob(23, channels=20)


@pytest.mark.slow
def test_export_takes_any_number_of_frames():
    model = EcapaTdnnGlob(23, **SMALL).eval()
    frames = torch.export.Dim("frames", min=2, max=5000)
    program = torch.export.export(model, (torch.randn(2, 50, 23),), dynamic_shapes=({1: frames},), strict=False)
    for count in (2, 133):
        x = torch.randn(2, count, 23)
        torch.testing.assert_close(program.module()(x), model(x))
