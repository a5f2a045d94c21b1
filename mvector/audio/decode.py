"""One way to read any sound: a `Sound` gives mono float32 blocks between two frames of a file, bytes or array.

libsndfile (soundfile) reads WAV, FLAC, OGG Vorbis and Opus, MP3, AIFF, AU, CAF, W64, NIST SPHERE and more;
`mvector.audio.codecs` reads the rest through PyAV.
"""

import contextlib
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, TypeAlias

import numpy as np

from mvector.audio.tar_members import open_member, tar_member
from mvector.errors import AudioError

AudioSource: TypeAlias = str | Path | bytes | bytearray | memoryview | IO[bytes] | np.ndarray

MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 768_000  # outside it is a damaged header; resampling it could fill the memory
BLOCK_VALUES = 1 << 22  # samples × channels decoded at once (16 MiB of float32)
SALVAGE_FRAMES = (4096, 64, 1)  # block lengths when reading up to the damage in a file
OGG_PAGE = 65_307  # bytes at most
UNKNOWN_FRAMES = 1 << 40  # libsndfile states about 2**63 for streams of unknown length


@dataclass(frozen=True)
class AudioInfo:
    """What the header of a recording says (for M4A, WebM and the like `frames` is its rounded duration)."""

    sample_rate_hz: int
    channels: int
    frames: int
    duration_s: float


class Sound(Protocol):
    """An opened recording.

    name: for messages. frames: length as the header states it, None where it does not. notes: what is wrong with it
    that does not stop it from being used. blocks(start, stop): mono float32 [n] blocks of the frames from `start` to
    before `stop` (None: the end), ending early where the recording does.
    """

    name: str
    sample_rate_hz: int
    channels: int
    frames: int | None
    notes: list[str]

    def blocks(self, start: int, stop: int | None) -> Iterator[np.ndarray]: ...

    def close(self) -> None: ...


def open_sound(source: AudioSource, source_rate_hz: int) -> Sound:
    """Open a path, the bytes of a sound file, a binary file object (rewound if it can be) or an array.

    A path may name a recording in a tar file (see :mod:`mvector.audio.tar_members`). An array is [T] or [T, channels]
    at `source_rate_hz`: integers are scaled by their range, floats taken as they are.
    """
    if isinstance(source, np.ndarray):
        return _ArraySound(source, source_rate_hz)
    if isinstance(source, (str, Path)):
        name = str(source)
        member = tar_member(name)
        file: Any = name if member is None else _FileObject(open_member(member))
    elif isinstance(source, (bytes, bytearray, memoryview)):
        name, file = "the given bytes", _FileObject(io.BytesIO(source))
    elif hasattr(source, "read"):
        name, file = _file_object(source)
    else:
        raise AudioError(
            "sound can be given as a path, bytes, a binary file object or a NumPy array, "
            f"not as {type(source).__name__}"
        )
    import soundfile

    try:
        return _SndfileSound(name, file)
    except (soundfile.LibsndfileError, OSError, TypeError, ValueError) as error:
        reason = _why_unreadable(name, file) or str(getattr(error, "error_string", error)).strip().rstrip(".")
    if isinstance(file, str) and not os.path.isfile(file):
        raise AudioError(f"{name}: {reason}")
    from mvector.audio.codecs import open_with_codecs

    return open_with_codecs(name, file, reason)


def to_float(samples: np.ndarray, name: str) -> np.ndarray:
    """Samples of any usual type as float32: uint8 is centred at 128, signed integers are divided by their range."""
    if samples.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return samples.astype(np.float32)  # a copy: the caller may scale what it gets
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128.0) / 128.0
    if samples.dtype in (np.int16, np.int32):
        return samples.astype(np.float32) / np.float32(-float(np.iinfo(samples.dtype).min))
    raise AudioError(f"{name}: samples must be int16, int32, uint8 or float, not {samples.dtype}")


def to_mono(samples: np.ndarray) -> np.ndarray:
    """[T] or [T, channels] → [T], the mean over the channels."""
    if samples.ndim == 1:
        return samples
    if samples.shape[1] == 1:
        return samples[:, 0]
    with np.errstate(invalid="ignore"):  # infinite minus infinite; the caller looks for what is not finite
        return samples.mean(axis=1, dtype=np.float32)


def check_format(name: str, sample_rate_hz: int, channels: int) -> None:
    if not MIN_RATE_HZ <= sample_rate_hz <= MAX_RATE_HZ:
        raise AudioError(
            f"{name}: its sample rate is {sample_rate_hz} Hz; {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz can be used. "
            "The header is probably damaged."
        )
    if channels < 1:
        raise AudioError(f"{name}: it has no audio channel")


class _SndfileSound:
    def __init__(self, name: str, file: Any):
        import soundfile

        self.name = name
        self._source = file
        self._file = soundfile.SoundFile(file)
        self.sample_rate_hz = self._file.samplerate
        self.channels = self._file.channels
        frames = self._file.frames
        self.frames = frames if frames < UNKNOWN_FRAMES else None
        self.notes = [note] if (note := _truncation(self._file, file)) else []
        try:
            check_format(name, self.sample_rate_hz, self.channels)
        except AudioError:
            self.close()
            raise

    def blocks(self, start: int, stop: int | None) -> Iterator[np.ndarray]:
        import soundfile

        stop = min(stop or UNKNOWN_FRAMES, self.frames or UNKNOWN_FRAMES)
        position, largest = start, max(1, BLOCK_VALUES // self.channels)
        try:
            if start:
                self._file.seek(start)
            while position < stop:
                wanted = min(largest, stop - position)
                block = self._read(wanted)
                if len(block):
                    yield to_mono(block)
                position += len(block)
                if len(block) < wanted:
                    return
        except (soundfile.LibsndfileError, MemoryError):
            if self.frames is not None:  # libsndfile meets the end of a FLAC of unknown length with an error, too
                self.notes.append("it is damaged or truncated; what comes before the damage is used")
            for step in SALVAGE_FRAMES:
                for block in self._salvage(position, stop, step):
                    yield block
                    position += len(block)

    def _read(self, frames: int) -> np.ndarray:
        """float32 samples; 16-bit ones are scaled here, to the same values in a quarter of libsndfile's time."""
        if self._file.subtype == "PCM_16":
            return self._file.read(frames, dtype="int16") * np.float32(2**-15)
        return self._file.read(frames, dtype="float32")

    def _salvage(self, position: int, stop: int, step: int) -> Iterator[np.ndarray]:
        """Blocks of `step` frames from `position` up to the damage: a block with damage in it is lost as a whole."""
        import soundfile

        self._file.close()  # after an error its state is undefined
        if hasattr(self._source, "seek"):
            self._source.seek(0)
        with contextlib.suppress(soundfile.LibsndfileError, MemoryError):
            self._file = soundfile.SoundFile(self._source)
            skipped = 0  # not by seeking, which fails in a FLAC whose header lies
            while skipped < position:
                skipped += len(self._file.read(min(SALVAGE_FRAMES[0], position - skipped)))
            while position < stop:
                block = self._file.read(min(step, stop - position), dtype="float32")
                if not len(block):
                    return
                yield to_mono(block)
                position += len(block)

    def close(self) -> None:
        self._file.close()


class _ArraySound:
    def __init__(self, samples: np.ndarray, sample_rate_hz: int):
        self.name = "the given array"
        if samples.ndim not in (1, 2) or (samples.ndim == 2 and samples.shape[1] > max(64, samples.shape[0])):
            raise AudioError(
                f"{self.name} has the shape {samples.shape}; expected [samples] or [samples, channels]. "
                "Transpose it if the channels come first."
            )
        self.sample_rate_hz = int(sample_rate_hz)
        self.channels = 1 if samples.ndim == 1 else samples.shape[1]
        check_format(self.name, self.sample_rate_hz, self.channels)
        to_float(samples[:0], self.name)
        self.frames: int | None = len(samples)
        self.notes: list[str] = []
        self._samples = samples

    def blocks(self, start: int, stop: int | None) -> Iterator[np.ndarray]:
        stop = min(stop or len(self._samples), len(self._samples))
        step = max(1, BLOCK_VALUES // self.channels)
        for position in range(start, stop, step):
            yield to_mono(to_float(self._samples[position : min(stop, position + step)], self.name))

    def close(self) -> None:
        pass


class _FileObject:
    """A binary file object as libsndfile calls it back, where an exception would be printed instead of raised."""

    def __init__(self, file: Any):
        self._file = file
        self.error: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            return self._file.read(size)
        except (OSError, ValueError) as error:
            self.error = error
            return b""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        with contextlib.suppress(OSError, ValueError):  # a damaged header may point before the beginning
            return self._file.seek(offset, whence)
        return self._file.tell()

    def tell(self) -> int:
        return self._file.tell()


def _file_object(source: Any) -> tuple[str, _FileObject]:
    name = getattr(source, "name", None)
    name = name if isinstance(name, str) and name else "the given file object"
    try:
        if isinstance(source.read(0), str):
            raise AudioError(f"{name}: the file object gives text; open the file in binary mode ('rb')")
        if hasattr(source, "seekable") and source.seekable():
            source.seek(0)
            return name, _FileObject(source)
        return name, _FileObject(io.BytesIO(source.read()))
    except (OSError, ValueError) as error:
        raise AudioError(f"{name}: it cannot be read: {error}") from error


def _why_unreadable(name: str, file: Any) -> str | None:
    """What is wrong in the person's words, or None if it has to be the content."""
    if isinstance(file, str):
        if not os.path.exists(file):
            return f"there is no such file (looked in {os.getcwd()})" if not os.path.isabs(file) else "no such file"
        if os.path.isdir(file):
            return "this is a folder; give one sound file"
        if not os.path.isfile(file):
            return "this is not a regular file"
        try:
            with open(file, "rb") as opened:
                return None if opened.read(1) else "the file is empty (0 bytes)"
        except OSError as error:
            return f"the file cannot be opened: {error.strerror}"
    file.seek(0)
    start = file.read(1)
    if file.error is not None:
        return f"it cannot be read: {file.error}"
    return None if start else "it is empty (0 bytes)"


def _truncation(file: Any, source: Any) -> str | None:
    """A sentence when the container promises more than there is (libsndfile cuts the length without a word)."""
    for line in file.extra_info.splitlines():
        # Recorders that stream write the largest size there is, so that is no promise.
        sizes = re.match(r"\s*(?:data|SSND|Data Size|[Rr]iff(?: size)?)\s*:\s*(\d+) \(should be (\d+)\)", line)
        if sizes and int(sizes[2]) + 16 < int(sizes[1]) < 0x7FFF0000:
            return f"it is truncated: {sizes[1]} bytes were promised, {sizes[2]} are there"
    if file.format == "NIST":
        count = re.search(rb"^sample_count -i (\d+)", _peek(source, 0, 1024), re.MULTILINE)
        if count and int(count[1]) > file.frames:
            return f"it is truncated: {int(count[1])} samples were promised, {file.frames} are there"
    if file.format == "OGG" and not _ogg_is_complete(_peek(source, -OGG_PAGE, OGG_PAGE)):
        return "it is truncated: the last Ogg page is missing"
    return None


def _ogg_is_complete(tail: bytes) -> bool:
    """Whether the last page is whole and marked as the end of its stream (RFC 3533, section 6)."""
    page = tail.rfind(b"OggS")
    if page < 0 or len(tail) < page + 27:
        return False
    lacing = tail[page + 27 : page + 27 + tail[page + 26]]
    return bool(tail[page + 5] & 4) and len(tail) >= page + 27 + tail[page + 26] + sum(lacing)


def _peek(source: Any, offset: int, size: int) -> bytes:
    """Bytes from `offset` (negative: from the end) without moving a file object that libsndfile is using."""
    if isinstance(source, str):
        with open(source, "rb") as opened:
            return _read_at(opened, offset, size)
    position = source.tell()
    try:
        return _read_at(source, offset, size)
    finally:
        source.seek(position)


def _read_at(file: Any, offset: int, size: int) -> bytes:
    length = file.seek(0, os.SEEK_END)
    file.seek(offset if offset >= 0 else max(0, length + offset))
    return file.read(size)
