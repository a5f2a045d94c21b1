"""The real sherpa-onnx loads our files, and its verdicts are ours."""

import numpy as np
import onnx
import pytest
import sherpa_onnx
from onnx import helper

from mvector.config import load_config
from mvector.export.sherpa import sherpa_metadata
from mvector.features import AudioFeaturizer
from mvector.predict import MVectorPredictor

RATE = 16000


def extractor(path) -> sherpa_onnx.SpeakerEmbeddingExtractor:
    return sherpa_onnx.SpeakerEmbeddingExtractor(
        sherpa_onnx.SpeakerEmbeddingExtractorConfig(model=str(path), num_threads=1)
    )


def compute(opened: sherpa_onnx.SpeakerEmbeddingExtractor, waveform: np.ndarray) -> np.ndarray:
    stream = opened.create_stream()
    stream.accept_waveform(sample_rate=RATE, waveform=waveform)
    stream.input_finished()
    assert opened.is_ready(stream)
    return np.array(opened.compute(stream))


@pytest.fixture(scope="module")
def voices(make_voice) -> list[np.ndarray]:
    return [make_voice(seconds, seed=seed) for seed, seconds in enumerate((2.0, 3.1, 1.2, 4.0))]


def test_embeddings_equal_ours(files, voices):
    """The level that the model wants does not matter here: on the 16-bit scale the mean takes it away."""
    opened, ours = extractor(files.network), MVectorPredictor(model_path=files.directory, device="cpu")
    assert opened.dim == 24
    assert files.notes == []
    for voice in voices:
        embedding = compute(opened, voice)
        assert float(embedding @ ours.predict(voice)) / np.linalg.norm(embedding) == pytest.approx(1.0, abs=1e-5)


def test_enrolling_verifying_and_searching(files, voices, make_voice):
    opened, ours = extractor(files.network), MVectorPredictor(model_path=files.directory, device="cpu")
    manager = sherpa_onnx.SpeakerEmbeddingManager(opened.dim)
    for name, voice in zip(("anna", "贝拉", "carl", "dora"), voices, strict=True):
        assert manager.add(name, compute(opened, voice))
    asked = make_voice(2.5, seed=9)
    embedding = compute(opened, asked)
    for name, voice in zip(("anna", "贝拉", "carl", "dora"), voices, strict=True):
        score = ours.contrast(voice, asked)
        assert manager.verify(name, embedding, threshold=score - 1e-3)
        assert not manager.verify(name, embedding, threshold=score + 1e-3)
    assert manager.search(compute(opened, voices[1]), threshold=0.999) == "贝拉"


def test_its_features_are_fbank_with_the_arguments_we_say(tmp_path, voices):
    """A network that hands its input through shows what sherpa-onnx computes."""
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        "spy",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["B", "F", 80])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["B", "V"])],
        [onnx.numpy_helper.from_array(np.array([1, -1]), "shape")],
    )
    for scale, mean_norm in ((1.0, True), (32768.0, True), (32768.0, False)):
        arguments = {"num_mel_bins": 80, "snip_edges": False, "high_freq": -400.0}
        preprocess = {"method_args": arguments, "waveform_scale": scale, "mean_norm": mean_norm}
        config = load_config(
            {"preprocess_conf": preprocess, "dataset_conf": {"dataset": {"use_dB_normalization": False}}}
        )
        metadata, notes = sherpa_metadata(config, 80, {})
        assert notes == []
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        helper.set_model_props(model, metadata)
        onnx.save(model, tmp_path / "spy.onnx")
        found = compute(extractor(tmp_path / "spy.onnx"), voices[0]).reshape(-1, 80)
        featurizer = AudioFeaturizer("Fbank", arguments, waveform_scale=scale, mean_norm=mean_norm)
        import torch

        expected = featurizer(torch.from_numpy(voices[0])[None])[0][0].numpy()
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() < 1e-3


CHANGES = {
    "another scale": ({"waveform_scale": 100.0}, "waveform_scale is 100"),
    "other bins": ({"method_args": {"num_mel_bins": 40}}, "num_mel_bins is 40, there 80"),
    "another shift": ({"method_args": {"num_mel_bins": 80, "frame_shift": 15.0}}, "frame_shift is 15.0, there 10.0"),
    "another feature": ({"feature_method": "MelSpectrogram", "method_args": {}}, "feature_method is MelSpectrogram"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_features_that_it_cannot_compute_get_no_metadata_and_a_reason(name):
    changes, reason = CHANGES[name]
    preprocess = {"method_args": {"num_mel_bins": 80}, "waveform_scale": 32768.0, **changes}
    metadata, (note,) = sherpa_metadata(load_config({"preprocess_conf": preprocess}), 192, {})
    assert metadata == {}
    assert note.startswith("sherpa-onnx cannot run this model")
    assert reason in note


def test_differences_that_it_can_live_with_are_told():
    args = {"num_mel_bins": 80, "window_type": "hamming", "dither": 1.0}
    preprocess = {"method_args": args, "waveform_scale": 32768.0, "mean_norm": True}
    metadata, (note,) = sherpa_metadata(load_config({"preprocess_conf": preprocess}), 192, {})
    assert metadata["framework"] == "wespeaker"
    assert metadata["normalize_samples"] == "0"
    for text in ("high_freq is 0.0, there -400.0", "snip_edges is True", "window_type is hamming, there povey"):
        assert text in note
    preprocess = {"method_args": {"num_mel_bins": 80, "high_freq": 7600.0, "snip_edges": False}, "mean_norm": False}
    metadata, (note,) = sherpa_metadata(load_config({"preprocess_conf": preprocess}), 192, {})
    assert metadata["framework"] == "3d-speaker"
    assert metadata["normalize_samples"] == "1"
    assert metadata["feature_normalize_type"] == ""
    assert "does not bring recordings to the level of -20 dB" in note
