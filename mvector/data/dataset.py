"""Training examples: one crop of one utterance, augmented, as features, as a waveform, or as what it is made of."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from mvector.audio.augmentation import (
    Material,
    Recordings,
    WaveformAugment,
    WaveformDraws,
    read_stretch,
    source_samples,
)
from mvector.data.lists import Utterance
from mvector.data.samplers import Draw
from mvector.errors import AudioError, DataListError
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
    """What may happen to a crop and to its features. With `speed_classes` a speaker at another speed is another."""

    waveform: WaveformDraws = field(default_factory=WaveformDraws)
    speed_classes: bool = False
    spec_augment: SpecAugment | None = None


@dataclass
class Example:
    """One training example.

    `sound` is features [F, D] or a waveform [T], or None where `material` is what a device makes the waveform of.
    `draws` are those of SpecAugment, [K]. `utterance` is a row of the training list, `speed_class` an index of
    the speeds.
    """

    sound: Tensor | None
    label: int
    draws: Tensor
    utterance: int
    speed_class: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)  # (path, reason) of what could not be used
    material: Material | None = None


class TrainingDataset(Dataset[Example]):
    """The crop for a :class:`Draw`; a broken recording is replaced by another one and reported, never raised.

    With a `featurizer` the examples are masked features (training on a CPU: one utterance at a time stays in cache);
    without, they are augmented waveforms. With `on_device` they are materials, and :attr:`augment`, moved to the
    device, makes waveforms of a batch of them.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        classes: dict[str, int],
        crop: CropSettings,
        augmentation: Augmentation,
        seed: int,
        featurizer: AudioFeaturizer | None = None,
        on_device: bool = False,
    ):
        self.recordings = Recordings(
            (utterance.path for utterance in utterances),
            (utterance.start_s for utterance in utterances),
            (utterance.end_s for utterance in utterances),
            (classes[utterance.speaker] for utterance in utterances),
        )
        self.speakers = len(classes)
        self.crop, self.augmentation, self.seed, self.featurizer = crop, augmentation, seed, featurizer
        self.on_device = on_device
        self.speeds = augmentation.waveform.speeds  # index = speed class
        self.augment = WaveformAugment(crop.samples, crop.sample_rate_hz, crop.target_db, self.speeds)

    def __len__(self) -> int:
        return len(self.recordings)

    @property
    def num_classes(self) -> int:
        return self.speakers * (len(self.speeds) if self.augmentation.speed_classes else 1)

    def __getitem__(self, draw: Draw) -> Example:
        rng = np.random.default_rng((self.seed, *draw))
        index, skipped = draw.utterance, list[tuple[str, str]]()
        for _ in range(REPLACEMENT_TRIES):
            try:
                return self._example(index, rng, skipped)
            except AudioError as error:
                skipped.append((self.recordings.path(index), str(error)))
                index = int(rng.integers(len(self)))
        raise DataListError(
            f"{REPLACEMENT_TRIES} recordings drawn one after another cannot be used; the last: {skipped[-1][1]} "
            "Run create_data.py --check on the list to see what is broken."
        )

    def _example(self, index: int, rng: np.random.Generator, skipped: list[tuple[str, str]]) -> Example:
        augmentation, samples = self.augmentation, self.crop.samples
        speed_class = augmentation.waveform.speed_class(rng)
        sound = self._read(index, source_samples(samples, self.speeds[speed_class]), rng.random())
        speaker = self.recordings.label(index)
        spectrum_size = None if self.on_device else self.augment.room_and_channel.size
        material = augmentation.waveform.material(
            sound, speed_class, samples, rng, skipped, spectrum_size, self.recordings, speaker
        )
        label = speaker + (self.speakers * speed_class if augmentation.speed_classes else 0)
        spec_augment = augmentation.spec_augment
        draws = torch.from_numpy(spec_augment.draw(rng)) if spec_augment is not None else torch.zeros(0)
        if self.on_device:
            return Example(None, label, draws, index, speed_class, skipped, material)
        waveform = self.augment(_batch_of_one(material))  # [1, T]
        if self.featurizer is None:
            return Example(waveform[0], label, draws, index, speed_class, skipped)
        features = self._features(waveform, rng)
        if spec_augment is not None:
            features = spec_augment(features, draws[None])
        return Example(features[0], label, draws, index, speed_class, skipped)

    def _features(self, waveform: Tensor, rng: np.random.Generator) -> Tensor:
        """Waveform [1, T] -> features [1, F, D]; `rng` seeds torch's generator where dither draws from it."""
        assert self.featurizer is not None
        if not getattr(self.featurizer.feature, "dither", 0):
            return self.featurizer(waveform)[0]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**63)))
            return self.featurizer(waveform)[0]

    def _read(self, index: int, samples: int, position: float) -> np.ndarray:
        path, start_s, end_s = self.recordings[index]
        # What is doubtful about a recording (narrow band, truncated) is for create_data.py --check to tell.
        waveform = read_stretch(
            path, self.crop.sample_rate_hz, samples, position, start_s, end_s, self.crop.min_duration_s
        )
        if not np.dot(waveform, waveform):
            raise AudioError(f"{path} is silent (all zero) where it was to be cropped.")
        return waveform


def _batch_of_one(material: Material) -> Material:
    noise = None if material.noise is None else material.noise[None]
    response = None if material.response is None else material.response[None]
    return Material(material.sound[None], material.draws[None], noise, response)


def collate(examples: list[Example]) -> dict[str, Any]:
    """Examples of equal length -> {'labels', 'utterances' and 'speed_classes' [B] each, 'draws' [B, K], 'skipped' list,
    and 'sound' [B, T] or [B, F, D] or 'material' of a batch}. In a loader process the tensors are made in memory that
    it shares with the trainer's."""
    batch: dict[str, Any] = {
        "labels": torch.tensor([example.label for example in examples], dtype=torch.int64),
        "utterances": torch.tensor([example.utterance for example in examples], dtype=torch.int64),
        "speed_classes": torch.tensor([example.speed_class for example in examples], dtype=torch.int64),
        "draws": default_collate([example.draws for example in examples]),
        "skipped": [item for example in examples for item in example.skipped],
    }
    if examples[0].material is None:
        batch["sound"] = default_collate([example.sound for example in examples])
    else:
        batch["material"] = collate_materials([example.material for example in examples if example.material])
    return batch


def collate_materials(materials: list[Material]) -> Material:
    longest = max(len(material.sound) for material in materials)
    noise = None
    if any(material.noise is not None for material in materials):
        none = torch.zeros(next(len(material.noise) for material in materials if material.noise is not None))
        noise = default_collate([none if material.noise is None else material.noise for material in materials])
    responses = [material.response for material in materials if material.response is not None]
    return Material(
        default_collate(
            [torch.nn.functional.pad(material.sound, (0, longest - len(material.sound))) for material in materials]
        ),
        default_collate([material.draws for material in materials]),
        noise,
        default_collate(responses) if responses else None,
    )
