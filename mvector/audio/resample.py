"""Another sample rate, by soxr's high-quality band-limited interpolation."""

import numpy as np


def resample(waveform: np.ndarray, from_rate_hz: int, to_rate_hz: int) -> np.ndarray:
    """`waveform` float32 [T] at `from_rate_hz` → float32 [round(T * to / from)] at `to_rate_hz`."""
    if from_rate_hz == to_rate_hz:
        return waveform
    import soxr

    return soxr.resample(waveform, from_rate_hz, to_rate_hz, quality="HQ")


class StreamResampler:
    """The same conversion block by block: the joined outputs equal `resample` of the joined blocks."""

    def __init__(self, from_rate_hz: int, to_rate_hz: int):
        self._stream = None
        if from_rate_hz != to_rate_hz:
            import soxr

            self._stream = soxr.ResampleStream(from_rate_hz, to_rate_hz, 1, dtype="float32", quality="HQ")

    def push(self, block: np.ndarray) -> np.ndarray:
        """The output that `block` float32 [n] completes; what the filter still holds comes with the next block."""
        return block if self._stream is None else self._stream.resample_chunk(block)

    def finish(self) -> np.ndarray:
        """The last output, after the last block."""
        empty = np.zeros(0, np.float32)
        return empty if self._stream is None else self._stream.resample_chunk(empty, last=True)
