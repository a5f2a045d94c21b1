"""The compensation of corpora and sessions against plain loops and SciPy, and by what it does for made-up voices."""

import numpy as np
import pytest
from scipy.linalg import fractional_matrix_power

from mvector.errors import MVectorError
from mvector.metrics import eer
from mvector.scoring import compensation, cosine_scores, length_normalize

SIZE, CORPORA, SPEAKERS, RECORDINGS = 16, 3, 20, 6


def recordings(seed=0, loudest=3.0, known=1.0):
    """(embeddings [U, E], speaker, corpus): voices of little variety around corpora far apart, one noisy direction."""
    rng = np.random.default_rng(seed)
    places = np.random.default_rng(99).normal(0, 2, (CORPORA, SIZE))
    corpus = np.repeat(np.arange(CORPORA), SPEAKERS * RECORDINGS)
    speaker = np.repeat(np.arange(CORPORA * SPEAKERS), RECORDINGS)
    voices = rng.normal(0, known, (CORPORA * SPEAKERS, SIZE))
    sessions = rng.normal(0, 0.5, (len(speaker), SIZE))
    sessions[:, 0] *= loudest
    return places[corpus] + voices[speaker] + sessions, speaker, corpus


def test_corpora_are_alike_and_sessions_shrunk_as_the_formulas_say():
    x, speaker, corpus = recordings()
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    middles = []
    for place in range(CORPORA):
        of_speakers = [unit[speaker == one].mean(axis=0) for one in np.unique(speaker[corpus == place])]
        middles.append(np.mean(of_speakers, axis=0))
    projection = np.eye(SIZE)
    for gap in (middles[1] - middles[0], middles[2] - middles[0]):  # Gram-Schmidt
        gap = projection @ gap
        gap /= np.linalg.norm(gap)
        projection -= np.outer(gap, gap)
    rest = unit @ projection
    rest /= np.linalg.norm(rest, axis=1, keepdims=True)
    within = np.zeros((SIZE, SIZE))
    for one in np.unique(speaker):
        for row in rest[speaker == one] - rest[speaker == one].mean(axis=0):
            within += np.outer(row, row) / len(x)
    shrinkage = fractional_matrix_power(within / (np.trace(within) / SIZE) + np.eye(SIZE), -0.5)
    found = compensation(x, speaker, corpus)
    np.testing.assert_allclose(found, shrinkage @ projection, atol=1e-10)
    np.testing.assert_allclose(found, found.T, atol=1e-10)
    np.testing.assert_allclose((np.array(middles) @ found).std(axis=0), 0, atol=1e-12)


def test_strangers_of_one_corpus_are_told_apart_better():
    matrix = compensation(*recordings(0))
    x, speaker, corpus = recordings(1)  # other people and sessions in the same corpora
    pairs = np.triu(corpus[:, None] == corpus, 1)
    same = (speaker[:, None] == speaker)[pairs]
    before, after = (eer(cosine_scores(y, y)[pairs], same)[0] for y in (x, x @ matrix))
    assert after < 0.7 * before


def test_with_one_corpus_only_sessions_are_compensated():
    x, speaker, corpus = recordings()
    matrix = compensation(x, speaker, np.zeros_like(corpus))
    variances = np.linalg.eigvalsh(matrix)
    assert variances.min() > 0
    assert variances.max() < 1
    assert np.linalg.norm(matrix[0]) < np.linalg.norm(matrix[1:], axis=1).min()  # the noisy direction


def test_names_lengths_and_rows_without_numbers_do_not_matter():
    x, speaker, corpus = recordings()
    expected = compensation(x, speaker, corpus)
    loud = x * np.linspace(0.1, 10, len(x))[:, None]
    loud = np.vstack([loud, np.full((1, SIZE), np.nan)])
    names = [f"speaker {one}" for one in speaker] + ["nobody"]
    found = compensation(loud, names, ["abc"[one] for one in corpus] + ["a"])
    np.testing.assert_allclose(found, expected, atol=1e-9)
    order = np.random.default_rng(0).permutation(len(x))
    np.testing.assert_allclose(compensation(x[order], speaker[order], corpus[order]), expected, atol=1e-9)
    np.testing.assert_allclose(length_normalize(x @ expected), length_normalize(x @ found), atol=1e-9)


def test_bad_input_is_named():
    x, speaker, corpus = recordings()
    with pytest.raises(MVectorError, match=r"found shape \(360, 16\), 359 speakers and 360 corpora"):
        compensation(x, speaker[1:], corpus)
    with pytest.raises(MVectorError, match="360 speakers and 3 corpora"):
        compensation(x, speaker, [0, 1, 2])
    with pytest.raises(MVectorError, match="too few"):
        compensation(x[:12], speaker[:12], corpus[:12])
