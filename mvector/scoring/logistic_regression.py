"""Logistic regression on trials, weighted for a prior: what calibration and its variants minimise.

Brümmer's objective (Brümmer & du Preez 2006, "Application-independent evaluation of speaker detection"; Brümmer & De
Villiers 2011, "The BOSARIS toolkit"): with ℓ the log-likelihood ratio of a trial, P the prior and θ = log(P / (1 - P)),

    C = P/N_t · Σ_targets log(1 + exp(-ℓ - θ))  +  (1 - P)/N_n · Σ_nontargets log(1 + exp(ℓ + θ))

so that the result does not depend on how many trials of each kind there are. At P = ½, C is Cllr in nats.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mvector.errors import MVectorError

Vector = NDArray[np.float64]
# (value, gradient [K], Hessian [K, K]) at a point [K]; the value is infinite outside the domain.
Objective = Callable[[Vector], tuple[float, Vector, Vector]]

MOST_STEPS = 100


@dataclass(frozen=True)
class WeightedTrials:
    """Labels of trials as `sign` [n] (1 target, -1 non-target) and their weights [n], which sum to P and to 1 - P.

    `effective` is Kish's effective number of trials, 1 / Σ w²: how many equally weighted ones say as much.
    """

    sign: Vector
    weight: Vector
    log_odds: float
    effective: float
    targets: int
    non_targets: int

    @classmethod
    def of(cls, labels: ArrayLike, prior: float, counts: ArrayLike | None = None) -> "WeightedTrials":
        """From labels [n]; `counts` [n] says how many trials each entry stands for, without it each is one."""
        if not 0 < prior < 1:
            raise MVectorError(f"a prior probability lies between 0 and 1, found {prior}.")
        label = np.asarray(labels)
        target = label.astype(bool)
        if label.ndim != 1 or not np.array_equal(label, target):
            raise MVectorError("labels must be a row of 1 (or True) for target and 0 (or False) for non-target trials.")
        count = np.ones(len(target)) if counts is None else np.asarray(counts, dtype=np.float64)
        if count.shape != target.shape or (count < 0).any():
            raise MVectorError("counts must be as many as labels and not negative.")
        targets, non_targets = float(count[target].sum()), float(count[~target].sum())
        if not targets or not non_targets:
            raise MVectorError(
                f"calibration needs trials of both kinds, found {targets:.0f} target and {non_targets:.0f} non-target "
                "trials; give at least two recordings of each person, and at least two people."
            )
        return cls(
            sign=np.where(target, 1.0, -1.0),
            weight=count * np.where(target, prior / targets, (1 - prior) / non_targets),
            log_odds=float(np.log(prior / (1 - prior))),
            effective=1 / (prior**2 / targets + (1 - prior) ** 2 / non_targets),
            targets=int(targets),
            non_targets=int(non_targets),
        )

    def cross_entropy(self, design: NDArray[np.float64], coefficients: Vector) -> tuple[float, Vector, Vector]:
        """C with its gradient and Hessian where ℓ = design [n, K] @ coefficients [K]."""
        margin = self.sign * (design @ coefficients + self.log_odds)
        wrong = np.exp(-np.logaddexp(0, margin))  # the probability given to the other answer, without overflow
        slope = self.weight * wrong
        value = float(self.weight @ np.logaddexp(0, -margin))
        curvature = slope * (1 - wrong)
        return value, -design.T @ (self.sign * slope), design.T @ (curvature[:, None] * design)


def check_scores(scores: ArrayLike, labels: ArrayLike) -> Vector:
    """Scores [n] as float64, or MVectorError if they don't fit the labels, are not finite or are all the same."""
    score = np.asarray(scores, dtype=np.float64)
    if score.ndim != 1 or score.shape != np.shape(labels):
        raise MVectorError(
            f"scores and labels must be two rows of equal length, found shapes {score.shape} and {np.shape(labels)}."
        )
    bad = score.size - int(np.count_nonzero(np.isfinite(score)))
    if bad:
        raise MVectorError(f"{bad} of {score.size} scores are NaN or infinite; leave such trials out and count them.")
    if score.size and score.min() == score.max():
        raise MVectorError(
            "all scores are the same, so nothing can be learned from them; check that the recordings differ."
        )
    return score


def minimize(objective: Objective, start: ArrayLike) -> Vector:
    """The minimum of a convex objective by Newton's method; steps that do not go down far enough are halved."""
    point = np.asarray(start, dtype=np.float64)
    value, gradient, hessian = objective(point)
    for _ in range(MOST_STEPS):
        step = np.linalg.lstsq(hessian, -gradient, rcond=None)[0]  # a flat direction is no step instead of an error
        descent = float(-gradient @ step)
        if descent <= 1e-14 * (1 + abs(value)):
            break
        size = 1.0
        while size > 1e-10:
            candidate = objective(point + size * step)
            if candidate[0] <= value - 1e-4 * size * descent:
                break
            size /= 2
        else:
            break  # no further down within rounding
        point = point + size * step
        value, gradient, hessian = candidate
    return point
