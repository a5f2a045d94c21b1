"""Concurrent embedding: what each caller gets, how many share a call, and whose fault an error is."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mvector.errors import TooShortError
from mvector.serve.batching import MAX_BATCH, BatchingEmbedder


class Slow:
    """Sum and length of each waveform, taking its time; a waveform of one sample is too short."""

    min_samples = 2

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.threads: set[int] = set()

    def embed(self, waveforms, batch_size=32):
        self.calls.append(len(waveforms))
        self.threads.add(threading.get_ident())
        time.sleep(0.02)
        if any(len(waveform) < 2 for waveform in waveforms):
            raise TooShortError("too short")
        return np.array([[waveform.sum(), len(waveform)] for waveform in waveforms], dtype=np.float32).reshape(-1, 2)


@pytest.fixture
def slow():
    return Slow()


@pytest.fixture
def batching(slow):
    embedder = BatchingEmbedder(slow)
    yield embedder
    embedder.close()


def test_each_caller_gets_its_own_in_few_calls(batching, slow):
    sounds = [np.full(3 + i % 5, i, np.float32) for i in range(60)]
    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda sound: batching.embed([sound]), sounds))
    for sound, answer in zip(sounds, answers, strict=True):
        np.testing.assert_array_equal(answer, [[sound.sum(), len(sound)]])
    assert sum(slow.calls) == 60
    assert max(slow.calls) > 5
    assert len(slow.calls) < 30
    assert len(slow.threads) == 1


def test_many_of_one_caller_keep_their_order_and_a_batch_is_not_too_large(batching, slow):
    sounds = [np.full(2, i, np.float32) for i in range(100)]
    np.testing.assert_array_equal(batching.embed(sounds)[:, 0], 2.0 * np.arange(100))
    assert max(slow.calls) <= MAX_BATCH
    assert batching.embed([]).shape == (0, 2)


def test_one_callers_error_is_not_the_others(batching):
    sounds = [np.ones(1 if i == 7 else 4, np.float32) for i in range(20)]

    def embed(sound):
        try:
            return batching.embed([sound])
        except TooShortError as error:
            return error

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(embed, sounds))
    assert [isinstance(answer, TooShortError) for answer in answers] == [i == 7 for i in range(20)]


def test_it_waits_for_others_as_long_as_told_and_not_longer(slow):
    embedder = BatchingEmbedder(slow, wait_s=0.5)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(embedder.embed, [np.ones(2)])
        time.sleep(0.1)
        pool.submit(embedder.embed, [np.ones(2)]).result()
        first.result()
    assert slow.calls == [2]
    embedder.close()


def test_it_is_the_embedder_otherwise_and_ends_after_what_is_waiting(slow):
    sizes = []
    embedder = BatchingEmbedder(slow, on_batch=sizes.append)
    assert embedder.min_samples == 2
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(embedder.embed, [np.ones(2)]) for _ in range(4)]
        time.sleep(0.01)
        embedder.close()
        assert [len(future.result(timeout=5)) for future in waiting] == [1] * 4
    assert sizes == slow.calls
