"""Choosing the threshold of a verdict from scored trials, and how sure its error rates are.

Two rules: where both error rates are equal; where the false acceptance rate stays within a limit. The third, at least
cost, is a matter of calibration (`bayes_threshold`). A rule that the trials cannot answer raises an error instead of
giving a number.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mvector.errors import MVectorError
from mvector.metrics.confidence import FEWEST_SPEAKERS
from mvector.metrics.detection import (
    FEWEST_FALSE_ACCEPTS,
    check_trials,
    count_trials,
    eer_point,
    error_rates,
    far_point,
)
from mvector.metrics.resampling import draws, numbered_people, thinned


@dataclass(frozen=True)
class RatesAtThreshold:
    """What a threshold does on a set of trials: scores above it are accepted. Rates are fractions.

    far_interval_95 and frr_interval_95 come from resampling the speakers (see `confidence_intervals`); None where the
    speakers are not known or too few to draw from. With fewer than 20 speakers they are too narrow.
    """

    threshold: float
    far: float
    frr: float
    targets: int
    non_targets: int
    speakers: int | None = None
    far_interval_95: tuple[float, float] | None = None
    frr_interval_95: tuple[float, float] | None = None

    @property
    def interval_too_narrow(self) -> bool:
        return self.speakers is not None and self.speakers < FEWEST_SPEAKERS

    def as_dict(self) -> dict[str, Any]:
        values = asdict(self)
        return values | {key: list(value) for key, value in values.items() if isinstance(value, tuple)}


def threshold_at_eer(scores: ArrayLike, labels: ArrayLike, counts: ArrayLike | None = None) -> float:
    """Where false acceptance and false rejection rate are equal (see `eer`)."""
    return eer_point(*error_rates(scores, labels, counts))[1]


def threshold_at_far(scores: ArrayLike, labels: ArrayLike, far: float, counts: ArrayLike | None = None) -> float:
    """The lowest threshold whose false acceptance rate on these trials is at most `far`, a fraction.

    Raises MVectorError where fewer than 30 false accepts are expected at `far`: such a threshold would be a guess.
    """
    _, non_targets = count_trials(labels, counts)
    point = far_point(*error_rates(scores, labels, counts), far, non_targets)
    if point.threshold is None:
        least = 100 * FEWEST_FALSE_ACCEPTS / non_targets
        raise MVectorError(
            f"a false acceptance rate of {100 * far:g} % cannot be shown by {non_targets:,} non-target trials: it "
            f"needs {point.trials_needed:,}. These can show {least:.2g} % at the least. "
            "Record more speakers, or choose the threshold at a higher rate, at the equal error rate or at a cost."
        )
    return point.threshold


def rates_at_threshold(
    scores: ArrayLike,
    labels: ArrayLike,
    threshold: float,
    counts: ArrayLike | None = None,
    enroll_speakers: ArrayLike | None = None,
    test_speakers: ArrayLike | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> RatesAtThreshold:
    """FAR and FRR of a given threshold, with 95 % intervals over resampled speakers where the speakers are given."""
    score, target, count = check_trials(scores, labels, counts)
    accepted = score > np.float64(threshold)
    number = np.ones(score.size, np.int64) if count is None else count
    targets, non_targets = count_trials(target, count)
    far = float(number[~target & accepted].sum() / non_targets)
    frr = float(number[target & ~accepted].sum() / targets)
    if count is not None or enroll_speakers is None or test_speakers is None:
        return RatesAtThreshold(threshold, far, frr, targets, non_targets)
    people, enroll, test = numbered_people(enroll_speakers, test_speakers, score.size)
    rng = np.random.default_rng(seed)
    drawn, _ = thinned(target, rng)
    is_target, wrong = target[drawn], (accepted != target)[drawn].astype(np.float64)
    enroll, test = enroll[drawn], test[drawn]
    found = []
    for times in draws(people, resamples, rng):
        of_target = times[enroll[is_target]]
        of_nontarget = times[enroll[~is_target]] * times[test[~is_target]]
        if of_target.any() and of_nontarget.any():
            found.append(
                (
                    of_nontarget @ wrong[~is_target] / of_nontarget.sum(),
                    of_target @ wrong[is_target] / of_target.sum(),
                )
            )
    if not found:
        return RatesAtThreshold(threshold, far, frr, targets, non_targets, people)
    low, high = np.quantile(found, [0.025, 0.975], axis=0)
    return RatesAtThreshold(
        threshold,
        far,
        frr,
        targets,
        non_targets,
        people,
        (float(low[0]), float(high[0])),
        (float(low[1]), float(high[1])),
    )
