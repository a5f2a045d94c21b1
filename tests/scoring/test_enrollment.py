"""Voices of several utterances: each way against a loop over the members."""

import numpy as np
import pytest

from mvector.errors import MVectorError
from mvector.scoring import (
    ENROLLMENTS,
    check_enrollment,
    cosine_scores,
    length_normalize,
    mean_of_members,
    voice_vectors,
)

ROWS = [(0, 3, 5), (1,), (2, 4), (5, 0)]


def embeddings(count, size=6, seed=0):
    return np.random.default_rng(seed).normal(size=(count, size)) * np.linspace(1, 9, count)[:, None]


def test_averaged_scores_are_the_averages_of_the_scores():
    x, test = embeddings(6), embeddings(4, seed=1)
    found = voice_vectors(x, ROWS, "scores") @ length_normalize(test).T
    every = cosine_scores(x, test)
    for voice, members in enumerate(ROWS):
        expected = [sum(every[m, t] for m in members) / len(members) for t in range(4)]
        np.testing.assert_allclose(found[voice], expected, atol=1e-12)
    np.testing.assert_allclose(found, mean_of_members(every, ROWS), atol=1e-12)


def test_mean_is_the_direction_of_the_summed_unit_vectors():
    x, test = embeddings(6), embeddings(4, seed=1)
    vectors = voice_vectors(x, ROWS, "mean")
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1)
    for voice, members in enumerate(ROWS):
        total = sum(x[m] / np.linalg.norm(x[m]) for m in members)
        np.testing.assert_allclose(cosine_scores(vectors, test)[voice], cosine_scores([total], test)[0], atol=1e-12)


def test_one_utterance_is_the_same_voice_in_every_way():
    x = embeddings(5)
    rows = [(3,), (0,), (3,)]
    for name in ENROLLMENTS:
        np.testing.assert_allclose(voice_vectors(x, rows, name), length_normalize(x)[[3, 0, 3]], atol=1e-15)


@pytest.mark.parametrize("name", ["mean", "scores"])
def test_unusable_utterances_are_passed_over(name):
    x = embeddings(6)
    expected = voice_vectors(x, [(0, 5), (1,), (2,), (5, 0)], name)
    x[3], x[4] = np.nan, np.inf
    found = voice_vectors(x, [*ROWS, (3, 4)], name)
    np.testing.assert_allclose(found[:4], expected, atol=1e-15)
    assert np.isnan(found[4]).all()


def test_precision_is_kept_and_the_input_untouched():
    x = embeddings(6).astype(np.float32)
    x[3] = np.nan
    before = x.copy()
    assert voice_vectors(x, ROWS).dtype == np.float32
    assert mean_of_members(x, ROWS).dtype == np.float32
    np.testing.assert_array_equal(x, before)


def test_bad_input_gets_a_sentence():
    with pytest.raises(MVectorError, match=r"no way 'average'.*mean, scores, concatenate"):
        check_enrollment("average")
    with pytest.raises(MVectorError, match="Did you mean 'scores'"):
        voice_vectors(embeddings(2), [(0, 1)], "score")
    with pytest.raises(MVectorError, match="joined audio"):
        voice_vectors(embeddings(2), [(0, 1)], "concatenate")
    for rows in ([], [(0,), ()]):
        with pytest.raises(MVectorError, match="at least one utterance"):
            mean_of_members(embeddings(2), rows)
