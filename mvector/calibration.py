"""The threshold and the calibration that a model directory stores, chosen on development trials or on a user's own.

`metrics.json` holds both under "threshold" and "calibration", which every script uses; "development" keeps those of
the training, from which recordings of another microphone start again.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mvector.errors import MVectorError
from mvector.metrics.detection import FEWEST_FALSE_ACCEPTS, bayes_threshold
from mvector.metrics.thresholds import (
    RatesAtThreshold,
    rates_at_threshold,
    threshold_at_eer,
    threshold_at_far,
)
from mvector.scoring import TrialScores
from mvector.scoring.calibration import Calibration

FEWEST_PEOPLE = 5
FOLDS = 10


def stored_calibration(metrics: Mapping[str, Any]) -> Calibration | None:
    """The calibration in use, from a model directory's metrics; None where nothing was calibrated."""
    return Calibration.from_dict(metrics["calibration"]) if metrics.get("calibration") else None


@dataclass(frozen=True)
class ThresholdRule:
    """How a threshold is chosen; without anything: where the calibrated probability of either answer is one half.

    target_far   the lowest threshold that keeps this false acceptance rate on the trials
    at_eer       where both error rates are equal on the trials
    p_target     (with c_miss, c_fa) where the expected cost is least according to the calibration, that is, where
                 llr = log(c_fa·(1 - p_target) / (c_miss·p_target)): two fitted numbers, which few trials can settle
    """

    target_far: float | None = None
    at_eer: bool = False
    p_target: float = 0.5
    c_miss: float = 1.0
    c_fa: float = 1.0

    def choose(self, scored: TrialScores, calibration: Calibration) -> float:
        """The threshold, on the scores' own scale; MVectorError where the trials cannot answer."""
        if self.target_far is not None:
            return threshold_at_far(scored.scores, scored.labels, self.target_far, scored.counts)
        if self.at_eer:
            return threshold_at_eer(scored.scores, scored.labels, scored.counts)
        llr = bayes_threshold(self.p_target, self.c_miss, self.c_fa)
        return (llr - calibration.offset) / calibration.scale

    def __str__(self) -> str:
        if self.target_far is not None:
            return f"at a false acceptance rate of {100 * self.target_far:g} %"
        if self.at_eer:
            return "at the equal error rate"
        if self.c_miss == self.c_fa == 1:
            return f"at least cost for p_target {self.p_target:g}"
        return f"at least cost for p_target {self.p_target:g}, costs {self.c_miss:g} and {self.c_fa:g}"


@dataclass(frozen=True)
class Recalibration:
    """What a user's own recordings say. `held_out`: rates on speakers that had no part in choosing the threshold."""

    calibration: Calibration
    threshold: float
    rates: RatesAtThreshold
    before: RatesAtThreshold | None
    held_out: tuple[float, float] | None  # (FAR, FRR) by cross-validation over speakers
    least_far: float  # what so many non-target trials can show

    def speakers_needed(self, far: float) -> int:
        """About how many speakers, with as many recordings each, could show this false acceptance rate."""
        speakers = self.rates.speakers or FEWEST_PEOPLE
        needed = FEWEST_FALSE_ACCEPTS / far
        return math.ceil(speakers * math.sqrt(needed / self.rates.non_targets))


def recalibrate(
    scored: TrialScores,
    previous: Calibration | None,
    rule: ThresholdRule,
    threshold_before: float | None = None,
) -> Recalibration:
    """Calibration and threshold from a few own trials, starting from the model's stored calibration where it has one.

    Raises MVectorError for fewer than FEWEST_PEOPLE speakers, or where the rule asks what the trials cannot show.
    """
    if scored.enroll_speakers is None or scored.test_speakers is None:
        raise MVectorError(
            f"{len(scored.scores):,} kinds of scores are more than a calibration needs: give a list of at most some "
            "thousand recordings."
        )
    speakers = np.union1d(scored.enroll_speakers, scored.test_speakers)
    if len(speakers) < FEWEST_PEOPLE:
        raise MVectorError(
            f"a calibration needs recordings of at least {FEWEST_PEOPLE} people, best with four or more of each, found "
            f"{len(speakers)}. Record more people."
        )
    calibration = _fitted(scored, previous)
    threshold = rule.choose(scored, calibration)
    before = None if threshold_before is None else rates_of(scored, threshold_before)
    rates = rates_of(scored, threshold)
    return Recalibration(
        calibration=calibration,
        threshold=threshold,
        rates=rates,
        before=before,
        held_out=_held_out_rates(scored, previous, rule, speakers),
        least_far=FEWEST_FALSE_ACCEPTS / rates.non_targets,
    )


def rates_of(scored: TrialScores, threshold: float) -> RatesAtThreshold:
    """FAR and FRR of a threshold, with their intervals where the speakers are known."""
    return rates_at_threshold(
        scored.scores, scored.labels, threshold, scored.counts, scored.enroll_speakers, scored.test_speakers
    )


def _fitted(scored: TrialScores, previous: Calibration | None) -> Calibration:
    if previous is None:
        return Calibration.fit(scored.scores, scored.labels)
    return previous.adapt(scored.scores, scored.labels)


def _held_out_rates(
    scored: TrialScores, previous: Calibration | None, rule: ThresholdRule, speakers: np.ndarray
) -> tuple[float, float] | None:
    """(FAR, FRR) where each fold of speakers is judged by a threshold chosen on trials that none of them is in.

    None where a fold's rest cannot answer the rule.
    """
    assert scored.enroll_speakers is not None
    assert scored.test_speakers is not None
    folds = np.array_split(np.random.default_rng(0).permutation(speakers), min(FOLDS, len(speakers)))
    wrong, number = np.zeros(2), np.zeros(2)
    for fold in folds:
        judged = np.isin(scored.enroll_speakers, fold) | np.isin(scored.test_speakers, fold)
        rest = TrialScores(scores=scored.scores[~judged], labels=scored.labels[~judged])
        try:
            threshold = rule.choose(rest, _fitted(rest, previous))
        except MVectorError:
            return None
        accepted, target = scored.scores[judged] > threshold, scored.labels[judged]
        wrong += np.count_nonzero(accepted & ~target), np.count_nonzero(~accepted & target)
        number += np.count_nonzero(~target), np.count_nonzero(target)
    return (float(wrong[0] / number[0]), float(wrong[1] / number[1])) if number.all() else None
