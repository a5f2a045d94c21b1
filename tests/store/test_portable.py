"""People carried from one store to another in a file, and files that are no such thing."""

import json
import zipfile

import numpy as np
import pytest

from mvector.errors import StoreError
from mvector.store import open_store

SIZE, FINGERPRINT = 16, "a" * 32


@pytest.fixture
def target(tmp_path):
    with open_store(tmp_path / "target", FINGERPRINT, SIZE) as store:
        yield store


def contents(store) -> dict:
    """Everything about everybody, ids left out."""
    found = {}
    for name in store.names():
        stored = store.utterances(name)
        with store.transaction() as cursor:
            vectors = [e.tobytes() for _, e in store.embeddings_of(cursor, store.person_id(cursor, name))]
            sounds = [store.sound_of(cursor, one.utterance_id) for one in stored]
        rows = zip(stored, vectors, sounds, strict=True)
        found[name] = [(one.added_at, one.quality, vector, sound) for one, vector, sound in rows]
    return found


@pytest.fixture
def filled(store, voice):
    for name in ("张三", "../b", "Ann"):
        for number in range(2):
            store.add(name, voice(), quality={"n": number}, audio=b"RIFF of %s" % name.encode() if number else None)
    return store


def test_everybody_comes_over_whole_and_once(filled, target, tmp_path, voice):
    file = tmp_path / "people.zip"
    assert filled.export_all(file) == 3
    assert target.import_file(file) == 6
    assert contents(target) == contents(filled)
    query = voice()
    assert target.search(query, 3) == filled.search(query, 3)
    assert target.import_file(file) == 0
    assert contents(target) == contents(filled)
    assert [path.name for path in tmp_path.iterdir() if ".part" in path.name] == []


def test_one_person_joins_the_utterances_already_there(filled, target, tmp_path, voice):
    target.add("Ann", voice())
    filled.export_person("Ann", tmp_path / "ann.zip")
    assert target.import_file(tmp_path / "ann.zip") == 2
    assert target.names() == ["Ann"]
    assert target.get("Ann").utterances == 3
    with target.transaction() as cursor:
        embeddings = [e for _, e in target.embeddings_of(cursor, target.person_id(cursor, "Ann"))]
    mean = np.mean(embeddings, axis=0, dtype=np.float64)
    np.testing.assert_allclose(target.mean("Ann"), mean / np.linalg.norm(mean), atol=1e-6)


def test_a_store_that_keeps_no_recordings_takes_none(filled, tmp_path):
    filled.export_all(tmp_path / "people.zip")
    with open_store(tmp_path / "silent", FINGERPRINT, SIZE, keep_audio=False) as silent:
        silent.import_file(tmp_path / "people.zip")
        assert not any(one.has_audio for name in silent.names() for one in silent.utterances(name))


def test_many_people_are_written_in_parts(store, target, tmp_path, voice, monkeypatch):
    monkeypatch.setattr("mvector.store.portable.PART_PEOPLE", 2)
    for number in range(5):
        store.add(f"p{number}", voice())
    store.export_all(tmp_path / "people.zip")
    assert target.import_file(tmp_path / "people.zip") == 5
    assert contents(target) == contents(store)


def test_nobody_of_that_name_and_nowhere_to_write(filled, tmp_path):
    with pytest.raises(StoreError, match="nobody named 'Bob' is enrolled"):
        filled.export_person("Bob", tmp_path / "bob.zip")
    with pytest.raises(StoreError, match="cannot be written to it"):
        filled.export_all(tmp_path / "no folder" / "people.zip")


def rewrite(source, target, **changes):
    """The same zip with entries replaced, left out (None), or compressed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            content = changes.get(entry.filename.split("/")[0].split(".")[0], old.read(entry))
            if content is not None:
                new.writestr(entry.filename, content, changes.get("compression", zipfile.ZIP_STORED))
    return target


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"meta": None}, "no people can be imported from it"),
        ({"meta": b"{"}, "no people can be imported from it"),
        ({"meta": b'{"format": "other"}'}, "format 'other'"),
        ({"people": None}, "no people can be imported from it"),
        ({"people": b'[{"name": "Ann"}]'}, "no people can be imported from it"),
        ({"people": b'[{"name": "a\\u0000", "utterances": []}]'}, "control character"),
        ({"embeddings": b"\x80\x04 a pickle"}, "no people can be imported from it"),
        ({"recordings": None}, "no people can be imported from it"),
        ({"compression": zipfile.ZIP_DEFLATED}, "its entries are compressed"),
    ],
)
def test_a_file_that_does_not_fit_enrolls_nobody(filled, target, tmp_path, changes, expected):
    filled.export_all(tmp_path / "people.zip")
    changed = rewrite(tmp_path / "people.zip", tmp_path / "changed.zip", **changes)
    with pytest.raises(StoreError, match=expected):
        target.import_file(changed)
    assert target.count() == 0


def test_other_files_and_other_models(filled, target, tmp_path):
    (tmp_path / "text.zip").write_text("not a zip")
    for path in (tmp_path / "text.zip", tmp_path / "missing.zip", tmp_path):
        with pytest.raises(StoreError, match="no people can be imported from it"):
            target.import_file(path)
    filled.export_all(tmp_path / "people.zip")
    with zipfile.ZipFile(tmp_path / "people.zip") as archive:
        meta = json.loads(archive.read("meta.json"))
    other = rewrite(
        tmp_path / "people.zip", tmp_path / "o.zip", meta=json.dumps(meta | {"model_fingerprint": "c" * 32}).encode()
    )
    with pytest.raises(StoreError, match=r"enrolled with another model \(c{32}\) than the one of this store \(a{32}\)"):
        target.import_file(other)
    cut = (tmp_path / "people.zip").read_bytes()[:-200]
    (tmp_path / "cut.zip").write_bytes(cut)
    with pytest.raises(StoreError, match="no people can be imported"):
        target.import_file(tmp_path / "cut.zip")
