"""Calibration: a score becomes a log-likelihood ratio, llr = scale · score + offset, and a probability at a prior.

The two numbers are fitted by prior-weighted logistic regression (see `logistic_regression`). A calibrated llr says how
much more likely the score is if the two recordings are one person's than if they are not (natural logarithm), and
holds for any prior and any cost.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mvector.errors import ModelError, MVectorError
from mvector.scoring.cosine import Floats
from mvector.scoring.logistic_regression import Objective, Vector, WeightedTrials, check_scores, minimize

# Standard deviation of the Gaussian prior on the weight of a standardised score. Weights of real systems are below 10;
# where the two kinds of trials do not overlap, this keeps the scale from growing without end. Its influence vanishes
# as 1 / (number of trials).
WEIGHT_DEVIATION = 10.0
# How far another microphone or room usually moves a calibrated llr: by a factor of about 1 ± 0.3 and an offset of
# about ± 2. They set what `adapt` believes before it has seen a trial.
SCALE_DEVIATION, OFFSET_DEVIATION = 0.3, 2.0

# More scores than this are counted in so many bins between the lowest and the highest. The fitted llrs move by less
# than 1e-5, and millions of trials take no more time and memory than these.
EXACT_SCORES, BINS = 500_000, 1 << 18


@dataclass(frozen=True)
class Calibration:
    """llr = scale · score + offset, and what it was fitted on: `prior`, and the numbers of trials of each kind."""

    scale: float
    offset: float
    prior: float = 0.5
    targets: int = 0
    non_targets: int = 0

    @classmethod
    def fit(
        cls, scores: ArrayLike, labels: ArrayLike, prior: float = 0.5, counts: ArrayLike | None = None
    ) -> "Calibration":
        """From scores [n] and labels [n] (1 or True for targets); `counts` [n] trials stand behind each score.

        `prior` is the probability of a target for which the fit is to be best; ½ makes Cllr smallest. Minimises
        C + w² / (2 · 10² · n) with w the weight of the standardised score and n the effective number of trials.
        Raises MVectorError where a kind of trial is missing, a score is not finite, or targets do not score higher.
        """
        score = check_scores(scores, labels)
        trials = WeightedTrials.of(labels, prior, counts)
        if score.size > EXACT_SCORES:
            score, labels, counts = _in_bins(score, trials.sign > 0, counts)
            trials = WeightedTrials.of(labels, prior, counts)
        mean, deviation = weighted_moments(score[:, None], trials.weight)
        design = np.column_stack([(score - mean[0]) / deviation[0], np.ones(len(score))])
        weight, constant = minimize(ridge_objective(trials, design), np.zeros(2))
        scale = float(weight / deviation[0])
        check_rising(scale)
        offset = float(constant - scale * mean[0])
        return cls(scale, offset, prior, trials.targets, trials.non_targets)

    def adapt(
        self, scores: ArrayLike, labels: ArrayLike, strength: float = 1.0, counts: ArrayLike | None = None
    ) -> "Calibration":
        """This calibration re-fitted to a few trials from elsewhere: the most probable one a posteriori.

        The new llr is a · (old llr) + b. With n the effective number of trials it minimises

            n · C(a, b) + strength · ((a - 1 - log a) / 0.3² + b² / (2 · 2²))

        a Gamma prior on `a` with its mode at 1, which keeps it positive, and a Gaussian one on `b` at 0. Few trials
        therefore move the stored calibration a little, many replace it. Raises as `fit` does, but for trials whose
        targets do not score higher: they pull the scale down.
        """
        if not (strength > 0 and np.isfinite(strength)):
            raise MVectorError(f"the strength of the stored calibration must be above 0, found {strength}.")
        score = check_scores(scores, labels)
        trials = WeightedTrials.of(labels, self.prior, counts)
        design = np.column_stack([self.llr(score), np.ones(len(score))])

        def objective(point: Vector) -> tuple[float, Vector, Vector]:
            a, b = point
            if a <= 0:
                return np.inf, point, np.eye(2)
            value, gradient, hessian = trials.cross_entropy(design, point)
            pull = strength * ((a - 1 - np.log(a)) / SCALE_DEVIATION**2 + b**2 / (2 * OFFSET_DEVIATION**2))
            pull_gradient = strength * np.array([(1 - 1 / a) / SCALE_DEVIATION**2, b / OFFSET_DEVIATION**2])
            pull_hessian = strength * np.diag([1 / (a * SCALE_DEVIATION) ** 2, 1 / OFFSET_DEVIATION**2])
            n = trials.effective
            return n * value + float(pull), n * gradient + pull_gradient, n * hessian + pull_hessian

        a, b = minimize(objective, np.array([1.0, 0.0])).tolist()
        return Calibration(a * self.scale, a * self.offset + b, self.prior, trials.targets, trials.non_targets)

    def llr(self, scores: ArrayLike) -> Floats:
        """Natural log-likelihood ratios, in the scores' shape."""
        return self.scale * np.asarray(scores) + self.offset

    def probability(self, scores: ArrayLike, prior: float) -> Floats:
        """Probability that the two recordings are one person's, given that the share `prior` of all comparisons is."""
        return posterior(self.llr(scores), prior)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers for a JSON file; `from_dict` reads them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Calibration":
        """Raises ModelError for values that are no calibration."""
        calibration = cls(
            scale=number(values, "scale"),
            offset=number(values, "offset"),
            prior=number(values, "prior"),
            targets=int(number(values, "targets")),
            non_targets=int(number(values, "non_targets")),
        )
        if calibration.scale <= 0 or not 0 < calibration.prior < 1:
            raise ModelError(
                f"the stored calibration has scale {calibration.scale} and prior {calibration.prior}; expected a scale "
                "above 0 and a prior between 0 and 1. Calibrate the model again."
            )
        return calibration


def _in_bins(
    score: Vector, target: NDArray[np.bool_], counts: ArrayLike | None
) -> tuple[Vector, NDArray[np.bool_], Vector]:
    """(scores, labels, counts) of the bins that hold any trials."""
    width = (score.max() - score.min()) / (BINS - 1)
    index = np.rint((score - score.min()) / width).astype(np.int64)
    count = np.ones(score.size) if counts is None else np.asarray(counts, dtype=np.float64)
    histograms = np.array([np.bincount(index[target == kind], count[target == kind], BINS) for kind in (False, True)])
    label, filled = np.nonzero(histograms)
    return score.min() + filled * width, label.astype(bool), histograms[label, filled]


def posterior(llrs: ArrayLike, prior: float) -> Floats:
    """Probability of a target trial from its llr: 1 / (1 + exp(-llr - log(prior / (1 - prior))))."""
    if not 0 < prior < 1:
        raise MVectorError(f"a prior probability lies between 0 and 1, found {prior}.")
    return np.exp(-np.logaddexp(0, -(np.asarray(llrs) + np.log(prior / (1 - prior)))))


def ridge_objective(trials: WeightedTrials, design: Vector) -> Objective:
    """coefficients → C + Σ w² / (2 · 10² · n) over all coefficients but the last, the constant."""
    ridge = np.full(design.shape[1], 1 / (WEIGHT_DEVIATION**2 * trials.effective))
    ridge[-1] = 0

    def objective(point: Vector) -> tuple[float, Vector, Vector]:
        value, gradient, hessian = trials.cross_entropy(design, point)
        return value + 0.5 * float(ridge @ point**2), gradient + ridge * point, hessian + np.diag(ridge)

    return objective


def weighted_moments(features: Vector, weight: Vector) -> tuple[Vector, Vector]:
    """(mean [K], deviation [K]) of features [n, K]; the deviation of a constant column is given as 1."""
    mean = weight @ features
    deviation = np.sqrt(weight @ (features - mean) ** 2)
    return mean, np.where(deviation > 1e-9 * (1 + np.abs(mean)), deviation, 1.0)


def check_rising(scale: float) -> None:
    """MVectorError where a higher score does not speak for one person."""
    if not scale > 0:
        raise MVectorError(
            "target trials do not score higher than non-target trials here, so no calibration can be made of them; "
            "check the labels (1 or 'target' means the same person)."
        )


def number(values: Mapping[str, Any], key: str) -> float:
    """A finite number of a stored calibration, or ModelError."""
    value = values.get(key) if isinstance(values, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise ModelError(f"the stored calibration has no finite number {key!r}; calibrate the model again.")
    return value
