"""Augmentation against direct computation."""

import numpy as np
import pytest
import soundfile

from mvector.audio.augmentation import Noise, RoomAndChannel, Volume, _fast_size, change_speed, list_sounds, tile
from mvector.errors import ConfigError

RATE = 16000


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def power(x: np.ndarray) -> float:
    return float(np.mean(np.square(x, dtype=np.float64)))


def test_noise_is_mixed_at_the_ratio_asked_for(tmp_path, rng):
    soundfile.write(tmp_path / "noise.wav", rng.uniform(-0.2, 0.2, 3 * RATE), RATE)
    wave = (0.1 * rng.standard_normal(RATE)).astype(np.float32)
    for snr in (-5.0, 0.0, 20.0):
        mixed = Noise(str(tmp_path), snr, snr, RATE)(wave, rng)
        assert 10 * np.log10(power(wave) / power(mixed - wave)) == pytest.approx(snr, abs=0.05)


def test_noise_shorter_than_the_crop_is_repeated_and_silence_adds_nothing(tmp_path, rng):
    soundfile.write(tmp_path / "short.wav", rng.uniform(-0.2, 0.2, RATE // 4), RATE, subtype="FLOAT")
    wave = np.full(RATE, 0.1, np.float32)
    added = Noise(str(tmp_path), 0, 0, RATE)(wave, rng) - wave
    np.testing.assert_allclose(added[: RATE // 4], added[RATE // 4 : RATE // 2], atol=1e-6)
    (tmp_path / "short.wav").unlink()
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE), RATE)
    np.testing.assert_array_equal(Noise(str(tmp_path), 0, 0, RATE)(wave, rng), wave)


def test_reverberation_is_the_convolution_with_the_response_from_its_direct_sound(tmp_path, rng):
    response = np.zeros(4000, np.float32)
    response[300:] = np.exp(-np.arange(3700) / 300) * rng.standard_normal(3700) * 0.1
    response[300] = 0.9  # the direct sound, after 300 samples of silence
    soundfile.write(tmp_path / "room.wav", response, RATE, subtype="FLOAT")
    wave = rng.standard_normal(9001).astype(np.float32)
    reverberated = RoomAndChannel(RATE, str(tmp_path), reverb_prob=1.0)(wave, rng)
    direct = response[300:].astype(np.float64)
    expected = np.convolve(wave, direct / np.sqrt(np.sum(direct**2)))[: len(wave)]
    np.testing.assert_allclose(reverberated, expected, atol=1e-4)


def test_the_channel_limits_the_band_and_keeps_time(rng):
    channel = RoomAndChannel(RATE, channel_prob=1.0, min_bandwidth_hz=4000, max_bandwidth_hz=4000, max_low_cut_hz=0)
    wave = rng.standard_normal(RATE).astype(np.float32)
    limited = channel(wave, rng)
    before, after = np.abs(np.fft.rfft(wave)) ** 2, np.abs(np.fft.rfft(limited)) ** 2
    frequencies = np.fft.rfftfreq(RATE, 1 / RATE)
    ratio_db = 10 * np.log10([after[band].sum() / before[band].sum() for band in
                              (frequencies > 4600, (frequencies > 500) & (frequencies < 3900))])  # fmt: skip
    assert ratio_db[0] < -40
    assert abs(ratio_db[1]) <= 5.5
    lag = np.argmax(np.correlate(limited, wave[2000:-2000], "valid")) - 2000
    assert lag == 0


def test_nothing_happens_at_probability_zero(rng):
    wave = rng.standard_normal(100).astype(np.float32)
    assert RoomAndChannel(RATE)(wave, rng) is wave


def test_volume(rng):
    wave = rng.standard_normal(100).astype(np.float32)
    np.testing.assert_allclose(Volume(6.0206, 6.0206)(wave, rng), 2 * wave, rtol=1e-5)


@pytest.mark.parametrize(("speed", "samples"), [(0.9, 17778), (1.0, 16000), (1.1, 14545)])
def test_speed_changes_length_and_pitch(speed, samples):
    wave = np.sin(2 * np.pi * 500 * np.arange(RATE) / RATE).astype(np.float32)
    played = change_speed(wave, speed)
    assert abs(len(played) - samples) <= 1
    spectrum = np.abs(np.fft.rfft(played * np.hanning(len(played))))
    assert np.fft.rfftfreq(len(played), 1 / RATE)[spectrum.argmax()] == pytest.approx(500 * speed, abs=1)


def test_tile():
    np.testing.assert_array_equal(tile(np.array([1, 2, 3]), 7, 1), [2, 3, 1, 2, 3, 1, 2])
    np.testing.assert_array_equal(tile(np.array([1, 2, 3]), 2), [1, 2])


def test_fast_sizes_are_the_smallest_smooth_even_numbers():
    def smooth(n: int) -> bool:
        for prime in (2, 3, 5):
            while n % prime == 0:
                n //= prime
        return n == 1

    for samples in (2, 3, 7, 100, 1000, 48000, 48001, 33001):
        assert _fast_size(samples) == next(n for n in range(samples, 10**6) if n % 2 == 0 and smooth(n))


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"no sound files.*prob to 0"):
        list_sounds(str(tmp_path / "nowhere"))
