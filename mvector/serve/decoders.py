"""Untrusted bytes → waveform, in processes of their own, whose death is the sender's fault and not the service's."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import anyio
import anyio.to_thread
import numpy as np

import mvector
from mvector.serve.decoder_process import JOB, READY, REPLY
from mvector.serve.failures import RequestError

START_TIMEOUT_S = 120.0
MAX_REPLY_TEXT = 1 << 20
REFUSALS = ("unsupported_audio", "unusable_audio", "too_short", "too_long")


@dataclass(frozen=True)
class Decoded:
    """waveform [T] float32 at the model's rate; duration_s of the recording; warnings: what is doubtful about it."""

    waveform: np.ndarray
    duration_s: float
    warnings: tuple[str, ...]


class DecoderPool:
    """`size` processes that decode one recording each at a time.

    timeout_s, memory_mib: for one recording; a process that goes beyond is ended and replaced. on_death: called then.
    """

    def __init__(
        self,
        size: int,
        sample_rate_hz: int,
        max_duration_s: float,
        timeout_s: float,
        memory_mib: int,
        on_death: Callable[[], None] = lambda: None,
    ):
        self.sample_rate_hz, self.max_duration_s, self.timeout_s = sample_rate_hz, max_duration_s, timeout_s
        self._arguments = [str(value) for value in (sample_rate_hz, max_duration_s, timeout_s, memory_mib)]
        self._on_death, self._closed = on_death, False
        self._idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
        self._turns = anyio.CapacityLimiter(size)
        for _ in range(size):
            self._idle.put(self._start())

    async def decode(self, data: bytes) -> Decoded:
        """Raises RequestError: not sound, damaged, too long, or more time or memory than a recording may take."""
        return await anyio.to_thread.run_sync(self._decode, data, limiter=self._turns)

    def close(self) -> None:
        """Ends the processes that are idle; the others end with their recording."""
        self._closed = True
        with contextlib.suppress(queue.Empty):
            while True:
                _end(self._idle.get_nowait())

    def _start(self) -> subprocess.Popen[bytes]:
        # One thread: more would cost address space, and a decoder has no matrices to multiply.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        places = [str(Path(mvector.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, places))
        command = [sys.executable, "-P", "-m", "mvector.serve.decoder_process", *self._arguments]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )

    def _decode(self, data: bytes) -> Decoded:
        process = self._idle.get()
        answered = False
        try:
            if process.poll() is not None:  # it died between two recordings, by no fault of this one
                process = self._replace(process)
            with _Deadline(process, START_TIMEOUT_S):
                _wait_until_ready(process)
            with _Deadline(process, self.timeout_s):
                header, waveform = self._ask(process, data)
            answered = True
        except (OSError, EOFError, ValueError) as error:
            raise RequestError(
                "unusable_audio",
                "the recording could not be decoded in the time and memory that a recording may take; it is damaged "
                "or made to do harm",
            ) from error
        finally:
            if self._closed:
                _end(process)
            else:
                self._idle.put(process if answered else self._replace(process))
        if "error" in header:
            kind = header["error"] if header["error"] in REFUSALS else "unusable_audio"
            raise RequestError(kind, str(header.get("message")))
        return Decoded(waveform, float(header["duration_s"]), tuple(map(str, header["warnings"])))

    def _replace(self, process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        _end(process)
        self._on_death()
        return self._start()

    def _ask(self, process: subprocess.Popen[bytes], data: bytes) -> tuple[dict[str, Any], np.ndarray]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(JOB.pack(len(data)))
        process.stdin.write(data)
        process.stdin.flush()
        # The reply of a process that has read hostile bytes is itself not to be believed.
        length = REPLY.unpack(_read(process.stdout, REPLY.size))[0]
        if length > MAX_REPLY_TEXT:
            raise ValueError(length)
        header = json.loads(_read(process.stdout, length))
        samples = int(header.get("samples", 0))
        if not 0 <= samples <= (self.max_duration_s + 1.0) * self.sample_rate_hz:
            raise ValueError(samples)
        return header, np.frombuffer(bytearray(_read(process.stdout, 4 * samples)), dtype="<f4")


class _Deadline:
    """Ends `process` when the time is over, which shows as the end of its output."""

    def __init__(self, process: subprocess.Popen[bytes], seconds: float):
        self._timer = threading.Timer(seconds, process.kill)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *details: object) -> None:
        self._timer.cancel()


def _wait_until_ready(process: subprocess.Popen[bytes]) -> None:
    """Once for each process: it says so when its libraries are loaded."""
    if not hasattr(process, "mvector_ready"):
        assert process.stdout is not None
        if _read(process.stdout, 1) != READY:
            raise ValueError("not a decoder")
        process.mvector_ready = True  # type: ignore[attr-defined]


def _read(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):  # what was not written any more
            if stream is not None:
                stream.close()
