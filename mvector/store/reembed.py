"""A store moved to another model: every kept recording is embedded anew, and then the models change places at once."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from mvector.errors import MVectorError, StoreError
from mvector.store.rows import Cursor, Floats, Quality, quality_numbers, value
from mvector.store.store import VoiceStore

Embed = Callable[[bytes], tuple[np.ndarray, Quality]]


@dataclass(frozen=True)
class Moved:
    """utterances: embedded by the new model, those of an earlier call that was cut off included.

    dropped: utterances without a recording, or with one that the new model cannot embed; they were deleted.
    """

    utterances: int
    dropped: int


def reembed(store: VoiceStore, embed: Embed, drop: bool = False, description: str = "re-embedding") -> Moved:
    """Move `store`, opened for the new model with `moving=True`, to that model.

    embed(bytes of a sound file) -> (embedding [E], quality or None). Until the end the store belongs to its old model
    and can be used with it; what is enrolled meanwhile is moved too. Each embedding is committed, so that a call that
    was cut off is gone on with.
    Raises StoreError where recordings are missing, or cannot be embedded, and `drop` does not say to delete them.
    """
    if store.model_id == store.model_in_use:
        with store.transaction() as cursor:
            return Moved(value(cursor, "SELECT COUNT(*) FROM voice_utterances"), 0)
    failed: dict[int, str] = {}
    with store.transaction() as cursor:
        without = cursor.execute(
            "SELECT u.id FROM voice_utterances u LEFT JOIN voice_recordings r ON r.utterance_id = u.id "
            "WHERE r.utterance_id IS NULL"
        ).fetchall()
    failed |= {row[0]: "its recording was not kept" for row in without}
    _refuse(store, failed, drop)
    while True:
        _embed_pending(store, embed, failed, description)
        _refuse(store, failed, drop)
        with store.transaction(write=True) as cursor:
            if all(one in failed for one in _pending(store, cursor)):
                moved = _switch(store, cursor, list(failed))
                break
    store.model_in_use = store.model_id
    store.erase()
    return moved


def _pending(store: VoiceStore, cursor: Cursor) -> list[int]:
    """Utterances that the new model has not embedded."""
    rows = cursor.execute(
        "SELECT u.id FROM voice_utterances u LEFT JOIN voice_embeddings e ON e.utterance_id = u.id AND e.model_id = ? "
        "WHERE e.utterance_id IS NULL ORDER BY u.id",
        (store.model_id,),
    ).fetchall()
    return [row[0] for row in rows]


def _embed_pending(store: VoiceStore, embed: Embed, failed: dict[int, str], description: str) -> None:
    with store.transaction() as cursor:
        total = value(cursor, "SELECT COUNT(*) FROM voice_utterances")
        pending = [one for one in _pending(store, cursor) if one not in failed]
    with tqdm(desc=description, total=total, unit="utt", disable=None, leave=False) as bar:
        bar.update(total - len(pending))
        for utterance_id in pending:
            with store.transaction() as cursor:
                sound = store.sound_of(cursor, utterance_id)
            if sound is None:  # enrolled meanwhile without a recording, or deleted
                failed[utterance_id] = "its recording was not kept"
            else:
                try:
                    embedding, quality = embed(sound)
                except MVectorError as error:
                    failed[utterance_id] = str(error)
                else:
                    _keep(store, utterance_id, store.check_embedding(embedding), quality_numbers(quality))
            bar.update()


def _keep(store: VoiceStore, utterance_id: int, unit: Floats, quality: dict[str, float]) -> None:
    with store.transaction(write=True) as cursor:
        there = cursor.execute("SELECT 1 FROM voice_utterances WHERE id = ?", (utterance_id,)).fetchall()
        done = cursor.execute(
            "SELECT 1 FROM voice_embeddings WHERE utterance_id = ? AND model_id = ?", (utterance_id, store.model_id)
        ).fetchall()
        if there and not done:  # it may have been deleted, or embedded by a second process, meanwhile
            store.insert_embedding(cursor, utterance_id, unit, quality)


def _refuse(store: VoiceStore, failed: dict[int, str], drop: bool) -> None:
    if drop or not failed:
        return
    with store.transaction() as cursor:
        total = value(cursor, "SELECT COUNT(*) FROM voice_utterances")
        first = min(failed)
        rows = cursor.execute(
            "SELECT p.lookup, p.name FROM voice_people p JOIN voice_utterances u ON u.person_id = p.id WHERE u.id = ?",
            (first,),
        ).fetchall()
    if not rows:
        del failed[first]  # deleted meanwhile
        return _refuse(store, failed, drop)
    raise StoreError(
        f"{store.location}: {len(failed)} of the {total} enrolled recordings cannot be embedded by the new model, the "
        f"first of {store.name_of(*rows[0])!r} ({failed[first]}). Enroll these people again afterwards and delete such "
        "recordings with --drop, or go on using the old model; nothing was changed."
    )


def _switch(store: VoiceStore, cursor: Cursor, failed: list[int]) -> Moved:
    """In one transaction: means by the new model, the store is its own, and nothing is left of the old one."""
    before = value(cursor, "SELECT COUNT(*) FROM voice_utterances")
    for utterance_id in failed:
        cursor.execute("DELETE FROM voice_utterances WHERE id = ?", (utterance_id,))
    empty = cursor.execute(
        "SELECT id FROM voice_people WHERE id NOT IN (SELECT person_id FROM voice_utterances)"
    ).fetchall()
    for (person_id,) in empty:
        cursor.execute("DELETE FROM voice_people WHERE id = ?", (person_id,))
    old = store.model_in_use
    for (person_id,) in cursor.execute("SELECT id FROM voice_people ORDER BY id").fetchall():
        store.renew_mean(cursor, person_id)
    cursor.execute("UPDATE voice_state SET model_id = ?, revision = revision + 1", (store.model_id,))
    store.prepare_erasing(cursor, None)
    cursor.execute("DELETE FROM voice_embeddings WHERE model_id = ?", (old,))
    cursor.execute("DELETE FROM voice_means WHERE model_id = ?", (old,))
    cursor.execute("DELETE FROM voice_models WHERE id = ?", (old,))
    after = value(cursor, "SELECT COUNT(*) FROM voice_utterances")
    return Moved(after, before - after)
