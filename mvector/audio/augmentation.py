"""Waveform augmentation: reverberation, recording channel, noise and volume for one utterance at a time.

Every draw comes from the generator that the caller passes, so that what happens to an utterance is a function of
seed, epoch and utterance and of nothing else. Room responses and channel curves multiply the same spectrum, so that
both together cost one pair of transforms.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np

from mvector.audio import audio_info, load_audio
from mvector.errors import AudioError, ConfigError

SOUND_SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a"}
CHANNEL_ANCHORS_HZ = np.array([60.0, 150.0, 400.0, 1000.0, 2500.0, 5000.0, 8000.0])
BAND_EDGE_DB = -50.0  # what a band limit leaves outside the band: like a codec's, not a perfect zero


def list_sounds(folder: str) -> list[str]:
    """Every sound file below `folder`, sorted; ConfigError when there is none."""
    root = Path(folder)
    found = sorted(str(path) for path in root.rglob("*") if path.suffix.lower() in SOUND_SUFFIXES)
    if not found:
        raise ConfigError(
            f"augmentation: no sound files in the folder {folder!r}. "
            "Correct the folder in the augmentation file, or set that section's prob to 0."
        )
    return found


class Noise:
    """Adds a segment of a noise recording at a signal-to-noise ratio drawn uniformly in decibels."""

    def __init__(self, noise_dir: str, min_snr_db: float, max_snr_db: float, sample_rate_hz: int):
        self.paths = list_sounds(noise_dir)
        self.min_snr_db, self.max_snr_db = min_snr_db, max_snr_db
        self.sample_rate_hz = sample_rate_hz

    def __call__(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        path = self.paths[rng.integers(len(self.paths))]
        position, snr_db = rng.random(), rng.uniform(self.min_snr_db, self.max_snr_db)
        noise = self._segment(path, len(waveform), position)
        noise_power = float(np.mean(np.square(noise)))
        if noise_power < 1e-10:
            return waveform
        signal_power = float(np.mean(np.square(waveform)))
        gain = np.sqrt(signal_power / noise_power / 10 ** (snr_db / 10))
        return waveform + np.float32(gain) * noise

    def _segment(self, path: str, samples: int, position: float) -> np.ndarray:
        """`samples` of the recording from a relative `position` in [0, 1); only those are read."""
        wanted_s = samples / self.sample_rate_hz
        slack_s = max(_duration_s(path) - wanted_s, 0.0)
        start_s = position * slack_s
        noise = load_audio(path, self.sample_rate_hz, start_s, start_s + wanted_s + 0.01, warnings=[])
        return tile(noise, samples, int(position * len(noise)) if slack_s == 0 else 0)


class RoomAndChannel:
    """Convolves with a measured room response and with the response of a random recording channel.

    The channel is a band limit (microphone, telephone, codec) and a smooth equalisation through random gains at
    seven frequencies. The room's response is cut at its direct sound, so that nothing is delayed, and scaled to unit
    energy.
    """

    def __init__(
        self,
        sample_rate_hz: int,
        reverb_dir: str | None = None,
        reverb_prob: float = 0.0,
        channel_prob: float = 0.0,
        min_bandwidth_hz: float = 3000.0,
        max_bandwidth_hz: float = 8000.0,
        max_low_cut_hz: float = 300.0,
        max_tilt_db: float = 10.0,
    ):
        self.sample_rate_hz = sample_rate_hz
        self.responses = list_sounds(reverb_dir) if reverb_dir and reverb_prob > 0 else []
        self.reverb_prob, self.channel_prob = reverb_prob, channel_prob
        self.min_bandwidth_hz, self.max_bandwidth_hz = min_bandwidth_hz, max_bandwidth_hz
        self.max_low_cut_hz, self.max_tilt_db = max_low_cut_hz, max_tilt_db

    def __call__(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        room = bool(self.responses) and rng.random() < self.reverb_prob
        channel = rng.random() < self.channel_prob
        if not room and not channel:
            return waveform
        size = _fast_size(len(waveform) + (self.sample_rate_hz if room else self.sample_rate_hz // 20))
        spectrum = np.fft.rfft(waveform, size)
        if room:
            path = self.responses[rng.integers(len(self.responses))]
            spectrum *= _response_spectrum(path, self.sample_rate_hz, size)
        if channel:
            spectrum *= self._channel(rng, size)
        return np.fft.irfft(spectrum, size)[: len(waveform)].astype(np.float32)

    def _channel(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """Gain [size // 2 + 1] of a random channel, zero phase."""
        frequencies = np.fft.rfftfreq(size, 1 / self.sample_rate_hz)
        gains_db = rng.uniform(-0.5, 0.5, len(CHANNEL_ANCHORS_HZ)) * self.max_tilt_db
        curve_db = np.interp(np.log(frequencies + 20.0), np.log(CHANNEL_ANCHORS_HZ), gains_db)
        low, high = rng.uniform(0.0, self.max_low_cut_hz), rng.uniform(self.min_bandwidth_hz, self.max_bandwidth_hz)
        if high < self.sample_rate_hz / 2:
            curve_db += np.clip((frequencies - high) / (0.1 * high), 0.0, 1.0) * BAND_EDGE_DB
        if low > 0:
            curve_db += np.clip((low - frequencies) / low, 0.0, 1.0) * BAND_EDGE_DB
        return (10 ** (curve_db / 20)).astype(np.float32)


class Volume:
    """Multiplies by a gain drawn uniformly in decibels."""

    def __init__(self, min_gain_db: float, max_gain_db: float):
        self.min_gain_db, self.max_gain_db = min_gain_db, max_gain_db

    def __call__(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return waveform * np.float32(10 ** (rng.uniform(self.min_gain_db, self.max_gain_db) / 20))


SPEEDS = (1.0, 0.9, 1.1)  # index = speed class; Kaldi's three-way speed perturbation (Ko et al. 2015)


def change_speed(waveform: np.ndarray, speed: float) -> np.ndarray:
    """Play `waveform` [T] at `speed`: [round(T / speed)], tempo and pitch both change (as sox's speed effect)."""
    if speed == 1.0:
        return waveform
    import soxr

    return soxr.resample(waveform, round(1000 * speed), 1000, quality="MQ")


def tile(waveform: np.ndarray, samples: int, offset: int = 0) -> np.ndarray:
    """`samples` values of the endlessly repeated waveform, from `offset`."""
    if offset == 0 and len(waveform) >= samples:
        return waveform[:samples]
    return np.take(waveform, np.arange(offset, offset + samples), mode="wrap")


@lru_cache(maxsize=4096)
def _duration_s(path: str) -> float:
    return audio_info(path).duration_s


@lru_cache(maxsize=256)
def _response_spectrum(path: str, sample_rate_hz: int, size: int) -> np.ndarray:
    response = load_audio(path, sample_rate_hz)
    direct = int(np.argmax(np.abs(response)))
    response = response[direct : direct + sample_rate_hz]
    energy = float(np.sum(np.square(response)))
    if energy == 0:
        raise AudioError(f"{path}: the room response is silent; remove it from the folder")
    return np.fft.rfft(response / np.sqrt(energy), size).astype(np.complex64)


@lru_cache(maxsize=64)
def _fast_size(samples: int) -> int:
    """The smallest 2^a 3^b 5^c that is at least `samples` and even."""
    best = 1 << (samples - 1).bit_length()
    power_of_five = 1
    while power_of_five < best:
        product = power_of_five
        while product < best:
            doubled = product * 2
            while doubled < samples:
                doubled *= 2
            best = min(best, doubled)
            product *= 3
        power_of_five *= 5
    return best
