"""Concurrent requests share the network: their waveforms become one call of the embedder, in one thread.

It stands in for a predictor's embedder, so that everything the predictor does is served by batches unchanged. On a CPU
the embedder goes through a batch one by one; there the gain is that requests do not fight for the cores.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np

MAX_BATCH = 32
Job = tuple[np.ndarray, "Future[np.ndarray]"]


class BatchingEmbedder:
    """`embedder` with the `embed` of many threads put together.

    A batch is what has come while the previous one was computed, and within `wait_s` after its first waveform, up to
    MAX_BATCH. on_batch: told the size of each. Everything else is the embedder's own.
    """

    def __init__(self, embedder: Any, wait_s: float = 0.0, on_batch: Callable[[int], None] = lambda size: None):
        self._embedder, self._wait_s, self._on_batch = embedder, wait_s, on_batch
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="embedding", daemon=True)
        self._thread.start()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._embedder, name)

    def embed(self, waveforms: Sequence[np.ndarray], batch_size: int = MAX_BATCH) -> np.ndarray:
        """Embeddings [N, E] float32 of N waveforms, as the embedder gives them; raises what it raises for these."""
        if not len(waveforms):
            return self._embedder.embed(waveforms, batch_size)
        results: list[Future[np.ndarray]] = [Future() for _ in waveforms]
        for job in zip(waveforms, results, strict=True):
            self._jobs.put(job)
        return np.stack([result.result() for result in results])

    def close(self) -> None:
        """Ends the thread after what is waiting."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (first := self._jobs.get()) is not None:
            batch, last = self._gather(first)
            self._on_batch(len(batch))
            self._compute(batch)
            if last:
                return

    def _gather(self, first: Job) -> tuple[list[Job], bool]:
        """The next batch, and whether it is the last one."""
        batch, until = [first], time.monotonic() + self._wait_s
        while len(batch) < MAX_BATCH:
            left_s = until - time.monotonic()
            try:
                job = self._jobs.get(timeout=left_s) if left_s > 0 else self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return batch, True
            batch.append(job)
        return batch, False

    def _compute(self, batch: list[Job]) -> None:
        try:
            embeddings = self._embedder.embed([waveform for waveform, _ in batch], MAX_BATCH)
        except Exception as error:
            if len(batch) == 1:
                batch[0][1].set_exception(error)
            else:  # one recording's fault must not be the others'
                for job in batch:
                    self._compute([job])
            return
        for (_, result), embedding in zip(batch, embeddings, strict=True):
            result.set_result(embedding)
