"""People in one file, to carry them to another store: a zip of JSON, safetensors and sound files, nothing pickled.

    meta.json                     {"format", "model_fingerprint", "embedding_size", "people", "parts"}
    people/000000.json            of some people: name, added_at, and their utterances: added_at, quality, recording
    embeddings/000000.safetensors "embeddings" [U, E] float32: of the utterances of that part, in order
    recordings/0000000            a sound file; utterances whose recording was not kept have none

The entries are stored and not compressed, so that a small file cannot unpack to a huge one. It is not encrypted.
"""

import json
import os
import struct
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from mvector.errors import StoreError
from mvector.store.names import clean_name
from mvector.store.rows import Cursor, chunks, quality_numbers

if TYPE_CHECKING:
    from mvector.store.store import VoiceStore

FORMAT = "mvector people 1"
PART_PEOPLE = 1_000
# What zipfile, json and safetensors raise for files that are damaged or something else, and our own look-ups for those
# whose parts do not fit together.
_DAMAGE = (
    OSError,
    zipfile.BadZipFile,
    struct.error,
    NotImplementedError,
    RuntimeError,
    SafetensorError,
    ValueError,
    KeyError,
    TypeError,
    StopIteration,
)


def write_people(store: "VoiceStore", names: list[str], path: str | os.PathLike[str]) -> int:
    """Write the people of `names` who are enrolled; one snapshot of the store. Returns how many they were."""
    target = Path(path)
    part_file = target.with_name(f"{target.name}.{os.getpid()}.part")
    written = recordings = parts = 0
    try:
        with zipfile.ZipFile(part_file, "w", zipfile.ZIP_STORED) as archive, store.transaction() as cursor:
            for number, some in enumerate(chunks(names, PART_PEOPLE)):
                people, embeddings = [], []
                for name in some:
                    person_id = store.person_id(cursor, name)
                    if person_id is None:
                        continue
                    utterances, vectors = _utterances(store, cursor, person_id)
                    for utterance in utterances:
                        sound = store.sound_of(cursor, utterance.pop("id"))
                        if sound is not None:
                            utterance["recording"] = f"recordings/{recordings:07d}"
                            archive.writestr(utterance["recording"], sound)
                            recordings += 1
                    people.append({"name": name, "utterances": utterances})
                    embeddings += vectors
                archive.writestr(f"people/{number:06d}.json", json.dumps(people, ensure_ascii=False))
                matrix = np.stack(embeddings) if embeddings else np.empty((0, store.embedding_size), np.float32)
                archive.writestr(f"embeddings/{number:06d}.safetensors", save({"embeddings": matrix}))
                written, parts = written + len(people), number + 1
            meta = {
                "format": FORMAT,
                "model_fingerprint": store.fingerprint,
                "embedding_size": store.embedding_size,
                "people": written,
                "parts": parts,
            }
            archive.writestr("meta.json", json.dumps(meta, indent=2))
        os.replace(part_file, target)
    except OSError as error:
        raise StoreError(f"{target}: the people cannot be written to it ({error.strerror}).") from error
    finally:
        part_file.unlink(missing_ok=True)
    return written


def read_people(store: "VoiceStore", path: str | os.PathLike[str]) -> int:
    """Enroll the people of a file in one transaction; returns how many utterances were new."""
    source, added = Path(path), 0
    try:
        with zipfile.ZipFile(source) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise ValueError("its entries are compressed")
            meta = json.loads(archive.read("meta.json"))
            if meta["format"] != FORMAT:
                raise ValueError(f"format {meta['format']!r}")
            if meta["model_fingerprint"] != store.fingerprint:
                raise StoreError(
                    f"{source}: its people were enrolled with another model ({meta['model_fingerprint']}) than the one "
                    f"of this store ({store.fingerprint}); import it into a store of that model and move that store "
                    "with tools/reembed.py."
                )
            with store.transaction(write=True) as cursor:
                for number in range(int(meta["parts"])):
                    people = json.loads(archive.read(f"people/{number:06d}.json"))
                    matrix = load(archive.read(f"embeddings/{number:06d}.safetensors"))["embeddings"]
                    rows = iter(matrix)
                    for person in people:
                        added += _enroll(store, cursor, archive, person, rows)
    except _DAMAGE as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise StoreError(f"{source}: no people can be imported from it ({reason}).") from error
    return added


def _utterances(store: "VoiceStore", cursor: Cursor, person_id: int) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    rows = cursor.execute(
        "SELECT u.id, u.added_at, e.quality FROM voice_utterances u JOIN voice_embeddings e ON e.utterance_id = u.id "
        "WHERE u.person_id = ? AND e.model_id = ? ORDER BY u.id",
        (person_id, store.model_id),
    ).fetchall()
    utterances = [{"id": row[0], "added_at": row[1], "quality": store.quality_of(row[0], row[2])} for row in rows]
    return utterances, [embedding for _, embedding in store.embeddings_of(cursor, person_id)]


def _enroll(store: "VoiceStore", cursor: Cursor, archive: zipfile.ZipFile, person: dict[str, Any], rows: Any) -> int:
    """Enroll those utterances of `person` that the store does not have, each with the next of `rows`."""
    name, added = clean_name(person["name"]), 0
    person_id = store.person_id(cursor, name)
    known = {} if person_id is None else {e.tobytes() for _, e in store.embeddings_of(cursor, person_id)}
    for utterance in person["utterances"]:
        unit = store.check_embedding(next(rows))
        if unit.tobytes() in known:
            continue
        recording = utterance.get("recording") if store.keep_audio else None
        sound = None if recording is None else archive.read(recording)
        quality = quality_numbers(utterance["quality"])
        person_id, _ = store.insert(cursor, name, unit, quality, sound, float(utterance["added_at"]))
        added += 1
    if added and person_id is not None:
        store.renew_mean(cursor, person_id)
    return added
