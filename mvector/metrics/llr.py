"""How good scores are as log-likelihood ratios: Cllr and min Cllr.

Unlike EER and minDCF, which look at one operating point, Cllr averages the cost over all of them (N. Brümmer and
J. du Preez, "Application-independent evaluation of speaker detection", Computer Speech and Language, 2006). Both are
in bits: 0 is perfect, 1 is what a system gives that always answers "don't know" (an LLR of 0).
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mvector.metrics.detection import Floats, check_trials, error_rates


def cllr(llrs: ArrayLike, labels: ArrayLike, counts: ArrayLike | None = None) -> float:
    """Cost of log-likelihood ratios in bits (Brümmer & du Preez 2006, C_llr); it grows without bound with their faults.

    Cllr = ½ · (mean over targets of log2(1 + e^-llr) + mean over non-targets of log2(1 + e^llr)).
    llrs [N] natural logarithms, labels [N] (1 or True for targets), counts [N] or None as for `eer`. Both kinds of
    trial weigh the same however many there are of each. A raw cosine is no LLR: its Cllr says little.
    """
    llr, target, count = check_trials(llrs, labels, counts)
    cost = llr_cost(llr, target)
    weight = np.ones(llr.shape, np.int64) if count is None else count
    means = [np.average(cost[target == kind], weights=weight[target == kind]) for kind in (True, False)]
    return float(sum(means) / 2)


def min_cllr(scores: ArrayLike, labels: ArrayLike, counts: ArrayLike | None = None) -> float:
    """Cllr in bits after the best order-preserving calibration of these very trials; between 0 and 1.

    What is left is lost to discrimination; cllr - min_cllr is lost to calibration. The best calibration is isotonic
    regression (pool adjacent violators), whose steps are the edges of the convex hull of the ROC curve. Tied scores
    get one LLR, so the order of the trials does not matter. Scores may be on any scale. No prior counts or smoothing.
    """
    _, fnr, fpr = error_rates(scores, labels, counts)
    return min_cllr_of_rates(fnr, fpr)


def min_cllr_of_rates(fnr: Floats, fpr: Floats) -> float:
    """`min_cllr` on curves from `error_rates`."""
    # The steps of the hull, in shares of the targets and of the non-targets, from the lowest scores up.
    nontargets, targets = (np.diff(along) for along in _lower_hull(np.append(0.0, 1 - fpr), np.append(0.0, fnr)))
    both = (nontargets > 0) & (targets > 0)  # a step of one kind only is judged with certainty and costs nothing
    ratio = targets[both] / nontargets[both]  # its likelihood ratio
    return float(np.sum(targets[both] * np.log2(1 + 1 / ratio) + nontargets[both] * np.log2(1 + ratio)) / 2)


def llr_cost(llr: Floats, target: NDArray[np.bool_]) -> NDArray[np.float64]:
    """What each trial adds to Cllr, in bits: log2(1 + e^-llr) for a target, log2(1 + e^llr) for a non-target."""
    signed = np.where(target, -llr, llr).astype(np.float64)
    return np.logaddexp(0, signed) / math.log(2)  # never overflows


def _lower_hull(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """The corners of the lower convex hull of points in rising order (x and y both never fall).

    A point on or above the line through its two neighbours is no corner, so all such points go at once, again and
    again until none is left: some twenty rounds, each over far fewer points, in place of a loop over millions.
    """
    is_new = np.append(True, (np.diff(x) > 0) | (np.diff(y) > 0))  # of two equal neighbours both would go
    x, y = x[is_new], y[is_new]
    while len(x) > 2:
        step_x, step_y = np.diff(x), np.diff(y)
        is_corner = step_y[:-1] * step_x[1:] < step_y[1:] * step_x[:-1]
        if is_corner.all():
            break
        keep = np.concatenate([[True], is_corner, [True]])
        x, y = x[keep], y[keep]
    return x, y
