"""Trials of resampled speakers: what the intervals and comparisons in `confidence` are computed from.

Trials are sorted once; each draw of speakers then gives every trial a weight, and the curves and metrics of the
weighted trials take a few cumulative sums. Nothing here checks its input.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mvector.errors import MVectorError, nearest
from mvector.metrics.detection import (
    Floats,
    bayes_threshold,
    eer_point,
    min_dcf_point,
    nontargets_needed,
    normalised_cost,
    precision_recall_area,
    roc_area,
)
from mvector.metrics.llr import llr_cost, min_cllr_of_rates

# Of each kind of trial so many are taken at most: their sampling error is far below that of the speakers.
MOST_TRIALS = 200_000
PLAIN_METRICS = ("eer", "cllr", "min_cllr", "roc_auc", "average_precision", "accuracy")
METRICS_AT_A_POINT = ("min_dcf", "act_dcf", "frr_at_far")


@dataclass(frozen=True)
class Resample:
    """What one draw of speakers makes of the trials: curves as from `error_rates`, and the weight of each trial."""

    thresholds: Floats
    fnr: NDArray[np.float64]
    fpr: NDArray[np.float64]
    target_weights: NDArray[np.float64]
    nontarget_weights: NDArray[np.float64]
    target_share: float  # of all trials


class RankedTrials:
    """Trials [n] sorted once, targets and non-targets apart, so that a resample costs two cumulative sums.

    `copies` [n] says how many trials each of these stands for, after thinning; `llr` [n] and `threshold` are those of
    cllr and act_dcf, and of the accuracy.
    """

    def __init__(
        self,
        score: Floats,
        target: NDArray[np.bool_],
        enroll: NDArray[np.intp],
        test: NDArray[np.intp],
        copies: NDArray[np.float64],
        llr: Floats | None,
        threshold: float,
    ) -> None:
        order = np.argsort(score)
        score, target = score[order], target[order]
        is_last = np.append(score[1:] != score[:-1], True)  # the last of each run of tied scores
        self.thresholds = score[is_last]  # [K]
        self.targets_passed = np.cumsum(target)[is_last]
        self.nontargets_passed = np.flatnonzero(is_last) + 1 - self.targets_passed
        self.target_scores, self.nontarget_scores = score[target], score[~target]
        self.speakers = enroll[order[target]]  # of the targets
        self.enroll, self.test = enroll[order[~target]], test[order[~target]]
        self.llrs = None if llr is None else (llr[order[target]], llr[order[~target]])
        self.target_copies, self.nontarget_copies = copies[order[target]], copies[order[~target]]
        self.threshold = threshold

    def resample(self, times: NDArray[np.float64]) -> Resample | None:
        """The trials with speaker i taken times[i] times; None if a kind of trial is missing then."""
        target_weights = times[self.speakers] * self.target_copies
        nontarget_weights = times[self.enroll] * times[self.test] * self.nontarget_copies
        targets_upto, nontargets_upto = _running_total(target_weights), _running_total(nontarget_weights)
        targets, nontargets = targets_upto[-1], nontargets_upto[-1]
        if not targets or not nontargets:
            return None  # possible with a handful of speakers
        return Resample(
            thresholds=self.thresholds,
            fnr=targets_upto[self.targets_passed] / targets,
            fpr=(nontargets - nontargets_upto[self.nontargets_passed]) / nontargets,
            target_weights=target_weights,
            nontarget_weights=nontarget_weights,
            target_share=float(targets / (targets + nontargets)),
        )


def measure_of(name: str, trials: RankedTrials, p_target: float = 0.01) -> Callable[[Resample], float]:
    """The function that computes a metric, by its name, from resamples of these trials."""
    base, point = parse_metric(name, p_target)
    if base == "eer":
        return lambda drawn: eer_point(drawn.thresholds, drawn.fnr, drawn.fpr)[0]
    if base == "min_dcf":
        return lambda drawn: min_dcf_point(drawn.thresholds, drawn.fnr, drawn.fpr, point)[0]
    if base == "frr_at_far":
        return lambda drawn: float(drawn.fnr[np.argmax(drawn.fpr <= point)])
    if base == "roc_auc":
        return lambda drawn: roc_area(drawn.fnr, drawn.fpr)
    if base == "average_precision":
        return lambda drawn: precision_recall_area(drawn.fnr, drawn.fpr, drawn.target_share)
    if base == "min_cllr":
        return lambda drawn: min_cllr_of_rates(drawn.fnr, drawn.fpr)
    if base == "accuracy":
        wrong = _wrong_at(trials.threshold, trials.target_scores, trials.nontarget_scores)
        return lambda drawn: _share_right(drawn.target_share, *_means(drawn, *wrong))
    if trials.llrs is None:
        raise MVectorError(f"{name} is computed from log-likelihood ratios; give llrs (calibrate the scores first).")
    target_llrs, nontarget_llrs = trials.llrs
    if base == "act_dcf":
        wrong = _wrong_at(bayes_threshold(point), target_llrs, nontarget_llrs)
        return lambda drawn: normalised_cost(*_means(drawn, *wrong), point)
    is_target = np.ones(1, bool)
    costs = llr_cost(target_llrs, is_target), llr_cost(nontarget_llrs, ~is_target)
    return lambda drawn: sum(_means(drawn, *costs)) / 2  # cllr


def parse_metric(name: str, p_target: float) -> tuple[str, float]:
    """'min_dcf_0.05' -> ('min_dcf', 0.05); a name without a number gets `p_target`."""
    if name in PLAIN_METRICS or name in ("min_dcf", "act_dcf"):
        return name, p_target
    base = next((base for base in METRICS_AT_A_POINT if name.startswith(base + "_")), None)
    try:
        point = float(name[len(base) + 1 :]) if base else None
    except ValueError:
        point = None
    if base is None or point is None:
        known = [*PLAIN_METRICS, *(f"{base}_0.01" for base in METRICS_AT_A_POINT)]
        raise MVectorError(f"unknown metric {name!r}; there are: {', '.join(known)}.{nearest(name, known)}")
    if base == "frr_at_far":
        nontargets_needed(point)  # refuses what is no FAR
    return base, point


def _means(drawn: Resample, of_targets: Floats, of_nontargets: Floats) -> tuple[float, float]:
    """Weighted means of something known of each target and of each non-target trial."""
    weights = drawn.target_weights, drawn.nontarget_weights
    first, second = (w @ values / w.sum() for w, values in zip(weights, (of_targets, of_nontargets), strict=True))
    return float(first), float(second)


def _share_right(target_share: float, fnr: float, fpr: float) -> float:
    return 1 - (target_share * fnr + (1 - target_share) * fpr)


def _wrong_at(threshold: float, targets: Floats, nontargets: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """1.0 for each trial that is misjudged at the threshold, else 0.0."""
    limit = np.float64(threshold)
    return (targets <= limit).astype(np.float64), (nontargets > limit).astype(np.float64)


def _running_total(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n] -> [n + 1]: the sum of the first 0, 1, …, n weights."""
    total = np.zeros(len(weights) + 1)
    np.cumsum(weights, out=total[1:])
    return total


def numbered_people(
    enroll_speakers: ArrayLike, test_speakers: ArrayLike, n_trials: int
) -> tuple[int, NDArray[np.intp], NDArray[np.intp]]:
    """(number of people P, each trial's enrolled speaker and its test speaker as numbers 0 … P - 1)."""
    people, number = np.unique(
        np.concatenate([np.asarray(enroll_speakers), np.asarray(test_speakers)]), return_inverse=True
    )
    if number.shape != (2 * n_trials,):
        raise MVectorError(f"a speaker is needed for each side of the {n_trials} trials, found {number.size} in all.")
    return len(people), number[:n_trials], number[n_trials:]


def thinned(
    target: NDArray[np.bool_], rng: np.random.Generator, scores: Sequence[Floats] = ()
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Indexes of at most MOST_TRIALS trials of each kind, and how many of all the trials each of them stands for.

    A random part of each kind stands for the whole. With `scores` of one system or several, [n] each, the highest
    non-targets of each are all kept and stand for themselves alone, because a low FAR rests on nothing else.
    """
    targets, others = np.flatnonzero(target), np.flatnonzero(~target)
    high = others[:0]
    if scores and len(others) > MOST_TRIALS:
        most = MOST_TRIALS // (2 * len(scores))
        high = np.unique([others[np.argpartition(score[others], -most)[-most:]] for score in scores])
        others = np.setdiff1d(others, high, assume_unique=True)
    index, copies = [high], [np.ones(len(high))]
    for kind, most in ((targets, MOST_TRIALS), (others, MOST_TRIALS - len(high))):
        part = kind if len(kind) <= most else rng.choice(kind, most, replace=False)
        index.append(part)
        copies.append(np.full(len(part), len(kind) / len(part)))  # check_trials has seen both kinds
    return np.concatenate(index), np.concatenate(copies)


def draws(people: int, resamples: int, rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    """How often each of the people [P] is drawn, `resamples` times."""
    for _ in range(resamples):
        yield np.bincount(rng.integers(0, people, people), minlength=people).astype(np.float64)
