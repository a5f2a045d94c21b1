"""Detection metrics against recorded values of other toolkits, a brute-force version and invariants."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest

from mvector.errors import MVectorError
from mvector.metrics import (
    FarPoint,
    accuracy,
    act_dcf,
    average_precision,
    count_trials,
    eer,
    error_rates,
    frr_at_far,
    min_dcf,
    roc_auc,
)
from mvector.metrics.detection import nontargets_needed, nontargets_needed_for_cost

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


def small_trials(seed, ties, size=40):
    rng = np.random.default_rng(seed)
    labels = rng.random(size) < 0.4
    labels[:2] = True, False
    scores = 2 * rng.normal(size=size) + labels
    return (np.round(scores) if ties else scores), labels


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_areas_and_rates_agree_with_their_definitions(seed, ties):
    scores, labels = small_trials(seed, ties)
    targets, nontargets = scores[labels].tolist(), scores[~labels].tolist()

    wins = sum((t > n) + (t == n) / 2 for t in targets for n in nontargets)
    assert roc_auc(scores, labels) == pytest.approx(wins / len(targets) / len(nontargets), abs=1e-12)

    area = recall_before = 0.0
    for lowest in sorted(set(scores.tolist()), reverse=True):  # those at or above are retrieved
        found = sum(t >= lowest for t in targets)
        precision = found / (found + sum(n >= lowest for n in nontargets))
        area += (found / len(targets) - recall_before) * precision
        recall_before = found / len(targets)
    assert average_precision(scores, labels) == pytest.approx(area, abs=1e-12)

    for threshold in (-1.0, 0.0, 0.3, float(scores[3])):
        right = [(score > threshold) == label for score, label in zip(scores, labels, strict=True)]
        assert accuracy(scores, labels, threshold) == pytest.approx(sum(right) / len(right), abs=1e-12)

    for p_target, c_miss, c_fa in ((0.01, 1, 1), (0.3, 1, 1), (0.3, 5, 2)):
        # The Bayes decision: accept when the expected cost of accepting is the lower one.
        accepted = [c_miss * p_target * math.exp(llr) > c_fa * (1 - p_target) for llr in scores.tolist()]
        missed = np.mean([not yes for yes, label in zip(accepted, labels, strict=True) if label])
        wrongly = np.mean([yes for yes, label in zip(accepted, labels, strict=True) if not label])
        cost = c_miss * p_target * missed + c_fa * (1 - p_target) * wrongly
        cost /= min(c_miss * p_target, c_fa * (1 - p_target))
        assert act_dcf(scores, labels, p_target, c_miss, c_fa) == pytest.approx(cost, abs=1e-12)
        assert act_dcf(scores, labels, p_target, c_miss, c_fa) >= min_dcf(scores, labels, p_target, c_miss, c_fa)


def test_cost_of_known_likelihood_ratios():
    """LLRs of two normal distributions: actDCF is then minDCF but for chance, and shifted LLRs cost more."""
    rng = np.random.default_rng(0)
    labels = np.arange(60_000) < 20_000
    llrs = rng.normal(size=60_000) * 3 + np.where(labels, 4.5, -4.5)  # mean ± variance / 2
    assert act_dcf(llrs, labels, 0.1) == pytest.approx(min_dcf(llrs, labels, 0.1), abs=0.01)
    assert act_dcf(llrs + 4, labels, 0.1) > 1.3 * min_dcf(llrs, labels, 0.1)
    assert act_dcf(llrs + 40, labels, 0.1) == pytest.approx(9)  # accepts everybody: worse than rejecting everybody


@pytest.mark.parametrize("ties", [False, True])
def test_frr_at_far_is_the_best_within_the_far(ties):
    scores, labels = small_trials(0, ties, size=5500)
    nontargets = np.sort(scores[~labels])
    for far in (0.3, 0.1, 0.01):
        point = frr_at_far(scores, labels, far)
        within = [t for t in set(scores.tolist()) if np.mean(nontargets > t) <= far]
        assert point == FarPoint(
            far, pytest.approx(np.mean(scores[labels] <= min(within))), min(within), True, 30 / far
        )


def test_what_is_not_measurable_has_no_number():
    for far, needed in ((0.01, 3000), (0.001, 30_000), (0.0001, 300_000), (1e-5, 3_000_000), (0.07, 429)):
        assert nontargets_needed(far) == needed
    for p_target, needed in ((0.05, 570), (0.01, 2970), (0.001, 29_970), (0.5, 30), (0.99, 30)):
        assert nontargets_needed_for_cost(p_target) == needed
    assert nontargets_needed_for_cost(0.01, c_miss=10) == 297
    scores = np.linspace(0, 1, 3001)
    labels = np.arange(3001) == 3000
    assert frr_at_far(scores, labels, 0.01) == FarPoint(0.01, 0.0, scores[2969], True, 3000)
    assert frr_at_far(scores[1:], labels[1:], 0.01) == FarPoint(0.01, None, None, False, 3000)
    assert frr_at_far([0.5, 0.6], [0, 1], 0.1, counts=[300, 1]).measurable
    for far in (0, 1, -0.1, 5):
        with pytest.raises(MVectorError, match="a FAR is a fraction"):
            frr_at_far(scores, labels, far)


def test_counts_and_order_change_no_metric():
    rng = np.random.default_rng(5)
    scores, labels = small_trials(5, ties=True, size=1000)
    counts = rng.integers(0, 9, 1000)
    counts[:2] = 3
    repeated = rng.permutation(np.repeat(np.arange(1000), counts))
    for metric in (
        roc_auc,
        average_precision,
        act_dcf,
        lambda s, y, counts=None: accuracy(s, y, 1.0, counts),
        lambda s, y, counts=None: frr_at_far(s, y, 0.05, counts).frr,
    ):
        value = metric(scores, labels, counts=counts)
        assert 0 < value < 100
        assert metric(scores[repeated], labels[repeated]) == pytest.approx(value, abs=1e-12)


def test_more_bad_input_gets_a_sentence():
    for metric in (roc_auc, average_precision, act_dcf):
        with pytest.raises(MVectorError, match="1 of 2 scores are NaN"):
            metric([np.nan, 1.0], [0, 1])
    with pytest.raises(MVectorError, match="p_target"):
        act_dcf([0.1, 0.2], [0, 1], p_target=1.0)
    with pytest.raises(MVectorError, match="the threshold is not a number"):
        accuracy([0.1, 0.2], [0, 1], np.nan)
    # In float32 the threshold 0.1 would become the score itself, which would then be rejected.
    assert accuracy(np.array([0.1, 0.0], np.float32), [1, 0], 0.1) == 1.0
