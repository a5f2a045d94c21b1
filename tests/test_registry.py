"""Names ↔ classes."""

import pytest
from torch import nn

from mvector.errors import ConfigError, nearest
from mvector.registry import BACKBONES, CORPORA, FEATURES, LOSSES, POOLINGS, Registry


@pytest.mark.parametrize("registry", [FEATURES, BACKBONES, POOLINGS, LOSSES, CORPORA], ids=lambda r: r.kind)
def test_every_part_is_documented_and_found_by_its_name(registry):
    assert registry.names() == sorted(registry.names())
    assert registry.names()
    for name in registry.names():
        assert len((registry.get(name).__doc__ or "").strip()) > 20, f"{name} has no docstring"


def test_the_names_of_the_older_package_are_there():
    assert {"Fbank", "MelSpectrogram", "Spectrogram", "MFCC"} <= set(FEATURES.names())
    assert {"EcapaTdnn", "CAMPPlus"} <= set(BACKBONES.names())
    assert {"ASP", "SAP", "TSP", "TAP"} <= set(POOLINGS.names())
    assert {"AAMLoss", "CELoss"} <= set(LOSSES.names())


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown backbone 'EcapaTDN'.*Did you mean 'EcapaTdnn'\?"):
        BACKBONES.get("EcapaTDN")


def test_an_unknown_argument_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"no argument 'embed_dim'.*Did you mean 'embd_dim'\?"):
        BACKBONES.build("EcapaTdnn", {"embed_dim": 192}, input_size=80)
    with pytest.raises(ConfigError, match="set by the program"):
        BACKBONES.build("EcapaTdnn", {"input_size": 40}, input_size=80)


def test_a_dotted_path_reaches_a_class_of_ones_own_and_nothing_else():
    assert BACKBONES.get("torch.nn.Identity") is nn.Identity
    for path, reason in (
        ("subprocess.Popen", "not a torch.nn.Module"),
        ("os.system", "not a torch.nn.Module"),
        ("no_such_package.Model", "cannot be imported"),
        ("torch.nn.NoSuchLayer", "cannot be imported"),
    ):
        with pytest.raises(ConfigError, match=reason):
            BACKBONES.get(path)


def test_a_name_cannot_be_taken_twice():
    registry = Registry("thing", "mvector.models")

    @registry.register("one")
    class One:
        pass

    assert registry.register("one")(One) is One
    with pytest.raises(ValueError, match="twice"):
        registry.register("one")(type("Other", (), {}))


def test_nearest():
    assert nearest("campplus", ["CAMPPlus", "EcapaTdnn"]) == " Did you mean 'CAMPPlus'?"
    assert nearest("zzz", ["CAMPPlus"]) == ""
