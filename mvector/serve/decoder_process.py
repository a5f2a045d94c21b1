"""The process that decodes untrusted bytes: `python -m mvector.serve.decoder_process RATE MAX_S CPU_S MEMORY_MIB`.

Jobs come on the standard input as an 8-byte length and the bytes of a sound file. Each is answered on the standard
output with a 4-byte length, JSON, and, where the JSON has `samples`, that many float32. Nothing is pickled, so that a
decoder which a crafted file has taken over can send nothing but numbers and text. The end of the input ends it.
"""

import contextlib
import io
import json
import os
import signal
import struct
import sys
import time
from typing import IO, Any

import numpy as np

from mvector.audio.decode import Sound, open_sound
from mvector.audio.load import check_length, read_blocks, report_doubts
from mvector.audio.resample import resample
from mvector.errors import AudioError, MissingPackageError, TooShortError

MAX_CHANNELS, MAX_SOURCE_RATE_HZ = 8, 192_000  # what recorders make; decoding grows with both
READY = b"R"
JOB, REPLY = struct.Struct("<Q"), struct.Struct("<I")


class _Recording(io.BytesIO):
    name = "the recording"  # in messages


def decode(data: bytes, sample_rate_hz: int, max_duration_s: float) -> tuple[dict[str, Any], np.ndarray | None]:
    """(description, waveform [T] float32 at `sample_rate_hz`), or ({"error", "message"}, None) with a kind of failures.

    A recording that says it is longer than `max_duration_s` is refused unread; of one that says nothing or lies, hardly
    more than that is decoded.
    """
    try:
        sound = open_sound(_Recording(data), sample_rate_hz)
    except MissingPackageError:
        return _refusal("unsupported_audio", "this service cannot read sound of this kind; send WAV, FLAC, OGG or MP3")
    except AudioError as error:
        return _refusal("unsupported_audio", str(error))
    with contextlib.closing(sound):
        try:
            return _decode(sound, sample_rate_hz, max_duration_s)
        except TooShortError as error:
            return _refusal("too_short", str(error))
        except AudioError as error:
            return _refusal("unusable_audio", str(error))


def _decode(sound: Sound, sample_rate_hz: int, max_duration_s: float) -> tuple[dict[str, Any], np.ndarray | None]:
    rate = sound.sample_rate_hz
    if sound.channels > MAX_CHANNELS or rate > MAX_SOURCE_RATE_HZ:
        return _refusal(
            "unusable_audio",
            f"the recording has {sound.channels} channels at {rate} Hz; at most {MAX_CHANNELS} at "
            f"{MAX_SOURCE_RATE_HZ} Hz are taken",
        )
    if sound.frames is not None and sound.frames > max_duration_s * rate:
        return _too_long(f"says that it lasts {sound.frames / rate:.1f} s", max_duration_s)
    blocks, frames = [], 0
    for block in read_blocks(sound, None, None):  # to the end: that of a stated part would be missed in the warnings
        blocks.append(block)
        frames += len(block)
        if frames > max_duration_s * rate:
            return _too_long("is longer than it says", max_duration_s)
    waveform = resample(np.concatenate(blocks), rate, sample_rate_hz).astype(np.float32, copy=False)
    check_length(sound.name, len(waveform), sample_rate_hz)
    warnings: list[str] = []
    report_doubts(sound, sample_rate_hz, warnings)
    return {"samples": len(waveform), "duration_s": frames / rate, "warnings": warnings}, waveform


def _too_long(what: str, max_duration_s: float) -> tuple[dict[str, Any], None]:
    return _refusal("too_long", f"the recording {what}; at most {max_duration_s:g} s are taken")


def _refusal(kind: str, message: str) -> tuple[dict[str, Any], None]:
    return {"error": kind, "message": message}, None


def main() -> None:
    sample_rate_hz, max_duration_s = int(sys.argv[1]), float(sys.argv[2])
    cpu_s, memory_mib = float(sys.argv[3]), int(sys.argv[4])
    for name in ("SIGINT", "SIGTERM"):  # sent to the whole group when the service stops; requests in flight end first
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    jobs, replies = _private_streams()
    _warm_up()
    _limit_memory(memory_mib)
    replies.write(READY)
    replies.flush()
    while len(head := jobs.read(JOB.size)) == JOB.size:
        data = jobs.read(JOB.unpack(head)[0])
        _limit_processor_time(cpu_s)
        try:
            header, waveform = decode(data, sample_rate_hz, max_duration_s)
        except MemoryError:
            header, waveform = _refusal("unusable_audio", "the recording takes more memory than a recording may")
        except Exception:  # a fault of ours or of a library, met by a crafted file; it is the file that is refused
            header, waveform = _refusal("unusable_audio", "the recording is damaged and cannot be decoded")
        text = json.dumps(header).encode()
        replies.write(REPLY.pack(len(text)) + text)
        if waveform is not None:
            replies.write(waveform.tobytes())
        replies.flush()


def _private_streams() -> tuple[IO[bytes], IO[bytes]]:
    """The standard streams as files of our own; what a library prints goes nowhere."""
    streams = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    return streams


def _warm_up() -> None:
    """Load the libraries before the memory is limited and before anybody waits."""
    import soundfile  # noqa: F401
    import soxr  # noqa: F401

    with contextlib.suppress(Exception):  # optional; a broken installation may raise anything
        import av

        av.logging.set_level(None)


def _limit_memory(memory_mib: int) -> None:
    """Further `memory_mib` of address space, no file, no core dump (it would hold sound). Nothing on Windows."""
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if sys.platform == "linux":  # macOS does not keep to a limit of address space
        with open("/proc/self/statm", encoding="ascii") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        limit = used + (memory_mib << 20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _limit_processor_time(cpu_s: float) -> None:
    """For this job; should the service have been killed, nobody else would end a decoder that hangs."""
    if sys.platform == "win32":
        return
    import resource

    soft = int(time.process_time() + cpu_s) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


if __name__ == "__main__":
    main()
