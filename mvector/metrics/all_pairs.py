"""EER and minDCF of every enrollment against every test, at any size, in bounded memory."""

from bisect import bisect_left
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mvector.errors import MVectorError
from mvector.metrics.detection import eer_point, min_dcf_point
from mvector.metrics.score_histogram import P_TARGETS, ScoreHistogram, count_scores
from mvector.metrics.score_tiles import Indexes, Tile, Vectors, in_threads, score_tiles

# Up to so many trials are sorted; with their curves they would not fit into 100 MiB beyond that.
EXACT_TRIALS = 5_000_000
SAMPLE_TRIALS = 1_000_000
CHUNK = 1 << 18


@dataclass(frozen=True)
class AllPairs:
    """What a comparison of all enrollments with all tests found; rates are fractions, the threshold is a cosine.

    min_dcf      normalised, both costs 1, by p_target (0.01, 0.05, 0.001)
    error_bound  the furthest that eer and min_dcf can be from those of the scores sorted one by one; 0 when `exact`
    """

    eer: float
    threshold: float
    min_dcf: dict[float, float]
    n_target: int
    n_nontarget: int
    error_bound: float
    exact: bool


def all_pairs(enroll: ArrayLike, enroll_ids: ArrayLike, test: ArrayLike, test_ids: ArrayLike) -> AllPairs:
    """Cosine of enroll [N, E] with test [M, E], N·M trials; those of equal ids are target trials.

    Embeddings may have any length; ids [N] and [M] may be of any dtype. An embedding that stands on both sides is
    compared with itself like any other. Up to EXACT_TRIALS the results are those of `eer` and `min_dcf` on the whole
    float32 matrix; above, scores are counted in bins, and `error_bound` says how much that can matter. Extra memory
    stays below 100 MiB at any size. Raises MVectorError when shapes do not fit, an embedding is not finite, or a kind
    of trial is missing.
    """
    a, b = np.asarray(enroll), np.asarray(test)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise MVectorError(
            f"all pairs need embeddings [N, E] and [M, E] of one size, found shapes {a.shape} and {b.shape}; "
            "embeddings of different models cannot be compared."
        )
    enroll_speakers, test_speakers = _numbered(enroll_ids, len(a), test_ids, len(b))
    n_target = _count_targets(enroll_speakers, test_speakers)
    n_nontarget = len(a) * len(b) - n_target
    if not n_target or not n_nontarget:
        raise MVectorError(
            f"error rates need target and non-target trials, found {n_target} target and {n_nontarget} non-target "
            "trials; check the labels of the trials."
        )
    for embeddings in (a, b):
        _check_finite(embeddings)
    if len(a) * len(b) <= EXACT_TRIALS:
        return _exact(a, enroll_speakers, b, test_speakers)
    return _counted(a, enroll_speakers, b, test_speakers, n_target, n_nontarget)


def _exact(
    enroll: NDArray[Any], enroll_speakers: NDArray[Any], test: NDArray[Any], test_speakers: NDArray[Any]
) -> AllPairs:
    if len(test) > len(enroll):  # the longer side goes block by block; the shorter has at most √EXACT_TRIALS rows
        enroll, enroll_speakers, test, test_speakers = test, test_speakers, enroll, enroll_speakers
    scores = np.empty((len(enroll), len(test)), np.float32)
    columns, step = _unit(test).T, max(1, CHUNK // enroll.shape[1])
    for start in range(0, len(enroll), step):
        scores[start : start + step] = _unit(enroll[start : start + step]) @ columns
    is_target = enroll_speakers[:, None] == test_speakers[None, :]
    targets = np.sort(scores[is_target])
    scores[is_target] = np.inf
    del is_target
    nontargets = scores.ravel()
    nontargets.sort()
    nontargets = nontargets[: len(nontargets) - len(targets)]
    rate, threshold = _sorted_eer(targets, nontargets)
    min_dcf = {p: _sorted_min_dcf(targets, nontargets, p) for p in P_TARGETS}
    return AllPairs(rate, threshold, min_dcf, len(targets), len(nontargets), error_bound=0.0, exact=True)


def _sorted_eer(targets: Vectors, nontargets: Vectors) -> tuple[float, float]:
    """(EER, threshold) of scores in rising order, as `eer` finds them, without curves over all scores."""

    def rates(threshold: float) -> tuple[float, float]:
        missed = np.searchsorted(targets, threshold, "right") / len(targets)
        return missed, (len(nontargets) - np.searchsorted(nontargets, threshold, "right")) / len(nontargets)

    def is_after(threshold: float) -> bool:
        fnr, fpr = rates(threshold)
        return fnr >= fpr

    # The first score of each kind at or after the crossing, and the last score of any kind before it.
    firsts = [bisect_left(scores, True, key=is_after) for scores in (targets, nontargets)]
    both = list(zip((targets, nontargets), firsts, strict=True))
    after = min(scores[first] for scores, first in both if first < len(scores))
    before = [scores[first - 1] for scores, first in both if first]
    thresholds = np.array(([max(before)] if before else []) + [after])
    fnr, fpr = np.array([rates(threshold) for threshold in thresholds]).T
    return eer_point(thresholds, fnr, fpr)


def _sorted_min_dcf(targets: Vectors, nontargets: Vectors, p_target: float) -> float:
    """minDCF of scores in rising order. A lowest cost lies just below some target and at some non-target score.

    (Between two targets a higher threshold costs no miss, between two non-targets a lower one no false alarm.) So the
    scores of the rarer kind are all the thresholds that need a look.
    """
    costs = [1.0]  # accepting nothing, as long as p_target is below 0.5
    rarer = min(targets, nontargets, key=len)
    side: Literal["left", "right"] = "left" if rarer is targets else "right"
    for start in range(0, len(rarer), CHUNK):
        threshold = rarer[start : start + CHUNK]
        fnr = np.searchsorted(targets, threshold, side) / len(targets)
        fpr = (len(nontargets) - np.searchsorted(nontargets, threshold, side)) / len(nontargets)
        costs.append(min_dcf_point(threshold, fnr, fpr, p_target)[0])
    return min(costs)


def _counted(
    enroll: NDArray[Any],
    enroll_speakers: NDArray[Any],
    test: NDArray[Any],
    test_speakers: NDArray[Any],
    n_target: int,
    n_nontarget: int,
) -> AllPairs:
    def count(histogram: ScoreHistogram, enroll_step: int = 1, test_step: int = 1) -> None:
        tiles = score_tiles(
            np.arange(0, len(enroll), enroll_step),
            np.arange(0, len(test), test_step),
            enroll_speakers,
            test_speakers,
            lambda rows: _unit(enroll[rows]),
            lambda rows: _unit(test[rows]),
        )

        def add(tile: Tile) -> None:
            scores = tile.scores()
            histogram.add(scores, (scores[part] for part in tile.targets))

        in_threads(add, tiles)

    # Of the longer side some, so that each still meets all of its targets.
    step = max(1, len(enroll) * len(test) // SAMPLE_TRIALS)
    steps = (step, 1) if len(enroll) > len(test) else (1, step)
    histogram, error = count_scores(count, lambda sample: count(sample, *steps), low=-1.01, high=1.01)
    curves = histogram.curves()
    rate, threshold = eer_point(*curves)
    min_dcf = {p: min_dcf_point(*curves, p)[0] for p in P_TARGETS}
    return AllPairs(rate, threshold, min_dcf, n_target, n_nontarget, error, exact=False)


def _unit(embeddings: NDArray[Any]) -> Vectors:
    from mvector.scoring.cosine import length_normalize  # here, because scoring imports metrics

    return length_normalize(embeddings).astype(np.float32, copy=False)


def _numbered(enroll_ids: ArrayLike, n: int, test_ids: ArrayLike, m: int) -> tuple[Indexes, Indexes]:
    """A number for each different id."""
    sides = [np.asarray(ids) for ids in (enroll_ids, test_ids)]
    for ids, rows in zip(sides, (n, m), strict=True):
        if ids.shape != (rows,):
            raise MVectorError(f"each of the {rows} embeddings needs one id, found ids of shape {ids.shape}.")
    known: dict[Any, int] = {}
    numbers = [known.setdefault(name, len(known)) for name in chain(*(ids.tolist() for ids in sides))]
    return np.array(numbers[:n], dtype=np.intp), np.array(numbers[n:], dtype=np.intp)


def _count_targets(enroll_speakers: Indexes, test_speakers: Indexes) -> int:
    size = 1 + max(enroll_speakers.max(initial=0), test_speakers.max(initial=0))
    return int(np.bincount(enroll_speakers, minlength=size) @ np.bincount(test_speakers, minlength=size))


def _check_finite(embeddings: NDArray[Any]) -> None:
    step = max(1, CHUNK // max(1, embeddings.shape[1]))
    parts = (embeddings[start : start + step] for start in range(0, len(embeddings), step))
    bad = sum(int(np.count_nonzero(~np.isfinite(part).all(axis=1))) for part in parts)
    if bad:
        raise MVectorError(
            f"{bad} of {len(embeddings)} embeddings are NaN or infinite; leave such recordings out and count them."
        )
