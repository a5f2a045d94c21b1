"""The rows of a store, in statements that SQLite and PostgreSQL both understand; parameters are written '?'."""

import json
import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mvector.errors import StoreError
from mvector.store.schema import FORMAT, check_format
from mvector.store.sealing import Sealing, new_sealing, open_sealing

Floats = NDArray[np.float32]
Quality = Mapping[str, float] | object | None
Audio = tuple[np.ndarray, int] | bytes | None

# Published models tell speakers apart at cosines of 0.19 to 0.36; below this hardly any would call two voices one.
OUTLIER_SCORE = 0.2


class Cursor(Protocol):
    """What the connections of both databases do inside a transaction."""

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Any: ...


class StoreRows(ABC):
    """Reading and writing within a transaction. :class:`mvector.store.store.VoiceStore` has the public methods."""

    def __init__(
        self, location: str, fingerprint: str, embedding_size: int, keep_audio: bool, outlier_score: float | None
    ):
        if embedding_size < 1:
            raise StoreError(f"embedding_size must be at least 1, found {embedding_size}.")
        self.location = location  # for people to read; a password of an address is left out
        self.fingerprint, self.embedding_size, self.keep_audio = fingerprint, embedding_size, keep_audio
        self.outlier_score = OUTLIER_SCORE if outlier_score is None else outlier_score
        self.model_id = 0  # whose embeddings are read and written
        self.model_in_use = 0  # another one only while the store is being moved to `model_id`
        self.sealing: Sealing
        self._lock = threading.RLock()

    # ------------------------------------------------------------------ what differs between databases

    @abstractmethod
    def transaction(self, write: bool = False) -> AbstractContextManager[Cursor]:
        """One transaction, under the lock: committed at the end, undone by an error. One writer at a time."""

    @abstractmethod
    def pack(self, embedding: Floats, context: bytes) -> Any:
        """An embedding as a parameter of a statement."""

    @abstractmethod
    def unpack(self, value: Any, context: bytes) -> Floats:
        """What `pack` made, read from a row."""

    def keep_sound(self, sealed: bytes) -> bytes:
        """Keep a recording; returns what the row of it holds: here the recording itself."""
        return sealed

    def kept_sound(self, held: bytes) -> bytes | None:
        """The recording for what `keep_sound` returned; None where it is lost."""
        return held

    # ------------------------------------------------------------------ the store itself

    def claim(self, cursor: Cursor, key: str | None, moving: bool) -> None:
        """Make a new store this model's, or check that it is; with `moving` it may be another's, and is moved then.

        The tables exist. Raises StoreError where the store belongs to another model or to another key.
        """
        state = cursor.execute("SELECT format, salt, key_check, model_id FROM voice_state").fetchall()
        if not state:
            salt, self.sealing = new_sealing(self.location, key)
            self.model_id = self.model_in_use = self._own_model(cursor)
            cursor.execute(
                "INSERT INTO voice_state (id, format, salt, key_check, model_id, revision) VALUES (1, ?, ?, ?, ?, 0)",
                (FORMAT, salt, self.sealing.check(), self.model_id),
            )
            return
        found, salt, check, self.model_in_use = state[0]
        check_format(self.location, found)
        self.sealing = open_sealing(self.location, bytes(salt), None if check is None else bytes(check), key)
        fingerprint = value(cursor, "SELECT fingerprint FROM voice_models WHERE id = ?", self.model_in_use)
        utterances = value(cursor, "SELECT COUNT(*) FROM voice_utterances")
        if fingerprint != self.fingerprint and utterances and not moving:
            raise StoreError(
                f"{self.location}: the {utterances} recordings in it were embedded by another model ({fingerprint}); "
                "embeddings of two models cannot be compared. Use that model, or move the store to this one: python "
                f"tools/reembed.py --model_path MODEL --audio_db_path {self.location}"
            )
        self.model_id = self._own_model(cursor)
        if fingerprint != self.fingerprint and not utterances:
            cursor.execute("UPDATE voice_state SET model_id = ?", (self.model_id,))
            self.model_in_use = self.model_id

    def _own_model(self, cursor: Cursor) -> int:
        """The row of this model, made where it is not there."""
        rows = cursor.execute(
            "SELECT id, embedding_size FROM voice_models WHERE fingerprint = ?", (self.fingerprint,)
        ).fetchall()
        if not rows:
            return value(
                cursor,
                "INSERT INTO voice_models (fingerprint, embedding_size) VALUES (?, ?) RETURNING id",
                self.fingerprint,
                self.embedding_size,
            )
        if rows[0][1] != self.embedding_size:
            raise StoreError(
                f"{self.location}: the embeddings in it have {rows[0][1]} numbers, and those of the model "
                f"{self.fingerprint} are said to have {self.embedding_size}."
            )
        return int(rows[0][0])

    def check_in_use(self, cursor: Cursor) -> int:
        """The store's revision, after checking that it still belongs to the model that it was opened for."""
        model_id, revision = cursor.execute("SELECT model_id, revision FROM voice_state").fetchall()[0]
        if model_id != self.model_in_use:
            raise StoreError(
                f"{self.location}: the store was moved to another model while it was open; open it again with that one."
            )
        return int(revision)

    def next_revision(self, cursor: Cursor) -> int:
        return value(cursor, "UPDATE voice_state SET revision = revision + 1 RETURNING revision")

    # ------------------------------------------------------------------ people and their utterances

    def person_id(self, cursor: Cursor, name: str) -> int | None:
        rows = cursor.execute("SELECT id FROM voice_people WHERE lookup = ?", (self.lookup(name),)).fetchall()
        return int(rows[0][0]) if rows else None

    def insert(
        self,
        cursor: Cursor,
        name: str,
        embedding: Floats,
        quality: Mapping[str, float],
        sound: bytes | None,
        added_at: float,
    ) -> tuple[int, int]:
        """The ids of the person, made where unknown, and of the new utterance. `renew_mean` has to follow."""
        person_id, lookup = self.person_id(cursor, name), self.lookup(name)
        if person_id is None:
            person_id = value(
                cursor,
                "INSERT INTO voice_people (lookup, name, added_at, revision) VALUES (?, ?, ?, 0) RETURNING id",
                lookup,
                self.sealing.seal(name.encode(), b"name " + lookup),
                added_at,
            )
        utterance_id = value(
            cursor,
            "INSERT INTO voice_utterances (person_id, added_at) VALUES (?, ?) RETURNING id",
            person_id,
            added_at,
        )
        self.insert_embedding(cursor, utterance_id, embedding, quality)
        if sound is not None:
            cursor.execute(
                "INSERT INTO voice_recordings (utterance_id, sound) VALUES (?, ?)",
                (utterance_id, self.keep_sound(self.sealing.seal(sound, b"recording %d" % utterance_id))),
            )
        return person_id, utterance_id

    def insert_embedding(
        self, cursor: Cursor, utterance_id: int, embedding: Floats, quality: Mapping[str, float]
    ) -> None:
        """An utterance as this model hears it; some of its quality is the model's word, too."""
        text = json.dumps(dict(quality), separators=(",", ":")).encode()
        cursor.execute(
            "INSERT INTO voice_embeddings (utterance_id, model_id, embedding, quality) VALUES (?, ?, ?, ?)",
            (
                utterance_id,
                self.model_id,
                self.pack(embedding, b"embedding %d" % utterance_id),
                self.sealing.seal(text, b"quality %d" % utterance_id),
            ),
        )

    def embeddings_of(self, cursor: Cursor, person_id: int) -> list[tuple[int, Floats]]:
        """(utterance id, embedding [E]) of each utterance of a person, oldest first."""
        rows = cursor.execute(
            "SELECT e.utterance_id, e.embedding FROM voice_embeddings e JOIN voice_utterances u "
            "ON u.id = e.utterance_id WHERE u.person_id = ? AND e.model_id = ? ORDER BY u.id",
            (person_id, self.model_id),
        ).fetchall()
        return [(row[0], self.unpack(row[1], b"embedding %d" % row[0])) for row in rows]

    def renew_mean(self, cursor: Cursor, person_id: int) -> int:
        """Compute the mean of a person's embeddings anew; returns how many there are."""
        embeddings = [embedding for _, embedding in self.embeddings_of(cursor, person_id)]
        total: NDArray[np.float64] = np.asarray(embeddings, np.float64).sum(axis=0)
        opposite = float(np.linalg.norm(total)) < 1e-6  # they have no direction in common
        mean = embeddings[-1] if opposite else self.check_embedding(total)
        cursor.execute(
            "INSERT INTO voice_means (person_id, model_id, mean) VALUES (?, ?, ?) "
            "ON CONFLICT (person_id, model_id) DO UPDATE SET mean = excluded.mean",
            (person_id, self.model_id, self.pack(mean, b"mean %d" % person_id)),
        )
        cursor.execute("UPDATE voice_people SET revision = ? WHERE id = ?", (self.next_revision(cursor), person_id))
        return len(embeddings)

    def mean_of(self, cursor: Cursor, person_id: int) -> Floats:
        packed = value(
            cursor,
            "SELECT mean FROM voice_means WHERE person_id = ? AND model_id = ?",
            person_id,
            self.model_id,
        )
        return self.unpack(packed, b"mean %d" % person_id)

    def sound_of(self, cursor: Cursor, utterance_id: int) -> bytes | None:
        """The recording of an utterance as the bytes of a sound file; None where it was not kept."""
        rows = cursor.execute("SELECT sound FROM voice_recordings WHERE utterance_id = ?", (utterance_id,)).fetchall()
        sealed = self.kept_sound(bytes(rows[0][0])) if rows else None
        return None if sealed is None else self.sealing.unseal(sealed, b"recording %d" % utterance_id)

    # ------------------------------------------------------------------ single values

    def lookup(self, name: str) -> bytes:
        return self.sealing.digest(b"name " + name.encode())

    def name_of(self, lookup: Any, sealed: Any) -> str:
        return self.sealing.unseal(bytes(sealed), b"name " + bytes(lookup)).decode()

    def quality_of(self, utterance_id: int, sealed: Any) -> dict[str, float]:
        quality: dict[str, float] = json.loads(self.sealing.unseal(bytes(sealed), b"quality %d" % utterance_id))
        return quality

    def check_embedding(self, embedding: np.ndarray) -> Floats:
        """`embedding` [E] at unit length; raises StoreError for another size, NaN, infinity and zeros."""
        array = np.asarray(embedding, dtype=np.float64)
        if array.shape != (self.embedding_size,):
            raise StoreError(
                f"an embedding of this store has shape [{self.embedding_size}], found {list(array.shape)}; embeddings "
                "of another model cannot be used with it."
            )
        length = float(np.linalg.norm(array))
        if not math.isfinite(length) or length == 0.0:
            raise StoreError("the embedding is zero, or has NaN or infinite numbers; is the recording broken?")
        # One that has unit length already keeps its bits, so that exporting and importing change nothing.
        return (array if abs(length - 1.0) < 1e-6 else array / length).astype(np.float32)


def value(cursor: Cursor, statement: str, *parameters: Any) -> Any:
    """The one value that a statement gives."""
    return cursor.execute(statement, parameters).fetchall()[0][0]


def chunks(items: Any, size: int) -> Iterator[Any]:
    """Slices of a sequence or an array."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def cosine(one: Floats, other: Floats) -> float:
    """Of two embeddings of unit length; rounding may not carry it beyond ±1."""
    return float(np.clip(np.dot(one.astype(np.float64), other.astype(np.float64)), -1.0, 1.0))


def quality_numbers(quality: Quality) -> dict[str, float]:
    """The finite numbers of a mapping or a dataclass; what is unknown (None, NaN) is left out."""
    if quality is None:
        return {}
    items = asdict(quality) if is_dataclass(quality) and not isinstance(quality, type) else quality
    if not isinstance(items, Mapping):
        raise StoreError(f"quality must be a mapping or a dataclass of numbers, found {type(quality).__name__}.")
    numbers = {str(key): found for key, found in items.items() if isinstance(found, int | float | np.number)}
    return {key: float(found) for key, found in numbers.items() if math.isfinite(found)}


def utc(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC)
