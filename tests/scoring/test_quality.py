"""Quality-aware calibration against a general optimiser, plain calibration and made-up short recordings."""

import json

import numpy as np
import pytest
from scipy.optimize import minimize

from mvector.errors import ModelError, MVectorError
from mvector.scoring import Calibration, QualityCalibration, recording_qualities, trial_qualities


def trials_of_many_lengths(count=400, seed=0):
    """(scores, durations of both sides in seconds, labels): short recordings lower the targets' scores."""
    rng = np.random.default_rng(seed)
    enroll, test = np.exp(rng.uniform(np.log(1), np.log(20), (2, count)))
    labels = rng.random(count) < 0.5
    scores = 0.1 * rng.normal(size=count) + labels * 0.15 * np.log1p(np.minimum(enroll, test))
    return scores, enroll, test, labels


def both_sides(enroll_s, test_s, magnitudes=None):
    sides = magnitudes or (None, None)
    return trial_qualities(recording_qualities(enroll_s, sides[0]), recording_qualities(test_s, sides[1]))


def cllr(llrs, labels):
    return (np.logaddexp(0, -llrs[labels]).mean() + np.logaddexp(0, llrs[~labels]).mean()) / (2 * np.log(2))


@pytest.mark.parametrize("prior", [0.5, 0.05])
def test_agrees_with_a_general_optimiser(prior):
    scores, enroll, test, labels = trials_of_many_lengths(80)
    qualities = both_sides(enroll, test)
    x = np.column_stack([scores, *qualities.values()])
    share = np.where(labels, prior / labels.sum(), (1 - prior) / (~labels).sum())
    deviation = np.sqrt(share @ (x - share @ x) ** 2)
    effective = 1 / (share**2).sum()
    log_odds = np.log(prior / (1 - prior))

    def objective(p):
        margin = (x @ p[:3] + p[3] + log_odds) * np.where(labels, -1, 1)
        return share @ np.logaddexp(0, margin) + np.sum((p[:3] * deviation) ** 2) / (2 * 100 * effective)

    best = minimize(objective, [10.0, 0, 0, 0], method="BFGS", options={"gtol": 1e-9})
    found = QualityCalibration.fit(scores, qualities, labels, prior)
    assert list(found.weights) == ["log_duration_min", "log_duration_max"]
    fitted = [found.scale, *found.weights.values(), found.offset]
    np.testing.assert_allclose(fitted, best.x, rtol=1e-3, atol=1e-3)
    assert objective(np.array(fitted)) <= best.fun + 1e-12


def test_helps_where_recordings_are_of_many_lengths():
    scores, enroll, test, labels = trials_of_many_lengths(3000)
    aware = QualityCalibration.fit(scores, both_sides(enroll, test), labels)
    plain = Calibration.fit(scores, labels)
    scores, enroll, test, labels = trials_of_many_lengths(3000, seed=1)
    llrs = aware.llr(scores, both_sides(enroll, test))
    assert cllr(llrs, labels) < 0.95 * cllr(plain.llr(scores), labels)
    assert aware.weights["log_duration_min"] < 0  # the same score from longer recordings says less for one person
    odds = np.exp(llrs) * 0.1 / 0.9
    np.testing.assert_allclose(aware.probability(scores, both_sides(enroll, test), 0.1), odds / (1 + odds), atol=1e-12)


def test_without_qualities_it_is_plain_calibration():
    scores, _, _, labels = trials_of_many_lengths()
    aware, plain = QualityCalibration.fit(scores, {}, labels, 0.2), Calibration.fit(scores, labels, 0.2)
    assert (aware.scale, aware.offset) == pytest.approx((plain.scale, plain.offset), rel=1e-9)


def test_a_quality_that_never_varies_has_no_weight():
    scores, _, _, labels = trials_of_many_lengths()
    constant = np.full(len(scores), 3.0)
    found = QualityCalibration.fit(scores, both_sides(constant, constant), labels)
    assert list(found.weights.values()) == pytest.approx([0, 0], abs=1e-9)
    np.testing.assert_allclose(
        found.llr(scores, both_sides(constant, constant)), Calibration.fit(scores, labels).llr(scores), atol=1e-8
    )


def test_the_sides_can_be_swapped():
    scores, enroll, test, labels = trials_of_many_lengths()
    magnitudes = (enroll**0.5, test**0.4)
    there, back = both_sides(enroll, test, magnitudes), both_sides(test, enroll, magnitudes[::-1])
    assert list(there) == ["log_duration_min", "log_duration_max", "magnitude_min", "magnitude_max"]
    for name in there:
        np.testing.assert_array_equal(there[name], back[name])
    assert QualityCalibration.fit(scores, there, labels) == QualityCalibration.fit(scores, back, labels)


def test_all_pairs_are_the_list_of_pairs():
    scores, enroll, test, labels = trials_of_many_lengths()
    found = QualityCalibration.fit(scores, both_sides(enroll, test), labels)
    matrix = np.random.default_rng(1).normal(size=(3, 5))
    block = found.llr(matrix, both_sides(enroll[:3, None], test[None, :5]))
    i, j = np.divmod(np.arange(15), 5)
    np.testing.assert_allclose(block.ravel(), found.llr(matrix.ravel(), both_sides(enroll[i], test[j])))


def test_measures_of_recordings():
    found = recording_qualities([1.0, np.e], magnitudes=[3, 4], cohort_means=[0.1, 0.2])
    np.testing.assert_allclose(found["log_duration"], [0, 1])
    np.testing.assert_array_equal(found["magnitude"], [3, 4])
    np.testing.assert_array_equal(found["cohort_mean"], [0.1, 0.2])
    assert list(recording_qualities([2.0])) == ["log_duration"]
    with pytest.raises(MVectorError, match="above 0 seconds"):
        recording_qualities([1.0, 0.0])


def test_dictionary_round_trip_through_json():
    scores, enroll, test, labels = trials_of_many_lengths()
    found = QualityCalibration.fit(scores, both_sides(enroll, test), labels, 0.1)
    assert QualityCalibration.from_dict(json.loads(json.dumps(found.as_dict()))) == found
    for change in ({"weights": [1]}, {"weights": {"a": "b"}}, {"scale": 0.0}, {"prior": 0}, {"offset": None}):
        with pytest.raises(ModelError, match="calibrate the model again"):
            QualityCalibration.from_dict({**found.as_dict(), **change})


def test_bad_input_gets_a_sentence():
    scores, enroll, test, labels = trials_of_many_lengths(50)
    qualities = both_sides(enroll, test)
    with pytest.raises(MVectorError, match="check the labels"):
        QualityCalibration.fit(-scores, {}, labels)
    for broken in (enroll[:-1], np.append(enroll[:-1], np.nan)):
        with pytest.raises(MVectorError, match="the quality 'x' must be one finite number for each of the 50 trials"):
            QualityCalibration.fit(scores, {**qualities, "x": broken}, labels)
    with pytest.raises(MVectorError, match=r"the same measures.*found log_duration and log_duration, magnitude"):
        trial_qualities(recording_qualities(enroll), recording_qualities(test, test))
    with pytest.raises(MVectorError, match="needs the qualities log_duration_min"):
        QualityCalibration.fit(scores, qualities, labels).llr(scores, {})
