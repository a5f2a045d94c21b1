"""Members of the TDNN-like families and of ReDimNet beyond the recorded ones, by the published constructors."""

import pytest
import torch

from mvector import zoo
from mvector.errors import ConfigError, ModelError
from mvector.registry import BACKBONES
from mvector.zoo.published import describe

SMALL_CAMPPLUS = {"feat_dim": 40, "embed_dim": 8, "growth_rate": 4, "bn_size": 2, "init_channels": 16}
SMALL_ECAPA = {"input_size": 20, "lin_neurons": 8, "channels": [16, 16, 16, 16, 48], "attention_channels": 8}


def build(family: str, architecture: str, arguments: dict) -> torch.nn.Module:
    translation = describe(family, architecture, arguments)
    return BACKBONES.build(translation.backbone, translation.arguments)


# Parameters counted in the published implementations.
@pytest.mark.parametrize(
    ("family", "architecture", "arguments", "parameters"),
    [
        ("mvector", "TDNN", {"input_size": 80}, 2_770_880),
        ("mvector", "TDNN", {"input_size": 40, "channels": 256, "embd_dim": 128}, 777_472),
        ("mvector", "TDNN", {"input_size": 80, "pooling_type": "TSP"}, 2_507_840),
        ("wespeaker", "XVEC", {}, 4_508_124),
        ("wespeaker", "XVEC", {"feat_dim": 80, "pooling_func": "MHASTP"}, 4_706_782),
        ("3dspeaker", "Xvector", {}, 4_245_468),
        ("3dspeaker", "Xvector", {"feat_dim": 80}, 4_347_868),
        ("3dspeaker", "XVEC", {"feat_dim": 80}, 4_347_868),
        (
            "3dspeaker",
            "Xvector",
            {"feat_dim": 80, "hid_dim": 256, "stats_dim": 600, "embed_dim": 128, "pooling_func": "ASTP"},
            1_024_432,
        ),
        ("wespeaker", "ECAPA_TDNN", {}, 5_797_504),
        ("wespeaker", "ECAPA_TDNN", {"channels": 256, "feat_dim": 60}, 2_911_904),
        ("wespeaker", "ECAPA_TDNN_c512", {"feat_dim": 40, "embed_dim": 256, "emb_bn": True}, 5_892_288),
        ("wespeaker", "ECAPA_TDNN_c1024", {"feat_dim": 40, "embed_dim": 256, "emb_bn": True}, 14_256_256),
        ("wespeaker", "ECAPA_TDNN_GLOB_c512", {"feat_dim": 40, "embed_dim": 256, "emb_bn": True}, 6_285_504),
        ("wespeaker", "ECAPA_TDNN_GLOB_c1024", {"feat_dim": 80, "embed_dim": 192}, 14_657_088),
        ("wespeaker", "ECAPA_TDNN_GLOB_c512", {"feat_dim": 80, "embed_dim": 192, "pooling_func": "TAP"}, 5_104_640),
        ("wespeaker", "CAMPPlus", {}, 7_176_224),
        ("wespeaker", "CAMPPlus", {"pooling_func": "ASTP"}, 7_307_936),
        ("wespeaker", "CAMPPlus", {"pooling_func": "MQMHASTP"}, 7_833_632),
        ("wespeaker", "ReDimNetB0", {}, 1_001_851),
        ("wespeaker", "ReDimNetB1", {"pooling_func": "TSTP", "two_emb_layer": True}, 1_717_177),
        ("wespeaker", "ReDimNetB3", {}, 3_220_413),
        ("wespeaker", "ReDimNetB6", {"feat_dim": 96, "embed_dim": 256}, 18_926_913),
    ],
)
def test_members_have_the_published_size(family, architecture, arguments, parameters):
    with torch.device("meta"):
        model = build(family, architecture, arguments)
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize(
    ("family", "architecture", "arguments", "epsilon"),
    [
        ("3dspeaker", "Xvector", {}, 1e-8),
        ("3dspeaker", "Xvector", {"pooling_func": "TSDP"}, 1e-8),
        ("3dspeaker", "Xvector", {"pooling_func": "ASTP"}, 1e-10),
        ("wespeaker", "XVEC", {}, 1e-7),
        ("wespeaker", "ECAPA_TDNN_c512", {"feat_dim": 80, "embed_dim": 192}, 1e-7),
        ("wespeaker", "ReDimNetB0", {}, 1e-7),
    ],
)
def test_each_family_has_its_own_epsilon(family, architecture, arguments, epsilon):
    with torch.device("meta"):
        assert build(family, architecture, arguments).pool.epsilon == epsilon


def test_only_wespeakers_campplus_has_an_epsilon():
    with torch.device("meta"):
        assert build("wespeaker", "CAMPPlus", {}).xvector.stats.epsilon == 1e-7
        for family, bins in (("3dspeaker", "feat_dim"), ("mvector", "input_size")):
            assert not hasattr(build(family, "CAMPPlus", {bins: 80}).xvector.stats, "epsilon")


def test_wespeakers_campplus_holds_its_pooling_twice():
    arguments = {**SMALL_CAMPPLUS, "pooling_func": "ASTP"}
    model = build("wespeaker", "CAMPPlus", arguments).eval()
    theirs = model.state_dict()
    again = {key.replace("xvector.stats.", "pool."): value for key, value in theirs.items() if "xvector.stats." in key}
    assert len(again) == 4
    features = torch.randn(2, 30, 40)
    loaded = zoo.from_published(theirs | again, "wespeaker", "CAMPPlus", arguments)
    assert torch.equal(loaded(features), model(features))


@pytest.mark.parametrize(
    ("family", "architecture", "arguments", "unlike"),
    [
        ("mvector", "TDNN", {"input_size": 20, "channels": 16, "pooling_type": "SAP"}, {"pooling_type": "ASP"}),
        ("wespeaker", "XVEC", {"hid_dim": 16, "stats_dim": 24, "pooling_func": "ASTP"}, {"pooling_func": "TSTP"}),
        ("3dspeaker", "Xvector", {"hid_dim": 16, "stats_dim": 24}, {"stats_dim": 16}),
        ("wespeaker", "ECAPA_TDNN", {"channels": 8, "global_context_att": True}, {"global_context_att": False}),
        ("wespeaker", "ReDimNetB1", {"feat_dim": 24, "two_emb_layer": True}, {"two_emb_layer": False}),
        ("speechbrain", "ECAPA_TDNN", {**SMALL_ECAPA, "dropout": 0.1}, {"global_context": False}),
    ],
)
def test_weights_fit_these_arguments_and_no_others(family, architecture, arguments, unlike):
    model = build(family, architecture, arguments).eval()
    loaded = zoo.from_published(model.state_dict(), family, architecture, arguments)
    bins = arguments.get("feat_dim", arguments.get("input_size", 80 if "ECAPA" in architecture else 40))
    features = torch.randn(2, 21, bins)
    with torch.inference_mode():
        assert torch.equal(loaded(features), model(features))
    with pytest.raises(ModelError, match="the entries do not fit"):
        zoo.from_published(model.state_dict(), family, architecture, arguments | unlike)


@pytest.mark.parametrize(
    ("family", "architecture", "arguments", "message"),
    [
        (
            "speechbrain",
            "ECAPA_TDNN",
            {"input_size": 80, "groups": [1, 2, 1, 1, 1]},
            r"groups \[1, 2.* not supported",
        ),
        ("mvector", "EcapaTdnn", {"input_size": 80, "groups": [4, 4, 4, 4, 4]}, "each must be 1"),
        ("wespeaker", "CAMPPlus", {"config_str": "batchnorm-prelu"}, "the only one is 'batchnorm-relu'"),
        ("wespeaker", "ReDimNetB2", {"feat_dim": 70}, "a multiple of 8, found 70"),
        ("wespeaker", "ECAPA_TDNN_c512", {"embed_dim": 192}, "missing 1 required positional argument: 'feat_dim'"),
        ("speechbrain", "ECAPA_TDNN", {"input_size": 80, "activation": None}, "takes no argument 'activation'"),
    ],
)
def test_what_has_no_counterpart_is_refused(family, architecture, arguments, message):
    with pytest.raises(ConfigError, match=message):
        build(family, architecture, arguments)


def test_defaults_that_change_nothing_are_accepted():
    plain = describe("3dspeaker", "CAMPPlus", {})
    assert describe("3dspeaker", "CAMPPlus", {"config_str": "batchnorm-relu", "memory_efficient": False}) == plain
    theirs = {"device": "cuda", "groups": [1] * 5}
    assert describe("speechbrain", "ECAPA_TDNN", SMALL_ECAPA | theirs) == describe(
        "3dspeaker", "ECAPA_TDNN", SMALL_ECAPA
    )
