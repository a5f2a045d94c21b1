"""Scores of trial lists and of everything against everything, compared with loops over pairs."""

import tracemalloc

import numpy as np
import pytest

from mvector.data.lists import Utterance
from mvector.data.trials import Trials, all_pairs
from mvector.errors import MVectorError
from mvector.metrics import count_trials, eer, min_dcf
from mvector.scoring import score_trials
from mvector.scoring.trial_scores import enrollment_embeddings


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
    assert (found.left_out, found.counts) == (0, None)


def test_unusable_recordings_are_left_out_and_counted():
    x = embeddings(5)
    x[4] = np.nan
    x[1] = np.nan  # the voice is then its other recording
    found = score_trials(x, chosen_trials())
    np.testing.assert_allclose(found.scores, [cosine(x[0], x[3]), cosine(x[2], x[3]), cosine(x[0], x[2])], atol=1e-6)
    assert found.labels.tolist() == [True, False, False]
    assert found.left_out == 1
    x[0] = np.nan
    assert score_trials(x, chosen_trials()).left_out == 3


def test_mean_of_unit_length_embeddings_ignores_loudness_of_one():
    x = embeddings(3).astype(np.float64)
    louder = x * np.array([[100.0], [1.0], [1.0]])
    np.testing.assert_allclose(
        enrollment_embeddings(x, [(0, 1, 2)]), enrollment_embeddings(louder, [(0, 1, 2)]), atol=1e-12
    )


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


@pytest.mark.parametrize("block", [1000, 1_000_000])
def test_bins_agree_with_exact_scores(block):
    rng = np.random.default_rng(0)
    listed = utterances(400, 20)
    trials = all_pairs(listed, listed)
    centres = rng.normal(size=(20, 16))
    x = (centres[np.arange(400) % 20] + 1.0 * rng.normal(size=(400, 16))).astype(np.float32)
    x[7] = np.nan
    exact = score_trials(x, trials)
    binned = score_trials(x, trials, block, exact_limit=0)
    assert binned.counts is not None
    assert binned.left_out == exact.left_out == 399
    assert count_trials(binned.labels, binned.counts) == count_trials(exact.labels)
    rate, threshold = eer(exact.scores, exact.labels)
    assert 0.01 < rate < 0.2
    np.testing.assert_allclose(eer(binned.scores, binned.labels, binned.counts), (rate, threshold), atol=2e-5)
    cost = min_dcf(exact.scores, exact.labels)
    assert min_dcf(binned.scores, binned.labels, counts=binned.counts) == pytest.approx(cost, abs=1e-3)


def test_memory_is_that_of_a_block():
    """Nine million comparisons: the full matrix alone would be 36 MB, its index arrays 144 MB."""
    listed = utterances(3000, 300)
    trials = all_pairs(listed, listed)
    x = embeddings(3000, 16)
    tracemalloc.start()
    found = score_trials(x, trials, block=100_000, exact_limit=1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.counts is not None
    assert int(found.counts.sum()) == 3000 * 2999 // 2
    assert peak < 150e6  # two histograms of 2 M bins and what becomes of them


def test_wrong_shape():
    with pytest.raises(MVectorError, match=r"\[U, E\]"):
        score_trials(np.ones(5), chosen_trials())
