"""ONNX and TorchScript files of a model: what is in them, and that they compute what torch does."""

import json
import re

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from mvector.audio import normalize_level
from mvector.errors import ModelError
from mvector.export.graphs import features_graph, network_graph
from mvector.export.int8 import artificial_voice, quantized
from mvector.export.onnx_files import _runner, export_onnx, front_end_model
from mvector.export.torchscript import script
from mvector.features import AudioFeaturizer
from mvector.model_directory import load_model
from tests.export.conftest import CHANNELS, write_model


def run(path, values: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: values})[0]


def close(found: np.ndarray, expected: np.ndarray) -> bool:
    return found.shape == expected.shape and np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def from_waveforms(model, waveforms: np.ndarray) -> np.ndarray:
    """What torch gives for waveforms of any level."""
    levelled = np.stack([normalize_level(row, -20.0) for row in waveforms])
    with torch.inference_mode():
        return model.embedder(torch.from_numpy(levelled)).numpy()


@pytest.mark.parametrize("samples", [1040, 8000, 16001, 70123])
def test_a_waveform_goes_in_and_the_embedding_of_torch_comes_out(files, samples):
    assert samples >= files.model.embedder.min_samples
    waveforms = np.random.default_rng(samples).normal(0, 0.02, (3, samples)).astype(np.float32)
    waveforms[1] *= 30.0
    expected = from_waveforms(files.model, waveforms)
    assert close(run(files.whole, waveforms), expected)
    assert close(run(files.whole, waveforms[:1]), expected[:1])
    assert close(run(files.network, run(files.features, waveforms)), expected)
    assert close(torch.jit.load(files.scripted_whole)(torch.from_numpy(waveforms)).numpy(), expected)


def test_silence_is_no_division_by_zero(files):
    silence = np.zeros((1, 16000), np.float32)
    with torch.inference_mode():
        expected = files.model.embedder(torch.from_numpy(silence)).numpy()
    assert close(run(files.whole, silence), expected)


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("frames", [5, 6, 57, 300])
def test_torchscript_takes_any_size(files, batch, frames):
    features = torch.randn(batch, frames, 80)
    with torch.inference_mode():
        expected = files.model.embedder.backbone(features).numpy()
    assert close(torch.jit.load(files.scripted)(features).numpy(), expected)


def test_metadata_tells_everything(files):
    for path in (files.network, files.whole):
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        entries = {entry.key: entry.value for entry in model.metadata_props}
        told = json.loads(entries["mvector"])
        assert told["metrics"]["threshold"] == 0.25
        assert told["config"]["preprocess_conf"]["waveform_scale"] == 32768.0
        assert told["config"]["model_conf"]["model"] == "EcapaTdnn"
        assert told["min_samples"] == files.model.embedder.min_samples
        assert ("framework" in entries) == (path == files.network)
        assert {opset.domain: opset.version for opset in model.opset_import} == {"": 18}
        # Nothing of the machine that made it: torch writes the lines of its call stack into each node.
        assert not re.search(rb"\.py\"|site-packages|/home|/root", path.read_bytes())


def test_a_whole_file_leaves_no_file_of_features_beside_it(files, tmp_path):
    export_onnx(files.model, tmp_path / "model.onnx")
    assert (tmp_path / "model.features.onnx").is_file()
    export_onnx(files.model, tmp_path / "model.onnx", with_features=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


FEATURES = {
    "Fbank": ("Fbank", {"num_mel_bins": 23}, 32768.0),
    "Fbank, symmetric ends, energy": (
        "Fbank",
        {"num_mel_bins": 23, "snip_edges": False, "use_energy": True, "round_to_power_of_two": False},
        1.0,
    ),
    "Fbank, no logarithm": ("Fbank", {"num_mel_bins": 23, "use_log_fbank": False, "use_power": False}, 1.0),
    "MelSpectrogram": ("MelSpectrogram", {"n_mels": 40, "log": True}, 1.0),
    "MelSpectrogram, plain frames": ("MelSpectrogram", {"n_mels": 40, "n_fft": 512, "center": False}, 1.0),
    "Spectrogram": ("Spectrogram", {"n_fft": 256, "pad_mode": "constant"}, 1.0),
    "MFCC": ("MFCC", {"n_mfcc": 20, "melkwargs": {"n_mels": 40}}, 1.0),
    "SpeechBrain": ("SpeechBrainFbank", {"n_mels": 40}, 1.0),
}


@pytest.mark.parametrize("name", FEATURES)
def test_every_feature_stands_in_the_graph(name, voice):
    method, arguments, scale = FEATURES[name]
    featurizer = AudioFeaturizer(method, arguments, waveform_scale=scale)
    file = _runner(front_end_model(featurizer, None))
    scripted = script(features_graph(featurizer, None))
    for samples in (featurizer.min_samples + 1700, 12345, 48000):
        waveforms = np.stack([voice[:samples], voice[-samples:] * np.float32(0.1)])
        with torch.inference_mode():
            expected = featurizer(torch.from_numpy(waveforms))[0].numpy()
        for found in (file(waveforms), scripted(torch.from_numpy(waveforms)).numpy()):
            assert found.shape == expected.shape
            # Logarithms of nearly empty bins magnify rounding: 1e-3, as between our features and torchaudio's.
            assert np.abs(found - expected).max() <= max(1e-3, 1e-4 * np.abs(expected).max())


def test_features_of_others_cannot_be_exported_but_the_network_can(files, tmp_path, monkeypatch):
    monkeypatch.setattr(files.model.embedder.featurizer, "feature", nn.Identity())
    monkeypatch.setattr("mvector.export.onnx_files._min_samples", lambda embedder, frames: 0)
    monkeypatch.setattr(type(files.model.embedder.featurizer), "feature_size", 80)
    with pytest.raises(ModelError, match=r"the features Fbank .* cannot be exported.*without --with_features"):
        export_onnx(files.model, tmp_path / "model.onnx", with_features=True)
    notes = export_onnx(files.model, tmp_path / "model.onnx")
    assert "the file takes features" in notes[0]
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


class FixedLength(nn.Module):
    min_frames = 1

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(104 * 8, 12)

    def forward(self, features):
        return self.layer(features.flatten(1))


class BranchesOnValues(nn.Module):
    min_frames = 1

    def forward(self, features):
        return features.mean(1) if features.sum() > 0 else features.amax(1)


@pytest.mark.parametrize("backbone", [FixedLength(), BranchesOnValues()])
def test_a_network_that_fixes_its_input_is_refused(backbone):
    with pytest.raises(ModelError, match=f"the backbone {type(backbone).__name__} cannot be exported"):
        network_graph(backbone, 8)


# ---------------------------------------------------------------- 8 bits


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


@pytest.mark.parametrize(
    ("backbone", "arguments"),
    [
        ("EcapaTdnn", {**CHANNELS, "channels": [64, 64, 96], "attention_channels": 64, "embd_dim": 48}),
        ("ResNet", {"num_blocks": [1, 1, 1, 1], "m_channels": 8, "embd_dim": 48}),
    ],
)
@pytest.mark.slow
def test_int8_keeps_the_embedding_and_shrinks_the_file(tmp_path, make_voice, backbone, arguments):
    folder = write_model(tmp_path / "model", model_conf={"model": backbone, "model_args": arguments})
    model = load_model(folder)
    (note,) = export_onnx(model, tmp_path / "int8.onnx", with_features=True, int8=True)
    export_onnx(model, tmp_path / "float.onnx", with_features=True)
    share = int(note.split(" %")[0])
    assert share >= 50
    sizes = [(tmp_path / name).stat().st_size for name in ("int8.onnx", "float.onnx")]
    front_end = 1_100_000  # the matrix of the Fourier transform stays
    assert sizes[0] - front_end < (1 - 0.6 * share / 100) * (sizes[1] - front_end) + 200_000
    for seed in range(4):
        waveform = make_voice(2.0 + seed, seed=seed)[None]
        exact, rounded = (run(tmp_path / name, waveform) for name in ("float.onnx", "int8.onnx"))
        assert cosines(exact, rounded).min() >= 0.999


def test_parts_that_do_not_bear_8_bits_stay_exact():
    """Two products whose large parts cancel: rounding the first one's weights would leave nothing right."""
    rng = np.random.default_rng(0)
    tolerant = rng.normal(size=(64, 64)).astype(np.float32)
    common = 300.0 * rng.normal(size=(64, 1))
    delicate = (common + rng.normal(size=(64, 64))).astype(np.float32)
    centre = (np.eye(64) - 1.0 / 64).astype(np.float32)  # takes away what all outputs share
    value = onnx.helper.make_tensor_value_info
    names = {"tolerant": tolerant, "delicate": delicate, "centre": centre}
    nodes = [
        onnx.helper.make_node("ReduceMean", ["features", "axes"], ["pooled"], keepdims=0),
        onnx.helper.make_node("MatMul", ["pooled", "tolerant"], ["a"], "tolerant_product"),
        onnx.helper.make_node("MatMul", ["a", "delicate"], ["b"], "delicate_product"),
        onnx.helper.make_node("Add", ["b", "shift"], ["c"]),
        onnx.helper.make_node("MatMul", ["c", "centre"], ["embedding"], "centre_product"),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "network",
        [value("features", onnx.TensorProto.FLOAT, ["B", "F", 64])],
        [value("embedding", onnx.TensorProto.FLOAT, ["B", 64])],
        [
            *(onnx.numpy_helper.from_array(array, name) for name, array in names.items()),
            onnx.numpy_helper.from_array(np.array([1]), "axes"),
            onnx.numpy_helper.from_array(np.zeros(64, np.float32), "shift"),
        ],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    features = [rng.normal(size=(1, 20, 64)).astype(np.float32) for _ in range(3)]
    made, note = quantized(model, features, _runner)
    exact, rounded = (np.concatenate([_runner(m)(x) for x in features]) for m in (model, made))
    assert cosines(exact, rounded).min() >= 0.9997
    assert any(node.op_type == "MatMul" and "delicate" in node.input[1] for node in made.graph.node)
    assert int(note.split(" %")[0]) < 100


def test_the_artificial_voice_is_heard_as_one():
    from mvector.audio import require_speech

    for seed, pitch_hz in enumerate((110.0, 210.0)):
        require_speech(artificial_voice(3.0, 16000, pitch_hz, seed), 16000)
