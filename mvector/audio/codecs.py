"""Sound that libsndfile cannot read (M4A/AAC, WebM, WMA, AMR, Speex …), through PyAV (FFmpeg)."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from mvector.audio.decode import Sound, check_format, to_float, to_mono
from mvector.errors import AudioError, MissingPackageError

PREROLL_S = 0.2  # decoded and dropped before a seek target: AAC overlaps frames, Opus needs 80 ms (RFC 7845, 4.6)

# FFmpeg's demuxer by the first bytes. FFmpeg is never left to guess: its play-list formats would open other files
# and addresses named in an upload.
_ONLY_PYAV = (
    (0, b"\x1aE\xdf\xa3", "matroska"),
    (0, b"#!AMR", "amr"),
    (0, b"0&\xb2u\x8ef\xcf\x11", "asf"),
    *((4, box, "mov") for box in (b"ftyp", b"styp", b"moov", b"mdat", b"free", b"wide", b"skip")),
)
_RARE_CODEC_INSIDE = (
    (0, b"RIFF", "wav"),
    (0, b"OggS", "ogg"),
    (0, b"caff", "caf"),
    (0, b"FORM", "aiff"),
    (0, b"NIST_1A", "nistsphere"),
    (0, b"ID3", "mp3"),
)
_EXACT_SEEK = ("mov", "matroska")


def open_with_codecs(name: str, file: Any, reason: str) -> Sound:
    """Open what libsndfile refused with `reason`. Raises AudioError, or MissingPackageError where PyAV would help."""
    if isinstance(file, str):
        with open(file, "rb") as opened:
            start = opened.read(16)
    else:
        file.seek(0)
        start = file.read(16)
        file.seek(0)
    demuxer = _match(start, _ONLY_PYAV) or ("aac" if _is_adts(start) else None)
    needs_pyav = demuxer is not None
    demuxer = demuxer or _match(start, _RARE_CODEC_INSIDE)
    if demuxer is None or not start:
        raise AudioError(
            f"{name}: this cannot be read as sound ({reason}); give a WAV, FLAC, OGG, MP3 or M4A recording"
        )
    try:
        import av  # noqa: F401
    except Exception as error:  # a broken installation may raise anything
        if needs_pyav:
            raise MissingPackageError(
                f"{name}: sound of this kind ({demuxer}) is read through PyAV, which is missing: pip install av"
            ) from error
        raise AudioError(
            f"{name}: it cannot be read as sound ({reason}). If it plays elsewhere, it has a rare codec: pip install av"
        ) from error
    return _AvSound(name, file, demuxer)


def _match(start: bytes, table: tuple[tuple[int, bytes, str], ...]) -> str | None:
    return next((demuxer for at, magic, demuxer in table if start[at : at + len(magic)] == magic), None)


def _is_adts(start: bytes) -> bool:
    return len(start) >= 7 and start[0] == 0xFF and start[1] & 0xF6 == 0xF0


class _AvSound:
    def __init__(self, name: str, file: Any, demuxer: str):
        import av

        self.name = name
        self.notes: list[str] = []
        self._demuxer = demuxer
        self._opened = open(file, "rb") if isinstance(file, str) else None  # noqa: SIM115 (closed in `close`)
        try:
            self._container: Any = av.open(self._opened or file, format=demuxer)
            if not self._container.streams.audio:
                raise AudioError(f"{name}: there is no audio track in it")
            self._stream: Any = self._container.streams.audio[0]
            context = self._stream.codec_context
            self.sample_rate_hz = int(context.sample_rate or 0)
            self.channels = int(context.channels or 0)
            check_format(name, self.sample_rate_hz, self.channels)
        except AudioError:
            self.close()
            raise
        except Exception as error:  # PyAV raises its own kinds, ValueError, IndexError …
            self.close()
            raise AudioError(
                f"{name}: it looks like {demuxer} sound but cannot be decoded ({_text(error)}); "
                "it is damaged or truncated"
            ) from error
        self.frames: int | None = self._stated_frames()

    def _stated_frames(self) -> int | None:
        import av

        if self._demuxer == "aac":  # raw AAC has no length; FFmpeg guesses one from the bit rate
            return None
        if self._stream.duration:
            return round(self._stream.duration * self._stream.time_base * self.sample_rate_hz)
        if self._container.duration:
            return round(self._container.duration / av.time_base * self.sample_rate_hz)
        return None

    def blocks(self, start: int, stop: int | None) -> Iterator[np.ndarray]:
        # Exact to the sample but for seeking in WebM, whose time stamps are whole milliseconds.
        position: int | None = 0
        origin_s = 0.0
        try:
            if start and self._demuxer in _EXACT_SEEK:
                # The stream's own start_time is not always that of its first sample.
                origin_s = self._time_s(next(self._container.decode(self._stream)))
                target_s = origin_s + max(0.0, start / self.sample_rate_hz - PREROLL_S)
                self._container.seek(int(target_s / self._stream.time_base), stream=self._stream)
                position = None
            for frame in self._container.decode(self._stream):
                if frame.sample_rate != self.sample_rate_hz:
                    self.notes.append("its sample rate changes in the middle; what comes before that is used")
                    return
                if position is None:
                    position = round((self._time_s(frame) - origin_s) * self.sample_rate_hz)
                samples = frame.to_ndarray()  # planar [channels, n], packed [1, n · channels]
                samples = samples.T if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels)
                begin = max(0, start - position)
                end = len(samples) if stop is None else min(len(samples), stop - position)
                position += len(samples)
                if begin < end:
                    yield to_mono(to_float(samples[begin:end], self.name))
                if stop is not None and position >= stop:
                    return
        except AudioError:
            raise
        except Exception as error:  # see __init__
            self.notes.append(f"it is damaged or truncated ({_text(error)}); what comes before the damage is used")

    def _time_s(self, frame: Any) -> float:
        return float((frame.pts or 0) * self._stream.time_base)

    def close(self) -> None:
        if hasattr(self, "_container"):
            self._container.close()
        if self._opened is not None:
            self._opened.close()


def _text(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).strip() or type(error).__name__
