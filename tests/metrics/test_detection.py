"""EER and minDCF against recorded values of other toolkits, a brute-force version and invariants."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from mvector.errors import MVectorError
from mvector.metrics import count_trials, eer, error_rates, min_dcf

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def golden():
    with open(GOLDEN / "scores.json", encoding="utf-8") as file:
        return json.load(file), dict(np.load(GOLDEN / "scores.npz"))


def golden_trials(arrays, name):
    if name == "perfectly_separated":
        return arrays[name], np.arange(550) < 50
    return arrays[name].ravel(), (arrays["enroll_ids"][:, None] == arrays["test_ids"][None, :]).ravel()


@pytest.mark.parametrize(
    "name", ["cosine", "asnorm_top10", "asnorm_top30", "snorm", "cosine_rounded_with_ties", "perfectly_separated"]
)
def test_agrees_with_recorded_values(golden, name):
    recorded, arrays = golden
    expected = recorded[name]
    scores, labels = golden_trials(arrays, name)
    assert count_trials(labels) == (expected["n_target"], expected["n_nontarget"])
    rate, threshold = eer(scores, labels)
    assert rate == pytest.approx(expected["eer"], abs=1e-6)
    if "eer_threshold" in expected:
        assert threshold == pytest.approx(expected["eer_threshold"], abs=1e-6)
    for p_target, value in expected["min_dcf"].items():
        assert min_dcf(scores, labels, float(p_target)) == pytest.approx(value, abs=1e-6)


def brute_force(scores, labels, p_target):
    """The definitions, point by point, in exact whole-number comparisons where it matters."""
    targets, nontargets = scores[labels], scores[~labels]
    points = [(0.0, 1.0, -np.inf)]
    points += [(np.mean(targets <= t), np.mean(nontargets > t), t) for t in sorted(set(scores.tolist()))]
    cost = min(p_target * fnr + (1 - p_target) * fpr for fnr, fpr, _ in points) / min(p_target, 1 - p_target)
    for (fnr_0, fpr_0, _), (fnr_1, fpr_1, threshold) in itertools.pairwise(points):
        if fnr_1 >= fpr_1 - 1e-12:
            # Where the straight lines fnr(s), fpr(s), 0 ≤ s ≤ 1, meet.
            s = (fpr_0 - fnr_0) / ((fnr_1 - fnr_0) - (fpr_1 - fpr_0))
            return fnr_0 + s * (fnr_1 - fnr_0), threshold, cost
    raise AssertionError("no crossing")


@pytest.mark.parametrize("seed", range(60))
def test_agrees_with_brute_force(seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(2, 40))
    labels = rng.random(size) < 0.4
    labels[:2] = True, False
    scores = rng.normal(size=size) + labels
    if seed % 2:
        scores = np.round(scores)  # many ties
    p_target = (0.01, 0.2, 0.5, 0.9)[seed % 4]
    rate, threshold, cost = brute_force(scores, labels, p_target)
    assert eer(scores, labels) == pytest.approx((rate, threshold), abs=1e-12)
    assert min_dcf(scores, labels, p_target) == pytest.approx(cost, abs=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_order_and_monotone_transform_change_nothing(dtype):
    rng = np.random.default_rng(0)
    labels = rng.random(500) < 0.3
    scores = np.round(rng.normal(size=500) + labels, 1).astype(dtype)
    rate, threshold = eer(scores, labels)
    cost = min_dcf(scores, labels)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(500)
        assert eer(scores[order], labels[order]) == (rate, threshold)
        assert min_dcf(scores[order], labels[order]) == cost
    bent = np.exp(scores.astype(np.float64)) * 3 - 7
    assert eer(bent, labels) == pytest.approx((rate, np.exp(np.float64(threshold)) * 3 - 7), abs=1e-12)
    assert min_dcf(bent, labels) == cost


def test_mirror_image_has_the_same_eer():
    rng = np.random.default_rng(3)
    labels = rng.random(400) < 0.5
    scores = rng.normal(size=400) + labels
    assert eer(-scores, ~labels)[0] == pytest.approx(eer(scores, labels)[0], abs=1e-12)


def test_counts_stand_for_repeated_trials():
    rng = np.random.default_rng(1)
    labels = rng.random(200) < 0.5
    scores = np.round(rng.normal(size=200) + labels, 1)
    counts = rng.integers(0, 5, 200)
    repeated = np.repeat(scores, counts), np.repeat(labels, counts)
    assert eer(scores, labels, counts)[0] == pytest.approx(eer(*repeated)[0], abs=1e-12)
    assert min_dcf(scores, labels, counts=counts) == pytest.approx(min_dcf(*repeated), abs=1e-12)
    assert count_trials(labels, counts) == count_trials(repeated[1])


def test_extremes():
    assert eer([1.0, 0.0], [0, 1])[0] == pytest.approx(1.0)
    assert eer([0.5] * 4, [0, 1, 1, 0]) == pytest.approx((0.5, 0.5))  # a constant score is a coin
    assert min_dcf([0.5] * 4, [0, 1, 1, 0]) == pytest.approx(1.0)
    assert min_dcf([1.0, 0.0], [0, 1], p_target=0.9) == pytest.approx(1.0)  # accepting all is the best there
    assert eer([3, 1, 2, 0], [1, 0, 1, 0]) == (0.0, 1.0)  # integers


def test_costs_weigh_the_two_errors():
    scores, labels = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0, 0, 1, 0, 1, 1]
    # At 0.4: one miss of three targets, no false alarm. At 0.2: no miss, one false alarm of three.
    assert min_dcf(scores, labels, p_target=0.5) == pytest.approx(1 / 3)
    assert min_dcf(scores, labels, p_target=0.5, c_miss=3) == pytest.approx(1 / 3)
    assert min_dcf(scores, labels, p_target=0.5, c_fa=2) == pytest.approx(1 / 3)
    assert min_dcf(scores, labels, p_target=0.01, c_miss=99) == pytest.approx(1 / 3)


def test_error_rates_are_monotone_and_end_at_accept_none():
    thresholds, fnr, fpr = error_rates([0.2, 0.1, 0.2, 0.3], [1, 0, 0, 1])
    np.testing.assert_array_equal(thresholds, [0.1, 0.2, 0.3])
    np.testing.assert_array_equal(fnr, [0, 0.5, 1])
    np.testing.assert_array_equal(fpr, [0.5, 0, 0])


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([0.1, 0.2], [1, 1], "2 target and 0 non-target"),
        ([0.1, 0.2], [0, 0], "0 target and 2 non-target"),
        ([], [], "0 target and 0 non-target"),
        ([0.1, np.nan], [1, 0], "1 of 2 scores are NaN"),
        ([0.1, np.inf], [1, 0], "NaN or infinite"),
        ([0.1, 0.2, 0.3], [1, 0], r"shapes \(3,\) and \(2,\)"),
        ([[0.1, 0.2]], [[1, 0]], "two rows"),
        ([0.1, 0.2], [1, 2], "labels must be 1"),
    ],
)
def test_bad_trials_get_a_sentence(scores, labels, message):
    with pytest.raises(MVectorError, match=message):
        eer(scores, labels)
    with pytest.raises(MVectorError, match=message):
        min_dcf(scores, labels)


def test_bad_operating_point_and_counts():
    for arguments in ({"p_target": 0}, {"p_target": 1.5}, {"c_miss": 0}, {"c_fa": -1}):
        with pytest.raises(MVectorError, match="p_target"):
            min_dcf([0.1, 0.2], [0, 1], **arguments)
    with pytest.raises(MVectorError, match="counts"):
        eer([0.1, 0.2], [0, 1], counts=[1])
    with pytest.raises(MVectorError, match="counts"):
        eer([0.1, 0.2], [0, 1], counts=[1, -1])


def test_a_million_trials_stay_small_and_quick():
    """Nothing like thresholds × scores may be made: that would be terabytes here."""
    import tracemalloc

    rng = np.random.default_rng(0)
    labels = rng.random(1_000_000) < 0.05
    scores = (rng.normal(size=1_000_000) + 2 * labels).astype(np.float32)
    tracemalloc.start()
    rate, _ = eer(scores, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rate == pytest.approx(0.15866, abs=0.01)  # Φ(-1)
    assert peak < 100e6
