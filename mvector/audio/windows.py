"""A long recording as a stream of windows, in bounded memory."""

import contextlib
from collections.abc import Iterator

import numpy as np

from mvector.audio.decode import AudioSource, open_sound
from mvector.audio.load import check_length, read_blocks, report_doubts
from mvector.audio.resample import StreamResampler

MIN_LAST_WINDOW_S = 1.0


def iter_windows(
    source: AudioSource,
    window_s: float = 20.0,
    sample_rate_hz: int = 16000,
    start_s: float | None = None,
    end_s: float | None = None,
    source_rate_hz: int | None = None,
    warnings: list[str] | None = None,
) -> Iterator[np.ndarray]:
    """Consecutive windows of `source`, mono float32 [T] with T = `window_s` · `sample_rate_hz` (the last: the rest).

    Joined they are `load_audio(source, …)`: every sample is in exactly one window, and resampling runs across
    the seams. A rest under 1 s is no window of its own, because an embedding of so little speech would count as much
    as one of 20 s: it is joined to the window before it. A few windows are held in memory, whatever the length.

    Arguments and errors as in `load_audio`; an error in the middle of a recording comes when the stream gets there.
    """
    with contextlib.closing(open_sound(source, source_rate_hz or sample_rate_hz)) as sound:
        window = max(1, round(window_s * sample_rate_hz))
        shortest = min(window, round(MIN_LAST_WINDOW_S * sample_rate_hz))
        resampler = StreamResampler(sound.sample_rate_hz, sample_rate_hz)
        rest = np.zeros(0, np.float32)
        total = 0
        for block in read_blocks(sound, start_s, end_s):
            for begin in range(0, len(block), window):
                piece = resampler.push(block[begin : begin + window])
                total += len(piece)
                rest = np.concatenate((rest, piece))
                while len(rest) >= window + shortest:
                    yield rest[:window].copy()
                    rest = rest[window:]
        piece = resampler.finish()
        check_length(sound.name, total + len(piece), sample_rate_hz)
        rest = np.concatenate((rest, piece))
        while len(rest) >= window + shortest:
            yield rest[:window].copy()
            rest = rest[window:]
        yield rest
        report_doubts(sound, sample_rate_hz, warnings)
