"""Shards: written from lists, read in place, in the order of their pools; tar files from elsewhere."""

import io
import itertools
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mvector.audio import audio_info, load_audio
from mvector.audio.tar_members import open_member, tar_member
from mvector.cli.make_shards import main
from mvector.data.lists import Utterance, read_data_list
from mvector.data.samplers import EpochBatches
from mvector.data.shard_batches import ShardBatches
from mvector.data.shard_writer import ShardSettings, write_shards
from mvector.data.shards import expand, names_shards, read_shards, shard_numbers
from mvector.data.trials import is_trial_list, load_trials
from mvector.errors import AudioError, ConfigError, DataListError, MVectorError

RATE = 16000


@pytest.fixture
def recordings(tmp_path) -> Path:
    """A data list of 11 recordings of 0.5 to 1.5 s in three formats under 录音/, of four speakers; one is broken."""
    folder = tmp_path / "录音"
    folder.mkdir()
    lines = []
    for number in range(11):
        path = folder / f"{number}.{('wav', 'flac', 'ogg')[number % 3]}"
        noise = np.random.default_rng(number).uniform(-0.5, 0.5, RATE // 2 + 1600 * number)
        soundfile.write(path, noise, RATE)
        lines.append(f"{path}\t说话人{number % 4}\n")
    (folder / "4.flac").write_bytes(b"no sound at all")
    lines.append(f"{folder / '9.wav'}\t说话人1\t0.25\t0.75\n")
    (tmp_path / "list.txt").write_text("".join(lines), encoding="utf-8")
    return tmp_path / "list.txt"


def sources(shards: Path) -> dict[str, dict]:
    """Path of each utterance → what its JSON file says, read with nothing but Python's tarfile."""
    found = {}
    for file in sorted(shards.glob("*.tar")):
        with tarfile.open(file) as tar:
            for member in tar:
                if member.name.endswith(".json"):
                    about = json.loads(tar.extractfile(member).read())
                    sound = next(m for m in tar.getmembers() if m.name.startswith(member.name[:9]) and m != member)
                    place = f"{file}!{sound.name}#{sound.offset_data}+{sound.size}"
                    found[place] = about | {"content": tar.extractfile(sound).read()}
    return found


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def wav_bytes(seconds: float = 0.5, seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * RATE))
    soundfile.write(buffer, noise, RATE, format="WAV")
    return buffer.getvalue()


# ---------------------------------------------------------------- writing and reading


def test_a_list_and_its_shards_hold_the_same(recordings, tmp_path, capsys):
    main(["--list", str(recordings), "--output", str(tmp_path / "out"), "--utterances", "4", "--num_workers", "2"])
    printed = capsys.readouterr().out
    assert printed.startswith("11 utterances of 4 speakers, 0.00 hours, in 3 shards\nleft out: 1 recordings")
    out = tmp_path / "out"
    assert sorted(os.listdir(out)) == sorted(
        [*(f"{n:06d}.{s}" for n in range(3) for s in ("tar", "json")), "index.json", "speakers.txt", "skipped.tsv"]
    )
    assert (out / "skipped.tsv").read_text(encoding="utf-8").startswith(str(tmp_path / "录音" / "4.flac") + "\t")

    utterances = read_data_list(out / "index.json")
    about = sources(out)
    assert [one.path for one in utterances] == list(about)  # offsets and sizes are those that tarfile finds
    originals = {(u.path, u.start_s): u for u in read_data_list(recordings)}
    assert len(utterances) == len(originals) - 1
    for one in utterances:
        stated = about[one.path]
        original = originals.pop((stated["source"], stated.get("start_s")))
        assert one.speaker == stated["speaker"] == original.speaker
        assert stated["duration_s"] == pytest.approx(audio_info(one.path).duration_s, abs=1e-6)
        expected = load_audio(original.path, RATE, original.start_s, original.end_s)
        if original.start_s is None:
            assert stated["content"] == Path(original.path).read_bytes()
            np.testing.assert_array_equal(load_audio(one.path, RATE), expected)
            np.testing.assert_array_equal(
                load_audio(one.path, RATE, 0.1, 0.3), load_audio(original.path, RATE, 0.1, 0.3)
            )
        else:  # cut out, 16 bits
            assert stated["duration_s"] == 0.5
            np.testing.assert_allclose(load_audio(one.path, RATE), expected, atol=0.5001 / 32768)
    assert [Path(u.path).name for u in originals.values()] == ["4.flac"]
    assert json.loads((out / "index.json").read_text(encoding="utf-8"))["hours"] == pytest.approx(
        sum(a["duration_s"] for a in about.values()) / 3600, abs=1e-3
    )


def test_the_same_list_and_seed_give_the_same_bytes_and_another_seed_another_order(recordings, tmp_path):
    utterances = read_data_list(recordings)
    for name, seed, threads in (("a", 0, 1), ("b", 0, 3), ("c", 1, 1)):
        write_shards(utterances, tmp_path / name, ShardSettings(5, seed=seed), threads)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name
    order = {name: [a["source"] for a in sources(tmp_path / name).values()] for name in "ac"}
    assert order["a"] != order["c"]
    assert sorted(order["a"]) == sorted(order["c"])
    assert order["a"] != sorted(order["a"])  # shuffled


@pytest.mark.parametrize("stopped_after", [0, 1, 5, 9])
def test_a_stopped_run_goes_on_and_ends_the_same(recordings, tmp_path, monkeypatch, stopped_after):
    from mvector.data import shard_writer

    utterances, settings = read_data_list(recordings), ShardSettings(3)
    write_shards(utterances, tmp_path / "whole", settings)
    content, calls = shard_writer._content, []

    def stop(utterance, audio_format):
        if len(calls) == stopped_after:
            raise KeyboardInterrupt
        calls.append(utterance)
        return content(utterance, audio_format)

    monkeypatch.setattr(shard_writer, "_content", stop)
    with pytest.raises(KeyboardInterrupt):
        write_shards(utterances, tmp_path / "cut", settings)
    assert not (tmp_path / "cut" / "index.json").exists()

    again = []
    monkeypatch.setattr(shard_writer, "_content", lambda u, f: again.append(u) or content(u, f))
    write_shards(utterances, tmp_path / "cut", settings)
    assert len(again) == len(utterances) - stopped_after // 3 * 3  # whole shards are not written again
    assert sorted(os.listdir(tmp_path / "cut")) == sorted(os.listdir(tmp_path / "whole"))
    for file in (tmp_path / "whole").iterdir():
        assert file.read_bytes() == (tmp_path / "cut" / file.name).read_bytes(), file.name
    again.clear()
    write_shards(utterances, tmp_path / "cut", settings)
    assert not again


@pytest.mark.parametrize("killed_in", ["job.json", "000001.json", "000001.tar", "index.json"])
def test_killed_while_a_file_is_put_in_place(recordings, tmp_path, monkeypatch, killed_in):
    utterances, settings, replace = read_data_list(recordings), ShardSettings(3), os.replace
    write_shards(utterances, tmp_path / "whole", settings)

    def kill(source, target):
        if Path(target).name == killed_in:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", kill)
    with pytest.raises(KeyboardInterrupt):
        write_shards(utterances, tmp_path / "cut", settings)
    monkeypatch.setattr(os, "replace", replace)
    write_shards(utterances, tmp_path / "cut", settings)
    assert sorted(os.listdir(tmp_path / "cut")) == sorted(os.listdir(tmp_path / "whole"))
    for file in (tmp_path / "whole").iterdir():
        assert file.read_bytes() == (tmp_path / "cut" / file.name).read_bytes(), file.name


def test_what_would_mix_two_lists_is_refused(recordings, tmp_path):
    utterances = read_data_list(recordings)
    write_shards(utterances, tmp_path / "out", ShardSettings())
    for other, settings in ((utterances[1:], ShardSettings()), (utterances, ShardSettings(seed=1))):
        with pytest.raises(DataListError, match="shards of another list, or made with other options"):
            write_shards(other, tmp_path / "out", settings)
    with pytest.raises(DataListError, match="is no folder of shards"):
        write_shards(utterances, tmp_path / "录音", ShardSettings())
    with pytest.raises(DataListError, match=r"not one of 1 recordings can be used; the last: .*4.flac"):
        write_shards([u for u in utterances if "4.flac" in u.path], tmp_path / "none", ShardSettings())
    with pytest.raises(ConfigError, match="--utterances must be at least 1, found 0"):
        main(["--list", "x", "--output", "y", "--utterances", "0"])
    with pytest.raises(ConfigError, match="--megabytes must be above 0, found -1"):
        main(["--list", "x", "--output", "y", "--megabytes", "-1"])


def test_megabytes_bound_the_shards(tmp_path):
    rng = np.random.default_rng(0)
    utterances = []
    for number in range(40):
        soundfile.write(tmp_path / f"{number}.wav", rng.uniform(-0.1, 0.1, rng.integers(800, 8000)), RATE)
        utterances.append(Utterance(str(tmp_path / f"{number}.wav"), "x"))
    total = sum(os.path.getsize(u.path) for u in utterances)
    done = write_shards(utterances, tmp_path / "out", ShardSettings(megabytes=0.05))
    assert done.shards == round(total / 50_000)
    sizes = []
    for file in (tmp_path / "out").glob("*.tar"):
        with tarfile.open(file) as tar:
            sizes.append(sum(member.size for member in tar if member.name.endswith("wav")))
    assert sum(sizes) == total
    assert max(sizes) < 50_000 + 2 * 16_000  # an utterance is not divided
    assert min(sizes) > 50_000 - 2 * 16_000


def test_conversion_to_flac(recordings, tmp_path):
    write_shards(read_data_list(recordings), tmp_path / "out", ShardSettings(audio_format="flac"))
    for one in read_shards(tmp_path / "out" / "index.json"):
        assert one.path.rpartition("#")[0].endswith(".flac")
        with open_member(tar_member(one.path)) as file:
            found = soundfile.info(file)
        assert (found.format, found.subtype, found.samplerate, found.channels) == ("FLAC", "PCM_16", RATE, 1)


def test_shards_are_packed_anew_from_shards(recordings, tmp_path):
    write_shards(read_data_list(recordings), tmp_path / "first", ShardSettings(3))
    first = read_data_list(tmp_path / "first" / "index.json")
    write_shards(first, tmp_path / "second", ShardSettings(100, seed=5))
    second = read_data_list(tmp_path / "second" / "index.json")
    assert shard_numbers(second).tolist() == [0] * len(second)
    contents = [
        sorted((u.speaker, open_member(tar_member(u.path)).read()) for u in utterances)
        for utterances in (first, second)
    ]
    assert contents[0] == contents[1]


# ---------------------------------------------------------------- tar files from elsewhere


def test_tars_of_other_makers(tmp_path):
    with tarfile.open(tmp_path / "t-08.tar", "w") as tar:
        add(tar, "id1/a.wav", wav_bytes())
        add(tar, "id1/a.spk", b"id1\n")  # WeSpeaker
        add(tar, "b.cls", b"7")  # WebDataset, label first
        add(tar, "b.flac", wav_bytes())
    with tarfile.open(tmp_path / "t-09.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        add(tar, "深/录音.mid.wav", wav_bytes())
        add(tar, "深/录音.json", json.dumps({"speaker_id": 3, "text": "…"}).encode())
        add(tar, "深/录音.txt", "说的话".encode())
        add(tar, "notes.txt", b"no recording")
    for pattern in (f"{tmp_path}/t-{{08..09}}.tar", f"{tmp_path}/t-*.tar", f"{tmp_path}/t-0?.tar"):
        found = read_data_list(pattern)
        assert [(tar_member(u.path).name, u.speaker) for u in found] == [
            ("id1/a.wav", "id1"),
            ("b.flac", "7"),
            ("深/录音.mid.wav", "3"),
        ]
        assert all(len(load_audio(u.path)) == RATE // 2 for u in found)
        assert shard_numbers(found).tolist() == [0, 0, 1]
    assert shard_numbers([*found, Utterance("a.wav", "x")]) is None


def test_patterns():
    assert expand("s3://b/{0..1}/t-{098..101}.tar") == [
        f"s3://b/{a}/t-{b}.tar" for a in "01" for b in ("098", "099", "100", "101")
    ]
    assert names_shards("a-{0..3}.tar")
    assert names_shards("s3://x/index.json")
    assert not names_shards("train_list.txt")


def test_shards_that_cannot_be_used(tmp_path, recordings):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        add(tar, "x.wav", wav_bytes())
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        add(tar, "x.txt", b"x")
    with tarfile.open(tmp_path / "c.tar", "w:gz") as tar:
        add(tar, "x.txt", b"x")
    write_shards(read_data_list(recordings), tmp_path / "out", ShardSettings(4))
    tar = tmp_path / "out" / "000001.tar"
    (tmp_path / "other.json").write_text("{}", encoding="utf-8")
    for spec, message in (
        ("a.tar", "x.wav has no speaker; expected x.json"),
        ("b.tar", "no recording in this tar file"),
        ("c.tar", "cannot be read as an uncompressed tar file"),
        ("d-*.tar", "no file fits this pattern"),
        ("{1..3}.tar", "3 of 3 shards are missing; the first: .*1.tar"),
        ("other.json", "is no index of shards of this version"),
        ("missing.json", "the index of shards cannot be read"),
        ("out/000001.json", "is no index of shards of this version"),
    ):
        with pytest.raises(DataListError, match=message):
            read_data_list(f"{tmp_path}/{spec}")
    tar.write_bytes(tar.read_bytes() + b"\0" * 512)
    with pytest.raises(DataListError, match=r"000001.tar has \d+ bytes, but .* speaks of \d+"):
        read_data_list(tmp_path / "out" / "index.json")
    tar.unlink()
    with pytest.raises(DataListError, match=r"1 of 3 shards are missing; the first: .*000001.tar"):
        read_data_list(tmp_path / "out" / "index.json")


# ---------------------------------------------------------------- behind a URL


@pytest.fixture
def bucket(recordings, tmp_path, monkeypatch):
    """Shards in fsspec's file system in memory, whose files are counted as they are fetched."""
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.setenv("MVECTOR_CACHE", str(tmp_path / "cache"))
    write_shards(read_data_list(recordings), tmp_path / "out", ShardSettings(4))
    files = fsspec.filesystem("memory")
    for file in (tmp_path / "out").iterdir():
        files.pipe_file(f"/bucket/{file.name}", file.read_bytes())
    fetched = []
    original = type(files).get_file
    monkeypatch.setattr(
        type(files),
        "get_file",
        lambda self, url, *rest, **more: fetched.append(url) or original(self, url, *rest, **more),
    )
    yield fetched
    files.rm("/bucket", recursive=True)


def test_shards_behind_a_url(bucket, tmp_path):
    local = read_data_list(tmp_path / "out" / "index.json")
    remote = read_data_list("memory://bucket/index.json")
    assert bucket == []  # only indexes were read
    for here, there in zip(local, remote, strict=True):
        assert there.path == here.path.replace(f"{tmp_path}/out/", "memory://bucket/")
        np.testing.assert_array_equal(load_audio(there.path), load_audio(here.path))
    assert sorted(bucket) == [f"/bucket/{n:06d}.tar" for n in range(3)]  # each once
    assert read_data_list("memory://bucket/{000000..000002}.tar") == remote
    found = read_data_list("memory://bucket/*.tar")  # this file system spells its names with three slashes
    assert [u.path.replace("///", "//") for u in found] == [u.path for u in remote]


def test_threads_that_need_one_shard_fetch_it_once(bucket):
    from concurrent.futures import ThreadPoolExecutor

    path = read_data_list("memory://bucket/index.json")[0].path
    with ThreadPoolExecutor(8) as pool:
        lengths = set(pool.map(lambda _: len(load_audio(path)), range(8)))
    assert len(lengths) == 1
    assert len(bucket) == 1


def test_a_network_that_fails_is_tried_again_and_then_ends_the_run(bucket, monkeypatch):
    import fsspec

    from mvector.audio import remote

    one = read_data_list("memory://bucket/index.json")[0]
    monkeypatch.setattr(remote, "PAUSE_S", 0.0)
    kind, tries = type(fsspec.filesystem("memory")), []
    working = kind.get_file

    def failing(self, *arguments, **more):
        tries.append(arguments)
        if len(tries) < 6:
            raise ConnectionError("reset by peer")
        return working(self, *arguments, **more)

    monkeypatch.setattr(kind, "get_file", failing)
    with pytest.raises(MVectorError, match=r"cannot be fetched .*reset by peer") as caught:
        load_audio(one.path)
    assert not isinstance(caught.value, AudioError)  # which training would pass over
    assert len(tries) == 3
    assert len(load_audio(one.path)) > 0
    assert len(tries) == 6
    with pytest.raises(MVectorError, match="there is no such file"):
        load_audio("memory://bucket/none.tar!a.wav")
    with pytest.raises(MVectorError, match="fsspec cannot read this kind of URL"):
        load_audio("nothing://bucket/none.tar!a.wav")


def test_without_fsspec(monkeypatch, recordings, tmp_path):
    import sys

    from mvector.errors import MissingPackageError

    monkeypatch.setitem(sys.modules, "fsspec", None)
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(MissingPackageError, match="pip install fsspec"):
        read_data_list("memory://bucket/{0..1}.tar")
    write_shards(read_data_list(recordings), tmp_path / "out", ShardSettings(4))  # local files do without
    assert len(load_audio(read_data_list(tmp_path / "out" / "index.json")[0].path)) > 0


# ---------------------------------------------------------------- who reads shards


def test_trials_read_shards(recordings, tmp_path):
    write_shards(read_data_list(recordings), tmp_path / "out", ShardSettings(4))
    index = tmp_path / "out" / "index.json"
    assert not is_trial_list(index)
    trials = load_trials(trials_list=index)
    assert trials.speaker_count() == 4
    assert len(trials.utterances) == 11


def test_embeddings_of_shards_are_those_of_the_files(recordings, tiny_model_dir, tmp_path):
    """tools/extract_embeddings.py takes shards as a list."""
    from mvector.cli.extract_embeddings import main as extract_embeddings
    from mvector.packed_embeddings import load_embeddings

    write_shards(read_data_list(recordings), tmp_path / "shards", ShardSettings(4))
    about, found = sources(tmp_path / "shards"), {}
    for name, data_list in (("files", recordings), ("shards", tmp_path / "shards" / "index.json")):
        extract_embeddings(["--model_path", str(tiny_model_dir), "--device", "cpu", "--list", str(data_list),
                            "--output", str(tmp_path / f"of {name}")])  # fmt: skip
        packed = load_embeddings(tmp_path / f"of {name}")
        found[name] = {
            about[u.path]["source"] if name == "shards" else u.path: (u.speaker, packed.embeddings[row].tolist())
            for row, u in enumerate(packed.utterances)
            if row not in packed.reasons and "9.wav" not in u.path and "start_s" not in about.get(u.path, {})
        }
    whole = {path: value for path, value in found["shards"].items() if "9.wav" not in path}
    assert whole == found["files"]  # bit for bit
    assert len(whole) == 9


def test_recordings_in_shards_are_checked(recordings, tmp_path):
    from mvector.data.check import check_lists

    write_shards(read_data_list(recordings), tmp_path / "shards", ShardSettings(4))
    both = {"files": read_data_list(recordings), "shards": read_data_list(tmp_path / "shards" / "index.json")}
    findings = check_lists(both, shared_speakers=True)
    shared = [f for f in findings if f.problem == "shared"]
    assert len(shared) == 11  # all are recognised by their sound
    assert not [f for f in findings if f.problem == "broken" and f.list_name == "shards"]


def test_what_is_bad_in_shards_is_dropped_into_a_data_list(tmp_path, make_voice):
    from mvector.cli.create_data import main as create_data

    for name, sound in (("good", make_voice(1.0)), ("silent", np.zeros(RATE))):
        soundfile.write(tmp_path / f"{name}.wav", sound, RATE)
    utterances = [Utterance(str(tmp_path / f"{name}.wav"), "x") for name in ("good", "silent")]
    write_shards(utterances, tmp_path / "train", ShardSettings())
    create_data(["--lists", str(tmp_path / "train" / "index.json"), "--check", "--drop", "--output", str(tmp_path),
                 "--num_workers", "1"])  # fmt: skip
    (left,) = read_data_list(tmp_path / "train_list.txt")
    np.testing.assert_array_equal(load_audio(left.path), load_audio(tmp_path / "good.wav"))


def test_an_epoch_goes_through_the_pools_and_takes_every_draw_once():
    shards = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 20))
    crops = np.where(np.arange(200) % 7 == 0, 3, 1)
    batches = ShardBatches(crops, shards, 8, False, seed=3, pool=4)
    plain = EpochBatches(crops, 8, False, seed=3)
    orders = []
    for epoch in range(3):
        batches.epoch = plain.epoch = epoch
        drawn = [draw for batch in batches for draw in batch]
        assert sorted(drawn) == sorted(draw for batch in plain for draw in batch)
        seen = [shards[draw.utterance] for draw in drawn]
        first = {s: seen.index(s) for s in range(10)}
        last = {s: len(seen) - 1 - seen[::-1].index(s) for s in range(10)}
        open_at_once = max(sum(first[s] <= at <= last[s] for s in range(10)) for at in range(len(seen)))
        assert open_at_once <= 4  # never more than one pool
        runs = 1 + sum(a != b for a, b in itertools.pairwise(seen))
        assert runs > len(seen) / 2  # and inside a pool the shards are mixed
        orders.append([draw.utterance for draw in drawn])
    assert orders[0] != orders[1] != orders[2]
    assert set(seen[:60]) != {shards[u] for u in orders[0][:60]}  # other pools in other epochs


def test_ranks_and_resuming_share_one_order():
    shards = np.repeat(np.arange(6), 15)
    ones = np.ones(90, dtype=np.int64)
    whole = ShardBatches(ones, shards, 8, True, seed=1, pool=2)
    whole.epoch = 5
    expected = list(whole)
    parts = [ShardBatches(ones, shards, 8, True, 1, rank, 2, pool=2) for rank in range(2)]
    for part in parts:
        part.epoch, part.first_batch = 5, 4
    assert [a + b for a, b in zip(*parts, strict=True)] == expected[4:]
