"""Scores of many trials in bounded memory: a trial list pair by pair, or everything against everything.

Embeddings [U, E] are taken as the rows of `Trials.utterances` (mvector.data.trials). A row that is not finite marks a
recording that could not be embedded: its trials are left out and counted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mvector.errors import MVectorError
from mvector.scoring.cosine import length_normalize

# Up to so many all-against-all scores are kept one by one (80 bytes each while the error rates are computed).
EXACT_SCORES = 10_000_000
# Beyond that they are counted in bins of this width. A cosine moves by at most half of it, which is about what float32
# embeddings leave uncertain; thresholds are right to the same half, and rates but for trials that close to them.
BIN_WIDTH = 1e-6
BLOCK_SCORES = 4_000_000


class TrialIndexes(Protocol):
    """What is read of a `mvector.data.trials.Trials` (see there)."""

    @property
    def enroll_rows(self) -> Sequence[tuple[int, ...]]: ...
    @property
    def test_rows(self) -> NDArray[Any]: ...
    @property
    def enroll_speakers(self) -> NDArray[Any]: ...
    @property
    def test_speakers(self) -> NDArray[Any]: ...
    @property
    def enroll(self) -> NDArray[Any] | None: ...
    @property
    def test(self) -> NDArray[Any] | None: ...
    @property
    def labels(self) -> NDArray[Any] | None: ...


@dataclass(frozen=True)
class TrialScores:
    """scores [n] float32 and labels [n] bool of the trials that could be scored; `left_out` could not.

    enroll_speakers and test_speakers [n] number the persons of each trial. `counts` [n] is None when each score is one
    trial; above EXACT_SCORES comparisons it is how many trials fell into the bin around each score, and the speakers
    are None.
    """

    scores: NDArray[np.floating]
    labels: NDArray[np.bool_]
    left_out: int = 0
    counts: NDArray[np.int64] | None = None
    enroll_speakers: NDArray[Any] | None = None
    test_speakers: NDArray[Any] | None = None


def score_trials(
    embeddings: ArrayLike, trials: TrialIndexes, block: int = BLOCK_SCORES, exact_limit: int = EXACT_SCORES
) -> TrialScores:
    """Cosine score of every trial; embeddings [U, E] as `trials.utterances`, `block` scores at a time.

    An enrolled voice of several utterances is the mean of their unit-length embeddings.
    """
    unit = length_normalize(np.asarray(embeddings))
    if unit.ndim != 2:
        raise MVectorError(f"trials are scored from embeddings [U, E], found shape {unit.shape}.")
    enroll, test = enrollment_embeddings(unit, trials.enroll_rows), unit[trials.test_rows]
    if trials.enroll is not None and trials.test is not None and trials.labels is not None:
        scores = score_pairs(enroll, test, trials.enroll, trials.test, block)
        kept = ~np.isnan(scores)
        return TrialScores(
            scores=scores[kept],
            labels=trials.labels[kept],
            left_out=int((~kept).sum()),
            enroll_speakers=trials.enroll_speakers[trials.enroll[kept]],
            test_speakers=trials.test_speakers[trials.test[kept]],
        )
    if len(enroll) * len(test) <= exact_limit:
        return _all_pairs_exact(enroll, test, trials, block)
    return _all_pairs_binned(enroll, test, trials, block)


def enrollment_embeddings(embeddings: ArrayLike, rows: Sequence[tuple[int, ...]]) -> NDArray[np.floating]:
    """[U, E] embeddings → [N, E]: for each tuple of rows the mean of the unit-length embeddings, at unit length.

    Rows that are not finite are passed over; the result is NaN when all rows of a tuple are.
    """
    unit = length_normalize(embeddings)
    single = np.array([members[0] for members in rows], dtype=np.int64)
    result = unit[single]
    for index, members in enumerate(rows):
        if len(members) > 1:
            several = unit[list(members)]
            finite = several[np.isfinite(several).all(axis=1)]
            result[index] = length_normalize(finite.mean(axis=0)) if len(finite) else np.nan
    return result


def score_pairs(
    enroll: ArrayLike, test: ArrayLike, enroll_index: ArrayLike, test_index: ArrayLike, block: int = BLOCK_SCORES
) -> NDArray[np.float32]:
    """Cosine of chosen pairs: unit-length enroll [N, E], test [M, E], indexes [n] each → float32 [n].

    NaN where an embedding is not finite.
    """
    a, b = np.asarray(enroll), np.asarray(test)
    i, j = np.asarray(enroll_index), np.asarray(test_index)
    scores = np.empty(len(i), dtype=np.float32)
    step = max(1, block // max(1, a.shape[1]))  # a block gathers [step, E] of each side
    for start in range(0, len(i), step):
        part = slice(start, start + step)
        scores[part] = np.einsum("ne,ne->n", a[i[part]], b[j[part]])
    return scores


def _all_pairs_exact(enroll: NDArray[Any], test: NDArray[Any], trials: TrialIndexes, block: int) -> TrialScores:
    scores, labels, enroll_speakers, test_speakers = [], [], [], []
    left_out = 0
    for rows, score, compared in _blocks(enroll, test, trials, block):
        usable = compared & ~np.isnan(score)
        left_out += int(np.count_nonzero(compared)) - int(np.count_nonzero(usable))
        i, j = np.nonzero(usable)
        one, other = trials.enroll_speakers[rows][i].astype(np.int32), trials.test_speakers[j].astype(np.int32)
        scores.append(score[usable])
        labels.append(one == other)
        enroll_speakers.append(one)
        test_speakers.append(other)
    return TrialScores(
        scores=np.concatenate(scores),
        labels=np.concatenate(labels),
        left_out=left_out,
        enroll_speakers=np.concatenate(enroll_speakers),
        test_speakers=np.concatenate(test_speakers),
    )


def _all_pairs_binned(enroll: NDArray[Any], test: NDArray[Any], trials: TrialIndexes, block: int) -> TrialScores:
    bins = round(2 / BIN_WIDTH) + 1
    histograms = np.zeros((2, bins), dtype=np.int64)  # non-targets, targets
    left_out = 0
    for rows, score, compared in _blocks(enroll, test, trials, block):
        usable = compared & ~np.isnan(score)
        left_out += int(np.count_nonzero(compared)) - int(np.count_nonzero(usable))
        target = trials.enroll_speakers[rows][:, None] == trials.test_speakers[None, :]
        for kind in (0, 1):
            chosen = score[usable & (target == kind)].astype(np.float64)
            nearest_bin = np.rint((chosen + 1) / BIN_WIDTH).astype(np.int64).clip(0, bins - 1)
            histograms[kind] += np.bincount(nearest_bin, minlength=bins)
    label, index = np.nonzero(histograms)
    return TrialScores(
        scores=index * BIN_WIDTH - 1, labels=label.astype(bool), left_out=left_out, counts=histograms[label, index]
    )


def _blocks(
    enroll: NDArray[Any], test: NDArray[Any], trials: TrialIndexes, block: int
) -> Iterator[tuple[slice, NDArray[np.float32], NDArray[np.bool_]]]:
    """(enrollment rows, scores [n, M], which of them are trials [n, M]) for some enrollments at a time.

    No trial: an utterance with itself (or with a voice enrolled from it), and the second appearance of a pair of
    utterances that both stand on both sides.
    """
    test_rows = trials.test_rows
    first_rows = np.array([members[0] for members in trials.enroll_rows], dtype=np.int64)
    is_single = np.array([len(members) == 1 for members in trials.enroll_rows])
    enroll_is_test = is_single & np.isin(first_rows, test_rows)
    test_is_enroll = np.isin(test_rows, first_rows[is_single])
    columns: dict[int, list[int]] = {}
    for column, row in enumerate(test_rows.tolist()):
        columns.setdefault(row, []).append(column)
    step = max(1, block // max(1, len(test)))
    for start in range(0, len(enroll), step):
        rows = slice(start, min(start + step, len(enroll)))
        score = (enroll[rows] @ test.T).astype(np.float32, copy=False)
        repeated = first_rows[rows][:, None] > test_rows[None, :]
        repeated &= enroll_is_test[rows][:, None]
        repeated &= test_is_enroll[None, :]
        compared = ~repeated
        for index, members in enumerate(trials.enroll_rows[rows]):
            for member in members:
                compared[index, columns.get(member, [])] = False
        yield rows, score, compared
