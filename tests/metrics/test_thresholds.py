"""Thresholds chosen by a rule do on the trials what the rule says, and intervals are those of literal resampling."""

import numpy as np
import pytest

from mvector.errors import MVectorError
from mvector.metrics import eer
from mvector.metrics.thresholds import rates_at_threshold, threshold_at_eer, threshold_at_far


@pytest.fixture(scope="module")
def trials():
    rng = np.random.default_rng(0)
    labels = np.arange(8000) < 800
    scores = np.round(rng.normal(np.where(labels, 0.5, 0.1), 0.15), 3)  # with ties
    return scores, labels


def rates(scores, labels, threshold):
    return np.mean(scores[~labels] > threshold), np.mean(scores[labels] <= threshold)


def test_at_the_equal_error_rate(trials):
    scores, labels = trials
    threshold = threshold_at_eer(*trials)
    assert threshold == eer(*trials)[1]
    assert rates(scores, labels, threshold) == pytest.approx([eer(*trials)[0]] * 2, abs=0.002)


@pytest.mark.parametrize("far", [0.2, 0.01, 0.0042])
def test_at_a_far_no_lower_threshold_keeps_it(trials, far):
    scores, labels = trials
    threshold = threshold_at_far(*trials, far)
    assert rates(scores, labels, threshold)[0] <= far
    lower = scores[scores < threshold].max()
    assert rates(scores, labels, lower)[0] > far


def test_a_far_that_the_trials_cannot_show_is_refused(trials):
    with pytest.raises(MVectorError, match=r"0\.1 % cannot be shown by 7,200 .*needs 30,000.*0\.42 % at the least"):
        threshold_at_far(*trials, 0.001)


def test_intervals_are_those_of_literally_repeated_trials():
    """Every draw of speakers is written out as a longer list of trials, some of them several times."""
    rng = np.random.default_rng(1)
    people, each = 6, 3
    speaker = np.repeat(np.arange(people), each)
    i, j = np.triu_indices(len(speaker), 1)
    labels = speaker[i] == speaker[j]
    scores = rng.normal(np.where(labels, 0.4, 0.2), 0.2)
    result = rates_at_threshold(scores, labels, 0.3, None, speaker[i], speaker[j], resamples=400, seed=5)
    assert (result.far, result.frr) == pytest.approx(rates(scores, labels, 0.3))
    assert (result.targets, result.non_targets, result.speakers) == (labels.sum(), (~labels).sum(), people)
    assert result.interval_too_narrow

    rng, found = np.random.default_rng(5), []
    for _ in range(400):
        times = np.bincount(rng.integers(0, people, people), minlength=people)
        repeats = np.where(labels, times[speaker[i]], times[speaker[i]] * times[speaker[j]])
        if repeats[labels].any() and repeats[~labels].any():
            found.append(rates(np.repeat(scores, repeats), np.repeat(labels, repeats), 0.3))
    expected = np.quantile(found, [0.025, 0.975], axis=0)
    assert result.far_interval_95 == pytest.approx(expected[:, 0], abs=1e-12)
    assert result.frr_interval_95 == pytest.approx(expected[:, 1], abs=1e-12)


def test_binned_scores_have_rates_and_no_intervals():
    scores, labels, counts = np.array([0.1, 0.5, 0.2, 0.6]), np.array([0, 0, 1, 1]), np.array([90, 10, 1, 3])
    result = rates_at_threshold(scores, labels, 0.3, counts, [1, 1, 1, 1], [2, 2, 1, 1])
    assert (result.far, result.frr) == (0.1, 0.25)
    assert (result.targets, result.non_targets, result.far_interval_95) == (4, 100, None)
    assert result.as_dict()["far"] == 0.1
