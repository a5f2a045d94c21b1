"""A model directory explains itself, refuses what does not fit, and is replaced at once."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mvector.config import load_config
from mvector.embedder import SpeakerEmbedder
from mvector.errors import ConfigError, ModelError
from mvector.model_directory import load_model, load_weights, recover, replace_directory, save_model, write_text


def test_a_saved_model_comes_back_with_everything(make_model):
    folder = make_model({"eer": 0.04, "threshold": 0.31, "synthetic": "合成"})
    model = load_model(folder)
    torch.manual_seed(0)
    made = SpeakerEmbedder.from_config(load_config(folder / "config.yml")).eval()

    waveform = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
    np.testing.assert_array_equal(model.embedder.embed([waveform]), made.embed([waveform]))
    assert not model.embedder.training
    assert model.threshold == 0.31
    assert model.metrics["synthetic"] == "合成"
    assert model.speakers == ["anna", "贝拉"]
    assert model.config.preprocess_conf.waveform_scale == 32768.0
    assert model.config.to_yaml() == (folder / "config.yml").read_text(encoding="utf-8")


def test_nothing_in_a_model_directory_is_pickled(tiny_model_dir):
    assert sorted(path.name for path in tiny_model_dir.iterdir()) == [
        "config.yml",
        "metrics.json",
        "model.safetensors",
        "speakers.txt",
    ]
    weights = load_file(tiny_model_dir / "model.safetensors")
    assert weights
    assert all(not key.startswith(("backbone.", "_orig_mod.", "module.")) for key in weights)


def test_speakers_keep_their_order_whatever_their_names_hold(make_model):
    folder = make_model()
    model = load_model(folder)
    names = ["b", "a\u2028c", "张三", "d\x0ce", "0007"]
    save_model(folder, model.embedder, model.config, {}, names)
    assert load_model(folder).speakers == names


def test_metrics_and_speakers_may_be_missing(tiny_model_dir):
    (tiny_model_dir / "metrics.json").unlink()
    (tiny_model_dir / "speakers.txt").unlink()
    model = load_model(tiny_model_dir)
    assert (model.threshold, model.metrics, model.speakers) == (None, {}, [])


def test_overrides_change_the_stored_configuration(tiny_model_dir):
    model = load_model(tiny_model_dir, overrides=["dataset_conf.dataset.target_dB=-30"])
    assert model.config.dataset_conf.dataset.target_dB == -30
    with pytest.raises(ConfigError, match="target_dB"):
        load_model(tiny_model_dir, overrides=["dataset_conf.dataset.target_db=-30"])


def test_a_missing_directory_says_what_to_do(tmp_path):
    with pytest.raises(ModelError, match=r"nowhere.*train\.py.*--model_path"):
        load_model(tmp_path / "nowhere" / "best_model")


@pytest.mark.parametrize("wrong", [".", "..", "../..", "model.safetensors", "../../Tinny/best_model"])
def test_a_near_miss_is_answered_with_the_right_directory(tiny_model_dir, wrong):
    path = Path(os.path.normpath(tiny_model_dir / wrong))
    if path == tiny_model_dir:
        assert load_model(path).speakers
        return
    with pytest.raises(ModelError) as caught:
        load_model(path)
    assert str(path) in str(caught.value)
    assert f"Did you mean {tiny_model_dir}?" in str(caught.value)


@pytest.mark.parametrize("name", ["model.safetensors", "config.yml"])
def test_a_directory_without_a_needed_file_names_it(tiny_model_dir, name):
    (tiny_model_dir / name).unlink()
    with pytest.raises(ModelError, match=f"it has no {name}"):
        load_model(tiny_model_dir)


@pytest.mark.parametrize("content", ["{", "[]", '{"threshold": "0.3"}', '{"threshold": null}', '{"threshold": true}'])
def test_damaged_metrics_are_named(tiny_model_dir, content):
    (tiny_model_dir / "metrics.json").write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=r"metrics\.json"):
        load_model(tiny_model_dir)


def test_damaged_weights_are_named(tiny_model_dir):
    weights = tiny_model_dir / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"model\.safetensors cannot be read"):
        load_model(tiny_model_dir)


def test_weights_of_another_model_are_refused_by_key(tiny_model_dir):
    """The predecessor's strict=False hid this: the network ran with random layers."""
    path = tiny_model_dir / "model.safetensors"
    good = load_file(path)
    key = "fc.conv.weight"

    save_file({name: tensor for name, tensor in good.items() if name != key}, path)
    with pytest.raises(ModelError, match=f"lacks the weight '{key}'"):
        load_model(tiny_model_dir)
    save_file({**good, "extra": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match="unknown weight 'extra'"):
        load_model(tiny_model_dir)
    save_file({**good, key: torch.zeros(3, 4)}, path)
    with pytest.raises(ModelError, match=rf"'{key}' has shape \(3, 4\), the model has"):
        load_model(tiny_model_dir)


def test_load_weights_says_that_the_file_is_missing(tmp_path):
    with pytest.raises(ModelError, match="nothing"):
        load_weights(torch.nn.Linear(1, 1), tmp_path / "nothing.safetensors")


def write_number(number):
    def fill(folder: Path) -> None:
        (folder / "number.json").write_text(json.dumps(number), encoding="utf-8")

    return fill


def number_in(folder: Path) -> int:
    return json.loads((folder / "number.json").read_text(encoding="utf-8"))


def test_replacing_leaves_only_the_new_directory(tmp_path):
    target = tmp_path / "run" / "模型"
    for number in (1, 2, 3):
        replace_directory(target, write_number(number))
        assert number_in(target) == number
    assert [path.name for path in target.parent.iterdir()] == ["模型"]


def test_a_failure_while_filling_leaves_the_old_directory(tmp_path):
    target = tmp_path / "best_model"
    replace_directory(target, write_number(1))

    def fail(folder: Path) -> None:
        (folder / "half").write_text("", encoding="utf-8")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace_directory(target, fail)
    assert [path.name for path in target.iterdir()] == ["number.json"]
    replace_directory(target, write_number(2))
    assert number_in(target) == 2


@pytest.mark.parametrize("killed_at", [1, 2, 3])
def test_killed_between_its_renames_a_replacement_is_finished_later(tmp_path, monkeypatch, killed_at):
    target = tmp_path / "best_model"
    replace_directory(target, write_number(1))
    replace, calls = os.replace, []

    def killed(source, destination):
        calls.append(destination)
        if len(calls) == killed_at:
            raise KeyboardInterrupt
        replace(source, destination)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        replace_directory(target, write_number(2))
    monkeypatch.setattr(os, "replace", replace)

    recover(target)
    # Before the first rename the new directory did not count as whole; after it, it must not be lost.
    assert number_in(target) == (1 if killed_at == 1 else 2)


def test_everything_is_on_the_disk_before_a_rename(tmp_path, monkeypatch):
    """A power cut may keep a rename and lose what was written before it; only fsync prevents that."""
    flushed, fsync, replace = set(), os.fsync, os.replace

    def note(descriptor):
        flushed.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    renamed = []

    def require(source, target):
        source = Path(source)
        files = [file for file in (source, *source.rglob("*")) if file.is_file()]
        missing = [file for file in files if file.stat().st_ino not in flushed]
        renamed.append((source.name, missing))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(os, "replace", require)

    def fill(folder):
        (folder / "weights").write_bytes(b"1234")
        (folder / "inner").mkdir()
        (folder / "inner" / "more").write_text("更多", encoding="utf-8")

    replace_directory(tmp_path / "last_model", fill)
    write_text(tmp_path / "skipped.tsv", "a\tb\n")
    assert [name.partition(".")[0] for name, _ in renamed] == ["last_model", "last_model", "skipped"]
    assert [missing for _, missing in renamed] == [[], [], []]
    if os.name != "nt":  # whose folders cannot be flushed
        assert {tmp_path.stat().st_ino, (tmp_path / "last_model").stat().st_ino} <= flushed
