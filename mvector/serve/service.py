"""What the requests of one worker process share: the predictor, the decoders, the keys, the limits, the numbers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread
import numpy as np

from mvector.predict import MVectorPredictor
from mvector.serve.batching import BatchingEmbedder
from mvector.serve.decoders import DecoderPool
from mvector.serve.failures import RequestError
from mvector.serve.keys import KeyRing
from mvector.serve.metrics import Metrics
from mvector.serve.rate_limit import RateLimit
from mvector.serve.settings import Settings
from mvector.serve.spoofing import SpoofingSuspected, load_detector

Result = TypeVar("Result")

ACCELERATOR_WAIT_S = 0.004  # a batch of 32 takes an accelerator hardly longer than one; a CPU 32 times as long


@dataclass(frozen=True)
class Heard:
    """A recording that may be embedded. spoofing_score: of the detector, None without one or where it gave none."""

    waveform: np.ndarray
    duration_s: float
    warnings: tuple[str, ...]
    spoofing_score: float | None


class Service:
    """Raises MVectorError where the model, the store or the detector cannot be opened."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.keys = KeyRing(settings.keys)
        self.metrics = Metrics()
        self.detector = None if settings.spoofing_detector is None else load_detector(settings.spoofing_detector)
        self.predictor = MVectorPredictor(
            threshold=settings.threshold,
            audio_db_path=settings.audio_db_path,
            model_path=settings.model_path,
            device=settings.device,
            keep_audio=settings.keep_audio,
            index=settings.index,
        )
        self.embedder = self._batching()
        self.decoders = DecoderPool(
            settings.decoders,
            self.predictor.sample_rate_hz,
            settings.max_duration_s,
            settings.decode_timeout_s,
            settings.decoder_memory_mib,
            on_death=self.metrics.decoder_deaths.inc,
        )
        shared = settings.shared_dir
        self.rates = RateLimit(
            settings.requests_per_minute, ":memory:" if shared is None else Path(shared) / "rates.sqlite3"
        )
        self.ready = True
        self._threads = anyio.CapacityLimiter(settings.max_requests)
        self._waiting = 0

    def _batching(self) -> BatchingEmbedder:
        """In the predictor's place of the embedder, so that all of its methods are batched."""
        embedder, wait_s = self.predictor.embedder, self.settings.batch_wait_s
        if wait_s is None:
            device = getattr(embedder, "device", None)  # an exported model has none and runs on the CPU
            wait_s = 0.0 if device is None or device.type == "cpu" else ACCELERATOR_WAIT_S
        batching = BatchingEmbedder(embedder, wait_s, self.metrics.batch_size.observe)
        self.predictor.embedder = batching  # type: ignore[assignment]
        return batching

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A place among the requests with sound, which bounds the memory that they take together."""
        if self._waiting >= self.settings.max_requests:
            raise RequestError(
                "busy", "the service has as many requests as it can hold; ask again", {"Retry-After": "1"}
            )
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    async def hear(self, data: bytes) -> Heard:
        """Decode a recording and show it to the spoofing detector."""
        async with self._in_time():
            decoded = await self.decoders.decode(data)
        self.metrics.audio_seconds.inc(decoded.duration_s)
        score = None
        if self.detector is not None:
            try:
                score = await self.compute(self.detector, decoded.waveform, self.predictor.sample_rate_hz)
            except SpoofingSuspected as error:
                raise RequestError("spoofing_suspected", str(error)) from error
        return Heard(decoded.waveform, decoded.duration_s, decoded.warnings, None if score is None else float(score))

    async def compute(self, function: Callable[..., Result], *arguments: object) -> Result:
        """`function(*arguments)` in a thread, within the time of a request."""
        async with self._in_time():
            return await anyio.to_thread.run_sync(function, *arguments, abandon_on_cancel=True, limiter=self._threads)

    @contextlib.asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                yield
        except TimeoutError:
            raise RequestError(
                "timeout",
                f"there was no answer within {self.settings.timeout_s:g} s; the service has too much to do",
                {"Retry-After": "5"},
            ) from None

    def close(self) -> None:
        self.ready = False
        self.decoders.close()
        self.predictor.store.close()
        self.embedder.close()
        self.rates.close()
        self.metrics.close()
