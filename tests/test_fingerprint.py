"""A fingerprint is one model's: what changes embeddings changes it, and nothing else does."""

import shutil

import pytest

from mvector.config import load_config
from mvector.fingerprint import model_fingerprint


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "model"
    made.mkdir()
    (made / "model.safetensors").write_bytes(bytes(range(256)))
    (made / "metrics.json").write_text("{}")
    return made


def config(*overrides: str, **sections):
    return load_config(sections, overrides=overrides, check_names=False)


def test_what_does_not_matter_changes_nothing(folder, tmp_path):
    expected = model_fingerprint(folder, config())
    assert len(expected) == 32
    (folder / "metrics.json").write_text('{"threshold": 0.3}')
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    assert model_fingerprint(moved, config("dataset_conf.eval_conf.batch_size=3", "train_conf.seed=1")) == expected
    assert model_fingerprint(str(folder), config(preprocess_conf={"mean_norm": True})) == expected  # the default


def test_what_matters_changes_it(folder):
    found = {model_fingerprint(folder, config())}
    for override in (
        "dataset_conf.dataset.target_dB=-30",
        "dataset_conf.dataset.use_dB_normalization=false",
        "preprocess_conf.mean_norm=false",
        "preprocess_conf.method_args={num_mel_bins: 40}",
        "model_conf.model_args={embd_dim: 8}",
        "model_conf.model=ERes2Net",
    ):
        found.add(model_fingerprint(folder, config(override)))
    (folder / "frontend.safetensors").write_bytes(b"front end")
    found.add(model_fingerprint(folder, config()))
    (folder / "model.safetensors").write_bytes(bytes(range(255)) + b"\0")
    found.add(model_fingerprint(folder, config()))
    assert len(found) == 9


def test_an_exported_file_has_its_own(tmp_path):
    network, features = tmp_path / "m.onnx", tmp_path / "m.features.onnx"
    network.write_bytes(b"network")
    alone = model_fingerprint(network, config())
    features.write_bytes(b"features")
    assert model_fingerprint(network, config()) != alone
    network.rename(tmp_path / "other.onnx")
    features.rename(tmp_path / "other.features.onnx")
    whole = model_fingerprint(tmp_path / "other.onnx", config())
    (tmp_path / "other.features.onnx").unlink()
    assert model_fingerprint(tmp_path / "other.onnx", config()) == alone != whole
