"""Detection errors: the miss and false-alarm rates over all thresholds, EER and minDCF.

A trial is a target when both sides are one speaker. At threshold t the trials with score > t are accepted:
    FNR(t) = share of the targets with score ≤ t,      FPR(t) = share of the non-targets with score > t.
Tied scores pass a threshold together, so no result depends on the order of the trials. Sorting is all the work
(O(N log N)); memory is a few arrays of the number of trials.

`counts` in these functions says how many trials stand behind each score (billions of trials in a histogram of a few
million bins); without it each score is one trial.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mvector.errors import MVectorError

Floats = NDArray[np.floating]


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
    if not (0 < p_target < 1 and c_miss > 0 and c_fa > 0):
        raise MVectorError(
            f"minDCF needs 0 < p_target < 1 and costs above 0, found p_target={p_target}, c_miss={c_miss}, c_fa={c_fa}."
        )
    miss_weight, fa_weight = c_miss * p_target, c_fa * (1 - p_target)
    cost = miss_weight * fnr + fa_weight * fpr
    best = int(np.argmin(cost))
    norm = min(miss_weight, fa_weight)
    if fa_weight < cost[best]:
        return fa_weight / norm, -np.inf, 0.0, 1.0
    return float(cost[best]) / norm, float(thresholds[best]), float(fnr[best]), float(fpr[best])


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
