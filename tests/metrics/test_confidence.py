"""Intervals and comparisons over resampled speakers: brute force, coverage on made-up systems, repeatability."""

import numpy as np
import pytest

from mvector.errors import MVectorError
from mvector.metrics import (
    accuracy,
    act_dcf,
    average_precision,
    cllr,
    confidence_intervals,
    eer,
    error_rates,
    min_cllr,
    min_dcf,
    paired_difference,
    roc_auc,
)
from mvector.metrics.confidence import TooFewSpeakersError
from mvector.metrics.resampling import RankedTrials, measure_of, thinned


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


def frr_within(scores, labels, far):
    _, fnr, fpr = error_rates(scores, labels)
    return fnr[fpr <= far][0]


BY_HAND = {
    "eer": lambda s, y, llrs, t: eer(s, y)[0],
    "min_dcf": lambda s, y, llrs, t: min_dcf(s, y, 0.01),
    "min_dcf_0.05": lambda s, y, llrs, t: min_dcf(s, y, 0.05),
    "act_dcf_0.2": lambda s, y, llrs, t: act_dcf(llrs, y, 0.2),
    "frr_at_far_0.1": lambda s, y, llrs, t: frr_within(s, y, 0.1),
    "cllr": lambda s, y, llrs, t: cllr(llrs, y),
    "min_cllr": lambda s, y, llrs, t: min_cllr(s, y),
    "roc_auc": lambda s, y, llrs, t: roc_auc(s, y),
    "average_precision": lambda s, y, llrs, t: average_precision(s, y),
    "accuracy": lambda s, y, llrs, t: accuracy(s, y, t),
}


def duplicated(labels, enroll, test, times):
    """Indexes of the trials, a target trial as often as its speaker is drawn, a non-target for each pair drawn."""
    index = []
    for trial, (label, i, j) in enumerate(zip(labels.tolist(), enroll.tolist(), test.tolist(), strict=True)):
        index += [trial] * (times[i] if label else times[i] * times[j])
    return np.array(index)


def draws_of(seed, speakers, resamples):
    rng = np.random.default_rng(seed)
    return [np.bincount(rng.integers(0, speakers, speakers), minlength=speakers).tolist() for _ in range(resamples)]


@pytest.mark.parametrize("ties", [False, True])
def test_every_metric_agrees_with_really_duplicated_trials(ties):
    scores, labels, enroll, test = made_up_trials(4, speakers=9, trials=400)
    scores = np.round(scores, 1) if ties else scores
    llrs = 2 * scores - 3 + np.random.default_rng(1).normal(size=400)  # not in the order of the scores
    threshold = 1.3
    found = confidence_intervals(
        scores, labels, enroll, test, level=0.5, resamples=15, seed=3, metrics=list(BY_HAND), llrs=llrs,
        threshold=threshold,
    )  # fmt: skip
    samples = [duplicated(labels, enroll, test, times) for times in draws_of(3, 9, 15)]
    for name, metric in BY_HAND.items():
        values = [metric(scores[s], labels[s], llrs[s], threshold) for s in samples]
        assert found[name] == pytest.approx(np.quantile(values, [0.25, 0.75]), abs=1e-12), name
        assert found[name][0] < found[name][1]


@pytest.mark.parametrize("metric", ["eer", "cllr", "accuracy"])
def test_paired_difference_agrees_with_really_duplicated_trials(metric):
    scores, labels, enroll, test = made_up_trials(5, speakers=9, trials=400)
    other = scores + np.random.default_rng(1).normal(size=400)
    found = paired_difference(scores, other, labels, enroll, test, metric, level=0.5, resamples=15, seed=3)
    thresholds = eer(scores, labels)[1], eer(other, labels)[1]

    def difference(sample):
        return np.subtract(*(
            BY_HAND[metric](x[sample], labels[sample], x[sample], t)
            for x, t in zip((scores, other), thresholds, strict=True)
        ))  # fmt: skip

    values = np.array([difference(duplicated(labels, enroll, test, times)) for times in draws_of(3, 9, 15)])
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(values, [0.25, 0.75])), abs=1e-12)
    assert found.difference == pytest.approx(difference(np.arange(400)), abs=1e-12)
    assert found.value_a - found.value_b == found.difference
    assert found.p_value == min(1, 2 * (min((values <= 0).sum(), (values >= 0).sum()) + 1) / 16)
    assert found.speakers == 9
    assert found.interval_too_narrow
    assert not found.larger_than_chance


def test_pairing_finds_what_two_intervals_cannot():
    scores, labels, enroll, test = made_up_trials(6, speakers=60, trials=8000, spread=1.0)
    rng = np.random.default_rng(0)
    better = scores + 0.25 * labels
    intervals = [confidence_intervals(s, labels, enroll, test)["eer"] for s in (scores, better)]
    assert intervals[1][1] > intervals[0][0]  # they overlap
    found = paired_difference(scores, better, labels, enroll, test, resamples=200)
    assert found.larger_than_chance
    assert found.difference > 0
    assert found.p_value < 0.05
    swapped = paired_difference(better, scores, labels, enroll, test, resamples=200)
    assert (swapped.difference, swapped.p_value) == (-found.difference, found.p_value)
    same = paired_difference(scores, scores, labels, enroll, test, resamples=20)
    assert (same.difference, same.p_value, same.larger_than_chance) == (0, 1, False)
    noise = [scores + 0.3 * rng.normal(size=8000) for _ in range(2)]
    assert paired_difference(*noise, labels, enroll, test, resamples=100).p_value > 0.05


def test_a_comparison_that_cannot_be_made_is_refused():
    scores, labels, enroll, test = made_up_trials(0, trials=500)
    with pytest.raises(MVectorError, match=r"frr_at_far_0.001 is not measurable: it needs 30,000 .* found 3\d\d"):
        paired_difference(scores, scores, labels, enroll, test, "frr_at_far_0.001")
    with pytest.raises(MVectorError, match=r"min_dcf_0.01 is not measurable: it needs 2,970"):
        paired_difference(scores, scores, labels, enroll, test, "min_dcf_0.01")
    with pytest.raises(MVectorError, match="two rows"):
        paired_difference(scores, scores[1:], labels, enroll, test)
    with pytest.raises(MVectorError, match=r"unknown metric 'err'; there are: eer, .* Did you mean 'eer'"):
        paired_difference(scores, scores, labels, enroll, test, "err")
    with pytest.raises(MVectorError, match="unknown metric 'min_dcf_low'"):
        confidence_intervals(scores, labels, enroll, test, metrics=["min_dcf_low"])
    with pytest.raises(MVectorError, match="give llrs"):
        confidence_intervals(scores, labels, enroll, test, metrics=["cllr"])
    with pytest.raises(TooFewSpeakersError, match="from 1 speakers"):
        confidence_intervals([0.1, 0.2, 0.3], [0, 1, 1], [1, 1, 1], [1, 1, 1], resamples=0)


def test_many_trials_are_thinned(monkeypatch):
    monkeypatch.setattr("mvector.metrics.resampling.MOST_TRIALS", 1000)
    scores, labels, enroll, test = made_up_trials(0, speakers=100, trials=40_000)
    names = [*BY_HAND]
    found = confidence_intervals(scores, labels, enroll, test, metrics=names, llrs=scores, threshold=1.5)
    for name, (low, high) in found.items():
        assert low < BY_HAND[name](scores, labels, scores, 1.5) < high, name


def test_thinned_trials_stand_for_the_whole(monkeypatch):
    monkeypatch.setattr("mvector.metrics.resampling.MOST_TRIALS", 14_000)
    scores, labels, enroll, test = made_up_trials(0, speakers=100, trials=40_000)
    other = np.random.default_rng(0).permutation(scores)
    few, copies = thinned(labels, np.random.default_rng(0), [scores, other])
    assert len(set(few.tolist())) == len(few) == labels.sum() + 14_000
    assert copies.sum() == pytest.approx(40_000)
    for score in (scores, other):  # the highest 3,500 of either are all there, so a low FAR is exact
        part = RankedTrials(score[few], labels[few], enroll[few], test[few], copies, score[few], 1.5)
        resample = part.resample(np.ones(100))
        for far in (0.001, 0.01, 0.1):
            assert measure_of(f"frr_at_far_{far}", part)(resample) == frr_within(score, labels, far)
        for name in ("eer", "average_precision", "accuracy", "cllr", "roc_auc"):
            value = BY_HAND[name](score, labels, score, 1.5)
            assert measure_of(name, part)(resample) == pytest.approx(value, abs=0.01), name
    assert accuracy(scores[few], labels[few], 1.5) < accuracy(scores, labels, 1.5) - 0.02  # as if each stood for itself


def test_bad_input():
    with pytest.raises(MVectorError, match="a speaker is needed"):
        confidence_intervals([0.1, 0.2], [0, 1], [1], [1, 2])
    with pytest.raises(MVectorError, match="0 non-target"):
        confidence_intervals([0.1, 0.2], [1, 1], [1, 2], [1, 2])
