"""Noise, music and babble: recordings added to the speech, each at its own signal-to-noise ratio (Snyder 2018)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mvector.audio.augmentation.sounds import Recordings, read_stretch
from mvector.errors import AudioError

SILENT_POWER = 1e-10  # −100 dB full scale: a stretch of a noise recording in which there is none
OTHER_SPEAKER_TRIES = 10


@dataclass(frozen=True)
class NoiseCategory:
    """`min_count` to `max_count` recordings, each at a ratio drawn uniformly in decibels, on a share `prob` of the
    utterances. recordings None: utterances of other speakers in the training list."""

    name: str
    prob: float
    recordings: Recordings | None
    min_snr_db: float
    max_snr_db: float
    min_count: int = 1
    max_count: int = 1


class Noises:
    """Draws at most one category for an utterance and reads what it adds.

    __call__(samples, rng, ...) -> noise float32 [samples] in units of the speech's RMS, or None. As
    the ratios are relative to the speech, the sum over several recordings can be made before the speech is known, and
    mixing is one multiplication and one addition wherever it happens (:func:`add_noise`).
    """

    def __init__(self, categories: Sequence[NoiseCategory], sample_rate_hz: int):
        self.categories = [category for category in categories if category.prob > 0]
        self.sample_rate_hz = sample_rate_hz

    def __call__(
        self,
        samples: int,
        rng: np.random.Generator,
        skipped: list[tuple[str, str]],
        training: Recordings | None = None,
        label: int = -1,
    ) -> np.ndarray | None:
        """skipped takes (path, reason) of recordings that cannot be read; training, label: for a category without
        recordings of its own, those of the training list and the speaker to leave out."""
        category = self._category(rng.random())
        if category is None:
            return None
        recordings = training if category.recordings is None else category.recordings
        assert recordings is not None, f"noise category {category.name} needs the training recordings"
        mixture: np.ndarray | None = None
        for _ in range(int(rng.integers(category.min_count, category.max_count + 1))):
            index = int(rng.integers(len(recordings)))
            if category.recordings is None:
                for _ in range(OTHER_SPEAKER_TRIES):
                    if recordings.label(index) != label:
                        break
                    index = int(rng.integers(len(recordings)))
            position, snr_db = rng.random(), rng.uniform(category.min_snr_db, category.max_snr_db)
            path, start_s, end_s = recordings[index]
            try:
                noise = read_stretch(path, self.sample_rate_hz, samples, position, start_s, end_s)
            except AudioError as error:
                skipped.append((path, f"{error} (a recording of {category.name}; the utterance was used without it)"))
                continue
            power = float(np.dot(noise, noise)) / samples
            if power < SILENT_POWER:
                continue
            noise = noise * np.float32(10 ** (-snr_db / 20) / math.sqrt(power))
            mixture = noise if mixture is None else mixture + noise
        return mixture

    def _category(self, drawn: float) -> NoiseCategory | None:
        for category in self.categories:
            drawn -= category.prob
            if drawn < 0:
                return category
        return None


def add_noise(sound: Tensor, noise: Tensor) -> Tensor:
    """sound [B, T] + noise [B, T], which is in units of the sound's RMS."""
    return torch.addcmul(sound, noise, rms(sound))


def rms(sound: Tensor) -> Tensor:
    """Root mean square of each row: [B, T] -> [B, 1]."""
    return torch.linalg.vector_norm(sound, dim=1, keepdim=True) / math.sqrt(sound.shape[1])
