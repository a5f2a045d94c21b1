"""Calibration against a general optimiser, known likelihood ratios, and what a few trials from elsewhere can do."""

import json
import warnings

import numpy as np
import pytest
from scipy.optimize import minimize

from mvector.errors import ModelError, MVectorError
from mvector.scoring import Calibration, calibration


def gaussian_trials(targets, non_targets, seed=0, scale=1.0, offset=0.0):
    """Scores whose log-likelihood ratio is (score - offset) / scale: two normal densities at ±2 with variance 4."""
    rng = np.random.default_rng(seed)
    labels = np.arange(targets + non_targets) < targets
    llr = 2 * rng.normal(size=len(labels)) + np.where(labels, 2, -2)
    return scale * llr + offset, labels


def cost(scale, offset, scores, labels, prior=0.5):
    """Brümmer's prior-weighted cross-entropy in nats, trial by trial."""
    log_odds = np.log(prior / (1 - prior))
    total = 0.0
    for score, label in zip(scores, labels, strict=True):
        llr = scale * score + offset
        share = prior / labels.sum() if label else (1 - prior) / (~labels).sum()
        total += share * np.logaddexp(0, -(llr + log_odds) if label else llr + log_odds)
    return total


def cllr(llrs, labels):
    return (np.logaddexp(0, -llrs[labels]).mean() + np.logaddexp(0, llrs[~labels]).mean()) / (2 * np.log(2))


# ---------------------------------------------------------------- the fit


@pytest.mark.parametrize("prior", [0.5, 0.01, 0.9])
def test_agrees_with_a_general_optimiser(prior):
    scores, labels = gaussian_trials(20, 60, seed=1, scale=0.1, offset=0.3)
    share = np.where(labels, prior / 20, (1 - prior) / 60)
    mean = share @ scores
    deviation = np.sqrt(share @ (scores - mean) ** 2)
    effective = 1 / (20 * (prior / 20) ** 2 + 60 * ((1 - prior) / 60) ** 2)

    def objective(p):
        return cost(p[0], p[1], scores, labels, prior) + (p[0] * deviation) ** 2 / (2 * 100 * effective)

    best = minimize(objective, [5.0, -1.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-14}).x
    found = Calibration.fit(scores, labels, prior)
    np.testing.assert_allclose([found.scale, found.offset], best, rtol=1e-5)
    assert (found.prior, found.targets, found.non_targets) == (prior, 20, 60)


def test_recovers_known_likelihood_ratios():
    scores, labels = gaussian_trials(20_000, 20_000, scale=0.05, offset=0.4)
    found = Calibration.fit(scores, labels)
    assert found.scale == pytest.approx(20, rel=0.03)
    assert found.offset == pytest.approx(-8, rel=0.03)
    again = Calibration.fit(found.llr(scores), labels)
    assert (again.scale, again.offset) == pytest.approx((1, 0), abs=1e-6)


def test_unit_and_order_of_the_scores_change_nothing():
    scores, labels = gaussian_trials(30, 50)
    llrs = Calibration.fit(scores, labels).llr(scores)
    np.testing.assert_allclose(Calibration.fit(1000 * scores - 7, labels).llr(1000 * scores - 7), llrs, atol=1e-8)
    order = np.random.default_rng(1).permutation(80)
    shuffled = Calibration.fit(scores[order], labels[order])
    np.testing.assert_allclose(shuffled.llr(scores), llrs, atol=1e-9)


def test_counts_stand_for_repeated_trials():
    scores, labels = gaussian_trials(30, 50)
    counts = np.random.default_rng(1).integers(1, 5, 80)
    found = Calibration.fit(scores, labels, 0.2, counts)
    repeated = Calibration.fit(np.repeat(scores, counts), np.repeat(labels, counts), 0.2)
    assert (found.scale, found.offset) == pytest.approx((repeated.scale, repeated.offset), rel=1e-9)
    assert (found.targets, found.non_targets) == (repeated.targets, repeated.non_targets)


@pytest.mark.parametrize("counted", [False, True])
def test_many_scores_are_counted_in_bins_and_the_fit_is_the_same(counted, monkeypatch):
    scores, labels = gaussian_trials(2000, 3000, scale=0.05)
    counts = np.random.default_rng(1).integers(0, 5, 5000) if counted else None
    exact = Calibration.fit(scores, labels, 0.2, counts)
    monkeypatch.setattr(calibration, "EXACT_SCORES", 4999)
    binned = Calibration.fit(scores, labels, 0.2, counts)
    assert binned != exact
    np.testing.assert_allclose(binned.llr(scores), exact.llr(scores), rtol=0, atol=1e-5)
    assert (binned.targets, binned.non_targets) == (exact.targets, exact.non_targets)


def test_the_mix_of_trials_does_not_matter():
    """Ten times as many non-targets of the same kind: the llr stays (but for the ridge, which weakens)."""
    scores, labels = gaussian_trials(200, 200)
    counts = np.where(labels, 1, 10)
    one, other = Calibration.fit(scores, labels), Calibration.fit(scores, labels, counts=counts)
    assert (one.scale, one.offset) == pytest.approx((other.scale, other.offset), abs=2e-3)


@pytest.mark.parametrize("gap", [1e-6, 0.1, 100])
def test_trials_that_do_not_overlap_give_finite_ratios(gap):
    scores = np.concatenate([np.linspace(0, 1, 10), np.linspace(1 + gap, 2 + gap, 10)])
    labels = np.arange(20) >= 10
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Calibration.fit(scores, labels)
    llrs = found.llr(scores)
    assert (llrs[labels] > 0).all()
    assert (llrs[~labels] < 0).all()
    assert np.abs(llrs).max() < 40


# ---------------------------------------------------------------- probabilities


def test_probability_is_bayes_rule():
    known = Calibration(scale=2.0, offset=-1.0)
    for score in (-1.0, 0.5, 3.0):
        for prior in (0.001, 0.5, 0.9):
            odds = np.exp(2 * score - 1) * prior / (1 - prior)
            assert known.probability(score, prior) == pytest.approx(odds / (1 + odds))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(known.probability(np.array([-1e4, 1e4]), 0.01), [0, 1])
    for prior in (0, 1, -0.1):
        with pytest.raises(MVectorError, match="between 0 and 1"):
            known.probability(0.3, prior)


def test_probabilities_come_true():
    scores, labels = gaussian_trials(20_000, 60_000, scale=0.1)
    probability = Calibration.fit(scores, labels).probability(scores, 0.25)  # the share of targets here
    for low in np.arange(0, 1, 0.2):
        inside = (probability >= low) & (probability < low + 0.2)
        assert labels[inside].mean() == pytest.approx(probability[inside].mean(), abs=0.03)


# ---------------------------------------------------------------- a few trials from elsewhere


def elsewhere(speakers, recordings, noise, common, seed, size=16):
    """Cosine trials of made-up voices: recordings of a speaker differ by `noise`, all share a channel of `common`."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(speakers, 1, size)) + noise * rng.normal(size=(speakers, recordings, size))
    x = (x + common * np.sin(np.arange(size) * 3.0)).reshape(-1, size)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    i, j = np.triu_indices(len(x), 1)
    return (x @ x.T)[i, j], i // recordings == j // recordings


def test_few_trials_beat_the_stored_calibration_and_a_fit_of_their_own():
    """Five speakers with four recordings each: Cllr on other people, averaged over 40 microphones and rooms."""
    stored = Calibration.fit(*elsewhere(40, 6, 0.8, 0.0, 12345))
    found = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        noise, common = 0.8 * np.exp(0.3 * rng.normal()), 0.7 * abs(rng.normal())
        few = elsewhere(5, 4, noise, common, 1000 + seed)
        scores, labels = elsewhere(30, 5, noise, common, 2000 + seed)

        def plain(p, few=few):
            llrs, target = p[0] * few[0] + p[1], few[1]
            return np.logaddexp(0, -llrs[target]).mean() + np.logaddexp(0, llrs[~target]).mean()

        own = minimize(plain, [stored.scale, stored.offset], method="BFGS").x
        candidates = (stored.llr(scores), own[0] * scores + own[1], stored.adapt(*few).llr(scores))
        found.append([cllr(llrs, labels) for llrs in candidates])
    unadapted, alone, adapted = np.mean(found, axis=0)
    assert adapted < 0.8 * unadapted
    assert adapted < 0.8 * alone


def test_adapting_agrees_with_a_general_optimiser():
    stored = Calibration(12.0, -4.0)
    scores, labels = gaussian_trials(12, 30, seed=3, scale=0.12, offset=0.45)
    effective = 4 / (1 / 12 + 1 / 30)

    def objective(p):
        if p[0] <= 0:
            return np.inf
        pull = (p[0] - 1 - np.log(p[0])) / 0.3**2 + p[1] ** 2 / (2 * 2.0**2)
        return effective * cost(p[0], p[1], stored.llr(scores), labels) + 2.5 * pull

    a, b = minimize(objective, [0.9, -0.5], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-13}).x
    found = stored.adapt(scores, labels, strength=2.5)
    assert (found.scale, found.offset) == pytest.approx((12 * a, -4 * a + b), rel=1e-6)
    assert (found.targets, found.non_targets) == (12, 30)


def test_strength_leads_from_the_trials_to_the_stored_calibration():
    stored = Calibration(12.0, -4.0)
    scores, labels = gaussian_trials(40, 100, seed=3, scale=0.12, offset=0.45)
    strong, weak = stored.adapt(scores, labels, 1e7), stored.adapt(scores, labels, 1e-7)
    own = Calibration.fit(scores, labels)
    assert (strong.scale, strong.offset) == pytest.approx((12, -4), rel=1e-4)
    assert (weak.scale, weak.offset) == pytest.approx((own.scale, own.offset), rel=0.02)
    adapted = [stored.adapt(scores, labels, strength) for strength in (1e-2, 1, 100, 1e4)]
    costs = [cost(one.scale, one.offset, scores, labels) for one in adapted]
    assert all(costs[k] < costs[k + 1] for k in range(3))  # the trials are fitted less and less


def test_many_trials_replace_the_stored_calibration():
    scores, labels = gaussian_trials(3000, 3000, scale=0.12, offset=0.45)
    adapted, own = Calibration(30.0, -2.0).adapt(scores, labels), Calibration.fit(scores, labels)
    assert (adapted.scale, adapted.offset) == pytest.approx((own.scale, own.offset), rel=0.02)


def test_the_scale_stays_positive_whatever_the_trials_say():
    scores, labels = gaussian_trials(10, 30)
    adapted = Calibration(1.0, 0.0).adapt(-scores, labels)
    assert 0 < adapted.scale < 0.5
    apart = Calibration(1.0, 0.0).adapt(np.where(labels, 100.0, -100.0) + scores, labels)
    assert 0.5 < apart.scale < 10


# ---------------------------------------------------------------- files and mistakes


def test_dictionary_round_trip_through_json():
    found = Calibration.fit(*gaussian_trials(20, 30), prior=0.1)
    assert Calibration.from_dict(json.loads(json.dumps(found.as_dict()))) == found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": None}, "no finite number 'scale'"),
        ({"offset": "1"}, "no finite number 'offset'"),
        ({"offset": float("nan")}, "no finite number 'offset'"),
        ({"targets": True}, "no finite number 'targets'"),
        ({"scale": -1.0}, "scale above 0"),
        ({"prior": 1.0}, "prior between 0 and 1"),
    ],
)
def test_a_damaged_dictionary_gets_a_sentence(change, message):
    values = {**Calibration(2.0, 1.0).as_dict(), **change}
    with pytest.raises(ModelError, match=message):
        Calibration.from_dict(values)


@pytest.mark.parametrize(
    ("scores", "labels", "prior", "message"),
    [
        ([0.1, 0.2], [1, 1], 0.5, "2 target and 0 non-target"),
        ([0.1, 0.2], [0, 0], 0.5, "0 target and 2 non-target"),
        ([], [], 0.5, "0 target and 0 non-target"),
        ([0.1, np.nan], [1, 0], 0.5, "1 of 2 scores are NaN"),
        ([0.1, 0.2, 0.3], [1, 0], 0.5, r"shapes \(3,\) and \(2,\)"),
        ([0.1, 0.2], [1, 2], 0.5, "labels must be a row of 1"),
        ([0.1, 0.1], [1, 0], 0.5, "all scores are the same"),
        ([0.1, 0.2], [0, 1], 1.0, "between 0 and 1"),
    ],
)
def test_bad_trials_get_a_sentence(scores, labels, prior, message):
    with pytest.raises(MVectorError, match=message):
        Calibration.fit(scores, labels, prior)
    with pytest.raises(MVectorError, match=message):
        Calibration(2.0, 1.0, prior).adapt(scores, labels)


def test_other_mistakes_get_a_sentence():
    scores, labels = gaussian_trials(10, 10)
    with pytest.raises(MVectorError, match="check the labels"):
        Calibration.fit(-scores, labels)
    with pytest.raises(MVectorError, match="counts"):
        Calibration.fit(scores, labels, counts=np.ones(19))
    for strength in (0, -1, np.inf):
        with pytest.raises(MVectorError, match="strength"):
            Calibration(1.0, 0.0).adapt(scores, labels, strength)
