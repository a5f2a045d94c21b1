"""The scan of 8-bit codes finds everybody whom comparing with float64 numbers finds, whatever the embeddings are."""

import numpy as np
import pytest

from mvector.store import matrix
from mvector.store.matrix import LARGEST_CODE, ExactMatrix, quantize
from tests.store.changes import random_changes, unit


def populations() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3000, 24))
    one_of_many = np.zeros((500, 24))
    one_of_many[:, 3] = 1 + 1e-4 * rng.standard_normal(500)
    return {
        "scattered": x,
        "close together": np.ones(24) + 0.02 * x,  # many nearly as near as the nearest
        "the same": np.tile(x[:1], (700, 1)),
        "one large number": one_of_many + 0.003 * rng.standard_normal((500, 24)),
        "opposite": np.concatenate([x[:300], -x[:300]]),
        "one": x[:1],
    }


@pytest.mark.parametrize("name", populations())
@pytest.mark.parametrize("top_k", [1, 2, 10])
def test_the_nearest_are_among_the_candidates(name, top_k):
    rows, rng = unit(populations()[name]), np.random.default_rng(1)
    queries = np.concatenate([unit(rng.standard_normal((20, 24))), rows[:5], -rows[:5]])
    index = ExactMatrix(24)
    index.put(np.arange(len(rows)) * 2 + 5, rows)
    for query, ids in zip(queries, index.candidates(queries, top_k), strict=True):
        scores = rows.astype(np.float64) @ query.astype(np.float64)
        found = np.sort(scores[(ids - 5) // 2])[::-1][:top_k]
        np.testing.assert_array_equal(found, np.sort(scores)[::-1][:top_k])


def test_the_bound_holds_and_few_are_compared_exactly():
    rng = np.random.default_rng(2)
    rows, queries = unit(rng.standard_normal((20_000, 48))), unit(rng.standard_normal((10, 48)))
    codes, scales, lost = quantize(rows)
    assert np.abs(codes.astype(int)).max() == LARGEST_CODE
    error = np.abs((codes.astype(np.float64) @ queries.T.astype(np.float64)) * scales[:, None] - rows @ queries.T)
    assert (error <= lost[:, None] + 1e-6).all()
    index = ExactMatrix(48)
    index.put(np.arange(20_000), rows)
    assert max(len(ids) for ids in index.candidates(queries, 2)) < 200


def test_changes_equal_building_anew(monkeypatch):
    """Over several blocks."""
    monkeypatch.setattr(matrix, "BLOCK_ROWS", 50)
    for _ in random_changes(ExactMatrix(8), rounds=60, removals=8):
        pass  # each round is checked where it is made


def test_nobody_enrolled_and_an_id_out_of_order():
    index = ExactMatrix(4)
    assert [len(ids) for ids in index.candidates(unit(np.ones((3, 4))), 2)] == [0, 0, 0]
    index.put(np.array([5]), unit(np.ones((1, 4))))
    with pytest.raises(ValueError, match="id 3 is not larger"):
        index.put(np.array([3]), unit(np.ones((1, 4))))


@pytest.mark.parametrize("size", [1, 24, 192])
def test_the_chosen_product_is_that_of_integers(size):
    """torch 2.13's own is wrong for one dimension, for instance: then it must not be chosen."""
    rng, product = np.random.default_rng(4), matrix.fastest_product(size)
    for n, m in ((1, 70), (3, 9000)):
        queries, rows = (rng.integers(-LARGEST_CODE, LARGEST_CODE + 1, (k, size), np.int8) for k in (n, m))
        np.testing.assert_array_equal(product(queries, rows), queries.astype(np.float64) @ rows.T.astype(np.float64))


@pytest.mark.parametrize("size", [4227, 4228, 9000])
def test_sums_that_float32_cannot_hold_are_exact_too(size):
    queries = np.full((2, size), LARGEST_CODE, np.int8)
    rows = np.tile(queries[:1], (3, 1))
    rows[1, 0] -= 1
    expected = queries.astype(np.int64) @ rows.T.astype(np.int64)
    np.testing.assert_array_equal(matrix.numpy_product(queries, rows), expected)


@pytest.mark.parametrize("broken", [lambda q, r: q.astype(int) @ r.T * 2, lambda q, r: 1 / 0], ids=["wrong", "missing"])
def test_a_product_of_torch_that_is_wrong_or_missing_is_not_used(monkeypatch, broken):
    monkeypatch.setattr(matrix, "_torch_product", broken)
    assert matrix.fastest_product.__wrapped__(24) is matrix.numpy_product
