"""The graph index behind the same search: nearly always what comparing with everybody gives, and always its scores."""

import sys

import numpy as np
import pytest

from mvector.errors import MissingPackageError
from mvector.store import open_store
from mvector.store.index import make_index

SIZE, FINGERPRINT = 16, "a" * 32


@pytest.fixture(scope="module", autouse=True)
def _usearch() -> None:
    pytest.importorskip("usearch")


def test_recall_of_the_graph():
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((300, 48))
    rows = np.repeat(centres, 10, axis=0) + 0.7 * rng.standard_normal((3000, 48))
    queries = (rows[::15] + 0.7 * rng.standard_normal((200, 48))).astype(np.float32)
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    graph = make_index("hnsw", 48)
    graph.put(np.arange(2000), rows[:2000])
    graph.put(np.arange(2000, 3000), rows[2000:])
    best = (queries @ rows.T).argmax(axis=1)
    assert np.mean([one in ids for one, ids in zip(best, graph.candidates(queries, 2), strict=True)]) >= 0.99


def test_a_store_with_a_graph_follows_changes(tmp_path, voice):
    exact, graph = open_store(tmp_path, FINGERPRINT, SIZE), open_store(tmp_path, FINGERPRINT, SIZE, index="hnsw")
    assert graph.search(voice()) == []
    for number in range(60):
        exact.add(f"p{number}", voice())
    query = voice()
    assert graph.search(query, 3) == exact.search(query, 3)
    nearest = exact.search(query, 1)[0].name
    exact.remove(nearest)
    graph.add("p5" if nearest != "p5" else "p6", query)
    graph.add("new", query)
    assert graph.search(query, 3) == exact.search(query, 3)
    assert nearest not in [match.name for match in graph.search(query, 60)]


def test_without_the_package_the_index_names_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(MissingPackageError, match="pip install usearch"):
        open_store(tmp_path, FINGERPRINT, SIZE, index="hnsw")
