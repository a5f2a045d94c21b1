"""An ONNX file of a published network becomes a directory that is run through onnxruntime."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from mvector import zoo
from mvector.cli.import_checkpoint import report
from mvector.errors import ModelError
from mvector.export.onnx_files import network_model
from mvector.features import AudioFeaturizer
from mvector.predict import MVectorPredictor
from mvector.registry import BACKBONES
from mvector.zoo.importing import import_checkpoint
from mvector.zoo.published import describe

pytestmark = pytest.mark.slow  # torch's exporter takes its time
ARGUMENTS = {"feat_dim": 24, "hid_dim": 16, "stats_dim": 32, "embed_dim": 12}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """(the network, its file, whose input and output are named as WeSpeaker names them)."""
    translation = describe("wespeaker", "XVEC", ARGUMENTS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        backbone = BACKBONES.build(translation.backbone, translation.arguments).train()
        with torch.no_grad():
            backbone(torch.rand(4, 60, 24))
    network = zoo.from_published(backbone.state_dict(), "wespeaker", "XVEC", ARGUMENTS)
    model, _ = network_model(network, 24)
    names = {"features": "feats", "embedding": "embs"}
    for value in (*model.graph.input, *model.graph.output):
        value.name = names[value.name]
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    path = tmp_path_factory.mktemp("onnx") / "voxceleb_xvec.onnx"
    onnx.save(model, path)
    return network, path


def works(path, frames: int) -> bool:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    features = np.random.default_rng(1).normal(size=(1, frames, 24)).astype(np.float32)
    try:
        return bool(np.isfinite(session.run(None, {"feats": features})[0]).all())
    except Exception:
        return False


def test_it_is_run_with_the_familys_own_features(published, tmp_path, voice, capsys):
    network, path = published
    model = import_checkpoint(path, tmp_path / "made", "wespeaker", "XVEC", ARGUMENTS)
    assert (tmp_path / "made" / "model.onnx").read_bytes() == path.read_bytes()
    predictor = MVectorPredictor(model_path=tmp_path / "made", device="cpu")
    arguments = {"sample_frequency": 16000, "num_mel_bins": 24, "window_type": "hamming"}
    featurizer = AudioFeaturizer("Fbank", arguments, waveform_scale=32768.0)
    with torch.inference_mode():
        expected = network(featurizer(torch.from_numpy(voice)[None])[0])[0].numpy()
    expected = expected / np.linalg.norm(expected)
    assert np.abs(predictor.predict(voice) - expected).max() <= 1e-4 * np.abs(expected).max()
    assert predictor.threshold is None

    least = json.loads((tmp_path / "made" / "metrics.json").read_text(encoding="utf-8"))["min_samples"]
    frames = 1 + (least - 400) // 160
    assert least == 400 + 160 * (frames - 1)
    assert works(path, frames)
    assert frames == 1 or not works(path, frames - 1)

    report(model)
    printed = capsys.readouterr().out
    assert f"{tmp_path / 'made'}: XVector, " in printed
    assert "It has no threshold: give one with --threshold." in printed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"embed_dim": 16}, r"expected one input \[batch, frames, 24\] and one output \[batch, 16\]"),
        ({"feat_dim": 40}, r"expected one input \[batch, frames, 40\]"),
    ],
)
def test_another_size_is_refused(published, tmp_path, changes, message):
    with pytest.raises(ModelError, match=message):
        import_checkpoint(published[1], tmp_path / "made", "wespeaker", "XVEC", ARGUMENTS | changes)
    assert not list(tmp_path.iterdir())


def test_what_is_no_onnx_model_is_refused(tmp_path):
    (tmp_path / "model.onnx").write_text("hello", encoding="utf-8")
    with pytest.raises(ModelError, match=r"model\.onnx cannot be read as an ONNX model"):
        import_checkpoint(tmp_path / "model.onnx", tmp_path / "made", "wespeaker", "XVEC", ARGUMENTS)
    assert not (tmp_path / "made").exists()
