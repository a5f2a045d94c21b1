"""The same store on PostgreSQL with pgvector, for several machines. It searches in the database."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from mvector.errors import MissingPackageError, StoreError
from mvector.store.people import Match
from mvector.store.rows import Cursor, Floats
from mvector.store.schema import TABLES
from mvector.store.store import VoiceStore

KINDS = ("exact", "hnsw")
WRITERS_LOCK = 0x6D766563  # "mvec"; an advisory lock, so that one transaction writes at a time
MAX_DIMENSIONS = 2_000  # of pgvector's hnsw index
EXPANSION_SEARCH = 128  # hnsw.ef_search


class PostgresStore(VoiceStore):
    """Recordings, names and embeddings are rows of the database; encrypting them at rest is the server's business.

    location: postgresql://user:password@host/database, as psycopg takes it. Needs the extension `vector`; it is
    created where the user may do that. A lost connection is made anew for the next call.
    """

    def __init__(
        self,
        address: str,
        fingerprint: str,
        embedding_size: int,
        key: str | None = None,
        keep_audio: bool = True,
        outlier_score: float | None = None,
        index: str = "exact",
        moving: bool = False,
    ):
        location = re.sub(r"(?<=//)([^:/@]*):[^@]*@", r"\1:…@", address.partition("?")[0])
        super().__init__(location, fingerprint, embedding_size, keep_audio, outlier_score)
        if key is not None:
            raise StoreError(
                f"{location}: a store in PostgreSQL is not encrypted by mvector, because the database compares the "
                "embeddings; encrypt the server's disk and leave MVECTOR_STORE_KEY out."
            )
        if index not in KINDS:
            raise StoreError(f"in PostgreSQL there is no index named {index!r}; there are: {', '.join(KINDS)}.")
        if index == "hnsw" and embedding_size > MAX_DIMENSIONS:
            raise StoreError(f"an hnsw index takes embeddings of at most {MAX_DIMENSIONS} numbers; use exact.")
        self._psycopg = _psycopg()
        self._address, self._index = address, index
        self._connection: Any = None
        self._is_closed = False
        try:
            with self.transaction(write=True, claimed=False) as cursor:
                cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
                for statement in TABLES:
                    serial = "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
                    cursor.execute(
                        statement.format(serial=serial, bytes="BYTEA", real="DOUBLE PRECISION", vector="VECTOR")
                    )
                self.claim(cursor, None, moving)
                if index == "hnsw":
                    cursor.execute(
                        f"CREATE INDEX IF NOT EXISTS voice_means_hnsw_{self.model_id} ON voice_means USING hnsw "
                        f"((mean::vector({embedding_size})) vector_ip_ops) WHERE model_id = {self.model_id}"
                    )
        except BaseException:
            self.close()
            raise

    @contextmanager
    def transaction(self, write: bool = False, claimed: bool = True) -> Iterator[Cursor]:
        with self._lock, self._sentences(), self._connect().transaction():
            cursor = _Cursor(self._connection)
            if write:
                cursor.execute("SELECT pg_advisory_xact_lock(?)", (WRITERS_LOCK,))
            else:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            if claimed:
                self.check_in_use(cursor)
            yield cursor

    def pack(self, embedding: Floats, context: bytes) -> Any:
        return "[" + ",".join(map(str, embedding.astype(np.float32))) + "]"  # digits that come back exactly

    def unpack(self, value: Any, context: bytes) -> Floats:
        return np.array(value[1:-1].split(","), np.float32)

    def close(self) -> None:
        with self._lock:
            connection, self._connection, self._is_closed = self._connection, None, True
            if connection is not None:
                connection.close()

    def _nearest(self, cursor: Cursor, queries: Floats, top_k: int) -> list[list[Match]]:
        if self._index == "hnsw":
            cursor.execute(f"SET LOCAL hnsw.ef_search = {max(EXPANSION_SEARCH, top_k)}")
        else:
            cursor.execute("SET LOCAL enable_indexscan = off")
        mean = f"(m.mean::vector({self.embedding_size}))"
        statement = (
            f"SELECT p.lookup, p.name, m.mean FROM (SELECT person_id, mean FROM voice_means m WHERE m.model_id = "
            f"{self.model_id} ORDER BY {mean} <#> CAST(? AS vector) LIMIT {int(top_k)}) m "
            "JOIN voice_people p ON p.id = m.person_id"
        )
        results = []
        for query in queries:
            matches = []
            for lookup, name, packed in cursor.execute(statement, (self.pack(query, b""),)).fetchall():
                score = float(np.clip(self.unpack(packed, b"").astype(np.float64) @ query.astype(np.float64), -1, 1))
                matches.append(Match(self.name_of(lookup, name), score))
            results.append(sorted(matches, key=lambda match: -match.score))
        return results

    def erase(self) -> None:
        """Let the database reuse the space; its own journal and backups are the server's business."""
        with self._lock, self._sentences():
            for table in ("people", "utterances", "embeddings", "means", "recordings"):
                self._connect().execute(f"VACUUM voice_{table}")

    def _connect(self) -> Any:
        if self._is_closed:
            raise StoreError(f"{self.location}: the store is closed.")
        if self._connection is None or self._connection.closed:
            self._connection = self._psycopg.connect(self._address, autocommit=True, connect_timeout=10)
        return self._connection

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        """What the database complains of, as a sentence."""
        try:
            yield
        except self._psycopg.Error as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise StoreError(
                f"{self.location}: the store cannot be used ({reason}). Is the server there, does it have pgvector, "
                "and may this user create tables?"
            ) from error


class _Cursor:
    """psycopg's connection with '?' for parameters."""

    def __init__(self, connection: Any):
        self._connection = connection

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Any:
        return self._connection.execute(statement.replace("?", "%s"), tuple(parameters) or None)


def _psycopg() -> Any:
    try:
        import psycopg
    except Exception as error:
        raise MissingPackageError(
            f"a store in PostgreSQL needs the package psycopg, which cannot be imported ({error}). Install it with: "
            'pip install "psycopg[binary]"'
        ) from error
    return psycopg
