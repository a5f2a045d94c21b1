"""Where speech is, how good it is, and what is embedded of it; what is no speech is nobody."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile

from mvector.errors import AudioError, NoSpeechError, TooShortError
from mvector.predict import MVectorPredictor
from mvector.recognition import Heard, Quality, hear

RATE = 16000


def sounds_without_speech() -> dict[str, np.ndarray]:
    rng, t = np.random.default_rng(0), np.arange(2 * RATE) / RATE
    spectrum = np.fft.rfft(rng.standard_normal(len(t)))
    pink = np.fft.irfft(spectrum / np.sqrt(np.arange(len(spectrum)) + 1))
    clicks = np.zeros(len(t))
    clicks[::4000] = 0.9
    return {
        "zeros": np.zeros(len(t)),
        "an offset": np.full(len(t), 0.1),
        "dither": rng.integers(-1, 2, len(t)) / 32768,
        "white noise": 0.1 * rng.standard_normal(len(t)),
        "loud white noise": np.clip(rng.standard_normal(len(t)), -1, 1),
        "pink noise": 0.3 * pink / np.abs(pink).max(),
        "hum": sum(0.1 / k * np.sin(2 * np.pi * 50 * k * t) for k in (1, 2, 3, 5)),
        "a tone": 0.3 * np.sin(2 * np.pi * 440 * t),
        "overtones of 150 Hz": sum(0.1 / k * np.sin(2 * np.pi * 150 * k * t) for k in range(1, 20)),
        "a sweep": 0.3 * np.sin(2 * np.pi * (100 + 300 * t) * t),
        "clicks": clicks,
        "bursts of noise": 0.1 * rng.standard_normal(len(t)) * (np.sin(2 * np.pi * 3 * t) > 0.5),
    }


SOUNDS = {name: sound.astype(np.float32) for name, sound in sounds_without_speech().items()}


@pytest.fixture
def anna(tiny_model_dir, tmp_path, voice):
    """A predictor that has anna enrolled and accepts every voice as anybody's."""
    predictor = MVectorPredictor(model_path=tiny_model_dir, audio_db_path=tmp_path / "db", threshold=-1, device="cpu")
    predictor.register(voice, "anna")
    yield predictor
    predictor.store.close()


def test_what_is_no_speech_is_never_anybody_and_cannot_be_enrolled(anna, voice):
    assert tuple(anna.recognition(voice)) == ("anna", pytest.approx(1.0, abs=1e-5))
    for kind, sound in SOUNDS.items():
        answer = anna.recognition(sound)
        assert (tuple(answer), answer.reason) == ((None, None), "silence" if kind == "zeros" else "no_speech"), kind
        assert anna.verify(sound, "anna").same is False, kind
        with pytest.raises(NoSpeechError, match="the given array"):
            anna.register(sound, "nobody")
    assert anna.get_users() == ["anna"]
    assert anna.store.get("anna").utterances == 1


def test_it_hears_somebody_in_noise(anna, voice):
    """The refusals above come from the detector and not from any change of the sound."""
    noise = np.resize(SOUNDS["pink noise"], len(voice))
    assert anna.recognition(np.concatenate([noise, voice, noise])).name == "anna"
    assert anna.recognition(voice + 0.1 * noise).name == "anna"


def listen(predictor: MVectorPredictor, sound: np.ndarray, **settings):
    return hear(sound, RATE, predictor.embedder, predictor.config, **settings)


def test_uninterrupted_speech_has_the_embedding_of_predict(anna, voice):
    found = listen(anna, voice, keep_speech=True)
    np.testing.assert_allclose(found.embedding, anna.predict(voice), atol=2e-3)
    assert len(found.speech) > 0.97 * len(voice)
    assert found.quality.duration_s == pytest.approx(len(voice) / RATE)
    assert 0.8 * len(voice) < found.quality.speech_s * RATE <= len(voice)


def test_silence_and_noise_around_the_speech_are_cut_off(anna, voice):
    quiet = (1e-3 * np.random.default_rng(1).standard_normal(6 * RATE)).astype(np.float32)
    expected = listen(anna, voice).embedding
    surrounded = np.concatenate([quiet, voice, quiet])
    found = listen(anna, surrounded, keep_speech=True)
    assert float(found.embedding @ expected) > 0.99
    assert float(anna.predict(surrounded) @ expected) < float(found.embedding @ expected)
    # What is kept of it has this embedding by itself, so that another model can take the recording over.
    np.testing.assert_allclose(anna.predict(found.speech), found.embedding, atol=1e-6)
    assert len(voice) < len(found.speech) <= len(voice) + 0.8 * RATE


def test_long_recordings_go_window_by_window(anna, voice, tmp_path):
    """Speech is put together across the seams; windows of noise between have no say."""
    speech = np.tile(voice, 10)
    hiss = (0.01 * np.random.default_rng(0).standard_normal(20 * RATE)).astype(np.float32)
    path = tmp_path / "long.wav"
    soundfile.write(path, np.concatenate([speech[: 20 * RATE], hiss, speech[20 * RATE :], hiss]), RATE, subtype="FLOAT")
    found = listen(anna, path, keep_speech=True)
    assert found.quality.duration_s == pytest.approx(70.0)
    assert 12 < found.quality.speech_s < 32  # a voice as monotonous as this tires the detector
    assert 20 * RATE < len(found.speech) < 31 * RATE
    np.testing.assert_allclose(anna.predict(found.speech), found.embedding, atol=1e-6)
    assert listen(anna, path, most_s=10.0).quality.duration_s == pytest.approx(10.0)


@pytest.mark.parametrize("samples", [1, 799, 1000, 3200])
def test_too_little_sound_is_an_answer_when_recognising_and_an_error_when_enrolling(anna, voice, samples):
    answer = anna.recognition(voice[:samples])
    assert (answer.name, answer.reason) == (None, "too_little_speech")
    with pytest.raises(TooShortError, match="the given array: only 0"):
        anna.register(voice[:samples], "anna")


def test_too_little_speech_to_enroll_and_enough_to_ask(anna, make_voice):
    rest = np.zeros(2 * RATE, np.float32)
    brief = np.concatenate([rest, make_voice(0.4)[: int(0.4 * RATE)], rest])
    found = listen(anna, brief)
    assert 0.3 <= found.quality.speech_s < 1.0
    assert any("s of speech was found" in text for text in found.warnings)
    assert anna.recognition(brief).name == "anna"
    with pytest.raises(TooShortError, match=r"enrolling needs at least 1 s"):
        anna.register(brief, "bea")


def test_noise_and_clipping_are_measured_and_told(anna, make_voice):
    voice, rng = make_voice(5.0), np.random.default_rng(2)
    hiss = rng.standard_normal(len(voice)) * np.sqrt(np.mean(voice**2.0))
    clean, noisy = (listen(anna, (voice + gain * hiss).astype(np.float32)) for gain in (0.01, 0.5))
    assert clean.warnings == ()
    assert clean.quality.snr_db > 10
    assert noisy.quality.snr_db == pytest.approx(20 * np.log10(2), abs=1)
    assert any("dB above the noise" in text for text in noisy.warnings)

    peak = np.abs(voice).max()
    for gain, warned in ((0.9 / peak, False), (3 / peak, True)):
        found = listen(anna, np.clip(gain * voice, -1, 1).astype(np.float32))
        assert found.quality.clipped_share == pytest.approx(np.mean(np.abs(gain * voice) >= 0.98), abs=0.01)
        assert any("clipped" in text for text in found.warnings) is warned


@pytest.mark.parametrize(
    ("quality", "refusal"),
    [
        ({}, None),
        ({"snr_db": 0.1, "clipped_share": 0.2, "speech_s": 1.0}, None),  # warnings
        ({"snr_db": -1.0}, "noise is louder than the voice"),
        ({"clipped_share": 0.21}, "21 % of its samples are clipped"),
        ({"speech_s": 0.9}, "only 0.9 s of speech"),
    ],
)
def test_what_is_refused_where_a_voice_is_to_be_kept(anna, quality, refusal):
    good = Quality(duration_s=6.0, speech_s=5.0, snr_db=30.0, clipped_share=0.0, level_dbfs=-25.0, magnitude=3.0)
    heard = Heard("her.wav", np.ones(24, np.float32), replace(good, **quality), False, ())
    if refusal is None:
        assert anna.recogniser.require_good(heard) is heard
    else:
        with pytest.raises(AudioError, match=f"her.wav: .*{refusal}"):
            anna.recogniser.require_good(heard)


def test_what_cannot_be_decoded_is_an_error(anna, tmp_path):
    text = tmp_path / "words.wav"
    text.write_text("no sound", encoding="utf-8")
    for act in (
        anna.recognition,
        lambda source: anna.register(source, "x"),
        lambda source: anna.verify(source, "anna"),
    ):
        for source, expected in ((text, "words.wav"), (np.full(RATE, np.nan, np.float32), "not finite")):
            with pytest.raises(AudioError, match=expected):
                act(source)
