"""Any sound → one checked waveform at the model's rate."""

import contextlib
import logging
from collections.abc import Iterator

import numpy as np

from mvector.audio.decode import AudioInfo, AudioSource, Sound, open_sound
from mvector.audio.resample import resample
from mvector.errors import AudioError, TooShortError

logger = logging.getLogger("mvector")

MIN_DURATION_S = 0.05  # shorter than this there is no voice to hear and barely a frame to compute
MAX_PEAK = 100.0  # float files may go somewhat beyond 1; this far it is another scale
END_TOLERANCE_S = 0.05  # lists are written with rounded times

_already_warned: set[tuple[str, str]] = set()


def load_audio(
    source: AudioSource,
    sample_rate_hz: int = 16000,
    start_s: float | None = None,
    end_s: float | None = None,
    source_rate_hz: int | None = None,
    warnings: list[str] | None = None,
) -> np.ndarray:
    """The sound of `source` as mono float32 [T] at `sample_rate_hz`, in [-1, 1] (float files may go a little beyond).

    source: a path, the bytes of a sound file, a binary file object (read from its beginning) or a NumPy array
        [T] or [T, channels] of int16, int32, uint8 or float.
    start_s, end_s: only these seconds are decoded; an end beyond the recording's means its end.
    source_rate_hz: the rate of an array (default: `sample_rate_hz`); files state their own.
    warnings: a list that takes what is doubtful (truncated, narrow band) as sentences. Without one they are logged,
        each once for a file.
    Several channels become their mean; another rate is resampled.

    Raises AudioError: not there, not sound, empty, NaN or infinite or far beyond [-1, 1], `start_s` beyond the end;
    TooShortError: less than 0.05 s; MissingPackageError: M4A, WebM … without PyAV.
    """
    with contextlib.closing(open_sound(source, source_rate_hz or sample_rate_hz)) as sound:
        blocks = list(read_blocks(sound, start_s, end_s))
        waveform = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
        waveform = resample(waveform, sound.sample_rate_hz, sample_rate_hz)
        check_length(sound.name, len(waveform), sample_rate_hz)
        report_doubts(sound, sample_rate_hz, warnings)
    return np.ascontiguousarray(waveform)


def audio_info(source: AudioSource) -> AudioInfo:
    """Rate, channels and length of a sound file, from its header where that states them. Raises like `load_audio`."""
    with contextlib.closing(open_sound(source, 16000)) as sound:
        frames = sound.frames
        if frames is None:
            frames = sum(len(block) for block in sound.blocks(0, None))
        return AudioInfo(sound.sample_rate_hz, sound.channels, frames, frames / sound.sample_rate_hz)


def read_blocks(sound: Sound, start_s: float | None, end_s: float | None) -> Iterator[np.ndarray]:
    """Checked mono blocks of `sound` between two times, at its own rate. Raises AudioError if there are none."""
    rate = sound.sample_rate_hz
    if not 0.0 <= (start_s or 0.0) < (float("inf") if end_s is None else end_s):
        raise AudioError(
            f"{sound.name}: cannot read from {start_s or 0} s to {end_s} s; the end must come after the start"
        )
    start = round((start_s or 0.0) * rate)
    stop = None if end_s is None else max(start + 1, round(end_s * rate))
    if sound.frames == 0:
        raise AudioError(f"{sound.name}: there is no sample in it; record or export it again")
    if sound.frames is not None and start >= sound.frames:
        raise AudioError(
            f"{sound.name}: the part from {start_s:g} s was asked for, but it lasts {sound.frames / rate:.2f} s"
        )
    decoded = 0
    for block in sound.blocks(start, stop):
        _check_samples(sound.name, block)
        decoded += len(block)
        yield block
    if decoded == 0:
        where = f"from {start_s:g} s on" if start_s else "in it"
        raise AudioError(f"{sound.name}: nothing {where} can be decoded; it is shorter, damaged or truncated")
    _note_missing_end(sound, start, stop, decoded)


def check_length(name: str, samples: int, sample_rate_hz: int) -> None:
    """Raise TooShortError if `samples` last less than `MIN_DURATION_S`."""
    if samples < MIN_DURATION_S * sample_rate_hz:
        raise TooShortError(
            f"{name}: {samples / sample_rate_hz:.3f} s of sound; at least {MIN_DURATION_S} s are needed, "
            "a few seconds of speech for a reliable answer"
        )


def report_doubts(sound: Sound, sample_rate_hz: int, warnings: list[str] | None) -> None:
    """Put what is doubtful about `sound` into `warnings`, or log it once for each file."""
    doubts = [f"{sound.name}: {note}" for note in sound.notes]
    if sound.sample_rate_hz < sample_rate_hz:
        doubts.append(
            f"{sound.name}: recorded at {sound.sample_rate_hz} Hz, so nothing above {sound.sample_rate_hz // 2} Hz "
            f"is in it (the model expects {sample_rate_hz} Hz); scores against wide-band recordings are less reliable"
        )
    for doubt in doubts:
        if warnings is not None:
            warnings.append(doubt)
        elif (sound.name, doubt) not in _already_warned:
            _already_warned.add((sound.name, doubt))
            logger.warning(doubt)


def _check_samples(name: str, block: np.ndarray) -> None:
    peak = max(float(block.max()), -float(block.min()))
    if peak <= MAX_PEAK:
        return
    if not np.isfinite(block).all():
        raise AudioError(f"{name}: some samples are not finite (NaN or infinite); record or export it again")
    raise AudioError(
        f"{name}: its float samples reach {peak:.6g}, but they must lie in [-1, 1]; divide 16-bit values by 32768"
    )


def _note_missing_end(sound: Sound, start: int, stop: int | None, decoded: int) -> None:
    rate, end = sound.sample_rate_hz, start + decoded
    promised = sound.frames if stop is None else min(stop, sound.frames or stop)
    if promised is not None and promised - end > END_TOLERANCE_S * rate and not sound.notes:
        sound.notes.append(
            f"it is truncated: it should last {promised / rate:.2f} s, {end / rate:.2f} s can be decoded"
        )
