"""The packed file gives back what was put in, and says what is wrong with it."""

import json

import numpy as np
import pytest

from mvector.data.lists import Utterance
from mvector.embeddings import Embeddings
from mvector.errors import DataListError
from mvector.packed_embeddings import COLUMNS, load_embeddings, save_embeddings


@pytest.fixture
def made() -> Embeddings:
    rng = np.random.default_rng(5)
    utterances = [
        Utterance("a b.wav", "anna"),
        Utterance("录音/1.wav", "贝\u2028拉", 0.1, 1 / 3),
        Utterance("c\r.wav", "", None, 2.5),
        Utterance("\udce4.wav", "anna", 1e-9, None),  # a name that is not UTF-8 on a Linux disk
    ]
    made = Embeddings.empty(utterances, 5, model_fingerprint="0f", max_duration_s=20.0)
    made.embeddings[[0, 1, 3]] = rng.normal(size=(3, 5))
    for column in (made.duration_s, made.snr_db, made.magnitude):
        column[[0, 1, 3]] = rng.normal(size=3) * 1e3
    made.snr_db[0] = np.nan
    made.reasons[2] = "c\r.wav:\tno sound\nat all"
    return made


def test_everything_comes_back_exactly(made, tmp_path):
    save_embeddings(tmp_path / "packed", made)
    found = load_embeddings(tmp_path / "packed")
    np.testing.assert_array_equal(found.embeddings, made.embeddings)
    assert isinstance(found.embeddings, np.memmap)
    assert found.embeddings.dtype == np.float32
    assert found.utterances == made.utterances
    for name in ("duration_s", "snr_db", "magnitude"):
        np.testing.assert_array_equal(getattr(found, name), getattr(made, name))
        assert getattr(found, name).dtype == np.float32
    assert found.failed == [("c\r.wav", "c .wav: no sound at all")]
    assert (found.model_fingerprint, found.max_duration_s) == ("0f", 20.0)
    assert found.rows_for(made.utterances).tolist() == [0, 1, 2, 3]
    assert sorted(file.name for file in (tmp_path / "packed").iterdir()) == ["embeddings.npy", "index.tsv", "meta.json"]


def test_other_programs_can_read_it(made, tmp_path):
    save_embeddings(tmp_path, made)
    np.testing.assert_array_equal(np.load(tmp_path / "embeddings.npy", allow_pickle=False), made.embeddings)
    lines = (tmp_path / "index.tsv").read_bytes().split(b"\n")
    assert lines[0].decode().split("\t") == list(COLUMNS)
    assert lines[1].split(b"\t")[:4] == [b"a b.wav", b"anna", b"", b""]
    assert len(lines) == 6  # a heading, four rows, and the end of the last
    meta = json.loads((tmp_path / "meta.json").read_text(encoding="utf-8"))
    assert (meta["rows"], meta["dimension"], meta["failed"]) == (4, 5, 1)


def test_saving_again_replaces(made, tmp_path):
    save_embeddings(tmp_path, made)
    save_embeddings(tmp_path, made.select(made.utterances[1:3]))
    assert load_embeddings(tmp_path).utterances == made.utterances[1:3]


def test_a_name_that_would_break_the_index_is_refused(made, tmp_path):
    made.utterances[0] = Utterance("a\tb.wav", "x")
    with pytest.raises(DataListError, match=r"a\\tb\.wav"):
        save_embeddings(tmp_path, made)
    with pytest.raises(DataListError, match="no packed embeddings"):
        load_embeddings(tmp_path)


def test_what_is_no_packed_file_says_so(made, tmp_path):
    with pytest.raises(DataListError, match="holds no packed embeddings"):
        load_embeddings(tmp_path / "nowhere")
    (tmp_path / "shards").mkdir()
    with pytest.raises(DataListError, match="not finished; run the same command again"):
        load_embeddings(tmp_path)
    (tmp_path / "meta.json").write_text("[]")
    with pytest.raises(DataListError, match=r"meta\.json does not describe"):
        load_embeddings(tmp_path)


@pytest.mark.parametrize(
    "damage", ["shorter index", "no heading", "cut index", "cut matrix", "other matrix", "no matrix"]
)
def test_damage_is_noticed(made, tmp_path, damage):
    save_embeddings(tmp_path, made)
    index, matrix = tmp_path / "index.tsv", tmp_path / "embeddings.npy"
    text = index.read_bytes()
    if damage == "shorter index":
        index.write_bytes(text[: text[:-1].rfind(b"\n") + 1])
    elif damage == "no heading":
        index.write_bytes(text[text.find(b"\n") + 1 :])
    elif damage == "cut index":
        index.write_bytes(text[:-9])
    elif damage == "cut matrix":
        matrix.write_bytes(matrix.read_bytes()[:-8])
    elif damage == "other matrix":
        np.save(matrix, made.embeddings.astype(np.float64))
    else:
        matrix.unlink()
    with pytest.raises(DataListError, match="delete the folder and extract"):
        load_embeddings(tmp_path)
