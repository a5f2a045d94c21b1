"""Enrolled voices as the mvector package keeps them: `audio_db/<name>/*.wav`, and before that `audio_db/<name>.wav`.

A file is imported once. What is remembered of it is a digest of its name and content, so that a person who was deleted
does not come back from a copy of the file. Its `audio_indexes.bin` is a pickle, which could run a program: it is left.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from mvector.errors import MVectorError, StoreError
from mvector.store.names import clean_name
from mvector.store.rows import Cursor, Quality, StoreRows, quality_numbers

if TYPE_CHECKING:
    from mvector.store.store import VoiceStore

logger = logging.getLogger("mvector")

SOUND_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a")
PICKLED_INDEX = "audio_indexes.bin"


def import_folders(
    store: "VoiceStore", folder: str | os.PathLike[str], embed: Callable[[str], tuple[np.ndarray, Quality]]
) -> int:
    """See VoiceStore.import_folders. Each file is a transaction: cut off, the import goes on where it was."""
    root = Path(folder)
    if not root.is_dir():
        raise StoreError(f"{root}: there is no such folder to import people from.")
    with store.transaction() as cursor:
        files = [(path, name) for path, name in _sound_files(root) if not _is_imported(store, cursor, path, name)]
    added = 0
    for path, name in tqdm(files, unit="file", disable=None, leave=False):
        try:
            embedding, quality = embed(str(path))
            added += _import_file(store, path, name, embedding, quality)
        except MVectorError as error:
            logger.warning("%s is not enrolled: %s", path, error)
    if added:
        logger.info("%s: %d recordings imported; the files stay where they are", root, added)
        if (root / PICKLED_INDEX).exists():
            logger.info("%s is not read: it is a pickle; the recordings were embedded anew", root / PICKLED_INDEX)
    return added


def remove_imported(store: StoreRows, cursor: Cursor, folder: Path, name: str) -> None:
    """Delete the files of `folder` that `name` was imported from; others, and other people's, are left."""
    for path, found in _sound_files(folder):
        if found != name or not _is_imported(store, cursor, path, name):
            continue
        try:
            path.unlink()
            if path.parent != folder and not any(path.parent.iterdir()):
                path.parent.rmdir()
        except OSError as error:
            logger.warning("%s: this recording of a deleted person cannot be deleted (%s)", path, error.strerror)


def _import_file(store: "VoiceStore", path: Path, name: str, embedding: np.ndarray, quality: Quality) -> int:
    unit, numbers, content = store.check_embedding(embedding), quality_numbers(quality), path.read_bytes()
    with store.transaction(write=True) as cursor:
        if _is_imported(store, cursor, path, name):  # by another process meanwhile
            return 0
        person_id, _ = store.insert(cursor, name, unit, numbers, content if store.keep_audio else None, time.time())
        store.renew_mean(cursor, person_id)
        cursor.execute("INSERT INTO voice_imports (digest) VALUES (?)", (_digest(store, path, name),))
    return 1


def _sound_files(root: Path) -> Iterator[tuple[Path, str]]:
    """(file, name of the person) of both forms, in order."""
    for entry in sorted(root.iterdir()):
        try:
            if entry.is_dir():
                inside = sorted(path for path in entry.iterdir() if path.suffix.lower() in SOUND_SUFFIXES)
                if inside:
                    name = clean_name(entry.name)
                    yield from ((path, name) for path in inside if path.is_file())
            elif entry.suffix.lower() in SOUND_SUFFIXES:
                yield entry, clean_name(entry.stem)
        except StoreError as error:
            logger.warning("%s is not enrolled: %s", entry, error)


def _is_imported(store: StoreRows, cursor: Cursor, path: Path, name: str) -> bool:
    digest = _digest(store, path, name)
    return bool(cursor.execute("SELECT 1 FROM voice_imports WHERE digest = ?", (digest,)).fetchall())


def _digest(store: StoreRows, path: Path, name: str) -> bytes:
    return store.sealing.digest(b"file " + name.encode() + b"\0" + path.read_bytes())
