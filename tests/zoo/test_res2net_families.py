"""Members of the Res2Net families beyond the recorded ones: sizes, names and epsilons of the published constructors."""

import pytest
import torch

from mvector import zoo
from mvector.errors import ConfigError
from mvector.registry import BACKBONES
from mvector.zoo.published import describe

TINY = {"num_blocks": [1, 1, 1, 1], "m_channels": 16, "feat_dim": 16}


# Parameters and state-dict entries counted in the published implementations.
@pytest.mark.parametrize(
    ("family", "architecture", "arguments", "parameters", "entries"),
    [
        ("3dspeaker", "ERes2Net", {}, 6_610_688, 587),
        ("3dspeaker", "ERes2Net", {"m_channels": 64, "embedding_size": 512}, 29_016_704, 587),
        ("3dspeaker", "ERes2Net", {"two_emb_layer": True, "pooling_func": "TSDP"}, 5_664_704, 592),
        ("3dspeaker", "ERes2Net_huge", {}, 55_165_024, 809),
        ("3dspeaker", "ERes2Net_aug", {}, 55_165_024, 809),
        ("3dspeaker", "ERes2NetV2", {}, 17_859_632, 557),
        ("3dspeaker", "ERes2NetV2", {"baseWidth": 24, "scale": 4, "expansion": 4}, 53_513_632, 1001),
        ("3dspeaker", "Res2Net", {}, 4_033_600, 320),
        ("wespeaker", "ERes2Net34_Base", {"feat_dim": 80, "embed_dim": 512}, 9_887_808, 587),
        ("wespeaker", "ERes2Net34_Large", {"feat_dim": 80, "embed_dim": 512}, 29_016_704, 587),
        ("wespeaker", "ERes2Net34_aug", {"feat_dim": 80, "embed_dim": 192}, 55_165_024, 809),
        ("wespeaker", "Res2Net34_Base", {"feat_dim": 80, "embed_dim": 256}, 4_689_024, 320),
        ("wespeaker", "Res2Net34_Large", {"feat_dim": 80, "embed_dim": 256}, 13_481_472, 320),
        ("mvector", "ERes2NetV2", {"input_size": 80}, 5_458_202, 557),
        ("mvector", "Res2Net", {"input_size": 80, "pooling_type": "TSP", "scale": 4}, 8_322_880, 522),
        (
            "mvector",
            "ERes2Net",
            {"input_size": 80, "m_channels": 64, "mul_channel": 2, "expansion": 4, "base_width": 24, "scale": 3},
            55_165_024,
            809,
        ),
    ],
)
def test_members_have_the_published_size(family, architecture, arguments, parameters, entries):
    translation = describe(family, architecture, arguments)
    with torch.device("meta"):
        model = BACKBONES.build(translation.backbone, translation.arguments)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert len(model.state_dict()) == entries


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_wespeaker_names_the_first_convolution_of_a_late_block_on_its_own(scale):
    # TAP, because the epsilons of the other poolings differ between the families.
    ours = BACKBONES.build(
        "ERes2Net",
        {"num_blocks": [1, 1, 2, 1], "m_channels": 8, "scale": scale, "pooling_type": "TAP", "embd_dim": 6},
        input_size=16,
    ).eval()
    theirs = {}
    for key, value in ours.state_dict().items():
        parts = key.split(".")
        if parts[0] in ("layer3", "layer4") and parts[2] in ("convs", "bns"):
            first = "conv2_1" if parts[2] == "convs" else "bn2_1"
            number = int(parts[3])
            parts[2:4] = [parts[2], str(number - 1)] if number else [first]
        theirs[".".join(parts)] = value
    assert "layer3.1.conv2_1.weight" in theirs
    assert ("layer4.0.bns.2.running_var" in theirs) == (scale == 4)
    arguments = {"num_blocks": [1, 1, 2, 1], "m_channels": 8, "feat_dim": 16, "embed_dim": 6}
    loaded = zoo.from_published(theirs, "wespeaker", "ERes2Net", {**arguments, "scale": scale, "pooling_func": "TAP"})
    features = torch.randn(2, 30, 16)
    assert torch.equal(loaded(features), ours(features))


@pytest.mark.parametrize(
    ("family", "architecture", "arguments", "epsilon"),
    [
        ("3dspeaker", "ERes2Net", TINY, 1e-8),
        ("3dspeaker", "Res2Net", TINY | {"pooling_func": "TSDP"}, 1e-8),
        ("3dspeaker", "ERes2NetV2", TINY | {"pooling_func": "ASTP"}, 1e-10),
        ("wespeaker", "ERes2Net", TINY, 1e-7),
        ("wespeaker", "Res2Net", TINY | {"pooling_func": "ASTP"}, 1e-7),
        ("mvector", "ERes2Net", {"input_size": 16, "m_channels": 16}, 1e-8),
        ("mvector", "ERes2NetV2", {"input_size": 16, "m_channels": 16}, 1e-8),
    ],
)
def test_each_family_has_its_own_epsilon(family, architecture, arguments, epsilon):
    translation = describe(family, architecture, arguments)
    with torch.device("meta"):
        model = BACKBONES.build(translation.backbone, translation.arguments)
    assert model.pool.epsilon == epsilon


def test_a_pooling_without_epsilon_gets_none():
    translation = describe("3dspeaker", "ERes2Net", TINY | {"pooling_func": "TAP"})
    assert BACKBONES.build(translation.backbone, translation.arguments).pool.output_size == 2 * 8 * 2 * 16


def test_mul_channel_that_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="mul_channel must be half of expansion, found 1 and 4"):
        describe("mvector", "ERes2Net", {"input_size": 80, "expansion": 4})
