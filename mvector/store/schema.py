"""The tables of a store, in the words that SQLite and PostgreSQL share.

Embeddings and means belong to a model; `voice_state` says which model is in use, and only while a store is moved to
another one are there embeddings of two. `revision` counts the commits that changed who is enrolled or how they sound:
a process that kept embeddings in memory asks for what changed since the revision it has seen.
"""

from mvector.errors import StoreError

FORMAT = 1

TABLES = (
    """CREATE TABLE IF NOT EXISTS voice_models (
        id {serial}, fingerprint TEXT NOT NULL UNIQUE, embedding_size INTEGER NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS voice_state (
        id INTEGER PRIMARY KEY CHECK (id = 1), format INTEGER NOT NULL, salt {bytes} NOT NULL, key_check {bytes},
        model_id BIGINT NOT NULL REFERENCES voice_models, revision BIGINT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS voice_people (
        id {serial}, lookup {bytes} NOT NULL UNIQUE, name {bytes} NOT NULL, added_at {real} NOT NULL,
        revision BIGINT NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS voice_people_revision ON voice_people (revision)",
    """CREATE TABLE IF NOT EXISTS voice_utterances (
        id {serial}, person_id BIGINT NOT NULL REFERENCES voice_people ON DELETE CASCADE,
        added_at {real} NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS voice_utterances_person ON voice_utterances (person_id)",
    """CREATE TABLE IF NOT EXISTS voice_embeddings (
        utterance_id BIGINT NOT NULL REFERENCES voice_utterances ON DELETE CASCADE,
        model_id BIGINT NOT NULL REFERENCES voice_models, embedding {vector} NOT NULL, quality {bytes} NOT NULL,
        PRIMARY KEY (utterance_id, model_id))""",
    """CREATE TABLE IF NOT EXISTS voice_means (
        person_id BIGINT NOT NULL REFERENCES voice_people ON DELETE CASCADE,
        model_id BIGINT NOT NULL REFERENCES voice_models, mean {vector} NOT NULL, PRIMARY KEY (person_id, model_id))""",
    """CREATE TABLE IF NOT EXISTS voice_recordings (
        utterance_id BIGINT PRIMARY KEY REFERENCES voice_utterances ON DELETE CASCADE, sound {bytes} NOT NULL)""",
    "CREATE TABLE IF NOT EXISTS voice_removed (person_id BIGINT NOT NULL, revision BIGINT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS voice_removed_revision ON voice_removed (revision)",
    # Digests of files that were imported once, so that who was deleted since does not come back.
    "CREATE TABLE IF NOT EXISTS voice_imports (digest {bytes} PRIMARY KEY)",
)


def check_format(location: str, found: int) -> None:
    if found != FORMAT:
        raise StoreError(
            f"{location}: a store of format {found}; this version of mvector reads format {FORMAT}. Use the version "
            "that wrote it."
        )
