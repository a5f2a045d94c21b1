"""Choosing a threshold from a few own recordings."""

import numpy as np
import pytest

from mvector.calibration import ThresholdRule, recalibrate, stored_calibration
from mvector.errors import MVectorError
from mvector.metrics import eer
from mvector.scoring import Calibration, TrialScores


def population(people, each, rng, target=0.5, non_target=0.1, speaker_spread=0.05):
    """All pairs of `people` speakers with `each` recordings: cosine-like scores with effects of the speakers."""
    speaker = np.repeat(np.arange(people), each)
    i, j = np.triu_indices(len(speaker), 1)
    labels = speaker[i] == speaker[j]
    effect = speaker_spread * rng.normal(size=people)
    scores = rng.normal(np.where(labels, target, non_target), 0.12) + effect[speaker[i]] + effect[speaker[j]]
    return TrialScores(scores, labels, enroll_speakers=speaker[i], test_speakers=speaker[j])


def cost(scored, threshold):
    accepted = scored.scores > threshold
    return (np.mean(accepted[~scored.labels]) + np.mean(~accepted[scored.labels])) / 2


def test_five_people_with_four_recordings_make_a_threshold_that_serves_others_of_the_same_microphone():
    """Averaged over draws: better than the studio's threshold, and than the equal-error point of so few trials."""
    studio, own, equal = [], [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        development = population(60, 6, rng)
        previous = Calibration.fit(development.scores, development.labels)
        stored = eer(development.scores, development.labels)[1]
        phone = {"target": 0.62, "non_target": 0.28}
        few, many = population(5, 4, rng, **phone), population(60, 6, rng, **phone)
        studio.append(cost(many, stored))
        own.append(cost(many, recalibrate(few, previous, ThresholdRule()).threshold))
        equal.append(cost(many, recalibrate(few, previous, ThresholdRule(at_eer=True)).threshold))
    assert np.mean(own) < 0.85 * np.mean(studio)
    assert np.mean(own) < np.mean(equal)


def test_rates_on_held_out_people_are_those_of_leaving_out_one_by_one():
    scored = population(7, 4, np.random.default_rng(3), target=0.4, non_target=0.2)
    found = recalibrate(scored, None, ThresholdRule())
    wrong, number = np.zeros(2), np.zeros(2)
    for person in range(7):
        judged = (scored.enroll_speakers == person) | (scored.test_speakers == person)
        fitted = Calibration.fit(scored.scores[~judged], scored.labels[~judged])
        for score, target in zip(scored.scores[judged], scored.labels[judged], strict=True):
            number[int(target)] += 1
            wrong[int(target)] += (fitted.llr(score) > 0) != target
    assert found.held_out == pytest.approx(tuple(wrong / number))
    assert found.least_far == 30 / np.count_nonzero(~scored.labels)


def test_rules():
    scored = population(40, 5, np.random.default_rng(0))
    calibration = Calibration.fit(scored.scores, scored.labels)
    assert calibration.llr(ThresholdRule().choose(scored, calibration)) == pytest.approx(0, abs=1e-9)
    strict = ThresholdRule(p_target=0.01, c_fa=10).choose(scored, calibration)
    assert calibration.llr(strict) == pytest.approx(np.log(990), abs=1e-9)
    assert ThresholdRule(at_eer=True).choose(scored, calibration) == eer(scored.scores, scored.labels)[1]
    within = ThresholdRule(target_far=0.01).choose(scored, calibration)
    assert np.mean(scored.scores[~scored.labels] > within) <= 0.01
    assert str(ThresholdRule(target_far=0.001)) == "at a false acceptance rate of 0.1 %"


def test_what_the_recordings_cannot_show_is_refused():
    few = population(5, 4, np.random.default_rng(0))
    with pytest.raises(MVectorError, match=r"0\.1 % cannot be shown by 160 non-target trials: it needs 30,000"):
        recalibrate(few, None, ThresholdRule(target_far=0.001))
    with pytest.raises(MVectorError, match="at least 5 people, best with four or more of each, found 4"):
        recalibrate(population(4, 4, np.random.default_rng(0)), None, ThresholdRule())
    found = recalibrate(few, None, ThresholdRule(), threshold_before=0.9)
    assert found.before.frr == 1
    people = found.speakers_needed(0.001)
    assert (people * 4) ** 2 / 2 == pytest.approx(30_000, rel=0.4)


def test_the_stored_calibration_is_read_from_the_metrics():
    assert stored_calibration({}) is None
    calibration = Calibration(12.0, -3.0)
    assert stored_calibration({"calibration": calibration.as_dict()}) == calibration
