import re

import pytest
import torch

from mvector import zoo
from mvector.errors import ConfigError, ModelError
from tests.golden_models import GoldenModel

ARGUMENTS = {"input_size": 20, "embd_dim": 8, "pooling_type": "TAP", "channels": [16, 16, 16, 16, 32]}


@pytest.fixture
def entries() -> dict[str, torch.Tensor]:
    model = zoo.published.BACKBONES.build("EcapaTdnn", ARGUMENTS)
    return {key: torch.randn(value.shape).abs() for key, value in model.state_dict().items()}


def load(entries, **arguments):
    return zoo.from_published(entries, "mvector", "EcapaTdnn", {**ARGUMENTS, **arguments})


def test_prefixes_and_classifiers_of_training_checkpoints_are_left_out(entries):
    plain = load(entries)
    sequential = {f"0.{key}": value for key, value in entries.items()} | {"1.weight": torch.ones(4, 8)}
    parallel = {f"module.{key}": value for key, value in sequential.items()}
    features = torch.randn(2, 30, 20)
    for wrapped in (sequential, parallel):
        assert torch.equal(load(wrapped)(features), plain(features))
    assert not plain.training


@pytest.mark.parametrize("wrapper", [None, "model", "state_dict"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_files(tmp_path, entries, wrapper, suffix):
    path = tmp_path / f"模型{suffix}"
    if suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(entries, path)
    else:
        torch.save({wrapper: entries, "epoch": 3} if wrapper else entries, path)
    features = torch.randn(1, 12, 20)
    assert torch.equal(load(path)(features), load(entries)(features))


def test_every_entry_that_does_not_fit_is_listed(entries):
    del entries["fc.conv.bias"]
    entries["fc.conv.weight"] = torch.zeros(9, 32, 1)
    entries["extra.weight"] = torch.zeros(1)
    with pytest.raises(ModelError) as error:
        load(entries)
    text = str(error.value)
    assert "1 unknown: extra.weight" in text
    assert "1 missing: fc.conv.bias" in text
    assert "1 of another shape: fc.conv.weight (9, 32, 1) instead of (8, 32, 1)" in text


def test_a_long_list_is_cut(entries):
    with pytest.raises(ModelError, match=r"missing: .* and \d+ more"):
        load({"fc.conv.bias": entries["fc.conv.bias"]})


@pytest.mark.parametrize(
    ("family", "architecture", "arguments", "message"),
    [
        ("wespeeker", "ResNet34", {}, "unknown family 'wespeeker'.*Did you mean 'wespeaker'"),
        ("mvector", "EcapaTDN", {}, "no architecture 'EcapaTDN'.*Did you mean 'EcapaTdnn'"),
        ("mvector", "EcapaTdnn", {"embed_dim": 8}, "takes no argument 'embed_dim'.*Did you mean 'embd_dim'"),
        ("mvector", "EcapaTdnn", {}, "missing 1 required positional argument: 'input_size'"),
    ],
)
def test_wrong_names(family, architecture, arguments, message):
    with pytest.raises(ConfigError, match=message):
        zoo.from_published({}, family, architecture, arguments)


class Explosive:
    def __reduce__(self):
        return (re.compile, ("x",))


@pytest.mark.parametrize("content", [Explosive(), {"model": Explosive()}])
def test_files_with_objects_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(ModelError, match="cannot be read as a plain state dict"):
        zoo.read_checkpoint(tmp_path / "model.pt")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {}])
def test_files_without_weights_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(ModelError, match="holds no state dict"):
        zoo.read_checkpoint(tmp_path / "model.pt")


def test_damaged_and_absent_files(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"not a checkpoint")
    (tmp_path / "model.safetensors").write_bytes(b"nor this")
    for name in ("model.pt", "model.safetensors"):
        with pytest.raises(ModelError, match=name):
            zoo.read_checkpoint(tmp_path / name)
    with pytest.raises(ModelError, match="there is no checkpoint file"):
        zoo.read_checkpoint(tmp_path / "absent.pt")


def test_another_width_of_a_recorded_family_is_refused_by_name():
    golden = GoldenModel("3dspeaker__ECAPA_TDNN_1024")
    with pytest.raises(ModelError, match=r"of another shape: blocks\.0"):
        zoo.from_published(golden.weights(), "3dspeaker", "ECAPA_TDNN", {"input_size": 80})
