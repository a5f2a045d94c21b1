"""Detection errors: the miss and false-alarm rates over all thresholds, EER, minDCF, actDCF, FRR at a FAR, areas.

A trial is a target when both sides are one speaker. At threshold t the trials with score > t are accepted:
    FNR(t) = share of the targets with score ≤ t,      FPR(t) = share of the non-targets with score > t.
Tied scores pass a threshold together, so no result depends on the order of the trials. Sorting is all the work
(O(N log N)); memory is a few arrays of the number of trials.

`counts` in these functions says how many trials stand behind each score (billions of trials in a histogram of a few
million bins); without it each score is one trial.

Detection costs here are normalised by the cost of the better of "accept all" and "reject all", as WeSpeaker and
3D-Speaker do it. SpeechBrain leaves that out (its minDCF at p_target 0.01 is 100 times smaller), clovaai's default is
p_target 0.05, some rows of 3D-Speaker's tables as well: compare costs only where both conventions are the same.

By the rule of 30 (Doddington et al., "The NIST speaker recognition evaluation", 2000) an error rate is within 30 % of
its true value, at 90 % confidence, once 30 errors were seen. An operating point is therefore called measurable when the
non-target trials are enough for 30 false accepts to be expected there.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mvector.errors import MVectorError

Floats = NDArray[np.floating]

FEWEST_FALSE_ACCEPTS = 30


@dataclass(frozen=True)
class FarPoint:
    """Share of the targets rejected (frr) at the lowest threshold that accepts no more than `far` of the non-targets.

    When not `measurable`, frr and threshold are None and it takes `trials_needed` non-target trials to measure them.
    """

    far: float
    frr: float | None
    threshold: float | None
    measurable: bool
    trials_needed: int


def eer(scores: ArrayLike, labels: ArrayLike, counts: ArrayLike | None = None) -> tuple[float, float]:
    """Equal error rate (a fraction, not per cent) and its threshold (on the scores' own scale).

    scores [N], labels [N] (1 or True for targets), counts [N] or None. The rate is where FNR and FPR cross, linearly
    interpolated between the operating points of successive distinct scores; the threshold is that of the operating
    point after the crossing. Raises MVectorError when a kind of trial is missing or a score is not finite.
    """
    return eer_point(*error_rates(scores, labels, counts))


def min_dcf(
    scores: ArrayLike,
    labels: ArrayLike,
    p_target: float = 0.01,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
    counts: ArrayLike | None = None,
) -> float:
    """Minimum of the normalised detection cost over all operating points (NIST SRE).

    C(t) = (c_miss·p_target·FNR(t) + c_fa·(1 - p_target)·FPR(t)) / min(c_miss·p_target, c_fa·(1 - p_target)), the
    points that accept everything and nothing included, so the result lies between 0 and 1. `p_target` is the share of
    targets that the application expects, not that of the trials given here.
    """
    return min_dcf_point(*error_rates(scores, labels, counts), p_target, c_miss, c_fa)[0]


def act_dcf(
    llrs: ArrayLike,
    labels: ArrayLike,
    p_target: float = 0.01,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
    counts: ArrayLike | None = None,
) -> float:
    """Actual detection cost: that of natural-log likelihood ratios [N] at the Bayes threshold, normalised as minDCF is.

    The threshold, log(c_fa·(1 - p_target) / (c_miss·p_target)), is not chosen on these trials, so the difference to
    minDCF is what bad calibration costs. Accepting and rejecting everything are open to anybody at cost 1; a badly
    calibrated system can cost more than 1.
    """
    miss_rate, fa_rate = _rates_at(*check_trials(llrs, labels, counts), bayes_threshold(p_target, c_miss, c_fa))
    return normalised_cost(miss_rate, fa_rate, p_target, c_miss, c_fa)


def frr_at_far(scores: ArrayLike, labels: ArrayLike, far: float, counts: ArrayLike | None = None) -> FarPoint:
    """The FRR (= FNR, a fraction) where the FAR (= FPR) is at most `far`, a fraction: 0.001 for 0.1 %.

    Nothing is interpolated: the threshold is a score at which the false accepts of these trials are within `far`.
    """
    thresholds, fnr, fpr = error_rates(scores, labels, counts)
    return far_point(thresholds, fnr, fpr, far, count_trials(labels, counts)[1])


def roc_auc(scores: ArrayLike, labels: ArrayLike, counts: ArrayLike | None = None) -> float:
    """Area under the ROC curve: how often a target scores above a non-target, ties counting half (Mann-Whitney)."""
    _, fnr, fpr = error_rates(scores, labels, counts)
    return roc_area(fnr, fpr)


def average_precision(scores: ArrayLike, labels: ArrayLike, counts: ArrayLike | None = None) -> float:
    """Area under the precision-recall curve as average precision: Σ (recall gained at a score)·(precision there).

    Steps, no interpolation, tied scores as one step: the convention of scikit-learn's average_precision_score.
    Precision depends on the share of target trials in the list, so values of different lists cannot be compared.
    """
    _, fnr, fpr = error_rates(scores, labels, counts)
    n_target, n_nontarget = count_trials(labels, counts)
    return precision_recall_area(fnr, fpr, n_target / (n_target + n_nontarget))


def accuracy(scores: ArrayLike, labels: ArrayLike, threshold: float, counts: ArrayLike | None = None) -> float:
    """Share of all trials judged rightly when scores above `threshold` are accepted.

    Every trial counts the same, so in a list of 95 % non-targets rejecting everybody has an accuracy of 0.95.
    """
    score, target, count = check_trials(scores, labels, counts)
    miss_rate, fa_rate = _rates_at(score, target, count, threshold)
    n_target, n_nontarget = count_trials(target, count)
    return 1 - (miss_rate * n_target + fa_rate * n_nontarget) / (n_target + n_nontarget)


def nontargets_needed(far: float) -> int:
    """How many non-target trials it takes until FEWEST_FALSE_ACCEPTS are expected at `far`."""
    if not 0 < far < 1:
        raise MVectorError(f"a FAR is a fraction above 0 and below 1 (0.001 for 0.1 %), found {far}.")
    return math.ceil(FEWEST_FALSE_ACCEPTS / _decimal(far))


def false_accepts_allowed(far: float, n_nontarget: int) -> int:
    """How many of so many false accepts keep the FAR within `far`."""
    return math.floor(_decimal(far) * n_nontarget)


def nontargets_needed_for_cost(p_target: float, c_miss: float = 1.0, c_fa: float = 1.0) -> int:
    """How many non-target trials it takes to measure a detection cost (minDCF, actDCF).

    At FAR c_miss·p_target / (c_fa·(1 - p_target)) (at most 1) the false accepts alone cost as much as rejecting
    everybody; a useful system works below it. With 30 false accepts expected there, a single one moves the normalised
    cost by no more than 1/30. For costs of 1: p_target 0.05 needs 570 trials, 0.01 needs 2,970, 0.001 needs 29,970.
    """
    _check_cost(p_target, c_miss, c_fa)
    p, miss, fa = (_decimal(value) for value in (p_target, c_miss, c_fa))
    return math.ceil(FEWEST_FALSE_ACCEPTS / min(Fraction(1), miss * p / (fa * (1 - p))))


def bayes_threshold(p_target: float, c_miss: float = 1.0, c_fa: float = 1.0) -> float:
    """The natural-log likelihood ratio above which accepting is expected to cost less than rejecting."""
    _check_cost(p_target, c_miss, c_fa)
    return math.log(c_fa * (1 - p_target) / (c_miss * p_target))


def normalised_cost(fnr: float, fpr: float, p_target: float, c_miss: float = 1.0, c_fa: float = 1.0) -> float:
    """The detection cost of one operating point, normalised as minDCF is."""
    _check_cost(p_target, c_miss, c_fa)
    miss_weight, fa_weight = c_miss * p_target, c_fa * (1 - p_target)
    return (miss_weight * fnr + fa_weight * fpr) / min(miss_weight, fa_weight)


def eer_point(thresholds: Floats, fnr: Floats, fpr: Floats) -> tuple[float, float]:
    """(EER, threshold) on curves from `error_rates`."""
    after = int(np.argmax(fnr >= fpr))  # the last point has FNR 1, FPR 0: there is always one
    # Before the lowest score everything is accepted: FNR 0, FPR 1.
    fnr_before, fpr_before = (fnr[after - 1], fpr[after - 1]) if after else (0.0, 1.0)
    gap_before, gap_after = fpr_before - fnr_before, fnr[after] - fpr[after]
    weight = gap_before / (gap_before + gap_after)
    return float(fnr_before + weight * (fnr[after] - fnr_before)), float(thresholds[after])


def min_dcf_point(
    thresholds: Floats, fnr: Floats, fpr: Floats, p_target: float = 0.01, c_miss: float = 1.0, c_fa: float = 1.0
) -> tuple[float, float, float, float]:
    """(minDCF, its threshold, its FNR, its FPR) on curves from `error_rates`; the threshold may be -inf: accept all."""
    _check_cost(p_target, c_miss, c_fa)
    miss_weight, fa_weight = c_miss * p_target, c_fa * (1 - p_target)
    cost = miss_weight * fnr + fa_weight * fpr
    best = int(np.argmin(cost))
    norm = min(miss_weight, fa_weight)
    if fa_weight < cost[best]:
        return fa_weight / norm, -np.inf, 0.0, 1.0
    return float(cost[best]) / norm, float(thresholds[best]), float(fnr[best]), float(fpr[best])


def far_point(thresholds: Floats, fnr: Floats, fpr: Floats, far: float, n_nontarget: int) -> FarPoint:
    """`frr_at_far` on curves from `error_rates` of `n_nontarget` non-target trials."""
    needed = nontargets_needed(far)
    if n_nontarget < needed:
        return FarPoint(far, None, None, False, needed)
    first = int(np.argmax(fpr <= far))  # the last point has FPR 0: there is always one
    return FarPoint(far, float(fnr[first]), float(thresholds[first]), True, needed)


def roc_area(fnr: Floats, fpr: Floats) -> float:
    """`roc_auc` on curves from `error_rates`."""
    accepted, fpr = np.append(1.0, 1 - fnr), np.append(1.0, fpr)  # accepting everything belongs to the curve
    return float(np.sum((fpr[:-1] - fpr[1:]) * (accepted[:-1] + accepted[1:])) / 2)


def precision_recall_area(fnr: Floats, fpr: Floats, target_share: float) -> float:
    """`average_precision` on curves from `error_rates`; `target_share` is the share of targets among the trials."""
    # Going down, the targets of score k are gained on the way to point k - 1, whose precision they count with.
    recall, false_accepts = np.append(1.0, 1 - fnr[:-1]), np.append(1.0, fpr[:-1])
    gained = recall - (1 - fnr)
    right = target_share * recall
    accepted = right + (1 - target_share) * false_accepts
    return float(np.sum(gained * np.divide(right, accepted, out=np.zeros_like(right), where=accepted > 0)))


def error_rates(
    scores: ArrayLike, labels: ArrayLike, counts: ArrayLike | None = None
) -> tuple[Floats, NDArray[np.float64], NDArray[np.float64]]:
    """(thresholds, FNR, FPR), each [K], at the K distinct scores in rising order.

    The last point accepts nothing (FNR 1, FPR 0); the point before the first, FNR 0 and FPR 1, is not listed.
    """
    score, target, count = check_trials(scores, labels, counts)
    order = np.argsort(score)
    return rates_of_sorted(score[order], target[order], None if count is None else count[order])


def rates_of_sorted(
    score: Floats, target: NDArray[np.bool_], count: NDArray[np.int64] | None = None
) -> tuple[Floats, NDArray[np.float64], NDArray[np.float64]]:
    """`error_rates` of scores in rising order that hold both kinds of trials; nothing is checked."""
    is_last = np.append(score[1:] != score[:-1], True)  # the last of each run of tied scores
    if count is None:
        passed = np.flatnonzero(is_last) + 1
        targets_passed = np.cumsum(target)[is_last]
    else:
        passed = np.cumsum(count)[is_last]
        targets_passed = np.cumsum(np.where(target, count, 0))[is_last]
    n_target = targets_passed[-1]
    n_nontarget = passed[-1] - n_target
    nontargets_left = n_nontarget - (passed - targets_passed)
    return score[is_last], targets_passed / n_target, nontargets_left / n_nontarget


def count_trials(labels: ArrayLike, counts: ArrayLike | None = None) -> tuple[int, int]:
    """(number of target trials, number of non-target trials)."""
    target = np.asarray(labels).astype(bool)
    count = np.ones(target.shape, np.int64) if counts is None else np.asarray(counts)
    return int(count[target].sum()), int(count[~target].sum())


def check_trials(
    scores: ArrayLike, labels: ArrayLike, counts: ArrayLike | None = None
) -> tuple[Floats, NDArray[np.bool_], NDArray[np.int64] | None]:
    """The trials as arrays (floating scores, bool targets, int64 counts or None), or an MVectorError."""
    score, label = np.asarray(scores), np.asarray(labels)
    if not np.issubdtype(score.dtype, np.floating):
        score = score.astype(np.float64)
    if score.ndim != 1 or score.shape != label.shape:
        raise MVectorError(
            f"scores and labels must be two rows of equal length, found shapes {score.shape} and {label.shape}."
        )
    target = label.astype(bool)
    if label.dtype != bool and not np.array_equal(label, target):
        raise MVectorError("labels must be 1 (or True) for target trials and 0 (or False) for non-target trials.")
    bad = score.size - int(np.count_nonzero(np.isfinite(score)))
    if bad:
        raise MVectorError(f"{bad} of {score.size} scores are NaN or infinite; leave such trials out and count them.")
    count: NDArray[np.int64] | None = None
    if counts is not None:
        count = np.asarray(counts, dtype=np.int64)
        if count.shape != score.shape or (count < 0).any():
            raise MVectorError("counts must be as many as scores and not negative.")
    n_target, n_nontarget = count_trials(target, count)
    if not n_target or not n_nontarget:
        raise MVectorError(
            f"error rates need target and non-target trials, found {n_target} target and {n_nontarget} non-target "
            "trials; check the labels of the trials."
        )
    return score, target, count


def _rates_at(
    score: Floats, target: NDArray[np.bool_], count: NDArray[np.int64] | None, threshold: float
) -> tuple[float, float]:
    """(FNR, FPR) of trials from `check_trials` at one threshold."""
    if math.isnan(threshold):
        raise MVectorError("the threshold is not a number; give the score above which trials are accepted.")
    accepted = score > np.float64(threshold)  # a float32 score is not compared with a rounded threshold
    weight = np.ones(score.shape, np.int64) if count is None else count
    missed, falsely_accepted = weight[target & ~accepted].sum(), weight[~target & accepted].sum()
    return float(missed / weight[target].sum()), float(falsely_accepted / weight[~target].sum())


def _check_cost(p_target: float, c_miss: float, c_fa: float) -> None:
    if not (0 < p_target < 1 and c_miss > 0 and c_fa > 0):
        raise MVectorError(
            "a detection cost needs 0 < p_target < 1 and costs above 0, found "
            f"p_target={p_target}, c_miss={c_miss}, c_fa={c_fa}."
        )


def _decimal(value: float) -> Fraction:
    """The number as it is written: 30 / 0.0001 must be 300,000 and not a rounding error more."""
    return Fraction(repr(float(value)))
