"""Scores of many trials in bounded memory: a trial list pair by pair, or everything against everything.

Embeddings [U, E] are taken as the rows of `Trials.utterances` (mvector.data.trials). A row that is not finite marks a
recording that could not be embedded: its trials are left out and counted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mvector.errors import MVectorError
from mvector.metrics.score_histogram import count_scores
from mvector.metrics.score_tiles import Indexes, Tile, in_threads, score_tiles
from mvector.scoring.cosine import length_normalize
from mvector.scoring.enrollment import voice_vectors
from mvector.scoring.trial_pairs import ComparedPairs

# Up to so many all-against-all scores are kept one by one (80 bytes each while the error rates are computed); beyond,
# they are counted in bins, which `TrialScores.error_bound` judges.
EXACT_SCORES = 5_000_000
SAMPLE_SCORES = 1_000_000
BLOCK_SCORES = 4_000_000
PAIRS = 1 << 16  # chosen pairs scored by a thread at a time
PAIR_VALUES = 1 << 17  # of their embeddings' values so many are gathered at a time: they stay in cache

Scores = NDArray[np.float32]
# (raw scores [n, m], enrollments [n], tests [m]) or (raw [k], enrollments [k], tests [k]) → scores of the same shape
Adjust = Callable[[NDArray[Any], NDArray[Any], NDArray[Any]], NDArray[Any]]


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

    enroll and test [n] are the indexes of each trial into `Trials.enroll_rows` and `Trials.test_rows`, and
    enroll_speakers and test_speakers [n] number its persons. `counts` [n] is None when each score is one trial. Above
    EXACT_SCORES comparisons it is how many trials fell into the bin around each score; the four others are then None,
    and the EER and minDCF of the bins are within `error_bound` of those of the scores.
    """

    scores: NDArray[np.floating]
    labels: NDArray[np.bool_]
    left_out: int = 0
    counts: NDArray[np.int64] | None = None
    enroll_speakers: NDArray[Any] | None = None
    test_speakers: NDArray[Any] | None = None
    enroll: NDArray[np.int32] | None = None
    test: NDArray[np.int32] | None = None
    error_bound: float = 0.0


def score_trials(
    embeddings: ArrayLike,
    trials: TrialIndexes,
    block: int = BLOCK_SCORES,
    exact_limit: int = EXACT_SCORES,
    enrollment: str = "mean",
    adjust: Adjust | None = None,
) -> TrialScores:
    """Cosine score of every trial; embeddings [U, E] as `trials.utterances`, `block` scores at a time.

    `enrollment` says how several utterances become a voice ('mean' or 'scores', see `mvector.scoring.enrollment`).
    `adjust(raw, enroll, test)` turns blocks of raw scores into those that count, as `ScoreNormalization.adjust` does:
    raw [n, m] with the indexes [n] of its enrollments and [m] of its tests, or raw [n] with both [n].
    """
    x = np.asarray(embeddings)
    if x.ndim != 2:
        raise MVectorError(f"trials are scored from embeddings [U, E], found shape {x.shape}.")
    voices = voice_vectors(x, trials.enroll_rows, enrollment)
    return score_vectors(voices, length_normalize(x[trials.test_rows]), trials, adjust, block, exact_limit)


def score_vectors(
    enroll: ArrayLike,
    test: ArrayLike,
    trials: TrialIndexes,
    adjust: Adjust | None = None,
    block: int = BLOCK_SCORES,
    exact_limit: int = EXACT_SCORES,
) -> TrialScores:
    """`score_trials` where the score is any product of two vectors: enroll [N, E] as `trials.enroll_rows`, test [M, E].

    A vector that is not finite marks a voice or recording without embedding.
    """
    voices, tests = np.asarray(enroll), np.asarray(test)
    if trials.enroll is not None and trials.test is not None and trials.labels is not None:
        return _listed(voices, tests, trials, trials.enroll, trials.test, trials.labels, adjust)
    if len(voices) * len(tests) <= exact_limit:
        return _all_pairs_exact(voices, tests, trials, adjust, block)
    return _all_pairs_counted(voices, tests, trials, adjust)


def _listed(
    voices: NDArray[Any],
    tests: NDArray[Any],
    trials: TrialIndexes,
    enroll: NDArray[np.int32],
    test: NDArray[np.int32],
    labels: NDArray[np.bool_],
    adjust: Adjust | None,
) -> TrialScores:
    scores = np.empty(len(labels), dtype=np.float32)

    def score(start: int) -> None:
        part = slice(start, start + PAIRS)
        scores[part] = score_pairs(voices, tests, enroll[part], test[part])
        if adjust is not None:
            scores[part] = adjust(scores[part], enroll[part], test[part])

    in_threads(score, range(0, len(labels), PAIRS))
    usable = np.isfinite(scores)
    if not usable.all():
        scores, labels, enroll, test = scores[usable], labels[usable], enroll[usable], test[usable]
    return TrialScores(
        scores=scores,
        labels=labels,
        left_out=len(usable) - len(scores),
        enroll_speakers=trials.enroll_speakers[enroll],
        test_speakers=trials.test_speakers[test],
        enroll=enroll,
        test=test,
    )


def score_pairs(
    enroll: NDArray[Any], test: NDArray[Any], enroll_index: NDArray[Any], test_index: NDArray[Any]
) -> NDArray[np.float32]:
    """Products of chosen pairs: vectors enroll [N, E] and test [M, E], indexes [n] each → float32 [n]."""
    scores = np.empty(len(enroll_index), dtype=np.float32)
    step = max(1, PAIR_VALUES // max(1, enroll.shape[1]))
    for start in range(0, len(scores), step):
        part = slice(start, start + step)
        voices, tests = enroll.take(enroll_index[part], axis=0), test.take(test_index[part], axis=0)
        scores[part] = np.einsum("ne,ne->n", voices, tests)
    return scores


def _all_pairs_exact(
    voices: NDArray[Any], tests: NDArray[Any], trials: TrialIndexes, adjust: Adjust | None, block: int
) -> TrialScores:
    pairs = ComparedPairs(trials)
    columns = np.arange(len(tests))
    parts: list[tuple[NDArray[Any], ...]] = []
    step = max(1, block // max(1, len(tests)))
    for start in range(0, len(voices), step):
        rows = np.arange(start, min(start + step, len(voices)))
        with np.errstate(invalid="ignore"):
            scores = voices[rows] @ tests.T  # [n, M]
        if adjust is not None:
            scores = adjust(scores, rows, columns)
        usable = np.isfinite(scores)
        left_out = pairs.left_out(rows, columns)
        if left_out is not None:
            usable &= ~left_out
        i, j = np.nonzero(usable)
        parts.append((scores[usable].astype(np.float32), (i + start).astype(np.int32), j.astype(np.int32)))
    scores, enroll, test = (np.concatenate(column) for column in zip(*parts, strict=True))
    enroll_speakers = trials.enroll_speakers[enroll].astype(np.int32)
    test_speakers = trials.test_speakers[test].astype(np.int32)
    return TrialScores(
        scores=scores,
        labels=enroll_speakers == test_speakers,
        left_out=pairs.count() - len(scores),
        enroll_speakers=enroll_speakers,
        test_speakers=test_speakers,
        enroll=enroll,
        test=test,
    )


def _all_pairs_counted(
    voices: NDArray[Any], tests: NDArray[Any], trials: TrialIndexes, adjust: Adjust | None
) -> TrialScores:
    pairs = ComparedPairs(trials)

    def for_each_tile(take: Callable[[Scores, list[Scores]], None], rows: Indexes, columns: Indexes) -> None:
        """take(scores, scores of target trials) for the trials of some voices and tests, tile by tile."""

        def work(tile: Tile) -> None:
            left_out = pairs.left_out(tile.enroll, tile.test)
            if left_out is not None and left_out.all():
                return
            scores = tile.scores()
            if adjust is not None:
                scores = adjust(scores, tile.enroll, tile.test)
            scores = np.ascontiguousarray(scores, dtype=np.float32)
            unusable = ~np.isfinite(scores)
            if unusable.any():
                left_out = unusable if left_out is None else left_out | unusable
            if left_out is None:
                take(scores, [scores[part] for part in tile.targets])
            else:
                take(scores[~left_out], [scores[part][~left_out[part]] for part in tile.targets])

        speakers = trials.enroll_speakers, trials.test_speakers
        in_threads(work, score_tiles(rows, columns, *speakers, voices.__getitem__, tests.__getitem__))

    rows, columns = (np.flatnonzero(np.isfinite(vectors).all(axis=1)) for vectors in (voices, tests))
    # Of the longer side some, so that each of the shorter still meets all of its targets.
    step = max(1, len(rows) * len(columns) // SAMPLE_SCORES)
    sample = (rows[::step], columns) if len(rows) > len(columns) else (rows, columns[::step])
    ends: list[tuple[float, float]] = [(0.0, 0.0)]
    for_each_tile(lambda scores, _: ends.append((scores.min(initial=0), scores.max(initial=0))), *sample)
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    margin = 0.5 * (high - low) + 1e-3  # for what the sample does not hold; further out the order does not matter
    histogram, error_bound = count_scores(
        lambda histogram: for_each_tile(histogram.add, rows, columns),
        lambda histogram: for_each_tile(histogram.add, *sample),
        low - margin,
        high + margin,
    )
    scores, labels, counts = histogram.counted_scores()
    return TrialScores(scores, labels, pairs.count() - int(counts.sum()), counts, error_bound=error_bound)
