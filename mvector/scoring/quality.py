"""Quality-aware calibration: how good both recordings are decides how much a score is worth.

A short or noisy recording gives scores that are lower and less sure. Logistic regression on the score together with
measures of both recordings (quality measure functions) learns by how much:

    llr = scale · score + Σ_k weight_k · quality_k + offset

after Thienpondt, Desplanques and Demuynck 2021, "The IDLAB VoxSRC-20 submission: large margin fine-tuning and
quality-aware score calibration in DNN based speaker verification". A comparison has no direction, so each measure
enters as the minimum and the maximum over the two sides (which spans the same as sum and absolute difference).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mvector.errors import ModelError, MVectorError
from mvector.scoring.calibration import (
    check_rising,
    number,
    posterior,
    ridge_objective,
    weighted_moments,
)
from mvector.scoring.cosine import Floats
from mvector.scoring.logistic_regression import WeightedTrials, check_scores, minimize


def recording_qualities(
    durations_s: ArrayLike, magnitudes: ArrayLike | None = None, cohort_means: ArrayLike | None = None
) -> dict[str, Floats]:
    """The measures [U] of U recordings by name: log_duration, magnitude, cohort_mean; only those that are given.

    durations_s: seconds, of speech if known. magnitudes: lengths of the embeddings as the network gives them.
    cohort_means: the mean of the highest cohort scores (`cohort_statistics` with top_n).
    """
    seconds = np.asarray(durations_s, dtype=np.float64)
    if (seconds <= 0).any():
        raise MVectorError("durations must be above 0 seconds; leave out the recordings that are empty.")
    measures = {"log_duration": np.log(seconds)}
    for name, values in (("magnitude", magnitudes), ("cohort_mean", cohort_means)):
        if values is not None:
            measures[name] = np.asarray(values, dtype=np.float64)
    return measures


def trial_qualities(enroll: Mapping[str, ArrayLike], test: Mapping[str, ArrayLike]) -> dict[str, Floats]:
    """NAME_min and NAME_max of each measure over the two sides of the trials.

    Sides [n] and [n] are a list of pairs; [n, 1] and [1, m] are all pairs, [n, m].
    """
    if list(enroll) != list(test):
        raise MVectorError(
            f"both sides of a trial need the same measures of quality, found {', '.join(enroll)} and {', '.join(test)}."
        )
    found: dict[str, Floats] = {}
    for name in enroll:
        found[f"{name}_min"] = np.minimum(enroll[name], test[name])
        found[f"{name}_max"] = np.maximum(enroll[name], test[name])
    return found


@dataclass(frozen=True)
class QualityCalibration:
    """llr = scale · score + Σ weights[name] · qualities[name] + offset, and the prior it was fitted for."""

    scale: float
    offset: float
    weights: dict[str, float]
    prior: float = 0.5

    @classmethod
    def fit(
        cls, scores: ArrayLike, qualities: Mapping[str, ArrayLike], labels: ArrayLike, prior: float = 0.5
    ) -> "QualityCalibration":
        """From scores [n], `trial_qualities` [n] each, and labels [n] (1 or True for targets).

        The trials must be of all the qualities that are to be met: recordings cut short, for instance. Score and
        qualities are standardised and the objective of `Calibration.fit` is minimised, with its ridge on each
        standardised weight; a quality that never varies has weight 0. Raises as `Calibration.fit` does.
        """
        score = check_scores(scores, labels)
        columns = [score]
        for name, values in qualities.items():
            column = np.asarray(values, dtype=np.float64)
            if column.shape != score.shape or not np.isfinite(column).all():
                raise MVectorError(
                    f"the quality {name!r} must be one finite number for each of the {score.size} trials, found "
                    f"shape {column.shape}; leave out trials of unusable recordings."
                )
            columns.append(column)
        trials = WeightedTrials.of(labels, prior)
        features = np.column_stack(columns)
        mean, deviation = weighted_moments(features, trials.weight)
        design = np.column_stack([(features - mean) / deviation, np.ones(len(score))])
        solution = minimize(ridge_objective(trials, design), np.zeros(design.shape[1]))
        scale, *weights = (solution[:-1] / deviation).tolist()
        check_rising(scale)
        offset = float(solution[-1] - mean @ np.array([scale, *weights]))
        return cls(scale, offset, dict(zip(qualities, weights, strict=True)), prior)

    def llr(self, scores: ArrayLike, qualities: Mapping[str, ArrayLike]) -> Floats:
        """Natural log-likelihood ratios in the shape of `scores`, [n] or [n, m], with qualities of that shape."""
        missing = [name for name in self.weights if name not in qualities]
        if missing:
            raise MVectorError(f"this calibration needs the qualities {', '.join(missing)} of each trial as well.")
        total = self.scale * np.asarray(scores) + self.offset
        for name, weight in self.weights.items():
            total = total + weight * np.asarray(qualities[name])
        return total

    def probability(self, scores: ArrayLike, qualities: Mapping[str, ArrayLike], prior: float) -> Floats:
        """Probability that the two recordings are one person's, given that the share `prior` of all comparisons is."""
        return posterior(self.llr(scores, qualities), prior)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers for a JSON file; `from_dict` reads them back."""
        return {"scale": self.scale, "offset": self.offset, "weights": dict(self.weights), "prior": self.prior}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "QualityCalibration":
        """Raises ModelError for values that are no quality-aware calibration."""
        scale, offset, prior = number(values, "scale"), number(values, "offset"), number(values, "prior")
        weights = values.get("weights")
        if not isinstance(weights, Mapping) or scale <= 0 or not 0 < prior < 1:
            raise ModelError(
                "the stored quality-aware calibration needs 'weights' by name, a scale above 0 and a prior between 0 "
                "and 1; calibrate the model again."
            )
        return cls(scale, offset, {name: number(weights, name) for name in weights}, prior)
