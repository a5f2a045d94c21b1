"""The estimated signal-to-noise ratio against mixtures of known ratio."""

import time

import numpy as np
import pytest

from mvector.audio.quality import HIGHEST_SNR_DB, estimate_snr_db


def mixed(voice: np.ndarray, snr_db: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(len(voice))
    return (voice + noise * np.sqrt(np.mean(voice**2.0) / np.mean(noise**2)) * 10 ** (-snr_db / 20)).astype(np.float32)


@pytest.fixture(scope="module")
def voices(make_voice) -> list[np.ndarray]:
    return [make_voice(4.0, seed=seed) for seed in range(3)]


@pytest.mark.parametrize(("snr_db", "tolerance_db"), [(-5, 1.0), (0, 0.5), (5, 0.5), (10, 0.5), (15, 1.0), (20, 1.5)])
def test_known_mixtures(voices, snr_db, tolerance_db):
    for seed, voice in enumerate(voices):
        assert estimate_snr_db(mixed(voice, snr_db, seed), 16000) == pytest.approx(snr_db, abs=tolerance_db)


def test_the_rate_does_not_matter(make_voice):
    voice = make_voice(4.0, sample_rate_hz=8000)
    assert estimate_snr_db(mixed(voice, 10), 8000) == pytest.approx(10, abs=0.5)


def test_level_offset_and_digital_silence_change_nothing(voice):
    noisy = mixed(voice[: 512 * 90], 10)  # whole frames
    expected = estimate_snr_db(noisy, 16000)
    assert estimate_snr_db(0.01 * noisy, 16000) == pytest.approx(expected, abs=1e-3)
    assert estimate_snr_db(noisy + np.float32(0.1), 16000) == pytest.approx(expected, abs=1e-2)
    frames = 512 * 40
    padded = np.concatenate([np.zeros(frames, np.float32), noisy, np.zeros(frames, np.float32)])
    assert estimate_snr_db(padded, 16000) == pytest.approx(expected, abs=1e-3)


def test_the_ends_of_the_scale(voice):
    assert np.isnan(estimate_snr_db(np.zeros(16000, np.float32), 16000))
    assert np.isnan(estimate_snr_db(voice[:5119], 16000))
    assert not np.isnan(estimate_snr_db(voice[4000:9120], 16000))
    assert np.isnan(estimate_snr_db(np.zeros(0, np.float32), 16000))
    steady = np.random.default_rng(0).standard_normal(64000).astype(np.float32)
    assert estimate_snr_db(steady, 16000) < -5.0  # nothing but noise
    gated = np.where(np.arange(48000) % 16000 < 4000, 1e-6, 1.0) * voice
    assert estimate_snr_db(gated, 16000) == HIGHEST_SNR_DB


def test_it_costs_nothing_beside_the_network(voice):
    long = np.tile(voice, 20)  # a minute
    started = time.thread_time()
    estimate_snr_db(long, 16000)
    assert time.thread_time() - started < 0.001 * 60
