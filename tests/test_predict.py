"""Embeddings and verdicts from a model directory, compared with the network run by hand."""

import io
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from mvector.errors import AudioError, ConfigError, ModelError, MVectorError, NoSpeechError, TooShortError
from mvector.model_directory import load_model
from mvector.predict import MVectorPredictor

RATE = 16000


@pytest.fixture
def predictor(tiny_model_dir):
    return MVectorPredictor(model_path=tiny_model_dir, device="cpu")


def by_hand(folder: Path, waveform: np.ndarray) -> np.ndarray:
    """The unit-length embedding of a waveform: level -20 dBFS, features, network, in the plainest way."""
    embedder = load_model(folder).embedder
    levelled = waveform * 0.1 / np.sqrt(np.mean(waveform.astype(np.float64) ** 2))
    with torch.inference_mode():
        features, _ = embedder.featurizer(torch.from_numpy(levelled.astype(np.float32))[None])
        embedding = embedder.backbone(features)[0].double().numpy()
    return embedding / np.linalg.norm(embedding)


def test_predict_is_the_network_on_the_levelled_waveform(predictor, tiny_model_dir, voice):
    embedding = predictor.predict(voice)
    assert (embedding.shape, embedding.dtype) == ((24,), np.float32)
    np.testing.assert_allclose(embedding, by_hand(tiny_model_dir, voice), atol=2e-6)
    np.testing.assert_allclose(predictor.predict(0.01 * voice), embedding, atol=1e-4)


def test_every_kind_of_source_gives_the_same(predictor, voice, tmp_path):
    path = tmp_path / "录音" / "一.wav"
    path.parent.mkdir()
    soundfile.write(path, voice, RATE, subtype="FLOAT")
    expected = predictor.predict(voice)
    with open(path, "rb") as opened:
        sources = [path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), opened, voice[:, None]]
        for source in sources:
            np.testing.assert_array_equal(predictor.predict(source), expected)


def test_predict_batch_gives_each_recording_its_own_embedding(predictor, make_voice):
    """The predecessor zero-padded the batch, so that a voice enrolled in a batch was not the voice asked for later."""
    sounds = [make_voice(seconds, seed=i) for i, seconds in enumerate((0.6, 2.0, 0.6, 1.3, 21.5, 3.0))]
    alone = [predictor.predict(sound) for sound in sounds]
    order = [4, 2, 5, 0, 1, 3]
    for batch_size in (1, 2, 32):
        together = predictor.predict_batch([sounds[i] for i in order], batch_size=batch_size)
        assert (together.shape, together.dtype) == ((6, 24), np.float32)
        for row, index in enumerate(order):
            assert np.linalg.norm(together[row] - alone[index]) <= 1e-5
    assert predictor.predict_batch([]).shape == (0, 24)


def test_a_long_recording_is_the_mean_of_its_windows(predictor, tiny_model_dir, make_voice):
    sound = make_voice(45.0)
    windows = [
        by_hand(tiny_model_dir, part) for part in (sound[: 20 * RATE], sound[20 * RATE : 40 * RATE], sound[40 * RATE :])
    ]
    mean = np.mean(windows, axis=0)
    np.testing.assert_allclose(predictor.predict(sound), mean / np.linalg.norm(mean), atol=2e-6)


def test_windows_without_speech_have_no_say(predictor, make_voice):
    speech = make_voice(20.0)
    hiss = np.random.default_rng(0).normal(0, 0.01, 20 * RATE).astype(np.float32)
    zeros = np.zeros(20 * RATE, np.float32)
    np.testing.assert_allclose(
        predictor.predict(np.concatenate([zeros, speech, hiss, zeros])), predictor.predict(speech), atol=1e-6
    )


def test_contrast_is_the_cosine_of_the_embeddings(predictor, make_voice):
    one, other = make_voice(1.0, seed=1), make_voice(2.5, seed=2) * np.float32(0.3)
    score = predictor.contrast(one, other)
    assert type(score) is float
    assert score == pytest.approx(float(predictor.predict(one) @ predictor.predict(other)), abs=1e-6)
    assert predictor.contrast(one, one) == pytest.approx(1.0, abs=1e-6)
    assert -1 <= predictor.contrast(one, one) <= 1
    assert predictor.contrast(other, one) == score


def test_the_stored_threshold_decides_unless_another_is_given(make_model, voice, make_voice):
    folder = make_model({"threshold": 0.25})
    other = make_voice(2.0, seed=5)
    score = MVectorPredictor(model_path=folder).contrast(voice, other)

    stored = MVectorPredictor(model_path=folder).verdict(voice, other)
    assert (stored.similarity, stored.threshold, stored.same) == (score, 0.25, score > 0.25)
    # 0 is a threshold like any other (the predecessor took it for "none given"), and equal is not greater.
    for threshold in (0, -1.0, 1.0, score):
        verdict = MVectorPredictor(model_path=folder, threshold=threshold).verdict(voice, other)
        assert (verdict.threshold, verdict.same) == (threshold, score > threshold)


def test_a_calibrated_model_gives_a_likelihood_ratio_and_a_probability(make_model, voice, make_voice):
    calibration = {"scale": 9.0, "offset": -2.5, "prior": 0.5, "targets": 10, "non_targets": 40}
    calibrated = MVectorPredictor(model_path=make_model({"threshold": 0.25, "calibration": calibration}))
    verdict = calibrated.verdict(voice, make_voice(3.0, seed=5))
    assert verdict.llr == pytest.approx(9 * verdict.similarity - 2.5)
    for prior in (0.5, 0.01):
        odds = np.exp(verdict.llr) * prior / (1 - prior)
        assert verdict.probability(prior) == pytest.approx(odds / (1 + odds))
    with pytest.raises(MVectorError, match="between 0 and 1"):
        verdict.probability(1.0)


def test_a_model_without_calibration_gives_neither(make_model, voice):
    verdict = MVectorPredictor(model_path=make_model()).verdict(voice, voice)
    assert (verdict.llr, verdict.probability()) == (None, None)


def test_without_a_threshold_there_is_no_answer(make_model, voice):
    verdict = MVectorPredictor(model_path=make_model({})).verdict(voice, voice)
    assert (verdict.threshold, verdict.same) == (None, None)
    assert verdict.similarity == pytest.approx(1.0, abs=1e-6)


def sounds_without_speech() -> dict[str, np.ndarray]:
    rng, t = np.random.default_rng(0), np.arange(3 * RATE) / RATE
    return {
        "zeros": np.zeros(3 * RATE, np.float32),
        "noise": rng.normal(0, 0.1, 3 * RATE).astype(np.float32),
        "tone": (0.3 * np.sin(2 * np.pi * 440 * t)).astype(np.float32),
        "long noise": rng.normal(0, 0.1, 25 * RATE).astype(np.float32),
        "long zeros": np.zeros(25 * RATE, np.float32),
    }


@pytest.mark.parametrize("kind", sorted(sounds_without_speech()))
def test_no_verdict_without_speech(predictor, voice, tmp_path, kind):
    """Silence against speech scored .685 in a peer, and the answer was yes."""
    sound = sounds_without_speech()[kind]
    path = tmp_path / "quiet.wav"
    soundfile.write(path, sound, RATE)
    for pair in ((voice, path), (path, voice)):
        with pytest.raises(NoSpeechError, match=r"quiet\.wav"):
            predictor.verdict(*pair)
        with pytest.raises(NoSpeechError, match=r"quiet\.wav"):
            predictor.contrast(*pair)
    with pytest.raises(NoSpeechError, match="recording 2 of 2: the given array"):
        predictor.contrast(voice, sound)
    if "zeros" in kind:
        with pytest.raises(NoSpeechError):
            predictor.predict(sound)
    else:  # an embedding is no verdict
        assert np.isfinite(predictor.predict(sound)).all()


@pytest.mark.parametrize("samples", [1, 799, 800, 1000])
def test_too_short_is_named(predictor, voice, samples):
    # 0.05 s is the package's minimum; this network's five frames need 65 ms.
    with pytest.raises(TooShortError, match="recording 1 of 2: the given array"):
        predictor.contrast(voice[:samples], voice)
    with pytest.raises(TooShortError, match="the given array"):
        predictor.predict(voice[:samples])


def test_the_shortest_usable_recording_gets_an_answer_and_a_warning(predictor, voice):
    verdict = predictor.verdict(voice[RATE : RATE + predictor.embedder.min_samples], voice)
    assert np.isfinite(verdict.similarity)
    assert any("of speech was found" in text for text in verdict.warnings)


def test_warnings_come_with_the_verdict_not_with_the_log(predictor, make_voice, voice, tmp_path, caplog):
    narrow, brief = tmp_path / "phone.wav", tmp_path / "brief.wav"
    soundfile.write(narrow, make_voice(4.0, 8000), 8000)
    soundfile.write(brief, make_voice(1.0), RATE)
    long_enough = make_voice(4.0)
    with caplog.at_level(logging.WARNING, "mvector"):
        (band,) = predictor.verdict(narrow, long_enough).warnings
        (short,) = predictor.verdict(long_enough, brief).warnings
        assert predictor.verdict(long_enough, long_enough).warnings == ()
        assert not caplog.records
        predictor.contrast(narrow, long_enough)
    assert "phone.wav" in band
    assert "8000 Hz" in band
    assert "brief.wav: only 0." in short
    assert ["phone.wav" in record.message for record in caplog.records] == [True]


def test_a_truncated_recording_is_used_with_a_warning(predictor, make_voice, tmp_path):
    path = tmp_path / "cut.wav"
    soundfile.write(path, make_voice(6.0), RATE)
    path.write_bytes(path.read_bytes()[:140_000])
    (warning,) = predictor.verdict(path, path).warnings
    assert "cut.wav: it is truncated" in warning


def test_unusable_recordings_are_named(predictor, voice, tmp_path):
    text = tmp_path / "words.wav"
    text.write_text("no sound", encoding="utf-8")
    with pytest.raises(AudioError, match=r"words\.wav"):
        predictor.contrast(voice, text)
    with pytest.raises(AudioError, match=r"absent\.wav"):
        predictor.predict_batch([voice, tmp_path / "absent.wav"])
    with pytest.raises(AudioError, match=r"recording 3 of 3.*not finite"):
        predictor.predict_batch([voice, voice, np.full(RATE, np.nan, np.float32)])
    with pytest.raises(AudioError, match="not as list"):
        predictor.predict([0.0] * RATE)


def test_another_rate_is_resampled(predictor, make_voice):
    wide, other_rate = make_voice(4.0), make_voice(4.0, 44100)
    assert predictor.contrast(other_rate, other_rate, sample_rate=44100) == pytest.approx(1.0, abs=1e-6)
    assert float(predictor.predict(other_rate, 44100) @ predictor.predict(wide)) > 0.99


def test_arguments_that_cannot_be_used_say_so(tiny_model_dir):
    with pytest.raises(ConfigError, match=r"threshold.*60"):
        MVectorPredictor(model_path=tiny_model_dir, threshold=60)
    with pytest.raises(ConfigError, match=r"threshold.*nan"):
        MVectorPredictor(model_path=tiny_model_dir, threshold=float("nan"))
    with pytest.raises(ConfigError, match="batch_size"):
        MVectorPredictor(model_path=tiny_model_dir).predict_batch([], batch_size=0)
    with pytest.raises(ConfigError, match="device"):
        MVectorPredictor(model_path=tiny_model_dir, device="quantum")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this is about machines without a GPU")
def test_a_gpu_that_is_not_there_is_an_error_only_when_asked_for(tiny_model_dir):
    with pytest.raises(ConfigError, match="use_gpu"):
        MVectorPredictor(model_path=tiny_model_dir, use_gpu=True)
    assert MVectorPredictor(model_path=tiny_model_dir, use_gpu=False).embedder.device.type == "cpu"


def test_a_model_that_is_not_there_is_answered_with_how_to_get_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"EcapaTdnn_Fbank.*train\.py --configs configs/quickstart\.yml.*--model_path"):
        MVectorPredictor(model_path="models/EcapaTdnn_Fbank/best_model/")


def test_the_models_own_configuration_decides(tiny_model_dir, voice, caplog):
    expected = MVectorPredictor(model_path=tiny_model_dir).predict(voice)
    config = load_model(tiny_model_dir).config.model_dump()
    with caplog.at_level(logging.WARNING, "mvector"):
        MVectorPredictor(configs=tiny_model_dir / "config.yml", model_path=tiny_model_dir)
        config["train_conf"]["max_epoch"] = 7
        MVectorPredictor(config, model_path=tiny_model_dir)
        assert not caplog.records
        config["preprocess_conf"]["waveform_scale"] = 1.0
        conflicting = MVectorPredictor(config, model_path=tiny_model_dir)
    (record,) = caplog.records
    assert "preprocess_conf" in record.message
    np.testing.assert_array_equal(conflicting.predict(voice), expected)


@pytest.mark.parametrize("form", [str, list])
def test_overwrites_change_the_models_configuration(tiny_model_dir, form):
    texts = ["dataset_conf.dataset.use_dB_normalization=False", "dataset_conf.dataset.target_dB=-30"]
    predictor = MVectorPredictor(model_path=tiny_model_dir, overwrites=",".join(texts) if form is str else texts)
    dataset = predictor.config.dataset_conf.dataset
    assert (dataset.use_dB_normalization, dataset.target_dB) == (False, -30)
    with pytest.raises(ConfigError, match="target_dB"):
        MVectorPredictor(model_path=tiny_model_dir, overwrites="dataset_conf.dataset.targetdB=-30")


COLD = """
import sys
from mvector.predict import MVectorPredictor
print(MVectorPredictor(model_path=sys.argv[1]).verdict(*sys.argv[2:4]).same)
print(*sorted(name for name in sys.argv[4:] if name in sys.modules))
"""
SLOW_TO_IMPORT = ["scipy", "sklearn", "matplotlib", "visualdl", "soxr", "av", "torchaudio", "pandas", "torch._dynamo"]


def test_a_verdict_imports_nothing_that_it_does_not_need(tiny_model_dir, voice, tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, voice, RATE)
    command = [sys.executable, "-c", COLD, str(tiny_model_dir), str(path), str(path), *SLOW_TO_IMPORT]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, cwd=Path(__file__).parents[1])
    assert done.stdout.split("\n")[:2] == ["True", ""]


# Linux carries the peak that getrusage tells over from the process that started this one; VmHWM is its own.
PEAK = """
import pathlib, resource, sys
from mvector.predict import MVectorPredictor

def peak_mib():
    if sys.platform == "linux":
        status = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
        return int(status["VmHWM"].split()[0]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts bytes

model, long, short = sys.argv[1:]
predictor = MVectorPredictor(model_path=model, device="cpu")
predictor.verdict(short, short)
libraries_mib = peak_mib()
print(predictor.verdict(long, short).similarity, peak_mib() - libraries_mib)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a system package: the resource module of Unix")
def test_three_hours_take_less_than_200_mib_more_than_a_minute(tiny_model_dir, make_voice, tmp_path):
    minute, path = make_voice(60.0, 8000), tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 8000, 1, "PCM_U8") as file:
        for _ in range(180):
            file.write(minute)
    first = tmp_path / "minute.wav"
    soundfile.write(first, minute, 8000, subtype="PCM_U8")
    command = [sys.executable, "-c", PEAK, str(tiny_model_dir), str(path), str(first)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, cwd=Path(__file__).parents[1])
    similarity, more_mib = map(float, done.stdout.split())
    assert similarity > 0.99
    assert more_mib < 200  # as float32 the samples alone are 330 MiB, at the model's rate 659 MiB
