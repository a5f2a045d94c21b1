"""Which pairs are trials when everything is compared with everything."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mvector.metrics.score_tiles import Indexes

NEVER = np.iinfo(np.int32).max


class ComparedPairs:
    """All pairs of enrolled voices and test recordings, but for two kinds.

    A recording is not compared with itself, nor with a voice enrolled from it; and of two recordings that both stand on
    both sides only one comparison counts: the one in which the recording of lower rank is enrolled. Ranks follow the
    speakers, so that where speakers are in order the pairs that do not count form a triangle.

    `trials` has enroll_rows, test_rows, enroll_speakers and test_speakers like `mvector.data.trials.Trials`.
    """

    def __init__(self, trials: Any) -> None:
        rows, sizes = trials.enroll_rows, np.array([len(members) for members in trials.enroll_rows], dtype=np.intp)
        members = np.fromiter((row for voice in rows for row in voice), dtype=np.intp, count=int(sizes.sum()))
        voices = np.repeat(np.arange(len(sizes)), sizes)
        test_rows = np.asarray(trials.test_rows)
        self.shape = len(sizes), len(test_rows)
        self._own_enroll, self._own_test = _equal_rows(voices, members, test_rows)

        first = members[np.cumsum(sizes) - sizes]
        shared = np.flatnonzero((sizes == 1) & np.isin(first, test_rows))
        shared = shared[np.lexsort((first[shared], trials.enroll_speakers[shared]))]
        self._enroll_rank = np.full(len(sizes), -1, dtype=np.int32)
        rank_of_row = np.full(1 + max(members.max(initial=0), test_rows.max(initial=0)), NEVER, dtype=np.int32)
        rank_of_row[first[shared]] = np.arange(len(shared))
        self._enroll_rank[shared] = rank_of_row[first[shared]]
        self._test_rank = rank_of_row[test_rows]

    def left_out(self, enroll: Indexes, test: Indexes) -> NDArray[np.bool_] | None:
        """[n, m]: which pairs of the indexes enroll [n] and test [m] are no trials; None when all are trials."""
        enroll_rank, test_rank = self._enroll_rank[enroll], self._test_rank[test]
        row, column = np.full(self.shape[0], -1, np.int32), np.full(self.shape[1], -1, np.int32)
        row[enroll], column[test] = np.arange(len(enroll)), np.arange(len(test))
        i, j = row[self._own_enroll], column[self._own_test]
        own = (i >= 0) & (j >= 0)
        if enroll_rank.max(initial=-1) <= test_rank.min(initial=NEVER) and not own.any():
            return None
        mask = enroll_rank[:, None] > test_rank[None, :]
        mask[i[own], j[own]] = True
        return mask

    def count(self) -> int:
        """How many pairs are trials."""
        twice = np.searchsorted(np.sort(self._test_rank), self._enroll_rank).sum()
        return self.shape[0] * self.shape[1] - int(twice) - len(self._own_enroll)


def _equal_rows(voices: Indexes, members: Indexes, test_rows: Indexes) -> tuple[Indexes, Indexes]:
    """(voice, test) indexes of the pairs in which a member of the voice is the test recording, each once."""
    order = np.argsort(test_rows, kind="stable")
    begin, end = (np.searchsorted(test_rows[order], members, side) for side in ("left", "right"))
    times = end - begin
    within = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
    keys = np.unique(np.repeat(voices, times) * len(test_rows) + order[np.repeat(begin, times) + within])
    return keys // len(test_rows), keys % len(test_rows)
