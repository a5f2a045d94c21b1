"""What a test shares with the training is found, and nothing else is."""

import os
import re
from pathlib import Path

import pytest

from mvector.cli import translate
from mvector.data import leakage
from mvector.data.leakage import Leakage, SharedRecording, find_leakage
from mvector.data.lists import Utterance


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
    return tmp_path


def sound(path: str, content: bytes = b"", speaker: str | None = None, *part: float) -> Utterance:
    """An utterance whose file holds `content`, or the path's own bytes; the speaker is the file's name."""
    if not Path(path).exists():
        Path(path).write_bytes(content or path.encode() * 100)
    return Utterance(path, Path(path).stem if speaker is None else speaker, *part)


def pairs(found) -> list[tuple[str, str]]:
    return [(shared.training.path, shared.evaluation.path) for shared in found]


def test_nothing_shared(folder):
    found = find_leakage([sound("train/a"), sound("train/b")], [sound("test/c"), sound("test/d")])
    assert not found
    assert (found.speakers, found.recordings, found.other_parts) == ([], [], [])
    assert (found.speakers_compared, found.utterances) == (2, 2)
    assert found.sentence() == "The test shares no recording and no speaker with the training."
    assert "names no speakers" in find_leakage([sound("train/a")], [sound("test/c", b"", "")]).sentence()


def test_speakers_by_name(folder):
    found = find_leakage(
        [sound("train/1", speaker="anna"), sound("train/2", speaker="王")],
        [sound("test/1", speaker="bob"), sound("test/2", speaker="王"), sound("test/3", speaker="王")],
    )
    assert found
    assert found.speakers == ["王"]
    assert not found.recordings
    assert found.sentence() == "The figures of this test are too good. Speakers trained on: 1, for one 王."


def test_numbers_may_be_other_people(folder):
    numbered = find_leakage([sound("train/a", b"", "0")], [sound("test/a", b"", "0"), sound("test/b", b"", "1")])
    assert numbered.speakers == ["0"]
    assert numbered.sentence().startswith(
        "1 of 2 speakers of the test stand in the training list; their names are mere"
    )
    both = [sound("train/a", b"", "0")]
    assert not find_leakage(both, both).numbers_only  # the recording is shared, so it is no coincidence


@pytest.mark.parametrize("compare_content", [True, False])
def test_the_same_file_however_its_path_is_written(folder, compare_content):
    training = [sound("train/a"), Utterance("train/missing.wav", "m")]
    test = [
        Utterance("test/../train/a", ""),
        Utterance(str(folder / "train" / "missing.wav"), ""),
        sound("test/other", b"", ""),
    ]
    found = find_leakage(training, test, compare_content)
    assert pairs(found.recordings) == list(zip([u.path for u in training], [u.path for u in test[:2]], strict=True))
    assert found.speakers == ["a", "m"]  # told by the training list, as the test list has no names
    assert found.speakers_compared == 0
    assert "Speakers trained on: 2, for one a. Recordings trained on: 2, for one test/../train/a." in found.sentence()


def test_links_and_copies(folder):
    training = [sound("train/a", b"A" * 9000), sound("train/b", b"B" * 9000), sound("train/c", b"C" * 9000)]
    os.link("train/b", "test/hard")
    copy = sound("test/copy", b"C" * 9000)
    other_end = sound("test/other", b"A" * 8999 + b"x")  # the middle is the same
    other_size = sound("test/longer", b"A" * 9001)
    evaluation = [Utterance("test/hard", ""), copy, other_end, other_size]
    found = find_leakage(training, evaluation)
    assert pairs(found.recordings) == [("train/b", "test/hard"), ("train/c", "test/copy")]
    assert found.speakers == ["b", "c"]
    assert not find_leakage(training, evaluation, compare_content=False).recordings


def test_symbolic_links(folder):
    training = [sound("train/a")]
    try:
        os.symlink(folder / "train" / "a", "test/soft")
    except OSError:
        pytest.skip("this system gives no right to make links")
    assert pairs(find_leakage(training, [Utterance("test/soft", "")]).recordings) == [("train/a", "test/soft")]


def test_empty_files_are_no_copies_of_each_other(folder):
    Path("train/a").write_bytes(b"")
    Path("test/b").write_bytes(b"")
    assert not find_leakage([Utterance("train/a", "a")], [Utterance("test/b", "b")])


@pytest.mark.parametrize("copied", [False, True])
def test_parts_of_one_long_recording(folder, copied):
    training = [sound("train/long", b"", "a", 0.0, 10.0), sound("train/long", b"", "b", 20.0, 30.0)]
    name = "test/copy" if copied else "train/long"
    if copied:
        Path(name).write_bytes(Path("train/long").read_bytes())
    spans = [(9.9, 12.0), (10.0, 20.0), (None, None), (30.0, None), (29.0, None), (None, 0.5)]
    expected = [0, None, 0, None, 1, 0]
    evaluation = [Utterance(name, "", *span) for span in spans]
    found = find_leakage(training, evaluation)
    shared = {pair.evaluation: pair.training for pair in found.recordings}
    assert [shared.get(one) for one in evaluation] == [None if n is None else training[n] for n in expected]
    assert [pair.evaluation for pair in found.other_parts] == [evaluation[1], evaluation[3]]
    assert found.speakers == ["a", "b"]
    assert "Other parts of recordings trained on: 2" in found.sentence()


def test_as_brute_force_finds(folder):
    """Files of three sizes with few different contents: every pair compared byte by byte."""
    training = [sound(f"train/{n}", bytes([n % 5]) * (3000 + n % 3)) for n in range(40)]
    evaluation = [sound(f"test/{n}", bytes([n % 7]) * (3000 + n % 4), "") for n in range(40)]
    held = {Path(u.path).read_bytes() for u in training}
    expected = [u for u in evaluation if Path(u.path).read_bytes() in held]
    found = find_leakage(training, evaluation)
    assert 0 < len(expected) < 40
    assert [pair.evaluation for pair in found.recordings] == expected
    for pair in found.recordings:
        assert Path(pair.training.path).read_bytes() == Path(pair.evaluation.path).read_bytes()


def test_only_candidates_are_read(folder, monkeypatch):
    probed, read = [], []
    probe, content = leakage._probe, leakage._content
    monkeypatch.setattr(leakage, "_probe", lambda path: probed.append(Path(path).name) or probe(path))
    monkeypatch.setattr(leakage, "_content", lambda path: read.append(Path(path).name) or content(path))
    training = [sound(f"train/{n}", b"%d" % n * 100) for n in range(10, 20)] + [sound("train/long", b"x" * 7000)]
    evaluation = [sound("test/30", b"30" * 100), sound("test/copy", b"15" * 100), sound("test/other", b"y" * 6000)]
    assert pairs(find_leakage(training, evaluation).recordings) == [("train/15", "test/copy")]
    assert sorted(probed) == sorted([*(str(n) for n in range(10, 20)), "30", "copy"])
    assert sorted(read) == ["15", "copy"]


def test_every_part_of_the_sentence_has_a_chinese_form(monkeypatch):
    monkeypatch.setenv("LANGUAGE", "zh")
    one, other = Utterance("a.wav", "anna", 0.0, 5.0), Utterance("b.wav", "7")
    shared = SharedRecording(one, one)
    for speakers in ([], ["anna"]):
        for recordings in ([], [shared]):
            for other_parts in ([], [shared, shared]):
                for named in (0, 3):
                    text = Leakage(speakers, recordings, other_parts, named, 9).sentence()
                    assert not re.search(r"[a-z]{5}", translate(text)), text
    numbers = find_leakage([other], [Utterance("c.wav", "7")], compare_content=False)
    assert "只是数字（例如 7）" in translate(numbers.sentence())
