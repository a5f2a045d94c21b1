"""Intervals over resampled speakers: coverage on made-up systems, width, repeatability."""

import numpy as np
import pytest

from mvector.errors import MVectorError
from mvector.metrics import confidence_intervals, eer, min_dcf


def made_up_trials(seed, speakers=30, trials=4000, spread=0.5):
    """Scores whose level differs from speaker to speaker by `spread`."""
    rng = np.random.default_rng(seed)
    level = rng.normal(0, spread, speakers)
    enroll, test = rng.integers(0, speakers, (2, trials))
    same = rng.random(trials) < 0.3
    test = np.where(same, enroll, test)
    labels = enroll == test
    return rng.normal(size=trials) + 3 * labels + level[enroll] * labels, labels, enroll, test


def test_interval_holds_the_value_and_is_repeatable():
    scores, labels, enroll, test = made_up_trials(0)
    found = confidence_intervals(scores, labels, enroll, test)
    assert found["eer"][0] < eer(scores, labels)[0] < found["eer"][1]
    assert found["min_dcf"][0] < min_dcf(scores, labels) < found["min_dcf"][1]
    assert found == confidence_intervals(scores, labels, enroll, test)
    order = np.random.default_rng(1).permutation(len(scores))
    names = np.array([10 * number + 7 for number in range(30)])  # any integers will do
    again = confidence_intervals(scores[order], labels[order], names[enroll[order]], names[test[order]])
    for name, interval in found.items():
        assert again[name] == pytest.approx(interval)


def test_covers_the_true_rate():
    """Of intervals at 90 % about nine in ten hold the rate that very many speakers would give."""
    truth = eer(*made_up_trials(10_000, speakers=20_000, trials=400_000)[:2])[0]
    hits = 0
    for seed in range(40):
        low, high = confidence_intervals(*made_up_trials(seed, 25, 2000), level=0.9, resamples=60)["eer"]
        hits += low <= truth <= high
    assert hits >= 31


def test_few_speakers_make_it_wide():
    wide = confidence_intervals(*made_up_trials(2, speakers=8, spread=1.0))["eer"]
    narrow = confidence_intervals(*made_up_trials(2, speakers=200, spread=1.0))["eer"]
    assert wide[1] - wide[0] > 1.5 * (narrow[1] - narrow[0])


def test_many_trials_are_thinned(monkeypatch):
    monkeypatch.setattr("mvector.metrics.confidence.MOST_TRIALS", 1000)
    scores, labels, enroll, test = made_up_trials(0, speakers=100, trials=40_000)
    low, high = confidence_intervals(scores, labels, enroll, test)["eer"]
    assert low < eer(scores, labels)[0] < high


def test_bad_input():
    with pytest.raises(MVectorError, match="a speaker is needed"):
        confidence_intervals([0.1, 0.2], [0, 1], [1], [1, 2])
    with pytest.raises(MVectorError, match="0 non-target"):
        confidence_intervals([0.1, 0.2], [1, 1], [1, 2], [1, 2])
