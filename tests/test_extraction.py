"""An extraction that is killed, divided or repeated gives what one uninterrupted process gives."""

import json
import os
import shutil
import signal

import numpy as np
import pytest

from mvector import extraction
from mvector.config import load_config
from mvector.data.lists import Utterance
from mvector.embeddings import embed_utterances
from mvector.errors import DataListError, MVectorError
from mvector.extraction import extract
from mvector.packed_embeddings import load_embeddings
from tests.band_embedder import CONFIG, BandEmbedder, write_recordings

COUNT = 7


@pytest.fixture
def utterances(tmp_path, make_voice):
    return write_recordings(tmp_path, make_voice, COUNT)


def content(folder) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_the_packed_file_holds_what_embed_utterances_gives(utterances, tmp_path):
    done = extract(BandEmbedder(), CONFIG, utterances, tmp_path / "out", "f")
    expected = embed_utterances(BandEmbedder(), CONFIG, utterances, fingerprint="f")
    found = load_embeddings(tmp_path / "out")
    np.testing.assert_array_equal(found.embeddings, expected.embeddings)
    for name in ("duration_s", "snr_db", "magnitude", "utterances", "reasons", "model_fingerprint", "max_duration_s"):
        np.testing.assert_equal(getattr(found, name), getattr(expected, name))
    assert (done.rows, done.failed) == (COUNT, 1)
    assert "silent" in done.first_failure
    assert done.embedded_s == pytest.approx(float(np.nansum(expected.duration_s)))
    assert sorted(content(tmp_path / "out")) == ["embeddings.npy", "index.tsv", "meta.json"]


def test_shards_of_several_rows(utterances, tmp_path, monkeypatch):
    extract(BandEmbedder(), CONFIG, utterances, tmp_path / "one", "f")
    monkeypatch.setattr(extraction, "FEWEST_SHARDS", 3)  # 3 + 3 + 1
    extract(BandEmbedder(), CONFIG, utterances, tmp_path / "three", "f")
    assert content(tmp_path / "one") == content(tmp_path / "three")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_killed_at_any_moment_it_goes_on_to_the_same_file(utterances, tmp_path):
    """SIGKILL before each file is put in its place: the job, every shard, the matrix, the index, the description."""
    whole = tmp_path / "whole"
    extract(BandEmbedder(), CONFIG, utterances, whole, "f")
    moments = COUNT + 5
    for moment in range(1, moments + 1):
        folder = tmp_path / f"killed {moment}"
        status = in_a_process_killed_at(moment, lambda to=folder: extract(BandEmbedder(), CONFIG, utterances, to, "f"))
        if moment == moments:
            assert os.WIFEXITED(status)  # there is no such moment: all of them were tried
        else:
            assert os.WTERMSIG(status) == signal.SIGKILL
            with pytest.raises(DataListError, match="not finished"):
                load_embeddings(folder)
        embedder = BandEmbedder()
        extract(embedder, CONFIG, utterances, folder, "f")
        embedded_before = min(max(0, moment - 2), COUNT)
        # One row is silent and never reaches the network: of the first two rows it is the second.
        assert embedder.heard == COUNT - 1 - (embedded_before - (embedded_before >= 2))
        assert content(folder) == content(whole)


def in_a_process_killed_at(moment: int, work) -> int:
    """The exit status of a process that does `work` and is killed at its `moment`-th renaming."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    try:
        replace, calls = os.replace, []

        def killing(source, target):
            calls.append(target)
            if len(calls) == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            replace(source, target)

        os.replace = killing
        work()
        os._exit(0)
    finally:
        os._exit(1)


def test_killed_before_the_shards_were_removed(utterances, tmp_path, monkeypatch):
    folder = tmp_path / "out"
    monkeypatch.setattr(extraction.shutil, "rmtree", lambda *_, **__: None)
    extract(BandEmbedder(), CONFIG, utterances, folder, "f")
    assert (folder / "shards").is_dir()
    monkeypatch.undo()
    embedder = BandEmbedder()
    done = extract(embedder, CONFIG, utterances, folder, "f")
    assert (embedder.heard, done.embedded_s, done.failed) == (0, 0.0, 1)
    assert not (folder / "shards").exists()


@pytest.mark.parametrize("world_size", [2, 3, 9])
def test_several_processes_give_what_one_gives(utterances, tmp_path, world_size):
    extract(BandEmbedder(), CONFIG, utterances, tmp_path / "one", "f")
    embedders = [BandEmbedder() for _ in range(world_size)]
    for rank in range(1, world_size):
        done = extract(embedders[rank], CONFIG, utterances, tmp_path / "all", "f", rank=rank, world_size=world_size)
        assert done is None
    done = extract(embedders[0], CONFIG, utterances, tmp_path / "all", "f", rank=0, world_size=world_size)
    assert done.rows == COUNT
    assert content(tmp_path / "all") == content(tmp_path / "one")
    heard = [embedder.heard for embedder in embedders]
    assert sum(heard) == COUNT - 1
    assert max(heard) <= -(-COUNT // world_size)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_rank_0_waits_for_the_others_and_several_processes_may_run_at_once(utterances, tmp_path):
    extract(BandEmbedder(), CONFIG, utterances, tmp_path / "one", "f")
    children = []
    for rank in (1, 2):
        child = os.fork()
        if not child:
            try:
                extract(BandEmbedder(), CONFIG, utterances, tmp_path / "all", "f", rank=rank, world_size=3)
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    extract(BandEmbedder(), CONFIG, utterances, tmp_path / "all", "f", rank=0, world_size=3)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert content(tmp_path / "all") == content(tmp_path / "one")


def test_rank_0_does_not_wait_for_ever_and_another_number_of_processes_goes_on(utterances, tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "PATIENCE_S", 0.0)
    with pytest.raises(MVectorError, match=r"3 of 7 parts are missing .* run the same command again"):
        extract(BandEmbedder(), CONFIG, utterances, tmp_path / "out", "f", rank=0, world_size=2)
    embedder = BandEmbedder()
    extract(embedder, CONFIG, utterances, tmp_path / "out", "f")
    assert embedder.heard == 2  # rows 3 and 5; row 1 is silent
    assert len(load_embeddings(tmp_path / "out")) == COUNT


def test_another_model_list_or_cut_is_refused(utterances, tmp_path):
    shorter = load_config({}, overrides=["dataset_conf.eval_conf.max_duration=3"], check_names=False)
    calls = {
        "another model": (CONFIG, utterances, "g"),
        "another list": (CONFIG, utterances[:-1], "f"),
        "another max_duration": (shorter, utterances, "f"),
    }
    packed, unfinished = tmp_path / "packed", tmp_path / "unfinished"
    extract(BandEmbedder(), CONFIG, utterances, packed, "f")
    extract(BandEmbedder(), CONFIG, utterances, unfinished, "f", rank=1, world_size=2)
    for folder in (packed, unfinished):
        before = sorted(folder.rglob("*"))
        for expected, (config, listed, fingerprint) in calls.items():
            with pytest.raises(DataListError, match=f"embeddings of {expected}: give another --output"):
                extract(BandEmbedder(), config, listed, folder, fingerprint)
        assert sorted(folder.rglob("*")) == before


def test_a_folder_of_something_else_is_left_alone(utterances, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataListError, match="exists and holds no embeddings"):
        extract(BandEmbedder(), CONFIG, utterances, tmp_path, "f")
    with pytest.raises(DataListError, match="exists and holds no embeddings"):
        extract(BandEmbedder(), CONFIG, utterances, tmp_path / "notes.txt", "f")
    assert not (tmp_path / "shards").exists()


def test_a_damaged_shard_is_embedded_anew(utterances, tmp_path):
    extract(BandEmbedder(), CONFIG, utterances, tmp_path / "one", "f")
    extract(BandEmbedder(), CONFIG, utterances, tmp_path / "out", "f", rank=1, world_size=2)
    shard = tmp_path / "out" / "shards" / "000003.npz"
    shard.write_bytes(shard.read_bytes()[:300])
    with pytest.raises(DataListError, match=r"000003\.npz was damaged .* run the same command again"):
        extract(BandEmbedder(), CONFIG, utterances, tmp_path / "out", "f")
    extract(BandEmbedder(), CONFIG, utterances, tmp_path / "out", "f")
    assert content(tmp_path / "out") == content(tmp_path / "one")


def test_nothing_that_can_be_embedded_is_an_error_and_is_tried_again(utterances, tmp_path):
    moved = shutil.move(utterances[0].path, tmp_path / "away.wav")
    with pytest.raises(DataListError, match=r"not one of 2 recordings can be embedded; the last: .*1\.wav"):
        extract(BandEmbedder(), CONFIG, utterances[:2], tmp_path / "out", "f")
    shutil.move(moved, utterances[0].path)
    assert extract(BandEmbedder(), CONFIG, utterances[:2], tmp_path / "out", "f").failed == 1
    with pytest.raises(DataListError, match="no recording"):
        extract(BandEmbedder(), CONFIG, [], tmp_path / "empty", "f")


def test_the_description_tells_the_list_apart_by_recordings_speakers_and_parts(utterances, tmp_path):
    digests = set()
    first = utterances[0]
    for number, listed in enumerate(([first], [Utterance(first.path, "x")], [Utterance(first.path, "b", 0.0, 0.4)])):
        extract(BandEmbedder(), CONFIG, listed, tmp_path / str(number), "f")
        digests.add(json.loads((tmp_path / str(number) / "meta.json").read_text(encoding="utf-8"))["list_digest"])
    assert len(digests) == 3
