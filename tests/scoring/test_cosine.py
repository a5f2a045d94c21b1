"""Cosine scores against recorded ones and the plain formula."""

from pathlib import Path

import numpy as np
import pytest

from mvector.errors import MVectorError
from mvector.scoring import cosine_scores, length_normalize

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "scores.npz")


def test_agrees_with_recorded_scores():
    scores = cosine_scores(GOLDEN["enroll"], GOLDEN["test"])
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, GOLDEN["cosine"], atol=1e-6)


def test_plain_formula_and_scale():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(4, 8)), rng.normal(size=(5, 8))
    scores = cosine_scores(a, b)
    assert scores.dtype == np.float64
    for i in range(4):
        for j in range(5):
            expected = sum(x * y for x, y in zip(a[i], b[j], strict=True))
            expected /= sum(x * x for x in a[i]) ** 0.5 * sum(y * y for y in b[j]) ** 0.5
            assert scores[i, j] == pytest.approx(expected)
    np.testing.assert_allclose(cosine_scores(3 * a, 0.1 * b), scores)
    np.testing.assert_allclose(np.diag(cosine_scores(a, a)), 1)


def test_length_normalize():
    np.testing.assert_allclose(length_normalize([[3, 4], [0, 0]]), [[0.6, 0.8], [0, 0]], rtol=1e-6)
    assert length_normalize([3, 4]).dtype == np.float32
    assert np.isnan(length_normalize([[np.nan, 1.0]])).all()


@pytest.mark.parametrize(("a", "b"), [((2, 3), (2, 4)), ((3,), (2, 3)), ((2, 3), (3,))])
def test_embeddings_of_two_sizes(a, b):
    with pytest.raises(MVectorError, match="different models"):
        cosine_scores(np.ones(a), np.ones(b))
