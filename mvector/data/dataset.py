"""Training examples: one crop of one utterance, augmented, as features (CPU) or as a waveform (accelerator)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mvector.audio import audio_info, load_audio, normalize_level
from mvector.audio.augmentation import SPEEDS, Noise, RoomAndChannel, Volume, change_speed, tile
from mvector.data.lists import Utterance
from mvector.data.samplers import Draw
from mvector.errors import AudioError, DataListError, TooShortError
from mvector.features import AudioFeaturizer
from mvector.features.spec_augment import SpecAugment

REPLACEMENT_TRIES = 20


@dataclass
class CropSettings:
    """How a training crop is cut; durations in seconds, level in dBFS (None: left as recorded)."""

    duration_s: float
    min_duration_s: float = 0.0
    sample_rate_hz: int = 16000
    target_db: float | None = None

    @property
    def samples(self) -> int:
        return round(self.duration_s * self.sample_rate_hz)


@dataclass
class Augmentation:
    """What may happen to a crop; None or an empty list means that it does not."""

    speed_prob: float = 0.0
    speed_classes: bool = False
    room_and_channel: RoomAndChannel | None = None
    noise: Noise | None = None
    noise_prob: float = 0.0
    volume: Volume | None = None
    volume_prob: float = 0.0
    spec_augment: SpecAugment | None = None


@dataclass
class Example:
    """One training example: `sound` is a waveform [T] or features [F, D]."""

    sound: Tensor
    label: int
    draws: Tensor
    skipped: list[tuple[str, str]] = field(default_factory=list)  # (path, reason) of what could not be used


class TrainingDataset(Dataset[Example]):
    """The crop for a :class:`Draw`; a broken recording is replaced by another one and reported, never raised.

    With a `featurizer` the worker computes and masks the features itself (training on a CPU, where one utterance at a
    time stays in cache); without, it returns the waveform and the accelerator does both for the whole batch.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        classes: dict[str, int],
        crop: CropSettings,
        augmentation: Augmentation,
        seed: int,
        featurizer: AudioFeaturizer | None = None,
    ):
        # Plain arrays instead of a million small objects: they are shared or pickled to workers cheaply.
        self.paths = [utterance.path for utterance in utterances]
        self.labels = np.array([classes[utterance.speaker] for utterance in utterances], dtype=np.int64)
        self.starts = np.array([u.start_s if u.start_s is not None else np.nan for u in utterances])
        self.ends = np.array([u.end_s if u.end_s is not None else np.nan for u in utterances])
        self.speakers = len(classes)
        self.crop, self.augmentation, self.seed, self.featurizer = crop, augmentation, seed, featurizer

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def num_classes(self) -> int:
        return self.speakers * (len(SPEEDS) if self.augmentation.speed_classes else 1)

    def __getitem__(self, draw: Draw) -> Example:
        rng = np.random.default_rng((self.seed, *draw))
        index, skipped = draw.utterance, list[tuple[str, str]]()
        for _ in range(REPLACEMENT_TRIES):
            try:
                return self._example(index, rng, skipped)
            except AudioError as error:
                skipped.append((self.paths[index], str(error)))
                index = int(rng.integers(len(self)))
        raise DataListError(
            f"{REPLACEMENT_TRIES} recordings drawn one after another cannot be used; the last: {skipped[-1][1]} "
            "Run create_data.py --check on the list to see what is broken."
        )

    def _example(self, index: int, rng: np.random.Generator, skipped: list[tuple[str, str]]) -> Example:
        augment = self.augmentation
        speed_class = int(rng.integers(len(SPEEDS))) if rng.random() < augment.speed_prob else 0
        waveform = self._read_crop(index, SPEEDS[speed_class], rng.random())
        if augment.room_and_channel is not None:
            waveform = _augmented(augment.room_and_channel, waveform, rng, skipped)
        if augment.noise is not None and rng.random() < augment.noise_prob:
            waveform = _augmented(augment.noise, waveform, rng, skipped)
        if self.crop.target_db is not None:  # after noise and rooms, as a recording that holds them is levelled
            waveform = normalize_level(waveform, self.crop.target_db)
        if augment.volume is not None and rng.random() < augment.volume_prob:
            waveform = augment.volume(waveform, rng)
        label = int(self.labels[index]) + (self.speakers * speed_class if augment.speed_classes else 0)
        spec_augment = augment.spec_augment
        draws = torch.from_numpy(spec_augment.draw(rng)) if spec_augment is not None else torch.zeros(0)
        sound = torch.from_numpy(np.ascontiguousarray(waveform, dtype=np.float32))
        if self.featurizer is not None:
            features = self._features(sound, rng)
            if spec_augment is not None:
                features = spec_augment(features, draws[None])
            sound = features[0]
        return Example(sound, label, draws, skipped)

    def _features(self, sound: Tensor, rng: np.random.Generator) -> Tensor:
        """Waveform [T] -> features [1, F, D]; `rng` seeds torch's generator where dither draws from it."""
        assert self.featurizer is not None
        if not getattr(self.featurizer.feature, "dither", 0):
            return self.featurizer(sound[None])[0]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**63)))
            return self.featurizer(sound[None])[0]

    def _read_crop(self, index: int, speed: float, position: float) -> np.ndarray:
        """The crop's samples at `speed`, tiled where the utterance is shorter than the crop."""
        path, rate = self.paths[index], self.crop.sample_rate_hz
        start_s = 0.0 if np.isnan(self.starts[index]) else float(self.starts[index])
        end_s = audio_info(path).duration_s if np.isnan(self.ends[index]) else float(self.ends[index])
        duration_s = end_s - start_s
        if duration_s < self.crop.min_duration_s:
            raise TooShortError(
                f"{path} lasts {duration_s:.2f} s, less than min_duration {self.crop.min_duration_s} s."
            )
        wanted = self.crop.samples
        source_s = self.crop.duration_s * speed
        slack_s = duration_s - source_s
        if slack_s > 0:
            start_s += position * slack_s
            end_s = start_s + source_s + 2 / rate
        # What is doubtful about a recording (narrow band, truncated) is for create_data.py --check to tell.
        waveform = load_audio(path, rate, start_s, end_s, warnings=[])
        if not np.any(waveform):
            raise AudioError(f"{path} is silent (all zero) from {start_s:.2f} to {end_s:.2f} s.")
        waveform = change_speed(waveform, speed)
        if len(waveform) >= wanted:
            return waveform[:wanted]
        return tile(waveform, wanted, int(position * len(waveform)))


def _augmented(
    augmenter: Callable[[np.ndarray, np.random.Generator], np.ndarray],
    waveform: np.ndarray,
    rng: np.random.Generator,
    skipped: list[tuple[str, str]],
) -> np.ndarray:
    """The augmented waveform; as it was, with a report, when the noise or room recording is broken."""
    try:
        return augmenter(waveform, rng)
    except AudioError as error:
        skipped.append((str(error), "a noise or room recording; the utterance was used without it"))
        return waveform


def collate(examples: list[Example]) -> dict[str, Any]:
    """Examples of equal length -> {'sound' [B, T] or [B, F, D], 'labels' [B], 'draws' [B, K], 'skipped' list}."""
    return {
        "sound": torch.stack([example.sound for example in examples]),
        "labels": torch.tensor([example.label for example in examples], dtype=torch.int64),
        "draws": torch.stack([example.draws for example in examples]),
        "skipped": [item for example in examples for item in example.skipped],
    }
