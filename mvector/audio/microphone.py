"""Recording from a microphone through PyAudio, which is imported only here and only when something is recorded.

PyAudio rather than soundcard: the latter needs a running sound server already to be imported, and broke servers.
"""

import contextlib
import os
import queue
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np

from mvector.audio.level import rms_dbfs
from mvector.errors import MicrophoneError, MissingPackageError

BLOCK_S = 0.05  # the level meter moves twenty times a second
PATIENCE_S = 5.0  # a microphone that gives nothing for so long is broken, or somebody else has it

# level in dBFS of the last block, seconds recorded so far
Meter = Callable[[float, float], None]


@dataclass(frozen=True)
class InputDevice:
    """index: PortAudio's. rate_hz: its own sample rate."""

    index: int
    name: str
    channels: int
    rate_hz: int
    is_default: bool


class Microphone:
    """An input device, as a context manager.

    device: None for the system's default, an index of `devices`, or a part of a name that only one device has
    rate_hz: to be recorded at where the device can, else its own rate is used

    Raises MissingPackageError without PyAudio, MicrophoneError where there is no such device or it cannot be used.
    """

    def __init__(self, device: int | str | None = None, rate_hz: int = 16000):
        self._pyaudio = _import_pyaudio()
        with _quiet():
            self._audio = self._pyaudio.PyAudio()
        try:
            self.device = self._choose(device)
            self.rate_hz = rate_hz if self._can(rate_hz) else self.device.rate_hz
        except BaseException:
            self.close()
            raise

    def record(self, seconds: float, meter: Meter | None = None) -> np.ndarray:
        """`seconds` of sound, mono float32 [T] in [-1, 1] at `rate_hz`; `meter` is called while it is recorded."""
        wanted, block = round(seconds * self.rate_hz), round(BLOCK_S * self.rate_hz)
        blocks: queue.SimpleQueue[bytes] = queue.SimpleQueue()

        def take(data: bytes, *_: Any) -> tuple[None, int]:
            blocks.put(data)
            return None, self._pyaudio.paContinue

        try:
            with _quiet():
                stream = self._audio.open(
                    format=self._pyaudio.paInt16,
                    channels=1,
                    rate=self.rate_hz,
                    input=True,
                    input_device_index=self.device.index,
                    frames_per_buffer=block,
                    stream_callback=take,
                )
        except (OSError, ValueError) as error:
            raise MicrophoneError(
                f"the microphone {self.device.name!r} cannot be opened ({_words(error)}). Does another program use it? "
                "--list_devices shows the others."
            ) from error
        parts: list[np.ndarray] = []
        samples = 0
        try:
            while samples < wanted:
                try:
                    data = blocks.get(timeout=PATIENCE_S)
                except queue.Empty:
                    raise MicrophoneError(
                        f"the microphone {self.device.name!r} gives no sound. Is it plugged in and switched on? "
                        "--list_devices shows the others."
                    ) from None
                part = np.frombuffer(data, np.int16).astype(np.float32) / 32768
                parts.append(part)
                samples += len(part)
                if meter is not None:
                    meter(rms_dbfs(part), min(samples, wanted) / self.rate_hz)
        finally:
            with _quiet():
                stream.close()
        return np.concatenate(parts)[:wanted]

    def devices(self) -> list[InputDevice]:
        """Every device that sound can be recorded from."""
        default: int | None = None
        with contextlib.suppress(OSError):  # there is no default
            default = int(self._audio.get_default_input_device_info()["index"])
        found = []
        for index in range(self._audio.get_device_count()):
            described = self._audio.get_device_info_by_index(index)
            channels = int(described["maxInputChannels"])
            if channels > 0:
                rate_hz = round(described["defaultSampleRate"])
                found.append(InputDevice(index, str(described["name"]), channels, rate_hz, index == default))
        return found

    def close(self) -> None:
        with _quiet():
            self._audio.terminate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _choose(self, wanted: int | str | None) -> InputDevice:
        devices = self.devices()
        if not devices:
            raise MicrophoneError(
                "no microphone was found. Plug one in, or give sound files: --enroll NAME FILE, --recognise FILE."
            )
        if wanted is None:
            return next((device for device in devices if device.is_default), devices[0])
        text = str(wanted)
        if text.isdecimal():
            chosen = [device for device in devices if device.index == int(text)]
        else:
            chosen = [device for device in devices if device.name == text]
            chosen = chosen or [device for device in devices if text.lower() in device.name.lower()]
        if len(chosen) != 1:
            names = ", ".join(f"{device.index} {device.name!r}" for device in chosen or devices)
            how_many = "several microphones are" if chosen else "no microphone is"
            raise MicrophoneError(f"{how_many} called {text!r}; choose one of: {names}.")
        return chosen[0]

    def _can(self, rate_hz: int) -> bool:
        try:
            with _quiet():
                return bool(
                    self._audio.is_format_supported(
                        rate_hz,
                        input_device=self.device.index,
                        input_channels=1,
                        input_format=self._pyaudio.paInt16,
                    )
                )
        except ValueError:
            return False


def _import_pyaudio() -> Any:
    try:
        import pyaudio
    except Exception as error:  # an installed one may lack PortAudio, which is no ImportError everywhere
        raise MissingPackageError(
            f"recording needs the package PyAudio, which cannot be imported ({_words(error)}): pip install pyaudio. On "
            "Linux it is compiled and needs PortAudio first: sudo apt install portaudio19-dev. Without it, give sound "
            "files: --enroll NAME FILE, --recognise FILE."
        ) from error
    return pyaudio


def _words(error: Exception) -> str:
    """PortAudio's own words; it gives a number beside them."""
    words = [str(part) for part in error.args if isinstance(part, str)]
    return (words[-1] if words else str(error)).strip().rstrip(".") or type(error).__name__


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps away what ALSA and JACK write to stderr while PortAudio tries every device of the machine."""
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (OSError, AttributeError):  # no stderr, as in a program without a console
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
