"""The store in one SQLite file of a folder, for any number of processes of one machine."""

import logging
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mvector.errors import StoreError
from mvector.store.folders import remove_imported
from mvector.store.index import make_index
from mvector.store.names import clean_name
from mvector.store.people import Match
from mvector.store.rows import Cursor, Floats, chunks
from mvector.store.schema import TABLES
from mvector.store.sound_files import SoundFiles
from mvector.store.store import VoiceStore

logger = logging.getLogger("mvector")

FILE_NAME, SOUNDS_NAME = "voices.sqlite3", "voices.recordings"
PATIENCE_S = 30.0  # how long a process waits for another one's transaction
CHUNK = 500  # rows asked for in one statement
MEMORY_ROWS = 5_000  # rows read before they are packed into the index


class SqliteStore(VoiceStore):
    """Journal in WAL mode, `synchronous` full: what was committed survives a killed process and a power cut.

    Embeddings for searching are kept in memory and brought up to date, before each search, with what any process
    committed since. Recordings are files beside the database.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        fingerprint: str,
        embedding_size: int,
        key: str | None = None,
        keep_audio: bool = True,
        outlier_score: float | None = None,
        index: str = "exact",
        moving: bool = False,
    ):
        self.folder = Path(folder)
        self.file = self.folder / FILE_NAME
        self._sounds = SoundFiles(self.folder / SOUNDS_NAME)
        super().__init__(str(self.folder), fingerprint, embedding_size, keep_audio, outlier_score)
        self._index_kind, self._index, self._seen = index, make_index(index, embedding_size), -1
        self._connection: sqlite3.Connection | None = None
        self._process = 0
        self._is_closed = False
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{self.folder}: the folder cannot be made ({error.strerror}).") from error
        try:
            with self.transaction(write=True, claimed=False) as cursor:
                for statement in TABLES:
                    cursor.execute(
                        statement.format(
                            serial="INTEGER PRIMARY KEY AUTOINCREMENT", bytes="BLOB", real="REAL", vector="BLOB"
                        )
                    )
                self.claim(cursor, key, moving)
                self._sweep(cursor)
                is_unerased = cursor.execute("PRAGMA user_version").fetchone()[0]
            if is_unerased:
                self.erase()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def transaction(self, write: bool = False, claimed: bool = True) -> Iterator[Cursor]:
        with self._lock, self._sentences():
            connection = self._connect()
            connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            try:
                if claimed:
                    self._revision = self.check_in_use(connection)
                yield connection
                connection.commit()
            except BaseException:
                connection.rollback()
                raise

    def pack(self, embedding: Floats, context: bytes) -> Any:
        return self.sealing.seal(np.ascontiguousarray(embedding, "<f4").tobytes(), context)

    def unpack(self, value: Any, context: bytes) -> Floats:
        return np.frombuffer(self.sealing.unseal(value, context), "<f4")

    def close(self) -> None:
        with self._lock:
            connection, self._connection, self._is_closed = self._connection, None, True
            if connection is not None and self._process == os.getpid():
                connection.close()

    # ------------------------------------------------------------------ searching

    def _nearest(self, cursor: Cursor, queries: Floats, top_k: int) -> list[list[Match]]:
        self._refresh(cursor)
        found = self._index.candidates(queries, top_k)
        results = []
        for query, ids in zip(queries, found, strict=True):
            scored: list[tuple[float, int]] = []
            for part in chunks(ids, CHUNK):  # the exact scores, from the embeddings as they were enrolled
                means = self._means(cursor, part)
                scores = np.clip(means[1].astype(np.float64) @ query.astype(np.float64), -1.0, 1.0)
                scored = sorted([*scored, *zip(-scores, means[0].tolist(), strict=True)])[:top_k]
            results.append([Match(self._name(cursor, one), float(-score)) for score, one in scored])
        return results

    def _refresh(self, cursor: Cursor) -> None:
        """Take over what was committed since the last search."""
        if self._seen == self._revision:
            return
        seen, self._seen = self._seen, -1  # after an error in the middle everything is read again
        if seen < 0:
            self._index = make_index(self._index_kind, self.embedding_size)
        else:
            gone = cursor.execute("SELECT person_id FROM voice_removed WHERE revision > ?", (seen,)).fetchall()
            self._index.drop([row[0] for row in gone])
        rows = cursor.execute("SELECT id FROM voice_people WHERE revision > ? ORDER BY id", (seen,))
        changed = np.fromiter((row[0] for row in rows), np.int64)
        for some in chunks(changed, MEMORY_ROWS):
            self._index.put(some, np.concatenate([self._means(cursor, part)[1] for part in chunks(some, CHUNK)]))
        self._seen = self._revision

    def _means(self, cursor: Cursor, ids: Sequence[Any]) -> tuple[np.ndarray, Floats]:
        """Ids [N], ascending, and their means [N, E]."""
        rows = cursor.execute(
            f"SELECT person_id, mean FROM voice_means WHERE model_id = ? AND person_id IN ({','.join('?' * len(ids))}) "
            "ORDER BY person_id",
            (self.model_id, *(int(one) for one in ids)),
        ).fetchall()
        plain = b"".join([self.sealing.unseal(row[1], b"mean %d" % row[0]) for row in rows])
        means = np.frombuffer(plain, "<f4").reshape(len(rows), self.embedding_size)
        return np.array([row[0] for row in rows], np.int64), means

    def _name(self, cursor: Cursor, person_id: int) -> str:
        return self.name_of(
            *cursor.execute("SELECT lookup, name FROM voice_people WHERE id = ?", (person_id,)).fetchall()[0]
        )

    # ------------------------------------------------------------------ deleting

    def prepare_erasing(self, cursor: Cursor, name: str | None) -> None:
        """The file notes that something is to be erased, so that a process that is killed leaves it to the next one."""
        cursor.execute("PRAGMA user_version = 1")
        if name is not None:
            remove_imported(self, cursor, self.folder, clean_name(name))

    def erase(self) -> None:
        """Leave nothing readable of what was deleted: in recordings, the file, its journal and memory.

        `secure_delete` overwrites deleted rows, but not the copies that stay in a page's gaps when SQLite had moved a
        row to another page; only VACUUM, which writes the file anew, is sure of those. Recordings are not in it.
        """
        with self.transaction(write=True) as cursor:
            self._sweep(cursor)
            if self._seen >= 0:
                self._refresh(cursor)
        try:
            with self._lock, self._sentences():
                connection = self._connect()
                connection.execute("PRAGMA temp_store = FILE")  # VACUUM's copy is large, and holds nothing deleted
                try:
                    connection.execute("VACUUM")
                finally:
                    connection.execute("PRAGMA temp_store = MEMORY")
                self._empty_journal(connection)
                connection.execute("PRAGMA user_version = 0")
                self._empty_journal(connection)
        except StoreError as error:  # the rows are deleted, whatever happens here
            logger.warning("what was deleted is erased from the file when the store is opened next: %s", error)

    def _empty_journal(self, connection: sqlite3.Connection) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            if time.monotonic() > deadline:
                raise sqlite3.OperationalError("database is locked by a reader")
            time.sleep(0.01)

    def keep_sound(self, sealed: bytes) -> bytes:
        return self._sounds.write(sealed)

    def kept_sound(self, held: bytes) -> bytes | None:
        return self._sounds.read(held)

    def _sweep(self, cursor: Cursor) -> None:
        """Remove the recordings that no row names: of people deleted just now, or left by a killed process."""
        kept = cursor.execute("SELECT COUNT(*) FROM voice_recordings").fetchall()[0][0]
        if len(self._sounds.names()) != kept:
            self._sounds.sweep(row[0] for row in cursor.execute("SELECT sound FROM voice_recordings"))

    # ------------------------------------------------------------------ the connection

    def _connect(self) -> sqlite3.Connection:
        """This process's connection: one of SQLite's must not be used on after a fork."""
        if self._is_closed:
            raise StoreError(f"{self.location}: the store is closed.")
        if self._connection is not None and self._process == os.getpid():
            return self._connection
        self._abandoned = self._connection  # closing it here would release the parent's locks
        connection = sqlite3.connect(self.file, PATIENCE_S, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA temp_store = MEMORY")  # no embedding in a temporary file
        _use_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")
        self._connection, self._process = connection, os.getpid()
        return connection

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        """What SQLite complains of, as a sentence."""
        try:
            yield
        except sqlite3.Error as error:
            reason = str(error)
            if "locked" in reason or "busy" in reason:
                advice = f"Another program has been writing to it for {PATIENCE_S:g} s; try again."
            elif "not a database" in reason or "malformed" in reason:
                advice = "The file is damaged, or is no store; restore it from a backup."
            elif "full" in reason:
                advice = "Make room on the disk."
            else:
                advice = "Is the folder there, on a local disk, and may this user write to it?"
            raise StoreError(f"{self.file}: the store cannot be used ({reason}). {advice}") from error


def _use_wal(connection: sqlite3.Connection) -> None:
    """Changing the journal needs the file alone for a moment, and SQLite's own patience does not cover that."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
            continue
        if mode != "wal":
            raise sqlite3.OperationalError(f"its file system has no shared memory, journal mode {mode}")
        return
