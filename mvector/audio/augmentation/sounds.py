"""Recordings as a training reads them: tables that millions of paths fit into, and stretches out of long files."""

import contextlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mvector.audio.decode import AudioSource, open_sound
from mvector.audio.load import read_blocks
from mvector.audio.resample import resample
from mvector.errors import AudioError, ConfigError, TooShortError

SOUND_SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a"}
SPARE_S = 0.01  # read beyond a stretch that is resampled, so that rounding leaves no gap at its end


class Recording(NamedTuple):
    """A sound file, or the part of it between two times (None: from its start, to its end)."""

    path: str
    start_s: float | None = None
    end_s: float | None = None


class Recordings(Sequence[Recording]):
    """A table of recordings, and of their labels where they have one.

    Paths lie one behind the other in one buffer: a million Python strings would take 150 MB, and each loader process
    would copy them page by page, because looking at a Python object writes its reference count. The columns are
    tensors, which torch hands to spawned processes as shared memory.
    """

    def __init__(
        self,
        paths: Iterable[str],
        starts_s: Iterable[float | None] | None = None,
        ends_s: Iterable[float | None] | None = None,
        labels: Iterable[int] | None = None,
    ):
        encoded = [os.fsencode(path) for path in paths]
        ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        self._text = torch.from_numpy(np.frombuffer(b"".join(encoded), dtype=np.uint8).copy())
        self._ends = torch.from_numpy(ends)
        self._starts_s, self._ends_s = _times(starts_s), _times(ends_s)
        self._labels = None if labels is None else torch.tensor(list(labels), dtype=torch.int64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> Recording:  # type: ignore[override]  # no slices
        return Recording(self.path(index), _time(self._starts_s, index), _time(self._ends_s, index))

    def path(self, index: int) -> str:
        if not 0 <= index < len(self):
            raise IndexError(index)
        begin, end = self._ends[index : index + 2].tolist()
        return os.fsdecode(self._text[begin:end].numpy().tobytes())

    def label(self, index: int) -> int:
        """-1 where the recordings have no labels."""
        return -1 if self._labels is None else int(self._labels[index])


def _times(times_s: Iterable[float | None] | None) -> Tensor | None:
    """A column of times, NaN for None; no column where there is not one."""
    column = [float("nan") if time is None else time for time in times_s or ()]
    return torch.tensor(column, dtype=torch.float64) if not all(np.isnan(column)) else None


def _time(column: Tensor | None, index: int) -> float | None:
    time = float("nan") if column is None else float(column[index])
    return None if np.isnan(time) else time


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


def read_stretch(
    source: AudioSource,
    sample_rate_hz: int,
    samples: int,
    position: float,
    start_s: float | None = None,
    end_s: float | None = None,
    min_duration_s: float = 0.0,
) -> np.ndarray:
    """`samples` of a recording as mono float32 at `sample_rate_hz`; only those are decoded.

    position: where in the recording, or in its part between `start_s` and `end_s`, from 0 (its beginning) to 1 (its
    end). What is shorter is repeated, from a place that follows from `position`, too.
    Raises AudioError as `load_audio` does, TooShortError for less than `min_duration_s`.
    """
    with contextlib.closing(open_sound(source, sample_rate_hz)) as sound:
        rate, frames = sound.sample_rate_hz, sound.frames
        if frames is None and end_s is None:  # a stream that does not state its length: it has to be decoded
            frames = sum(len(block) for block in sound.blocks(0, None))
        begin_s = start_s or 0.0
        ending_s = end_s if end_s is not None else (frames or 0) / rate
        duration_s = ending_s - begin_s
        if duration_s < min_duration_s:
            raise TooShortError(f"{sound.name} lasts {duration_s:.2f} s, less than min_duration {min_duration_s} s.")
        wanted_s = samples / sample_rate_hz
        slack_s = duration_s - wanted_s
        if slack_s > 0:
            begin_s += position * slack_s
            ending_s = begin_s + wanted_s + (0 if rate == sample_rate_hz else SPARE_S)
        blocks = list(read_blocks(sound, begin_s, ending_s))
    waveform = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    waveform = resample(waveform, rate, sample_rate_hz)
    if len(waveform) == 0:
        raise AudioError(f"{sound.name}: nothing is left of it at {sample_rate_hz} Hz; it is too short.")
    if slack_s > 0:
        return tile(waveform, samples)
    return tile(waveform, samples, int(position * len(waveform)))


def tile(waveform: np.ndarray, samples: int, offset: int = 0) -> np.ndarray:
    """`samples` values of the endlessly repeated waveform, from `offset`."""
    if offset == 0 and len(waveform) >= samples:
        return waveform[:samples]
    return np.take(waveform, np.arange(offset, offset + samples), mode="wrap")
