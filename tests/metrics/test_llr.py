"""Cllr and min Cllr against the formula term by term, isotonic regression of another library, and invariants."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import isotonic_regression

from mvector.errors import MVectorError
from mvector.metrics import cllr, min_cllr

GOLDEN = Path(__file__).parents[1] / "golden"


def made_up(seed, size=300, ties=False):
    rng = np.random.default_rng(seed)
    labels = rng.random(size) < 0.3
    labels[:2] = True, False
    scores = rng.normal(size=size) + rng.uniform(0, 3) * labels
    return (np.round(scores, 1) if ties else scores), labels


def by_isotonic_regression(scores, labels):
    """Pool adjacent violators on the posterior, turned into LLRs, put into the formula of Cllr."""
    place = np.unique(scores, return_inverse=True)[1]
    trials = np.bincount(place)
    posterior = isotonic_regression(np.bincount(place, labels) / trials, weights=trials).x[place]
    n_target, n_nontarget = labels.sum(), (~labels).sum()
    with np.errstate(divide="ignore"):
        ratio = posterior / (1 - posterior) * n_nontarget / n_target
        return (np.log2(1 + 1 / ratio[labels]).mean() + np.log2(1 + ratio[~labels]).mean()) / 2


def test_cllr_is_its_formula():
    llrs, labels = made_up(0, 50)
    targets = [math.log2(1 + math.exp(-x)) for x in llrs[labels].tolist()]
    nontargets = [math.log2(1 + math.exp(x)) for x in llrs[~labels].tolist()]
    expected = (sum(targets) / len(targets) + sum(nontargets) / len(nontargets)) / 2
    assert cllr(llrs, labels) == pytest.approx(expected, abs=1e-12)


def test_cllr_of_what_is_known():
    assert cllr([0.0, 0.0, 0.0], [1, 0, 0]) == pytest.approx(1)  # knows nothing: one bit
    assert cllr([1000.0, -1000.0], [1, 0]) == pytest.approx(0)
    assert cllr([-1000.0, 1000.0], [1, 0]) == pytest.approx(1000 / math.log(2))  # no overflow
    assert cllr(np.array([-1000, 1000], np.float32), [1, 0]) == pytest.approx(1000 / math.log(2))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(25))
def test_min_cllr_agrees_with_isotonic_regression(seed, ties):
    scores, labels = made_up(seed, size=int(np.random.default_rng(seed).integers(2, 400)), ties=ties)
    assert min_cllr(scores, labels) == pytest.approx(by_isotonic_regression(scores, labels), abs=1e-10)


def test_min_cllr_of_recorded_scores():
    arrays = dict(np.load(GOLDEN / "scores.npz"))
    recorded = json.loads((GOLDEN / "scores.json").read_text(encoding="utf-8"))
    labels = (arrays["enroll_ids"][:, None] == arrays["test_ids"][None, :]).ravel()
    for name in ("cosine", "asnorm_top10", "cosine_rounded_with_ties"):
        value = min_cllr(arrays[name].ravel(), labels)
        assert value == pytest.approx(by_isotonic_regression(arrays[name].ravel(), labels), abs=1e-10)
        assert recorded[name]["eer"] < value < 1  # Cllr at its best is above the error rate in bits
    assert min_cllr(arrays["perfectly_separated"], np.arange(550) < 50) == 0


def test_a_known_hull():
    # Two targets above two non-targets but for the middle pair: LLRs -inf, 0, 0, inf; the middle pays one bit each.
    assert min_cllr([1, 2, 3, 4], [0, 1, 0, 1]) == pytest.approx(0.5)
    assert min_cllr([4, 3, 2, 1], [0, 0, 1, 1]) == pytest.approx(1)  # upside down: nothing can be made of it
    assert min_cllr([7, 7, 7], [0, 1, 0]) == pytest.approx(1)


def test_order_scale_and_counts_change_nothing():
    scores, labels = made_up(3, ties=True)
    value = min_cllr(scores, labels)
    order = np.random.default_rng(0).permutation(len(scores))
    assert min_cllr(scores[order], labels[order]) == value
    assert cllr(scores[order], labels[order]) == pytest.approx(cllr(scores, labels), abs=1e-12)
    assert min_cllr(np.exp(scores) - 7, labels) == value
    counts = np.random.default_rng(1).integers(0, 4, len(scores))  # also none at all of a score
    repeated = np.repeat(scores, counts), np.repeat(labels, counts)
    assert min_cllr(scores, labels, counts) == pytest.approx(by_isotonic_regression(*repeated), abs=1e-10)
    assert cllr(scores, labels, counts) == pytest.approx(cllr(*repeated), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_no_monotone_calibration_does_better(seed):
    scores, labels = made_up(seed)
    best = min_cllr(scores, labels)
    assert 0 <= best <= 1
    for scale, offset in ((1, 0), (2, -2), (0.5, 0.3), (5, 0)):
        assert best < cllr(scale * scores + offset, labels)


def test_calibrated_scores_lose_little():
    rng = np.random.default_rng(0)
    labels = np.arange(40_000) < 20_000
    llrs = 2 * rng.normal(size=40_000) + np.where(labels, 2.0, -2.0)  # the LLRs of these very distributions
    assert cllr(llrs, labels) == pytest.approx(min_cllr(llrs, labels), abs=0.005)
    assert cllr(3 * llrs, labels) > min_cllr(llrs, labels) + 0.1


def test_a_curve_that_loses_its_corners_one_by_one():
    """Ever steeper steps and then a long flat one: each round of the hull takes a single corner away."""
    targets, nontargets = np.arange(1, 60), np.arange(60, 1, -1)
    counts = np.concatenate([np.stack([nontargets, targets], axis=1).ravel(), [100_000]])
    scores = np.append(np.repeat(np.arange(59), 2), 59)
    labels = np.append(np.tile([False, True], 59), False)
    repeated = np.repeat(scores, counts), np.repeat(labels, counts)
    assert min_cllr(scores, labels, counts) == pytest.approx(by_isotonic_regression(*repeated), abs=1e-10)


def test_bad_input_gets_a_sentence():
    for metric in (cllr, min_cllr):
        with pytest.raises(MVectorError, match="NaN or infinite"):
            metric([np.inf, 0.0], [1, 0])
        with pytest.raises(MVectorError, match="0 non-target"):
            metric([1.0, 0.0], [1, 1])
        with pytest.raises(MVectorError, match="counts"):
            metric([1.0, 0.0], [1, 0], [1])
