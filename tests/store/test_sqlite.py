"""The SQLite store on disk: what deletion leaves, what encryption hides, killed processes, several at once, damage."""

import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mvector.errors import MissingPackageError, StoreError
from mvector.store import open_store
from mvector.store.sqlite import FILE_NAME, SOUNDS_NAME

SIZE, FINGERPRINT, KEY = 16, "a" * 32, "a key that nobody guesses"


@pytest.fixture(params=[None, KEY], ids=["plain", "encrypted"])
def folder_store(request, tmp_path):
    if request.param is not None:
        pytest.importorskip("cryptography")
    with open_store(tmp_path / "db", FINGERPRINT, SIZE, key=request.param) as store:
        yield store


def everything(folder: Path) -> bytes:
    return b"\0\0".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def recording(rng: np.random.Generator) -> bytes:
    return b"RIFF" + rng.bytes(int(rng.integers(200, 3000)))


# ---------------------------------------------------------------- deletion


def test_nothing_of_a_deleted_person_is_in_any_file(folder_store, tmp_path, voice):
    """Many people of different sizes, so that rows were moved between pages, where copies of them stay behind."""
    rng, enrolled = np.random.default_rng(1), {}
    for number in rng.permutation(60):
        name = f"Person {number} {'x' * int(rng.integers(0, 250))}"
        enrolled[name] = []
        for _ in range(rng.integers(1, 4)):
            embedding, sound = voice(), recording(rng)
            folder_store.add(name, embedding, audio=sound, quality={"snr_db": 20.0})
            enrolled[name].append((embedding, sound))
    folder_store.search(voice())
    plain = everything(tmp_path / "db")
    if folder_store.sealing.check() is None:
        assert all(e.tobytes()[16:48] in plain and s in plain for pieces in enrolled.values() for e, s in pieces)
    means = {name: folder_store.mean(name) for name in enrolled}
    with folder_store.transaction() as cursor:
        rows = dict(cursor.execute("SELECT lookup, name FROM voice_people").fetchall())
    for name in list(enrolled)[::3]:
        assert folder_store.remove(name)
        left = everything(tmp_path / "db")
        sealed_name = rows[folder_store.lookup(name)]
        pieces = [name.encode(), sealed_name, means[name].tobytes()[16:48]]
        pieces += [part for e, s in enrolled[name] for part in (e.tobytes()[16:48], s[50:90], s[-40:])]
        assert not any(piece in left for piece in pieces)
        assert (tmp_path / "db" / f"{FILE_NAME}-wal").stat().st_size == 0
    assert len(list((tmp_path / "db" / SOUNDS_NAME).iterdir())) == sum(
        one.has_audio for name in folder_store.names() for one in folder_store.utterances(name)
    )


def test_a_deleted_person_leaves_the_memory_of_other_openings(tmp_path, voice):
    ann, one = voice(), open_store(tmp_path, FINGERPRINT, SIZE)
    other = open_store(tmp_path, FINGERPRINT, SIZE)
    one.add("Ann", ann)
    one.add("Bob", voice())
    assert other.search(ann, 1)[0].name == "Ann"
    assert one.remove("Ann")
    assert [match.name for match in other.search(ann)] == ["Bob"]
    assert len(other._index) == 1


def test_a_deletion_that_was_cut_off_is_finished_by_the_next_opening(tmp_path, voice, monkeypatch):
    """The process is killed after the commit, before the file is written anew and the recordings are removed."""
    sound = b"RIFF a recording that must go"
    with open_store(tmp_path, FINGERPRINT, SIZE) as store:
        store.add("Somebody", voice(), audio=sound)
        store.add("Ann", voice(), audio=b"RIFF hers")
        monkeypatch.setattr(store, "erase", lambda: None)
        store.remove("Somebody")
    assert sound in everything(tmp_path)
    with open_store(tmp_path, FINGERPRINT, SIZE) as store:
        assert sound not in everything(tmp_path)
        assert b"Somebody" not in everything(tmp_path)
        with store.transaction() as cursor:
            assert cursor.execute("PRAGMA user_version").fetchone()[0] == 0
        assert store.names() == ["Ann"]


def test_a_reader_that_never_ends_delays_erasing_but_not_deleting(tmp_path, voice, monkeypatch, caplog):
    monkeypatch.setattr("mvector.store.sqlite.PATIENCE_S", 0.2)
    store, reader = open_store(tmp_path, FINGERPRINT, SIZE), open_store(tmp_path, FINGERPRINT, SIZE)
    store.add("Ann", voice())
    with reader.transaction() as cursor:
        cursor.execute("SELECT * FROM voice_people").fetchall()
        assert store.remove("Ann")
    assert "is erased from the file when the store is opened next" in caplog.text
    assert store.names() == []
    open_store(tmp_path, FINGERPRINT, SIZE)
    assert b"Ann" not in everything(tmp_path)


def test_a_recording_that_no_row_names_is_swept_away(tmp_path, voice):
    """What a process leaves that is killed between writing a recording and committing."""
    with open_store(tmp_path, FINGERPRINT, SIZE) as store:
        store.add("Ann", voice(), audio=b"RIFF kept")
        store._sounds.write(b"RIFF left over")
        (tmp_path / SOUNDS_NAME / "notes.txt").write_text("not ours")
    with open_store(tmp_path, FINGERPRINT, SIZE):
        found = sorted(path.read_bytes() for path in (tmp_path / SOUNDS_NAME).iterdir())
    assert found == [b"RIFF kept", b"not ours"]


def test_a_failed_add_leaves_nothing(tmp_path, voice, monkeypatch):
    with open_store(tmp_path, FINGERPRINT, SIZE) as store:
        store.add("Ann", voice())
        monkeypatch.setattr(store, "renew_mean", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            store.add("Bob", voice(), audio=b"RIFF")
        assert store.names() == ["Ann"]
        assert store.get("Ann").utterances == 1


# ---------------------------------------------------------------- encryption


def test_an_encrypted_store_shows_no_name_embedding_or_recording(tmp_path, voice):
    pytest.importorskip("cryptography")
    embedding, name, sound = voice(), "Zaphod Beeblebrox", b"RIFF a recording of his voice"
    with open_store(tmp_path, FINGERPRINT, SIZE, key=KEY) as store:
        store.add(name, embedding, quality={"speech_s": 4.0}, audio=sound)
        assert store.search(embedding, 1)[0].name == name
        seen = everything(tmp_path)
    for piece in (name.encode(), embedding.tobytes()[8:24], sound[5:25], b"speech_s"):
        assert piece not in seen
    with open_store(tmp_path / "plain", FINGERPRINT, SIZE) as plain:
        plain.add(name, embedding, quality={"speech_s": 4.0}, audio=sound)
        seen = everything(tmp_path / "plain")
    for piece in (name.encode(), embedding.tobytes()[8:24], sound[5:25], b"speech_s"):
        assert piece in seen


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (KEY, None, "is encrypted; set its key in the environment variable MVECTOR_STORE_KEY"),
        (KEY, KEY + "!", "encrypted with another key than the one given"),
        (None, KEY, "is not encrypted, but a key is given"),
        ("short", None, "the key has 5 characters; it needs at least 12"),
    ],
)
def test_keys_that_do_not_fit(tmp_path, voice, first, second, expected):
    pytest.importorskip("cryptography")
    if first != "short":
        with open_store(tmp_path, FINGERPRINT, SIZE, key=first) as store:
            store.add("Ann", voice())
        first = second
    with pytest.raises(StoreError, match=expected):
        open_store(tmp_path, FINGERPRINT, SIZE, key=first)


def test_the_key_comes_from_the_environment(tmp_path, voice, monkeypatch):
    pytest.importorskip("cryptography")
    monkeypatch.setenv("MVECTOR_STORE_KEY", KEY)
    with open_store(tmp_path, FINGERPRINT, SIZE) as store:
        store.add("Ann", voice())
    assert b"Ann" not in everything(tmp_path)
    monkeypatch.delenv("MVECTOR_STORE_KEY")
    with open_store(tmp_path, FINGERPRINT, SIZE, key=KEY) as store:
        assert store.names() == ["Ann"]


def test_ciphertext_carried_to_another_row_does_not_open(tmp_path, voice):
    """Whoever may write to the file cannot give one person's voice to another one."""
    pytest.importorskip("cryptography")
    with open_store(tmp_path, FINGERPRINT, SIZE, key=KEY) as store:
        store.add("Ann", voice())
        store.add("Bob", voice())
        with store.transaction(write=True) as cursor:
            cursor.execute("UPDATE voice_means SET mean = (SELECT mean FROM voice_means WHERE person_id = 1)")
        with pytest.raises(StoreError, match="does not open with this key"):
            store.mean("Bob")


def test_without_the_package_encryption_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(MissingPackageError, match="pip install cryptography"):
        open_store(tmp_path, FINGERPRINT, SIZE, key=KEY)


# ---------------------------------------------------------------- several processes, killed ones

CHILD = """
import sys, numpy as np
from mvector.store import open_store
folder, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = np.random.default_rng(seed)
store = open_store(folder, "a" * 32, 16)
print("open", flush=True)
for number in range(count):
    name = f"p{seed}-{number // 2}"
    store.add(name, rng.standard_normal(16), quality={"number": number}, audio=b"RIFF%d " % number * 500)
    print("added", name, flush=True)
    if number % 5 == 4:
        print("removing", name, flush=True)
        store.remove(name)
        print("removed", name, flush=True)
"""


def start(folder: Path, seed: int, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(folder), str(seed), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def expected_after(lines: list[str]) -> tuple[dict[str, int], set[str]]:
    """Utterances that must be there, and the names whose fate a killed child had not been told."""
    must: dict[str, int] = {}
    unsure: set[str] = set()
    for verb, name in (line.split() for line in lines if line != "open"):
        if verb == "added":
            must[name] = must.get(name, 0) + 1
        elif verb == "removing":
            unsure.add(name)
        else:
            unsure.discard(name)
            must.pop(name)
    return must, unsure


def check_whole(folder: Path) -> dict[str, int]:
    """Utterances by name, after checking that no part of the store is half there."""
    with open_store(folder, FINGERPRINT, SIZE) as store:
        people = store.people()
        utterances = {person.name: store.utterances(person.name) for person in people}
        with store.transaction() as cursor:
            assert cursor.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            assert cursor.execute("PRAGMA foreign_key_check").fetchall() == []
            for person in people:
                person_id = store.person_id(cursor, person.name)
                embeddings = store.embeddings_of(cursor, person_id)
                assert len(embeddings) == person.utterances == len(utterances[person.name]) > 0
                mean = np.mean([embedding for _, embedding in embeddings], axis=0, dtype=np.float64)
                np.testing.assert_allclose(store.mean_of(cursor, person_id), mean / np.linalg.norm(mean), atol=1e-6)
                for utterance in utterances[person.name]:
                    number = int(utterance.quality["number"])
                    assert store.sound_of(cursor, utterance.utterance_id) == b"RIFF%d " % number * 500
        found = {person.name: person.utterances for person in people}
        assert len(store._sounds.names()) == sum(found.values())
        return found


def test_processes_enroll_at_the_same_time_into_a_new_store(tmp_path):
    children = [start(tmp_path / "db", seed, 12) for seed in range(3)]
    outputs = [child.communicate(timeout=100)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0, 0]
    must, unsure = expected_after([line for output in outputs for line in output.splitlines()])
    assert not unsure
    assert check_whole(tmp_path / "db") == must


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on Windows")
def test_killed_at_any_moment_nothing_committed_is_lost(tmp_path):
    moments, lines = random.Random(0), []
    for seed in range(12):
        child = start(tmp_path, seed, 10_000)
        lines.append(child.stdout.readline().strip())
        time.sleep(moments.uniform(0.0, 0.4))
        child.kill()
        # Not communicate(): it would leave out what readline() has read ahead.
        lines += child.stdout.read().split("\n")[:-1]
        child.wait(timeout=60)
        must, unsure = expected_after([line for line in lines if line])
        found = check_whole(tmp_path)
        for name in set(must) | set(found):
            # one more than was told: committed just before the kill; fewer: only while it was being removed
            told = must.get(name, 0)
            assert found.get(name, 0) in ((0, told) if name in unsure else (told, told + 1)), name
            must[name] = found.get(name, 0)
        lines = [f"added {name}" for name, count in found.items() for _ in range(count)]
    assert found


# ---------------------------------------------------------------- damage


def test_a_file_that_is_no_store(tmp_path):
    (tmp_path / FILE_NAME).write_bytes(b"not a database, not at all. " * 100)
    with pytest.raises(StoreError, match=r"cannot be used \(file is not a database\).*restore it from a backup"):
        open_store(tmp_path, FINGERPRINT, SIZE)


def test_a_store_of_a_later_version(tmp_path):
    open_store(tmp_path, FINGERPRINT, SIZE).close()
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("UPDATE voice_state SET format = 9")
    connection.close()
    with pytest.raises(StoreError, match="a store of format 9; this version of mvector reads format 1"):
        open_store(tmp_path, FINGERPRINT, SIZE)


def test_a_place_that_cannot_be_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="the folder cannot be made"):
        open_store(tmp_path / "file", FINGERPRINT, SIZE)


def test_a_writer_that_never_ends(tmp_path, voice, monkeypatch):
    store = open_store(tmp_path, FINGERPRINT, SIZE)
    monkeypatch.setattr("mvector.store.sqlite.PATIENCE_S", 0.05)
    with (
        open_store(tmp_path, FINGERPRINT, SIZE) as impatient,
        store.transaction(write=True),
        pytest.raises(StoreError, match="Another program has been writing"),
    ):
        impatient.add("Ann", voice())


def test_importing_the_store_does_not_import_torch():
    code = "import sys, mvector.store.sqlite; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on Windows")
def test_a_forked_process_makes_its_own_connection(tmp_path, voice):
    store, ann = open_store(tmp_path, FINGERPRINT, SIZE), voice()
    store.add("Ann", ann)
    child = multiprocessing.get_context("fork").Process(target=lambda: store.add("Bob", -ann))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert store.search(-ann, 1)[0].name == "Bob"
