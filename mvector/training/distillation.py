"""Distillation: a small network learns to give the embeddings that a large one, its teacher, gives.

The teacher hears each recording once, whole and clean, at each speed of the training; what it said is kept in packed
embeddings. The student hears crops of it with noise, rooms and channels, and is drawn to the same direction:

    L = L_classification + weight · mean(1 - cos(student, teacher))
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mvector.audio.augmentation import ChangeSpeed, source_samples
from mvector.config import Config
from mvector.data.lists import Utterance
from mvector.embeddings import Embedder
from mvector.errors import ConfigError
from mvector.packed_embeddings import load_embeddings


def trained_speeds(config: Config) -> tuple[float, ...]:
    """What recordings are played at in this configuration's training, index = speed class."""
    speed = None if config.augmentation is None else config.augmentation.speed
    return (1.0, *speed.speeds) if speed is not None and speed.prob > 0 else (1.0,)


class AtSpeed:
    """An embedder that hears every recording at another speed, as training with other speeds does."""

    def __init__(self, embedder: Embedder, speed: float):
        self.embedder, self.speed = embedder, speed
        self.embedding_size = embedder.embedding_size
        self.min_samples = source_samples(embedder.min_samples, speed)

    def embed(self, waveforms: Sequence[np.ndarray], batch_size: int = 32) -> np.ndarray:
        return self.embedder.embed([self._play(waveform) for waveform in waveforms], batch_size)

    def _play(self, waveform: np.ndarray) -> np.ndarray:
        samples = len(waveform) * 10 // round(10 * self.speed)
        sound = torch.from_numpy(np.ascontiguousarray(waveform))[None]
        return ChangeSpeed(samples, [self.speed])(sound, np.zeros(1, np.int64))[0].numpy()


class Teacher:
    """The teacher's embeddings of the training list, [speeds, U, E] float32 of unit length, and the loss with them.

    Where the teacher could not embed a recording (too short for it) only the classification counts.

    folder      has packed embeddings in a subfolder for each speed that is trained on: speed_1.0, speed_0.9 …
    weight      of the distance to the teacher beside the classification loss
    """

    def __init__(self, folder: str | Path, weight: float, utterances: Sequence[Utterance], speeds: Sequence[float]):
        self.weight = weight
        found = [_directions(Path(folder) / f"speed_{speed}", utterances) for speed in speeds]
        self.embeddings = torch.from_numpy(np.stack(found))

    @classmethod
    def from_config(cls, config: Config, utterances: Sequence[Utterance], embedding_size: int) -> "Teacher | None":
        """None where the configuration has no distillation_conf."""
        settings = config.distillation_conf
        if settings is None:
            return None
        teacher = cls(settings.teacher_embeddings, settings.weight, utterances, trained_speeds(config))
        theirs = teacher.embeddings.shape[2]
        if theirs != embedding_size:
            raise ConfigError(
                f"{settings.teacher_embeddings}: the teacher's embeddings have {theirs} numbers and the network's "
                f"{embedding_size}: set model_conf.model_args.embd_dim to {theirs}."
            )
        return teacher

    def loss(self, embeddings: Tensor, utterances: Tensor, speed_classes: Tensor) -> Tensor:
        """The weighted distance of embeddings [B, E] of these rows of the training list, [B] each, a scalar."""
        wanted = self.embeddings[speed_classes, utterances].to(embeddings.device, non_blocking=True)
        known = wanted.isfinite().all(dim=1)
        distance = 1 - F.cosine_similarity(embeddings.float(), wanted.nan_to_num(), dim=1)
        return self.weight * (distance * known).mean()


def _directions(folder: Path, utterances: Sequence[Utterance]) -> NDArray[np.float32]:
    rows = np.asarray(load_embeddings(folder).select(utterances).embeddings)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
