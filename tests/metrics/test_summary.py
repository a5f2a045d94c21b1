"""All metrics at once: each is what its own function gives, and what cannot be measured is never a number."""

import json
import re

import numpy as np
import pytest

from mvector.errors import MVectorError
from mvector.metrics import (
    accuracy,
    act_dcf,
    average_precision,
    cllr,
    confidence_intervals,
    detection_metrics,
    eer,
    frr_at_far,
    min_cllr,
    min_dcf,
    roc_auc,
)


def made_up(trials, speakers=40, seed=0):
    rng = np.random.default_rng(seed)
    enroll, test = rng.integers(0, speakers, (2, trials))
    test = np.where(rng.random(trials) < 0.1, enroll, test)
    labels = enroll == test
    return (rng.normal(size=trials) + 3 * labels).astype(np.float32), labels, enroll, test


@pytest.fixture(scope="module")
def trials():
    return made_up(6000)


@pytest.fixture(scope="module")
def metrics(trials):
    scores, labels, enroll, test = trials
    return detection_metrics(
        scores, labels, llrs=3 * scores - 4, enroll_speakers=enroll, test_speakers=test, resamples=30
    )


def test_each_number_is_that_of_its_function(trials, metrics):
    scores, labels, enroll, test = trials
    llrs = 3 * scores - 4
    assert (metrics.eer, metrics.threshold) == eer(scores, labels)
    assert metrics.min_dcf == {"0.01": min_dcf(scores, labels), "0.05": min_dcf(scores, labels, 0.05), "0.001": None}
    assert metrics.act_dcf == {"0.01": act_dcf(llrs, labels), "0.05": act_dcf(llrs, labels, 0.05), "0.001": None}
    assert metrics.frr_at_far == [frr_at_far(scores, labels, far) for far in (0.01, 0.001, 0.0001)]
    assert [point.measurable for point in metrics.frr_at_far] == [True, False, False]
    assert (metrics.cllr, metrics.min_cllr) == (cllr(llrs, labels), min_cllr(scores, labels))
    assert metrics.roc_auc == roc_auc(scores, labels)
    assert metrics.average_precision == average_precision(scores, labels)
    assert metrics.accuracy == accuracy(scores, labels, metrics.threshold)
    assert (metrics.targets, metrics.non_targets) == (labels.sum(), (~labels).sum())
    # The threshold of minDCF is a threshold at which the cost is minDCF.
    at = metrics.min_dcf_threshold["0.01"]
    shifted = scores.astype(np.float64) - at + np.log(99)
    assert act_dcf(np.where(scores <= at, np.log(99) - 1, shifted), labels) == pytest.approx(metrics.min_dcf["0.01"])
    expected = confidence_intervals(scores, labels, enroll, test, resamples=30)
    assert metrics.intervals_95["eer"] == expected["eer"]
    assert metrics.intervals_95["min_dcf_0.01"] == expected["min_dcf"]
    assert (metrics.speakers, metrics.interval_too_narrow) == (40, False)


def test_no_number_for_what_is_not_measurable(metrics):
    needed = {
        "min_dcf_0.001": 29_970,
        "act_dcf_0.001": 29_970,
        "frr_at_far_0.001": 30_000,
        "frr_at_far_0.0001": 300_000,
    }
    assert metrics.not_measurable == needed
    assert set(metrics.intervals_95) == {
        *("eer", "min_dcf_0.01", "min_dcf_0.05", "act_dcf_0.01", "act_dcf_0.05", "frr_at_far_0.01"),
        *("cllr", "min_cllr", "roc_auc", "average_precision", "accuracy"),
    }
    lines = metrics.lines()
    for start in ("minDCF(0.001)", "actDCF(0.001)"):
        assert f"{start} not measurable: needs 29,970 non-target trials" in lines
    assert "FRR at FAR 0.1 % not measurable: needs 30,000 non-target trials" in lines
    assert "FRR at FAR 0.01 % not measurable: needs 300,000 non-target trials" in lines
    assert str(metrics) == "\n".join(lines)


def test_lines_show_values_with_intervals_and_thresholds(metrics):
    text = str(metrics)
    interval = r" \[\d+\.\d+, \d+\.\d+\]"
    low, high = metrics.intervals_95["eer"]
    eer_line = f"EER {100 * metrics.eer:.3f} % [{100 * low:.3f}, {100 * high:.3f}] at threshold {metrics.threshold:.4f}"
    assert eer_line in text
    for pattern in (
        rf"minDCF\(0\.05\) 0\.\d+{interval} at threshold \d",
        rf"actDCF\(0\.01\) \d\.\d+{interval}",
        rf"FRR \d+\.\d+ %{interval} at FAR 1 %, threshold",
        rf"^Cllr 0\.\d+{interval} bits",
        rf"^min Cllr 0\.\d+{interval} bits",
        rf"area under the ROC curve 0\.\d+{interval}",
        rf"accuracy \d\d\.\d+ %{interval} at threshold",
        r"^\d+ target and 5,\d+ non-target trials by 40 speakers$",
    ):
        assert re.search(pattern, text, re.MULTILINE), pattern


def test_enough_trials_make_everything_measurable():
    scores, labels, _, _ = made_up(3000)
    counts = np.full(3000, 200)
    metrics = detection_metrics(scores, labels, counts, enroll_speakers=labels, test_speakers=labels)
    assert metrics.not_measurable == {}
    assert metrics.min_dcf["0.001"] == min_dcf(scores, labels, 0.001)
    assert all(point.measurable for point in metrics.frr_at_far)
    assert "not measurable" not in str(metrics)
    assert metrics.non_targets == 200 * (~labels).sum()
    # No speakers stand behind a bin, and no LLRs were given.
    assert (metrics.speakers, metrics.intervals_95, metrics.interval_too_narrow) == (None, None, None)
    assert (metrics.act_dcf, metrics.cllr) == (None, None)
    assert "actDCF" not in str(metrics)
    assert "[" not in str(metrics)


def test_as_dict_is_json(metrics):
    values = json.loads(json.dumps(metrics.as_dict(), allow_nan=False))
    assert values["min_dcf"]["0.01"] == metrics.min_dcf["0.01"]
    assert values["min_dcf_threshold"]["0.001"] is None
    assert values["intervals_95"]["cllr"] == list(metrics.intervals_95["cllr"])
    assert values["frr_at_far"][2] == {
        "far": 0.0001, "frr": None, "threshold": None, "measurable": False, "trials_needed": 300_000,
    }  # fmt: skip
    worthless = detection_metrics(np.r_[np.zeros(700), 1.0], np.r_[True, np.ones(99, bool), np.zeros(601, bool)])
    assert worthless.min_dcf["0.05"] == 1
    json.dumps(worthless.as_dict(), allow_nan=False)


def test_a_best_threshold_that_accepts_everything_is_no_json_number(monkeypatch):
    monkeypatch.setattr("mvector.metrics.summary.P_TARGETS", (0.99,))
    upside_down = detection_metrics([*np.linspace(0, 1, 100), -1.0], [*[False] * 100, True])
    assert upside_down.min_dcf_threshold == {"0.99": -np.inf}
    assert upside_down.as_dict()["min_dcf_threshold"] == {"0.99": None}
    assert "minDCF(0.99) 1.0000 at threshold -inf" in upside_down.lines()


def test_accuracy_at_a_stored_threshold(trials):
    scores, labels, enroll, test = trials
    at = 0.5
    metrics = detection_metrics(scores, labels, enroll_speakers=enroll, test_speakers=test, threshold=at, resamples=20)
    assert metrics.accuracy == accuracy(scores, labels, at) < accuracy(scores, labels, metrics.threshold)
    assert metrics.accuracy_threshold == at
    low, high = metrics.intervals_95["accuracy"]
    assert low < metrics.accuracy < high


def test_few_speakers_are_told():
    scores, labels, enroll, test = made_up(800, speakers=19)
    metrics = detection_metrics(scores, labels, enroll_speakers=enroll, test_speakers=test, resamples=10)
    assert metrics.interval_too_narrow
    assert metrics.lines()[-1].startswith("fewer than 20 speakers")
    none_drawn = detection_metrics(
        [0.0, 1.0, 2.0], [0, 1, 1], enroll_speakers=[0, 0, 1], test_speakers=[1, 0, 1], resamples=0
    )
    assert (none_drawn.intervals_95, none_drawn.interval_too_narrow) == (None, True)


def test_bad_input_is_not_taken_for_few_speakers(trials):
    scores, labels, enroll, test = trials
    with pytest.raises(MVectorError, match="a speaker is needed"):
        detection_metrics(scores, labels, enroll_speakers=enroll[1:], test_speakers=test)
    with pytest.raises(MVectorError, match="equal length"):
        detection_metrics(scores, labels, llrs=scores[1:])
    with pytest.raises(MVectorError, match="0 target"):
        detection_metrics(scores, np.zeros(6000))
