"""The inverted lists: exact while people are few or all lists are scanned, nearly so in some lists, and forgetful."""

import numpy as np
import pytest

from mvector.store import inverted_lists, matrix
from mvector.store.inverted_lists import InvertedLists
from tests.store.changes import random_changes, unit
from tests.store.test_matrix import populations


def people_of(groups: int, size: int = 48, each: int = 12, seed: int = 0) -> np.ndarray:
    """Embeddings [groups · each, size] around as many centres, in random order."""
    rng = np.random.default_rng(seed)
    centres = np.repeat(rng.standard_normal((groups, size)), each, axis=0)
    return unit(rng.permutation(centres + 0.6 * rng.standard_normal(centres.shape)))


@pytest.mark.parametrize("name", populations())
@pytest.mark.parametrize("top_k", [1, 2, 10])
@pytest.mark.parametrize("fewest", [10**6, 100], ids=["without centres", "all lists"])
def test_the_nearest_are_among_the_candidates(name, top_k, fewest, monkeypatch):
    monkeypatch.setattr(inverted_lists, "FEWEST", fewest)
    monkeypatch.setattr(inverted_lists, "LEAST", 10**6)
    monkeypatch.setattr(inverted_lists, "MOST", 10**6)
    rows, rng = unit(populations()[name]), np.random.default_rng(1)
    queries = np.concatenate([unit(rng.standard_normal((10, 24))), rows[:5], -rows[:5]])
    index = InvertedLists(24)
    index.put(np.arange(len(rows)) * 2 + 5, rows)
    for query, ids in zip(queries, index.candidates(queries, top_k), strict=True):
        scores = rows.astype(np.float64) @ query.astype(np.float64)
        found = np.sort(scores[(ids - 5) // 2])[::-1][:top_k]
        np.testing.assert_array_equal(found, np.sort(scores)[::-1][:top_k])


def test_recall_in_some_lists_and_how_few_are_compared(monkeypatch):
    monkeypatch.setattr(inverted_lists, "FEWEST", 4000)
    monkeypatch.setattr(inverted_lists, "LEAST", 4)
    monkeypatch.setattr(inverted_lists, "MOST", 12)
    rows, rng = people_of(500), np.random.default_rng(1)
    queries = unit(rows[::20] + 0.06 * rng.standard_normal((300, 48)))
    index, compared = InvertedLists(48), []
    index.put(np.arange(3000), rows[:3000])
    index.put(np.arange(3000, 6000), rows[3000:])
    product = matrix.numpy_product
    monkeypatch.setattr(matrix, "numpy_product", lambda q, r: compared.append(len(r)) or product(q, r))
    found = index.candidates(queries, 2)
    assert sum(compared) < 0.15 * len(queries) * len(rows)
    best = (queries @ rows.T).argmax(axis=1)
    assert np.mean([one in ids for one, ids in zip(best, found, strict=True)]) >= 0.99
    again = InvertedLists(48)
    again.put(np.arange(6000), rows)
    for one, other in zip(found, again.candidates(queries, 2), strict=True):
        np.testing.assert_array_equal(one, other)


def test_more_lists_are_scanned_where_many_centres_are_about_as_near(monkeypatch):
    monkeypatch.setattr(inverted_lists, "FEWEST", 4000)
    rows, index = people_of(500), InvertedLists(48)
    index.put(np.arange(6000), rows)
    index.candidates(rows[:1], 1)
    centre = index._centres[3]
    amid = unit(index._centres.sum(axis=0, keepdims=True))[0]
    few, many = index._probed(centre, 1), index._probed(amid, 1)
    assert len(few) == inverted_lists.LEAST < len(many)
    assert few[0] is index._lists[3]
    cosines = index._centres @ amid
    assert len(many) == (cosines >= cosines.max() - inverted_lists.NEAR).sum()


def test_changes_equal_a_dictionary(monkeypatch):
    """Before, between and after the making of centres; with all lists scanned, all people are found."""
    monkeypatch.setattr(inverted_lists, "FEWEST", 60)
    monkeypatch.setattr(inverted_lists, "FEW_ROWS", 30)
    monkeypatch.setattr(inverted_lists, "LEAST", 10**6)
    monkeypatch.setattr(inverted_lists, "MOST", 10**6)
    index, sizes = InvertedLists(8), []
    for known in random_changes(index, rounds=50, removals=4):
        if known:
            query = unit(np.random.default_rng(len(sizes)).standard_normal((1, 8)))
            assert set(index.candidates(query, len(known))[0].tolist()) == set(known)
        sizes.append(0 if index._centres is None else len(index._centres))
    assert len(set(sizes)) == 3  # none, those of more than 60 people, those of more than four times as many


def test_who_comes_later_is_found_without_new_centres_and_who_is_deleted_leaves_nothing(monkeypatch):
    monkeypatch.setattr(inverted_lists, "FEWEST", 500)
    rows = people_of(100)
    index = InvertedLists(48)
    index.put(np.arange(1000), rows[:1000])
    index.candidates(rows[:1], 1)
    centres = index._centres
    for one in range(1000, 1200):
        index.put(np.array([one]), rows[one : one + 1])
    assert [one for one in range(1000, 1200) if one not in index.candidates(rows[one : one + 1], 1)[0]] == []
    index.put(np.array([7]), -rows[7:8])  # somebody whose mean has changed belongs to another list
    assert 7 in index.candidates(-rows[7:8], 1)[0]
    assert index._centres is centres
    assert len(index) == 1200
    held = [one.codes for one in index._lists if 9 in one.ids]
    codes = inverted_lists.quantize(rows[9:10])[0][0]
    assert (held[0] == codes).all(axis=1).sum() == 1
    index.drop([9])
    assert not (held[0] == codes).all(axis=1).any()
    assert not any((one.codes == codes).all(axis=1).any() for one in index._lists)
    assert 9 not in np.concatenate(index.candidates(rows[9:10], 1199))


def test_a_search_for_more_than_the_lists_hold_finds_them_all(monkeypatch):
    monkeypatch.setattr(inverted_lists, "FEWEST", 500)
    monkeypatch.setattr(inverted_lists, "LEAST", 1)
    monkeypatch.setattr(inverted_lists, "MOST", 1)
    rows, index = people_of(100), InvertedLists(48)
    index.put(np.arange(1200), rows)
    assert len(index.candidates(rows[:1], 1)[0]) < 100
    assert sorted(index.candidates(rows[:1], 1200)[0].tolist()) == list(range(1200))
    assert len(index.candidates(rows[:1], 5000)[0]) == 1200


def test_nobody_enrolled_and_everybody_deleted(monkeypatch):
    monkeypatch.setattr(inverted_lists, "FEWEST", 500)
    rows, index = people_of(100), InvertedLists(48)
    index.put(np.empty(0, np.int64), np.empty((0, 48), np.float32))
    assert [len(ids) for ids in index.candidates(rows[:3], 2)] == [0, 0, 0]
    index.put(np.arange(1200), rows)
    assert len(index.candidates(rows[:1], 2)) == 1
    index.drop(range(1200))
    assert (len(index), [len(ids) for ids in index.candidates(rows[:3], 2)]) == (0, [0, 0, 0])
    index.put(np.array([1200]), rows[:1])
    assert index.candidates(rows[:1], 2)[0].tolist() == [1200]


def test_k_means_brings_centres_nearer():
    rows = people_of(40, each=30)
    start = rows[np.random.default_rng(0).choice(len(rows), 40, replace=False)]
    centres = inverted_lists._k_means(rows, 40)
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1.0, atol=1e-6)
    numbers, scores = inverted_lists._nearest(rows, centres)
    np.testing.assert_array_equal(numbers, (rows @ centres.T).argmax(axis=1))
    assert scores.mean() > (rows @ start.T).max(axis=1).mean() + 0.1
    for group in range(40):  # a fixed point nearly: each centre is the mean of those around it
        mean = rows[numbers == group].sum(axis=0)
        assert centres[group] @ mean / np.linalg.norm(mean) > 0.95


def test_centres_among_people_who_are_all_the_same():
    one = people_of(1, each=1)
    centres = inverted_lists._k_means(np.tile(one, (300, 1)), 17)
    np.testing.assert_allclose(centres, np.tile(one, (17, 1)), atol=1e-5)
