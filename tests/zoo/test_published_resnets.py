"""How published ResNets are called here: constructors of WeSpeaker, 3D-Speaker and the mvector package."""

import pytest
import torch

from mvector import zoo
from mvector.errors import ConfigError, ModelError
from mvector.registry import BACKBONES


def arguments_of(family: str, architecture: str, arguments: dict | None = None) -> tuple[str, dict]:
    published = zoo.published.describe(family, architecture, arguments)
    assert published.renames == ()
    return published.backbone, published.arguments


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152, 221, 293])
def test_every_wespeaker_resnet(depth):
    name, arguments = arguments_of("wespeaker", f"ResNet{depth}", {"feat_dim": 80, "embed_dim": 256})
    assert (name, arguments["depth"]) == ("ResNet", depth)
    with torch.device("meta"):
        model = BACKBONES.build(name, arguments)
    assert model.pool.epsilon == 1e-7
    assert not model.two_emb_layer


@pytest.mark.parametrize(("block", "depth"), [("BasicBlock", 18), ("Bottleneck", 50)])
def test_wespeaker_class_with_blocks_and_width(block, depth):
    blocks = {18: [2, 2, 2, 2], 50: [3, 4, 6, 3]}[depth]
    by_class = {"block": block, "num_blocks": blocks, "m_channels": 32, "feat_dim": 24}
    models = []
    for architecture, own in ((f"ResNet{depth}", {"feat_dim": 24, "embed_dim": 128}), ("ResNet", by_class)):
        with torch.device("meta"):
            models.append(BACKBONES.build(*arguments_of("wespeaker", architecture, own)))
    shapes = [{key: value.shape for key, value in model.state_dict().items()} for model in models]
    assert shapes[0] == shapes[1]
    with pytest.raises(ConfigError, match="unknown block 'Basic'; there are: BasicBlock, Bottleneck"):
        arguments_of("wespeaker", "ResNet", by_class | {"block": "Basic"})


@pytest.mark.parametrize("depth", [34, 100])
def test_every_wespeaker_simam_resnet(depth):
    name, arguments = arguments_of("wespeaker", f"SimAM_ResNet{depth}_ASP")
    assert name == "SimAMResNet"
    expected = {"input_size": 80, "embd_dim": 256, "depth": depth, "m_channels": 64, "dropout": 0}
    assert arguments == expected


@pytest.mark.parametrize("architecture", ["ResNet", "ResNet34"])
def test_3d_speaker_resnet_has_two_embedding_layers_unless_told_otherwise(architecture):
    name, arguments = arguments_of("3dspeaker", architecture, {"feat_dim": 80, "embedding_size": 192})
    with torch.device("meta"):
        model = BACKBONES.build(name, arguments)
    assert sum(p.numel() for p in model.parameters()) == 6_343_648
    _, arguments = arguments_of("3dspeaker", architecture, {"feat_dim": 80, "two_emb_layer": False})
    with torch.device("meta"):
        assert not hasattr(BACKBONES.build(name, arguments), "seg_2")


@pytest.mark.parametrize(("pooling_func", "epsilon"), [("TSTP", 1e-8), ("TSDP", 1e-8), ("ASTP", 1e-10)])
def test_3d_speaker_has_its_own_epsilons(pooling_func, epsilon):
    name, arguments = arguments_of("3dspeaker", "ResNet", {"m_channels": 2, "pooling_func": pooling_func})
    assert BACKBONES.build(name, arguments).pool.epsilon == epsilon


@pytest.mark.parametrize(
    ("family", "architecture", "arguments", "unlike"),
    [
        (
            "wespeaker",
            "ResNet18",
            {"feat_dim": 24, "embed_dim": 8, "pooling_func": "MQMHASTP", "two_emb_layer": True},
            {"two_emb_layer": False},
        ),
        ("wespeaker", "ResNet50", {"feat_dim": 16, "embed_dim": 8, "pooling_func": "ASTP"}, {"pooling_func": "TSTP"}),
        ("wespeaker", "SimAM_ResNet34_ASP", {"in_planes": 4, "embed_dim": 8, "acoustic_dim": 24}, {"in_planes": 8}),
        (
            "3dspeaker",
            "ResNet34",
            {"m_channels": 4, "feat_dim": 24, "embedding_size": 8, "num_blocks": [1, 1, 2, 1]},
            {"num_blocks": [1, 2, 1, 1]},
        ),
        (
            "mvector",
            "ResNetSE",
            {"input_size": 24, "layers": [1, 1, 1, 1], "num_filters": [4, 6, 8, 10], "pooling_type": "SAP"},
            {"pooling_type": "ASP"},
        ),
    ],
)
def test_weights_fit_these_arguments_and_no_others(family, architecture, arguments, unlike):
    name, ours = arguments_of(family, architecture, arguments)
    model = BACKBONES.build(name, ours).eval()
    bins = ours["input_size"]
    loaded = zoo.from_published(model.state_dict(), family, architecture, arguments)
    features = torch.randn(2, 21, bins)
    assert torch.equal(loaded(features), model(features))
    with pytest.raises(ModelError, match="the entries do not fit"):
        zoo.from_published(model.state_dict(), family, architecture, arguments | unlike)
