"""Everything compared with everything in tiles: a few hundred enrollments × some thousand tests at a time.

Both sides are put in the order of their speakers. The target trials of a tile are then a few rectangles, one for each
speaker in it, and no score needs a look at its label.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

TILE_ENROLL, TILE_TEST = 512, 2048
TEST_VALUES = 1 << 22  # test vectors held at a time: 16 MiB
THREADS = 2

Vectors = NDArray[np.float32]
Indexes = NDArray[np.intp]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Tile:
    """Scores [n, m] still to be computed: enroll_vectors [n, E] times test_vectors [m, E].

    enroll [n] and test [m] are the indexes of the two sides; `targets` are the parts [rows, columns] of the tile that
    hold its target trials.
    """

    enroll: Indexes
    test: Indexes
    enroll_vectors: Vectors
    test_vectors: Vectors
    targets: list[tuple[slice, slice]]

    def scores(self) -> Vectors:
        return self.enroll_vectors @ self.test_vectors.T


def score_tiles(
    enroll: Indexes,
    test: Indexes,
    enroll_speakers: NDArray[Any],
    test_speakers: NDArray[Any],
    enroll_vectors: Callable[[Indexes], Vectors],
    test_vectors: Callable[[Indexes], Vectors],
) -> Iterator[Tile]:
    """The tiles of all pairs of the indexes enroll [n] and test [m].

    enroll_speakers [N] and test_speakers [M] number the speaker of every index; the two functions give the vectors
    [k, E] of k indexes, so that no more of them exist at a time than a few tiles need.
    """
    enroll = enroll[np.argsort(enroll_speakers[enroll], kind="stable")]
    test = test[np.argsort(test_speakers[test], kind="stable")]
    if not len(enroll) or not len(test):
        return
    first_enroll, last_enroll, first_test, last_test = _shared_runs(enroll_speakers[enroll], test_speakers[test])
    held = max(1, TEST_VALUES // enroll_vectors(enroll[:1]).shape[1])
    for begin in range(0, len(test), held):
        columns = test_vectors(test[begin : begin + held])
        for i in range(0, len(enroll), TILE_ENROLL):
            rows = enroll_vectors(enroll[i : i + TILE_ENROLL])
            width = TILE_TEST * TILE_ENROLL // len(rows)
            for j in range(begin, begin + len(columns), width):
                vectors = columns[j - begin : j - begin + width]
                n, m = len(rows), len(vectors)
                # Speakers come in the same order on both sides, so those met in a tile are neighbours.
                k = max(np.searchsorted(last_enroll, i, "right"), np.searchsorted(last_test, j, "right"))
                end = min(np.searchsorted(first_enroll, i + n), np.searchsorted(first_test, j + m))
                targets = [
                    (
                        slice(max(first_enroll[speaker] - i, 0), min(last_enroll[speaker] - i, n)),
                        slice(max(first_test[speaker] - j, 0), min(last_test[speaker] - j, m)),
                    )
                    for speaker in range(k, end)
                ]
                yield Tile(enroll[i : i + n], test[j : j + m], rows, vectors, targets)


def in_threads(work: Callable[[Item], None], items: Iterable[Item]) -> None:
    """Call `work` with every item, in a few threads: NumPy's products and sums let go of the interpreter lock.

    The items are made one at a time, when a thread is free for the next. An exception in one call ends them all.
    """
    lock = threading.Lock()
    rest = iter(items)
    failed = threading.Event()

    def run() -> None:
        while not failed.is_set():
            with lock:
                item = next(rest, None)
            if item is None:
                return
            try:
                work(item)
            except BaseException:
                failed.set()
                raise

    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
        try:
            for future in [pool.submit(run) for _ in range(THREADS)]:
                future.result()
        except BaseException:  # Ctrl-C as well
            failed.set()
            raise


def _shared_runs(enroll: NDArray[Any], test: NDArray[Any]) -> tuple[Indexes, Indexes, Indexes, Indexes]:
    """Where the runs of each speaker that both sides have begin and end: (enroll begin, end, test begin, end)."""
    enroll_speaker, enroll_begin, enroll_count = np.unique(enroll, return_index=True, return_counts=True)
    test_speaker, test_begin, test_count = np.unique(test, return_index=True, return_counts=True)
    _, i, j = np.intersect1d(enroll_speaker, test_speaker, assume_unique=True, return_indices=True)
    return enroll_begin[i], enroll_begin[i] + enroll_count[i], test_begin[j], test_begin[j] + test_count[j]
