"""Both kinds of models by their paths, and what commands make of them."""

import json
import shutil

import numpy as np
import pytest
import soundfile

from mvector.cli.calibrate import main as calibrate
from mvector.cli.evaluate import main as evaluate
from mvector.errors import ConfigError
from mvector.export.onnx_files import export_onnx
from mvector.export.runtime import ExportedModel
from mvector.model_directory import ModelDirectory, load_model
from mvector.opening import metrics_file, open_model

RATE = 16000


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return tmp_path_factory.mktemp("exported")


@pytest.fixture
def exported(tiny_model_dir, files, tmp_path):
    """The tiny model, which is the same for all tests, in a folder of its own as model.onnx."""
    if not any(files.iterdir()):  # exporting takes ten seconds
        export_onnx(load_model(tiny_model_dir), files / "model.onnx", with_features=True)
    return shutil.copytree(files, tmp_path / "exported")


@pytest.fixture
def recordings(tmp_path, make_voice):
    """Six people with four recordings each: a data list, and a trial list of all pairs."""
    rows = []
    for number in range(24):
        person = number // 4
        sound = make_voice(0.7 + 0.02 * number, seed=number)
        sound = np.diff(sound, prepend=0) * person / 5 + sound * (5 - person) / 5  # people differ in colour
        soundfile.write(tmp_path / f"{number:02d}.wav", sound, RATE)
        rows.append((f"{number:02d}.wav", f"p{person}"))
    data, trials = tmp_path / "data.txt", tmp_path / "trials.txt"
    data.write_text("".join(f"{path}\t{person}\n" for path, person in rows), encoding="utf-8")
    pairs = [(a, b) for index, a in enumerate(rows) for b in rows[index + 1 :]]
    trials.write_text("".join(f"{int(a[1] == b[1])} {a[0]} {b[0]}\n" for a, b in pairs), encoding="utf-8")
    return data, trials


def test_both_kinds_are_opened(tiny_model_dir, exported, voice):
    directory, file = open_model(tiny_model_dir, "cpu"), open_model(exported)
    assert isinstance(directory, ModelDirectory)
    assert isinstance(file, ExportedModel)
    assert (directory.folder, file.folder) == (tiny_model_dir, exported)
    assert directory.threshold == file.threshold == 0.25
    assert directory.embedder.embedding_size == file.embedder.embedding_size == 24
    np.testing.assert_allclose(directory.embedder.embed([voice]), file.embedder.embed([voice]), rtol=1e-3, atol=1e-3)


def test_what_decides_on_embeddings_is_fixed_in_an_exported_model(exported):
    model = open_model(exported, overrides=["dataset_conf.eval_conf.max_duration=3"])
    assert model.config.dataset_conf.eval_conf.max_duration == 3
    with pytest.raises(ConfigError, match="is an exported model, whose configuration cannot be changed any more"):
        open_model(exported, overrides=["dataset_conf.dataset.target_dB=-30"])


@pytest.mark.slow
def test_an_exported_model_is_evaluated_as_its_directory_is(tiny_model_dir, exported, recordings, tmp_path):
    _, trials = recordings
    found = []
    for path in tiny_model_dir, exported:
        arguments = ["--model_path", str(path), "--device", "cpu", "--set", f"dataset_conf.trials_list={trials}"]
        evaluate([*arguments, "--save_json", str(tmp_path / "result.json")])
        found.append(json.loads((tmp_path / "result.json").read_text(encoding="utf-8")))
    assert found[1]["eer"] == pytest.approx(found[0]["eer"], abs=0.01)
    assert found[1]["targets"] == found[0]["targets"] == 36


def test_a_threshold_is_chosen_for_an_exported_model(exported, recordings):
    data, _ = recordings
    before = open_model(exported).threshold
    calibrate(["--model_path", str(exported), "--list", str(data), "--at_eer"])
    after = open_model(exported)
    assert after.threshold != before
    stored = json.loads((exported / "metrics.json").read_text(encoding="utf-8"))
    assert stored["threshold"] == after.threshold
    assert after.metrics["calibrated_on"]["list"] == str(data)


def test_a_file_beside_weights_or_of_another_name_keeps_its_own_metrics(tiny_model_dir, exported):
    (exported / "metrics.json").write_text('{"threshold": 0.9}', encoding="utf-8")
    assert open_model(exported).threshold == 0.9
    shutil.copy(exported / "model.onnx", exported / "other.onnx")
    shutil.copy(exported / "model.onnx", tiny_model_dir / "model.onnx")
    (tiny_model_dir / "metrics.json").write_text('{"threshold": 0.8}', encoding="utf-8")
    for file in exported / "other.onnx", tiny_model_dir / "model.onnx":
        model = open_model(file)
        assert model.threshold == 0.25
        with pytest.raises(ConfigError, match="carries the metrics of the model that it was made of"):
            metrics_file(model)
    assert metrics_file(open_model(tiny_model_dir, "cpu")) == tiny_model_dir / "metrics.json"
