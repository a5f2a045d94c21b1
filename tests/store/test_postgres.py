"""What is PostgreSQL's own: its indexes, its addresses, a server that is not there. The rest is in test_store.py."""

import sys

import numpy as np
import pytest

from mvector.errors import MissingPackageError, StoreError
from mvector.store import open_store

SIZE, FINGERPRINT = 16, "a" * 32


@pytest.mark.parametrize("index", ["exact", "hnsw"])
def test_search_equals_comparing_with_everybody(postgres, voice, index):
    with open_store(postgres, FINGERPRINT, SIZE, index=index) as store:
        for number in range(40):
            store.add(f"p{number}", voice())
        queries = np.stack([voice() for _ in range(4)])
        means = {name: store.mean(name) for name in store.names()}
        for query, found in zip(queries, store.search(queries, 3), strict=True):
            expected = sorted(means, key=lambda name: -float(means[name] @ query))[:3]
            assert [match.name for match in found] == expected


def test_the_index_of_a_store_is_used_for_it_alone(postgres, voice):
    """An exact search stays exact beside a graph that another opening made."""
    with (
        open_store(postgres, FINGERPRINT, SIZE, index="hnsw") as graph,
        open_store(postgres, FINGERPRINT, SIZE) as exact,
    ):
        graph.add("Ann", voice())
        plans = {}
        for store in (graph, exact):
            with store.transaction() as cursor:
                cursor.execute("SET LOCAL enable_seqscan = off")  # a table of one row is otherwise read as it is
                store._nearest(cursor, voice()[None], 1)
                mean = f"(mean::vector({SIZE})) <#> CAST(? AS vector)"
                statement = f"FROM voice_means WHERE model_id = {store.model_id} ORDER BY {mean} LIMIT 1"
                rows = cursor.execute(f"EXPLAIN SELECT person_id {statement}", (store.pack(voice(), b""),)).fetchall()
                plans[store] = " ".join(row[0] for row in rows)
        assert "voice_means_hnsw" in plans[graph]
        assert "voice_means_hnsw" not in plans[exact]


def test_deleted_rows_are_gone_and_vacuumed(postgres, voice):
    with open_store(postgres, FINGERPRINT, SIZE) as store:
        store.add("Ann", voice(), audio=b"RIFF")
        assert store.remove("Ann")
        with store.transaction() as cursor:
            for table in ("people", "utterances", "embeddings", "means", "recordings"):
                assert cursor.execute(f"SELECT COUNT(*) FROM voice_{table}").fetchall()[0][0] == 0
                assert cursor.execute(f"SELECT pg_relation_size('voice_{table}')").fetchall()[0][0] == 0


def test_a_lost_connection_is_made_anew(postgres, voice):
    with open_store(postgres, FINGERPRINT, SIZE) as store, open_store(postgres, FINGERPRINT, SIZE) as other:
        store.add("Ann", voice())
        with other.transaction() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        with pytest.raises(StoreError, match="the store cannot be used"):
            store.names()
        assert store.names() == ["Ann"]


def test_a_server_that_is_not_there_and_a_password_that_is_not_shown():
    pytest.importorskip("psycopg")
    with pytest.raises(StoreError, match="the store cannot be used") as caught:
        open_store("postgresql://ann:secret@127.0.0.1:1/voices?connect_timeout=2", FINGERPRINT, SIZE)
    assert "secret" not in str(caught.value)
    assert "postgresql://ann:…@127.0.0.1:1/voices" in str(caught.value)


def test_what_a_store_in_postgresql_does_not_do(monkeypatch):
    address = "postgresql://localhost/voices"
    with pytest.raises(StoreError, match="not encrypted by mvector"):
        open_store(address, FINGERPRINT, SIZE, key="a key that nobody guesses")
    with pytest.raises(StoreError, match="at most 2000 numbers"):
        open_store(address, FINGERPRINT, 2001, index="hnsw")
    with pytest.raises(StoreError, match="no index named 'ivf'"):
        open_store(address, FINGERPRINT, SIZE, index="ivf")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingPackageError, match="pip install"):
        open_store(address, FINGERPRINT, SIZE)
