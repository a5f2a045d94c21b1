"""eSpeak NG through its worker process: voices that differ, the same bytes every time, errors in one sentence."""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mvector.data import synthesis
from mvector.data.synthesis import Sentence, synthesize, voice_variants
from mvector.data.synthetic_sentences import PHRASES, draw_sentences
from mvector.data.synthetic_speakers import DEV_VARIANTS, TEST_VARIANTS, TRAIN_VARIANTS
from mvector.errors import MissingPackageError, MVectorError

VARIANTS = (*TRAIN_VARIANTS, *DEV_VARIANTS, *TEST_VARIANTS)
TEXT = "The train to the coast leaves at half past seven."


def mean_log_spectrum(waveform: np.ndarray) -> np.ndarray:
    """Mean log power of a clean waveform [T] at 22050 Hz in bands, less their mean, so that loudness drops out."""
    frames = np.lib.stride_tricks.sliding_window_view(waveform, 512)[::256] * np.hanning(512)
    power = np.abs(np.fft.rfft(frames)) ** 2
    power = power[power.sum(axis=1) > 0.1 * power.sum(axis=1).mean()]  # frames with sound in them
    edges = np.unique(np.round(np.geomspace(2, 200, 41)).astype(int))
    bands = np.log(np.add.reduceat(power[:, :200], edges[:-1], axis=1) + 1e-8).mean(axis=0)
    return bands - bands.mean()


@pytest.fixture(scope="module")
def voices() -> dict[str, np.ndarray]:
    """The same sentence from every variant of the corpus, and from the plain voice (''), each from a fresh process."""

    def speak(variant: str) -> np.ndarray:
        voice = f"en-us+{variant}" if variant else "en-us"
        return synthesize([Sentence(voice, TEXT)])[0][0]

    names = ["", *VARIANTS]
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(names, pool.map(speak, names), strict=True))


def test_all_variants_of_the_corpus_are_known_to_espeak() -> None:
    assert set(voice_variants()) >= set(VARIANTS)
    assert len(set(VARIANTS)) == len(VARIANTS)


def test_no_two_voices_are_the_same(voices: dict[str, np.ndarray]) -> None:
    # eSpeak NG takes an unknown variant for the plain voice and says nothing, so that sound alone is the proof.
    for waveform in voices.values():
        assert 1.5 < len(waveform) / 22050 < 5
        assert np.sqrt(np.mean(waveform**2)) > 0.01
    names = list(voices)
    spectra = np.stack([mean_log_spectrum(voices[name]) for name in names])
    distance = np.sqrt(((spectra[:, None] - spectra[None]) ** 2).mean(axis=-1))
    distance[np.diag_indices(len(names))] = np.inf
    closest = np.unravel_index(distance.argmin(), distance.shape)
    assert distance.min() > 0.15, f"{names[closest[0]]!r} and {names[closest[1]]!r} sound the same"


def test_the_pitch_rate_and_language_are_obeyed() -> None:
    def seconds(**settings: int) -> float:
        return len(synthesize([Sentence("en-us+max", TEXT, **settings)])[0][0]) / 22050

    assert seconds(rate=120) > 1.4 * seconds(rate=220)
    low, high = (synthesize([Sentence("en-us+max", TEXT, pitch=pitch)])[0][0] for pitch in (10, 90))
    assert fundamental_hz(high) > 1.3 * fundamental_hz(low)
    spoken = {name: synthesize([Sentence(f"{name}+max", "Casa Maria")])[0][0] for name in PHRASES}
    assert len({waveform.tobytes() for waveform in spoken.values()}) == len(PHRASES)


def fundamental_hz(waveform: np.ndarray) -> float:
    """Median over frames of the autocorrelation's highest peak between 60 and 400 Hz."""
    frames = np.lib.stride_tricks.sliding_window_view(waveform, 2048)[::512]
    frames = frames[(frames**2).mean(axis=1) > (waveform**2).mean()]
    correlation = np.fft.irfft(np.abs(np.fft.rfft(frames, 4096)) ** 2)[:, 22050 // 400 : 22050 // 60]
    return float(np.median(22050 / (22050 // 400 + correlation.argmax(axis=1))))


def test_a_fresh_process_gives_the_same_bytes() -> None:
    # klatt voices draw noise, flutter and echo go on from one sentence to the next: all of it starts anew.
    for variant in ("klatt4", "croak", "robosoft8", "Mr serious"):
        sentences = [Sentence(f"{language}+{variant}", parts[0][0]) for language, parts in PHRASES.items()]
        first, rate = synthesize(sentences)
        synthesize([Sentence("de+zac", "Etwas anderes.")])
        second, _ = synthesize(sentences)
        assert rate == 22050
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_bytes_do_not_depend_on_the_time_of_day() -> None:
    sentences = [Sentence("en-us+f2", TEXT, pitch=41)]
    (first,), _ = synthesize(sentences)
    time.sleep(1.1)
    (second,), _ = synthesize(sentences)
    np.testing.assert_array_equal(first, second)


def test_sentences_are_different_and_follow_the_seed() -> None:
    for language, parts in PHRASES.items():
        assert [len(part) for part in parts] == [8, 8, 8]
        drawn = draw_sentences(language, 100, np.random.default_rng(1))
        assert len(set(drawn)) == 100
        assert drawn == draw_sentences(language, 100, np.random.default_rng(1))
        assert drawn != draw_sentences(language, 100, np.random.default_rng(2))


def test_unknown_variant_and_language_are_errors() -> None:
    with pytest.raises(MVectorError, match="no voice variant 'nonsense'"):
        synthesize([Sentence("en-us+nonsense", TEXT)])
    with pytest.raises(MVectorError, match="no voice 'xx\\+max'"):
        synthesize([Sentence("xx+max", TEXT)])


def test_a_text_without_words_is_an_error() -> None:
    with pytest.raises(MVectorError, match="made no sound"):
        synthesize([Sentence("en-us+max", "")])


def test_a_library_that_does_not_load_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    broken = tmp_path / "坏的.so"
    broken.write_bytes(b"not a library")
    data_folder = synthesis._espeak_files()[1]
    monkeypatch.setattr(synthesis, "_espeak_files", lambda: (broken, data_folder))
    with pytest.raises(MVectorError, match="library does not load"):
        synthesize([Sentence("en-us", TEXT)])


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(MissingPackageError, match="pip install espeakng-loader"):
        synthesize([Sentence("en-us", TEXT)])


def test_the_working_directory_stays(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    synthesize([Sentence("en-us", TEXT)])
    assert os.getcwd() == str(tmp_path)
