"""Enrolled voices: what every store does. How SQLite and PostgreSQL differ is in mvector.store.sqlite and .postgres."""

import os
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np

from mvector.errors import StoreError
from mvector.store.names import clean_name, shown
from mvector.store.people import AddedUtterance, Match, Person, StoredUtterance
from mvector.store.recordings import to_bytes
from mvector.store.rows import Audio, Cursor, Floats, Quality, StoreRows, cosine, quality_numbers, utc


class VoiceStore(StoreRows):
    """Enrolled people: several utterances each, their mean, and search among the means.

    All embeddings of a store were made by one model, that of `fingerprint`. Every method may be called from several
    threads, and several processes may have the same store open: each sees what the others committed. A name is any
    text of 1 to 300 characters without control characters; it is kept in Unicode's NFC form, and upper and lower case
    differ. Methods raise StoreError: a name that cannot be one, an embedding of another size or with NaN, a store that
    another process has moved to another model, a closed store.

    keep_audio: whether the recordings of new utterances are kept. outlier_score: the cosine similarity with the mean
    of a person's earlier utterances below which a new one comes with a warning; best the model's threshold.
    """

    @abstractmethod
    def _nearest(self, cursor: Cursor, queries: Floats, top_k: int) -> list[list[Match]]:
        """Search for queries [N, E] of unit length."""

    @abstractmethod
    def erase(self) -> None:
        """After a deletion was committed: leave nothing of it in files."""

    @abstractmethod
    def close(self) -> None:
        """Let go of files and connections; twice is fine."""

    # ------------------------------------------------------------------ enrolling and deleting

    def add(self, name: str, embedding: np.ndarray, *, quality: Quality = None, audio: Audio = None) -> AddedUtterance:
        """Enroll an utterance of `name`, who need not be known yet. One transaction: all of it is kept or nothing.

        embedding: [E] float32; it is brought to unit length. quality: numbers by name (a mapping or a dataclass), such
        as speech_s, snr_db, clipped_share, level_dbfs. audio: (samples [T], rate in Hz), or the bytes of a sound file;
        kept where the store keeps recordings (`keep_audio`), else ignored.
        """
        name, unit = clean_name(name), self.check_embedding(embedding)
        numbers = quality_numbers(quality)
        sound = to_bytes(audio) if audio is not None and self.keep_audio else None
        with self.transaction(write=True) as cursor:
            person_id = self.person_id(cursor, name)
            earlier = None if person_id is None else self.mean_of(cursor, person_id)
            person_id, utterance_id = self.insert(cursor, name, unit, numbers, sound, time.time())
            count = self.renew_mean(cursor, person_id)
        warning = None
        if earlier is not None and (score := cosine(earlier, unit)) < self.outlier_score:
            warning = (
                f"this recording does not sound like the others of {shown(name)}: similarity {score:.2f}, expected at "
                f"least {self.outlier_score:.2f}. Is it the same person, speaking alone? It is enrolled all the same."
            )
        return AddedUtterance(name, utterance_id, warning, count)

    def remove(self, name: str) -> bool:
        """Delete everything about `name` so that no file of the store holds it any more; False if nobody has it."""
        with self.transaction(write=True) as cursor:
            person_id = self.person_id(cursor, clean_name(name))
            if person_id is None:
                return False
            self.prepare_erasing(cursor, name)
            cursor.execute("DELETE FROM voice_people WHERE id = ?", (person_id,))
            cursor.execute(
                "INSERT INTO voice_removed (person_id, revision) VALUES (?, ?)", (person_id, self.next_revision(cursor))
            )
        self.erase()
        return True

    def prepare_erasing(self, cursor: Cursor, name: str | None) -> None:
        """Within the transaction that deletes `name` (None: embeddings of another model) and that `erase` follows."""

    # ------------------------------------------------------------------ who is enrolled

    def names(self) -> list[str]:
        """Everybody's name, sorted by code points."""
        return [person.name for person in self.people()]

    def people(self) -> list[Person]:
        """Everybody, sorted by name."""
        return sorted(self._people("", ()), key=lambda person: person.name)

    def count(self) -> int:
        """How many people are enrolled."""
        with self.transaction() as cursor:
            return int(cursor.execute("SELECT COUNT(*) FROM voice_people").fetchone()[0])

    def get(self, name: str) -> Person | None:
        """The person of that name, or None."""
        return next(iter(self._people("WHERE p.lookup = ?", (self.lookup(clean_name(name)),))), None)

    def _people(self, condition: str, parameters: Sequence[Any]) -> list[Person]:
        statement = (
            "SELECT p.lookup, p.name, p.added_at, COUNT(u.id) FROM voice_people p "
            f"LEFT JOIN voice_utterances u ON u.person_id = p.id {condition} GROUP BY p.id"
        )
        with self.transaction() as cursor:
            rows = cursor.execute(statement, parameters).fetchall()
        return [Person(self.name_of(row[0], row[1]), int(row[3]), utc(row[2])) for row in rows]

    def utterances(self, name: str) -> list[StoredUtterance]:
        """The utterances of `name`, oldest first; an empty list if nobody has the name."""
        with self.transaction() as cursor:
            rows = cursor.execute(
                "SELECT u.id, u.added_at, r.utterance_id IS NOT NULL, e.quality FROM voice_utterances u "
                "JOIN voice_people p ON p.id = u.person_id "
                "JOIN voice_embeddings e ON e.utterance_id = u.id AND e.model_id = ? "
                "LEFT JOIN voice_recordings r ON r.utterance_id = u.id WHERE p.lookup = ? ORDER BY u.id",
                (self.model_id, self.lookup(clean_name(name))),
            ).fetchall()
        return [StoredUtterance(row[0], utc(row[1]), bool(row[2]), self.quality_of(row[0], row[3])) for row in rows]

    # ------------------------------------------------------------------ comparing

    def mean(self, name: str) -> Floats | None:
        """The mean [E] float32 of the unit-length embeddings of `name`, of unit length itself; None if unknown."""
        with self.transaction() as cursor:
            person_id = self.person_id(cursor, clean_name(name))
            return None if person_id is None else self.mean_of(cursor, person_id)

    def compare(self, name: str, embedding: np.ndarray) -> float | None:
        """Cosine similarity of `embedding` [E] with the mean of `name`; None if nobody has the name."""
        unit, mean = self.check_embedding(embedding), self.mean(name)
        return None if mean is None else cosine(mean, unit)

    def search(self, embedding: np.ndarray, top_k: int = 2) -> Any:
        """The `top_k` people nearest to `embedding` [E], best first: a list of :class:`Match`.

        It is shorter where fewer are enrolled. For embeddings [N, E] a list of N such lists. With the exact index it is
        the same as comparing with everybody.
        """
        if top_k < 1:
            raise StoreError(f"top_k must be at least 1, found {top_k}.")
        array = np.asarray(embedding)
        queries = [self.check_embedding(row) for row in (array if array.ndim == 2 else [array])]
        if not queries:
            return []
        with self.transaction() as cursor:
            found = self._nearest(cursor, np.stack(queries), top_k)
        return found if array.ndim == 2 else found[0]

    # ------------------------------------------------------------------ files

    def export_person(self, name: str, path: str | os.PathLike[str]) -> None:
        """Write everything about `name` to one file that `import_file` reads; it is not encrypted."""
        from mvector.store.portable import write_people

        name = clean_name(name)
        if self.get(name) is None:
            raise StoreError(f"{self.location}: nobody named {shown(name)} is enrolled.")
        write_people(self, [name], path)

    def export_all(self, path: str | os.PathLike[str]) -> int:
        """Write everybody to one file that `import_file` reads, not encrypted; returns the number of people."""
        from mvector.store.portable import write_people

        return write_people(self, self.names(), path)

    def import_file(self, path: str | os.PathLike[str]) -> int:
        """Enroll what `export_person` or `export_all` wrote, all or nothing; returns the number of new utterances.

        Utterances that the store has already are not enrolled twice. Raises StoreError for a file of another model.
        """
        from mvector.store.portable import read_people

        return read_people(self, path)

    def import_folders(self, folder: str | os.PathLike[str], embed: Callable[[str], tuple[np.ndarray, Quality]]) -> int:
        """Enroll `<folder>/<name>/*.wav` and `<folder>/<name>.wav`, once; returns the number of new utterances.

        embed(path) -> (embedding [E], quality or None); what it refuses with an MVectorError is logged and skipped.
        The files stay where they are. An `audio_indexes.bin` is a pickle and is not read.
        """
        from mvector.store.folders import import_folders

        return import_folders(self, folder, embed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
