"""The store of enrolled voices: SQLite in a folder, or PostgreSQL for several machines, behind the same methods."""

import os
import re

from mvector.store.people import AddedUtterance, Match, Person, StoredUtterance
from mvector.store.sealing import KEY_VARIABLE
from mvector.store.store import VoiceStore

__all__ = ["AddedUtterance", "Match", "Person", "StoredUtterance", "VoiceStore", "open_store"]


def open_store(
    location: str | os.PathLike[str],
    fingerprint: str,
    embedding_size: int,
    key: str | None = None,
    keep_audio: bool = True,
    outlier_score: float | None = None,
    index: str = "exact",
    moving: bool = False,
) -> VoiceStore:
    """Open the store of enrolled voices at `location`, making it if there is none.

    location                     a folder such as audio_db (its file is voices.sqlite3), or a postgresql:// address
    fingerprint, embedding_size  of the model in use (mvector.fingerprint.model_fingerprint)
    key            encrypts names, embeddings and recordings; None: the environment's MVECTOR_STORE_KEY, if it is set
    keep_audio     keep the recordings of new utterances: without them another model cannot take the store over
    outlier_score  a new utterance less similar than this to the person's earlier ones comes with a warning; best the
                   model's threshold, by default 0.2
    index          exact: every search compares with everybody. ivf: only with those in some of many lists; with
                   PostgreSQL it is hnsw, pgvector's graph. Both are faster among a million people, and overlook
                   somebody now and then
    moving         for :func:`mvector.store.reembed.reembed`: the store may be another model's

    Raises StoreError: a store made with another model, a wrong or missing key, a place that cannot be written.
    """
    settings = (fingerprint, embedding_size, key or os.environ.get(KEY_VARIABLE) or None, keep_audio, outlier_score)
    if isinstance(location, str) and re.match(r"postgres(ql)?://", location):
        from mvector.store.postgres import PostgresStore

        return PostgresStore(location, *settings, index=index, moving=moving)
    from mvector.store.sqlite import SqliteStore

    return SqliteStore(location, *settings, index=index, moving=moving)
