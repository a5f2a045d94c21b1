"""Speed perturbation: played at other speeds, such as 0.9 or 1.1, tempo and pitch both (Ko et al. 2015)."""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

SPEEDS = (1.0, 0.9, 1.1)  # index = speed class; Kaldi's three ways
OUTPUTS = 10  # samples that a whole number of input samples makes: speeds are tenths
HALF_WIDTH = 24  # input samples on either side that an output sample is made of
KAISER_BETA = 7.0  # 75 dB from the pass band to the stop band
CUTOFF = 0.89  # of the lower of both Nyquist frequencies: with 48 samples the filter falls from 0.8 to 0.98


def source_samples(samples: int, speed: float) -> int:
    """How much of a recording gives `samples` at `speed`."""
    return math.ceil(samples * _step(speed) / OUTPUTS)


def _step(speed: float) -> int:
    """Input samples for OUTPUTS output samples."""
    return round(OUTPUTS * speed)


class ChangeSpeed(nn.Module):
    """Plays every row at its own speed: band-limited interpolation (a sinc under a Kaiser window) at fixed ratios.

    Ten output samples read the same stretch of the input through ten filters, and the next ten one stretch of nine (or
    eleven, as the speed is) samples on: a strided convolution, one call for all rows of a speed on any device. Within
    the pass band it is what soxr computes, in two thirds of its time on a CPU.

    forward(sound [B, S], classes [B] whole numbers, indices of `speeds`) -> [B, samples]; row b is read up to
    source_samples(samples, its speed) and taken to be silent beyond its ends.
    speeds: tenths, 1.0 for as it is
    """

    def __init__(self, samples: int, speeds: Sequence[float] = SPEEDS):
        super().__init__()
        self.samples, self.speeds = samples, tuple(speeds)
        for step in {_step(speed) for speed in speeds} - {OUTPUTS}:
            filters = torch.from_numpy(_filters(step / OUTPUTS, step))
            self.register_buffer(f"filters_{step}", filters, persistent=False)

    def forward(self, sound: Tensor, classes: np.ndarray) -> Tensor:
        if (classes == classes[0]).all():
            return self._play(sound, self.speeds[int(classes[0])])
        played = sound.new_empty(len(sound), self.samples)
        for speed_class, speed in enumerate(self.speeds):
            rows = torch.from_numpy(np.flatnonzero(classes == speed_class))
            if len(rows):
                there = rows.to(sound.device, non_blocking=True)
                played[there] = self._play(sound[there], speed)
        return played

    def _play(self, sound: Tensor, speed: float) -> Tensor:
        sound = sound[:, : source_samples(self.samples, speed)]
        step = _step(speed)
        if step == OUTPUTS:
            return sound
        filters = getattr(self, f"filters_{step}")  # [10, 1, K]
        stretches = math.ceil(self.samples / OUTPUTS)
        right = (stretches - 1) * step + filters.shape[2] - HALF_WIDTH - sound.shape[1]
        padded = F.pad(sound, (HALF_WIDTH, max(right, 0)))
        played = F.conv1d(padded[:, None], filters, stride=step)  # [B, 10, stretches]
        return played.transpose(1, 2).reshape(len(sound), -1)[:, : self.samples]


def _filters(speed: float, step: int) -> np.ndarray:
    """[10, 1, K] float32: filter j gives the output sample at the input's time j · speed, with a gain of 1 at 0 Hz."""
    cutoff = CUTOFF * min(1.0, 1.0 / speed)
    taps = np.arange(-HALF_WIDTH, HALF_WIDTH + step + 1)
    distance = taps - speed * np.arange(OUTPUTS)[:, None]  # [10, K] input samples
    inside = np.clip(1.0 - np.square(distance / (HALF_WIDTH + 1)), 0.0, None)
    window = np.where(inside > 0, np.i0(KAISER_BETA * np.sqrt(inside)), 0.0)
    filters = np.sinc(cutoff * distance) * window
    return (filters / filters.sum(axis=1, keepdims=True)).astype(np.float32)[:, None]
