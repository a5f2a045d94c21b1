"""The loudness of a waveform."""

import numpy as np

SILENCE_DBFS = -200.0  # what rms_dbfs says of digital silence, in place of minus infinity


def rms_dbfs(waveform: np.ndarray) -> float:
    """Root mean square of `waveform` [T] in dB relative to full scale (a square wave of amplitude 1 has 0 dBFS)."""
    if not len(waveform):
        return SILENCE_DBFS
    mean_square = float(np.mean(np.square(waveform, dtype=np.float64)))
    return max(SILENCE_DBFS, 10.0 * np.log10(mean_square)) if mean_square > 0.0 else SILENCE_DBFS


def normalize_level(waveform: np.ndarray, target_db: float = -20.0, max_gain_db: float = 300.0) -> np.ndarray:
    """`waveform` [T] amplified so that its RMS is `target_db` dBFS, as float32 [T].

    gain = min(target_db - RMS in dBFS, max_gain_db). Digital silence stays as it is. The result is never clipped:
    the peaks of a signal with a high crest factor may lie beyond [-1, 1], which float samples carry unharmed.
    """
    waveform = np.asarray(waveform, dtype=np.float32)
    if not waveform.any():
        return waveform
    gain_db = min(target_db - rms_dbfs(waveform), max_gain_db)
    return waveform * np.float32(10.0 ** (gain_db / 20.0))
