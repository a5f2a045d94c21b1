"""Enrolled folders of the mvector package: imported once, left where they are, gone with the person."""

import pickle
import unicodedata

import pytest

from mvector.errors import AudioError, StoreError
from mvector.store import open_store

SIZE, FINGERPRINT = 16, "a" * 32


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("the pickle was read",))


@pytest.fixture
def folder(tmp_path):
    """Two people in folders (one name decomposed, as macOS writes it), one in the older flat form, and what is none."""
    root = tmp_path / "audio_db"
    for number, path in enumerate(
        ["张三/0.wav", "张三/1.wav", "Rene\u0301/0.WAV", "Ann.wav", "空/notes.txt", "a\nb/0.wav", "readme.md"]
    ):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"RIFF %d" % number)
    (root / "audio_indexes.bin").write_bytes(pickle.dumps(Bomb()))
    return root


@pytest.fixture
def embed(voice):
    calls = []

    def embed(path):
        calls.append(path)
        return voice(), {"speech_s": 3.0}

    embed.calls = calls
    return embed


def files(root):
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and "voices" not in str(path)}


def test_both_forms_are_imported_once(folder, embed, caplog):
    before = files(folder)
    with open_store(folder, FINGERPRINT, SIZE) as store:
        assert store.import_folders(folder, embed) == 4
        assert store.names() == ["Ann", unicodedata.normalize("NFC", "Rene\u0301"), "张三"]
        assert store.get("张三").utterances == 2
        assert all(one.has_audio and one.quality == {"speech_s": 3.0} for one in store.utterances("张三"))
        assert len(embed.calls) == 4
        assert "is not enrolled: the name 'a\\nb' has a control character" in caplog.text
        store.add("张三", embed("x")[0], audio=b"RIFF more")
    with open_store(folder, FINGERPRINT, SIZE) as store:
        assert store.import_folders(folder, embed) == 0
        (folder / "张三" / "2.wav").write_bytes(b"RIFF new")
        assert store.import_folders(folder, embed) == 1
        assert store.get("张三").utterances == 4
    (folder / "张三" / "2.wav").unlink()
    assert files(folder) == before


def test_a_deleted_person_stays_deleted_and_the_imported_files_go(folder, embed, tmp_path):
    with open_store(folder, FINGERPRINT, SIZE) as store:
        store.import_folders(folder, embed)
        copy = (folder / "张三" / "1.wav").read_bytes()
        (folder / "张三" / "later.wav").write_bytes(b"RIFF never imported")
        for name in ("张三", "Ann"):
            assert store.remove(name)
        assert [path.name for path in (folder / "张三").iterdir()] == ["later.wav"]
        assert not (folder / "Ann.wav").exists()
        (folder / "张三" / "copy.wav").write_bytes(copy)
        (folder / "张三" / "later.wav").unlink()
        assert store.import_folders(folder, embed) == 0
        assert store.get("张三") is None


def test_files_of_a_folder_elsewhere_are_never_touched(folder, embed, store):
    before = files(folder)
    store.import_folders(folder, embed)
    for name in store.names():
        store.remove(name)
    assert files(folder) == before


def test_what_cannot_be_embedded_is_named_and_skipped(folder, voice, store, caplog):
    def embed(path):
        if path.endswith("1.wav"):
            raise AudioError(f"{path}: no sound file")
        return voice(), None

    assert store.import_folders(folder, embed) == 3
    assert "1.wav is not enrolled: " in caplog.text
    assert store.get("张三").utterances == 1


def test_no_folder(store, embed, tmp_path):
    with pytest.raises(StoreError, match="there is no such folder"):
        store.import_folders(tmp_path / "nowhere", embed)
