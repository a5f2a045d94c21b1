"""Scores of trial lists and of everything against everything, compared with loops over pairs."""

import tracemalloc

import numpy as np
import pytest

from mvector.data.lists import Utterance
from mvector.data.trials import Trials, all_pairs
from mvector.errors import MVectorError
from mvector.metrics import count_trials, eer, min_dcf
from mvector.scoring import score_trials
from mvector.scoring.trial_scores import score_vectors


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def embeddings(count, size=6, seed=0):
    return np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)


def utterances(count, speakers, offset=0):
    return [Utterance(f"{i + offset}.wav", f"s{(i + offset) % speakers}") for i in range(count)]


def chosen_trials():
    """Five recordings; two voices, the first enrolled from two recordings; three tests."""
    return Trials(
        utterances=[Utterance(f"{i}.wav", "") for i in range(5)],
        enroll_rows=[(0, 1), (2,)],
        test_rows=np.array([3, 4, 2]),
        enroll_speakers=np.array([0, 2]),
        test_speakers=np.array([0, 2, 2]),
        enroll=np.array([0, 1, 1, 0], np.int32),
        test=np.array([0, 1, 0, 2], np.int32),
        labels=np.array([True, True, False, False]),
    )


@pytest.mark.parametrize("block", [1, 7, 10_000])
def test_trial_list(block):
    x = embeddings(5)
    found = score_trials(x, chosen_trials(), block)
    voice = x[0] / np.linalg.norm(x[0]) + x[1] / np.linalg.norm(x[1])
    expected = [cosine(voice, x[3]), cosine(x[2], x[4]), cosine(x[2], x[3]), cosine(voice, x[2])]
    np.testing.assert_allclose(found.scores, expected, atol=1e-6)
    assert found.scores.dtype == np.float32
    assert found.labels.tolist() == [True, True, False, False]
    assert found.enroll_speakers.tolist() == [0, 2, 2, 0]
    assert found.test_speakers.tolist() == [0, 2, 0, 2]
    assert (found.enroll.tolist(), found.test.tolist()) == ([0, 1, 1, 0], [0, 1, 0, 2])
    assert (found.left_out, found.counts, found.error_bound) == (0, None, 0.0)


def test_unusable_recordings_are_left_out_and_counted():
    x = embeddings(5)
    x[4] = np.nan
    x[1] = np.nan  # the voice is then its other recording
    found = score_trials(x, chosen_trials())
    np.testing.assert_allclose(found.scores, [cosine(x[0], x[3]), cosine(x[2], x[3]), cosine(x[0], x[2])], atol=1e-6)
    assert found.labels.tolist() == [True, False, False]
    assert (found.enroll.tolist(), found.test.tolist()) == ([0, 1, 0], [0, 0, 2])
    assert found.left_out == 1
    x[0] = np.nan
    assert score_trials(x, chosen_trials()).left_out == 3


def loop_over_pairs(enroll, test, x_of):
    """{unordered pair of paths: (score, label)} as a plain double loop finds it."""
    found = {}
    for a in enroll:
        for b in test:
            if a.path != b.path:
                found[frozenset((a.path, b.path))] = (cosine(x_of[a.path], x_of[b.path]), a.speaker == b.speaker)
    return sorted(found.values())


@pytest.mark.parametrize("block", [1, 30, 100_000])
@pytest.mark.parametrize("case", ["same list", "two lists", "lists that overlap"])
def test_all_against_all(block, case):
    enroll = utterances(12, 4)
    test = {"same list": enroll, "two lists": utterances(9, 4, 12), "lists that overlap": utterances(10, 4, 7)}[case]
    trials = all_pairs(enroll, test)
    x = embeddings(len(trials.utterances))
    x_of = {utterance.path: row for utterance, row in zip(trials.utterances, x, strict=True)}
    found = score_trials(x, trials, block)
    expected = loop_over_pairs(enroll, test, x_of)
    got = sorted(zip(found.scores.tolist(), found.labels.tolist(), strict=True))
    assert len(got) == len(expected)
    np.testing.assert_allclose(np.array(got), np.array(expected), atol=1e-6)
    assert ((found.enroll_speakers == found.test_speakers) == found.labels).all()
    voice_rows = np.array([rows[0] for rows in trials.enroll_rows])[found.enroll]
    again = [cosine(x[e], x[t]) for e, t in zip(voice_rows, trials.test_rows[found.test], strict=True)]
    np.testing.assert_allclose(found.scores, again, atol=1e-6)
    np.testing.assert_array_equal(found.enroll_speakers, trials.enroll_speakers[found.enroll])


def test_all_against_all_leaves_out_unusable_recordings():
    trials = all_pairs(utterances(6, 2), utterances(6, 2))
    x = embeddings(6)
    x[3] = np.nan
    found = score_trials(x, trials)
    assert (len(found.scores), found.left_out) == (10, 5)


def test_a_voice_is_not_compared_with_its_own_recordings():
    trials = Trials(
        utterances=utterances(4, 2),
        enroll_rows=[(0, 1), (2, 3)],
        test_rows=np.array([0, 1, 2, 3]),
        enroll_speakers=np.array([0, 1]),
        test_speakers=np.array([0, 0, 1, 1]),
    )
    found = score_trials(embeddings(4), trials)
    assert found.labels.tolist() == [False] * 4


def test_scores_averaged_over_the_utterances_of_a_voice():
    x = embeddings(5)
    found = score_trials(x, chosen_trials(), enrollment="scores")
    expected = [(cosine(x[0], x[3]) + cosine(x[1], x[3])) / 2, cosine(x[2], x[4]), cosine(x[2], x[3])]
    np.testing.assert_allclose(found.scores[:3], expected, atol=1e-6)


def shift_and_stretch(enroll_shift, test_scale):
    def adjust(raw, enroll, test):
        if raw.ndim == 2:
            return raw * test_scale[test][None, :] + enroll_shift[enroll][:, None]
        return raw * test_scale[test] + enroll_shift[enroll]

    return adjust


def test_adjusted_scores():
    x, shift, scale = embeddings(5), np.array([3.0, -2.0]), np.array([1.0, 10.0, np.nan])
    found = score_trials(x, chosen_trials(), adjust=shift_and_stretch(shift, scale))
    voice = x[0] / np.linalg.norm(x[0]) + x[1] / np.linalg.norm(x[1])
    expected = [cosine(voice, x[3]) + 3, 10 * cosine(x[2], x[4]) - 2, cosine(x[2], x[3]) - 2]
    np.testing.assert_allclose(found.scores, expected, atol=2e-6)
    assert found.left_out == 1


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr("mvector.scoring.trial_scores.SAMPLE_SCORES", 10_000)
    monkeypatch.setattr("mvector.metrics.score_tiles.TILE_ENROLL", 64)
    monkeypatch.setattr("mvector.metrics.score_tiles.TILE_TEST", 100)
    monkeypatch.setattr("mvector.metrics.score_tiles.TEST_VALUES", 16 * 230)


@pytest.mark.parametrize("adjusted", [False, True])
@pytest.mark.parametrize("case", ["same list", "two lists", "lists that overlap", "voices of several recordings"])
def test_counted_scores_agree_with_single_ones(case, adjusted, small_parts):
    listed = utterances(400, 20)
    other = {"two lists": utterances(300, 20, 400), "lists that overlap": utterances(300, 20, 250)}.get(case, listed)
    trials = all_pairs(listed, other)
    if case == "voices of several recordings":
        trials = Trials(
            utterances=listed,
            enroll_rows=[(i, i + 20, i + 40)[: 1 + i % 3] for i in range(20)],
            test_rows=np.arange(400),
            enroll_speakers=np.arange(20),
            test_speakers=np.arange(400) % 20,
        )
    count = len(trials.utterances)
    rng = np.random.default_rng(0)
    number = np.array([int(utterance.speaker[1:]) for utterance in trials.utterances])
    x = (rng.normal(size=(20, 16))[number] + rng.normal(size=(count, 16))).astype(np.float32)
    x[7] = np.nan
    adjust = None
    if adjusted:  # far outside -1 … 1
        size = len(trials.enroll_rows), len(trials.test_rows)
        adjust = shift_and_stretch(20 + rng.normal(size=size[0]), rng.uniform(20, 30, size[1]))
    exact = score_trials(x, trials, adjust=adjust)
    binned = score_trials(x, trials, exact_limit=0, adjust=adjust)
    assert exact.counts is None
    assert binned.counts is not None
    assert binned.left_out == exact.left_out > 0
    assert count_trials(binned.labels, binned.counts) == count_trials(exact.labels)
    assert binned.error_bound <= 1e-5
    # A product's last bit depends on the shape of the matrices, and may move one trial over a threshold.
    within = binned.error_bound + 1 / exact.labels.sum()
    rate, threshold = eer(exact.scores, exact.labels)
    assert 0.01 < rate < 0.4
    assert eer(binned.scores, binned.labels, binned.counts) == pytest.approx((rate, threshold), abs=within)
    cost = min_dcf(exact.scores, exact.labels)
    assert min_dcf(binned.scores, binned.labels, counts=binned.counts) == pytest.approx(cost, abs=within)
    for kind in (True, False):  # the shape of the distributions, for pictures
        score, weight = binned.scores[binned.labels == kind], binned.counts[binned.labels == kind]
        whole = exact.scores[exact.labels == kind]
        assert np.average(score, weights=weight) == pytest.approx(whole.mean(), abs=2e-5 * (1 + 50 * adjusted))


def test_products_of_any_vectors(small_parts):
    """As PLDA gives them: neither of unit length nor between -1 and 1."""
    trials = all_pairs(utterances(150, 10), utterances(120, 10, 150))
    rng = np.random.default_rng(1)
    a, b = 5 * rng.normal(size=(150, 6)), 5 * rng.normal(size=(120, 6))
    products = (a @ b.T)[np.arange(150) != 3][:, np.arange(120) != 5]
    a[3], b[5] = np.nan, np.inf
    single = score_vectors(a, b, trials)
    np.testing.assert_allclose(np.sort(single.scores), np.sort(products.ravel()), rtol=1e-5, atol=1e-5)
    counted = score_vectors(a, b, trials, exact_limit=0)
    assert single.left_out == counted.left_out == 150 + 120 - 1
    mean = np.average(counted.scores, weights=counted.counts)
    assert mean == pytest.approx(products.mean(), abs=1e-2)
    assert counted.scores.max() == pytest.approx(products.max(), abs=1e-2)


def test_memory_is_that_of_a_block():
    """Nine million comparisons: the full matrix alone would be 36 MB, its index arrays 144 MB."""
    listed = utterances(3000, 300)
    trials = all_pairs(listed, listed)
    x = embeddings(3000, 16)
    tracemalloc.start()
    found = score_trials(x, trials, exact_limit=1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.counts is not None
    assert int(found.counts.sum()) == 3000 * 2999 // 2
    assert peak < 100 * 2**20


def test_wrong_shape():
    with pytest.raises(MVectorError, match=r"\[U, E\]"):
        score_trials(np.ones(5), chosen_trials())
