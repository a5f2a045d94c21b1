"""Triangular mel filters: Kaldi's, and torchaudio's with the HTK or the Slaney scale.

All are made in double precision with NumPy. Beside the matrix there is :class:`BandedFilters`, which multiplies by it
without touching its zeros: a mel filter is non-zero on a narrow band, so a dense product wastes most of its work.
"""

import warnings

import numpy as np
import torch
from torch import Tensor, nn

from mvector.features.base import require, require_choice, require_count, require_number


def kaldi_mel_filters(bins: int, fft_size: int, sample_rate_hz: float, low_hz: float, high_hz: float) -> np.ndarray:
    """Kaldi's filters [fft_size // 2 + 1, bins] float64: triangles on the mel axis, 1127 ln(1 + f/700).

    Kaldi leaves the bin at the Nyquist frequency out; its row is zero.
    """

    def mel(hertz: np.ndarray | float) -> np.ndarray:
        return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)

    edges = np.linspace(mel(low_hz), mel(high_hz), bins + 2)
    frequency = mel(np.arange(fft_size // 2) * sample_rate_hz / fft_size)[:, None]
    rising = (frequency - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequency) / (edges[2:] - edges[1:-1])
    filters = np.zeros((fft_size // 2 + 1, bins))
    filters[: fft_size // 2] = np.maximum(0.0, np.minimum(rising, falling))
    return filters


def _slaney_mel(hertz: np.ndarray | float) -> np.ndarray:
    """Linear below 1 kHz (200/3 Hz a mel), logarithmic above (27 mels a factor of 6.4); Slaney 1998."""
    hertz = np.asarray(hertz, dtype=np.float64)
    return np.where(
        hertz < 1000.0, hertz * 3.0 / 200.0, 15.0 + 27.0 * np.log(np.maximum(hertz, 1000.0) / 1000.0) / np.log(6.4)
    )


def _slaney_hertz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15.0, mel * 200.0 / 3.0, 1000.0 * np.exp((mel - 15.0) * np.log(6.4) / 27.0))


def mel_filters(
    bins: int,
    spectrum_bins: int,
    sample_rate_hz: int,
    low_hz: float,
    high_hz: float,
    norm: str | None = None,
    scale: str = "htk",
) -> np.ndarray:
    """torchaudio's filters [spectrum_bins, bins] float64: triangles on the hertz axis, equally spaced in mels.

    `scale` is 'htk' (2595 log10(1 + f/700)) or 'slaney'; `norm='slaney'` gives every filter unit area.
    """
    if scale == "htk":
        mels = np.linspace(2595.0 * np.log10(1.0 + low_hz / 700.0), 2595.0 * np.log10(1.0 + high_hz / 700.0), bins + 2)
        edges = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    else:
        edges = _slaney_hertz(np.linspace(_slaney_mel(low_hz), _slaney_mel(high_hz), bins + 2))
    frequency = np.linspace(0.0, sample_rate_hz // 2, spectrum_bins)[:, None]
    rising = (frequency - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequency) / (edges[2:] - edges[1:-1])
    filters = np.maximum(0.0, np.minimum(rising, falling))
    if norm == "slaney":
        filters *= 2.0 / (edges[2:] - edges[:-2])
    return filters


def checked_mel_filters(
    method: str,
    bins: int,
    spectrum_bins: int,
    sample_rate_hz: int,
    low_hz: float,
    high_hz: float | None,
    norm: str | None,
    scale: str,
) -> np.ndarray:
    """As :func:`mel_filters`, for arguments that a user wrote: ConfigError where they make no sense.

    high_hz None stands for half the sample rate. Above that it warns, because the bands there can only stay empty.
    """
    require_count(method, n_mels=bins, sample_rate=sample_rate_hz)
    high_hz = float(sample_rate_hz // 2) if high_hz is None else high_hz
    require_number(method, f_min=low_hz, f_max=high_hz)
    require(0 <= low_hz < high_hz, f"{method}: f_min {low_hz} and f_max {high_hz} must give 0 <= f_min < f_max")
    require(norm in ("slaney", None), f"{method}: norm must be 'slaney' or null, found {norm!r}")
    require_choice(method, "mel_scale", scale, ("htk", "slaney"))
    if high_hz > sample_rate_hz / 2:
        warnings.warn(
            f"{method}: f_max {high_hz:g} Hz lies above {sample_rate_hz / 2:g} Hz, the highest frequency at "
            f"{sample_rate_hz} Hz; the mel bands above it stay empty",
            stacklevel=2,
        )
    return mel_filters(bins, spectrum_bins, sample_rate_hz, low_hz, high_hz, norm, scale)


class BandedFilters(nn.Module):
    """Multiply spectra by a banded filter matrix: forward(spectrum [..., N]) -> [..., D].

    On a CPU neighbouring filters are taken in groups, each over the bins that it needs: with 80 filters on 257 bins
    that is a fifth of the dense product, in 0.4 times its time (smaller groups save more work and cost more calls).
    A GPU is quicker with the one dense product.
    """

    GROUP = 16

    def __init__(self, filters: np.ndarray):
        super().__init__()
        self.register_buffer("matrix", torch.from_numpy(filters.astype(np.float32)), persistent=False)
        self.matrix: Tensor
        self.groups: list[tuple[slice, Tensor]] = []  # (bins, what of the matrix belongs to them), on the CPU
        for start in range(0, filters.shape[1], self.GROUP):
            group = slice(start, min(start + self.GROUP, filters.shape[1]))
            used = np.flatnonzero(filters[:, group].any(axis=1))
            bins = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 0)
            self.groups.append((bins, self.matrix[bins, group].clone()))

    def forward(self, spectrum: Tensor) -> Tensor:
        if spectrum.device.type != "cpu":
            return spectrum @ self.matrix
        return torch.cat([spectrum[..., bins] @ part for bins, part in self.groups], dim=-1)
