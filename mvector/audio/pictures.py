"""Pictures of waveforms and spectrograms (matplotlib, drawn straight to a file: no window, no global state)."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from mvector.errors import MissingPackageError, MVectorError

MAX_POINTS = 4000  # minima and maxima drawn of a long waveform; more could not be told apart
SPECTRUM_S, SPECTRUM_HOP_S = 0.025, 0.010
SPECTROGRAM_COLUMNS = 2000
DYNAMIC_RANGE_DB = 80.0


def save_waveform_picture(path: str | Path, before: np.ndarray, after: np.ndarray, sample_rate_hz: int) -> None:
    """Draw a waveform [T] above what is left of it [T'] (after trimming, say) on one time axis, as PNG, SVG or PDF.

    Raises MissingPackageError without matplotlib, MVectorError if `path` cannot be written.
    """
    figure = _figure(height_inch=5.0)
    axes = figure.subplots(2, 1, sharex=True, sharey=True)
    for ax, waveform, title in zip(axes, (before, after), ("Before", "After"), strict=True):
        ax.fill_between(*_envelope(waveform, sample_rate_hz), linewidth=0.3, color="tab:blue", edgecolor="tab:blue")
        ax.set_title(f"{title}: {len(waveform) / sample_rate_hz:.2f} s", loc="left", fontsize=10)
        ax.set_ylabel("Amplitude")
        ax.grid(alpha=0.3)
    axes[1].set_xlim(0.0, max(len(before), len(after), 1) / sample_rate_hz)
    axes[1].set_xlabel("Time (s)")
    _save(figure, path)


def save_spectrogram_picture(path: str | Path, waveform: np.ndarray, sample_rate_hz: int) -> None:
    """Draw the spectrogram of `waveform` [T]: frames of 25 ms, dB relative to the loudest point, 80 dB deep.

    Of a recording over 20 s the hop is longer than 10 ms, so that the picture has at most 2,000 columns.
    Raises like `save_waveform_picture`.
    """
    length = max(2, round(SPECTRUM_S * sample_rate_hz))
    waveform = np.pad(waveform, (0, max(0, length - len(waveform))))
    hop = max(1, round(SPECTRUM_HOP_S * sample_rate_hz), len(waveform) // SPECTROGRAM_COLUMNS)
    frames = np.lib.stride_tricks.sliding_window_view(waveform, length)[::hop] * np.hanning(length)  # [F, length]
    power = np.square(np.abs(np.fft.rfft(frames, axis=1))).T  # [bins, F]
    level_db = 10.0 * np.log10(np.maximum(power, 1e-20) / max(float(power.max()), 1e-20))

    figure = _figure(height_inch=4.0)
    ax = figure.subplots()
    image = ax.imshow(
        level_db,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        vmin=-DYNAMIC_RANGE_DB,
        vmax=0.0,
        cmap="magma",
        extent=(0.0, len(waveform) / sample_rate_hz, 0.0, sample_rate_hz / 2000.0),
    )
    figure.colorbar(image, ax=ax, label="Level (dB)")
    ax.set_xlabel("Time (s)")
    ax.set_ylabel("Frequency (kHz)")
    _save(figure, path)


def _figure(height_inch: float) -> Any:
    try:
        from matplotlib.figure import Figure
    except Exception as error:  # a broken installation may raise anything
        raise MissingPackageError("pictures need matplotlib, which is missing: pip install matplotlib") from error
    return Figure(figsize=(10.0, height_inch), layout="constrained")


def _save(figure: Any, path: str | Path) -> None:
    folder = os.path.dirname(os.fspath(path))
    try:
        os.makedirs(folder or ".", exist_ok=True)
        figure.savefig(path, dpi=120)  # a Figure without pyplot draws through Agg
    except (OSError, ValueError) as error:  # ValueError: a file extension that matplotlib does not know
        raise MVectorError(f"{path}: the picture cannot be saved: {error}") from error


def _envelope(waveform: np.ndarray, sample_rate_hz: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times in s, minima and maxima of at most MAX_POINTS pieces of `waveform`."""
    step = max(1, -(-len(waveform) // MAX_POINTS))
    starts = np.arange(0, len(waveform), step)
    if not len(starts):
        return np.zeros(1), np.zeros(1), np.zeros(1)
    return starts / sample_rate_hz, np.minimum.reduceat(waveform, starts), np.maximum.reduceat(waveform, starts)
