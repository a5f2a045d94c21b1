"""Lists are written whole or not at all, and rewritten line by line."""

from pathlib import Path

import pytest

from mvector.data.list_writer import (
    rewrite_enroll_map,
    rewrite_trials,
    write_data_list,
    write_enroll_map,
    write_lines,
    write_trials,
)
from mvector.data.lists import Utterance, read_data_list
from mvector.data.trials import is_trial_list, read_enroll_map, read_trials
from mvector.errors import DataListError


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def text(path: str) -> str:
    return Path(path).read_bytes().decode("utf-8")


def test_what_is_written_is_read_back() -> None:
    touch("语音/a b.wav", "c.wav")
    utterances = [
        Utterance("语音/a b.wav", "张伟"),
        Utterance("c.wav", "7", 1.25, 3.0),
        Utterance("c.wav", "7", None, 2.0),
    ]
    utterances += [Utterance("c.wav", "8", 0.5)]
    assert write_data_list("new/list.txt", utterances) == 4
    assert read_data_list("new/list.txt") == utterances
    assert text("new/list.txt").splitlines()[0] == "语音/a b.wav\t张伟"
    assert [path.name for path in Path("new").iterdir()] == ["list.txt"]


def test_trials_are_read_back() -> None:
    touch("a b.wav", "c.wav", "d.wav")
    trials = [(True, "a b.wav", "c.wav"), (False, "a b.wav", "d.wav")]
    write_trials("trials.txt", trials)
    assert text("trials.txt") == "1\ta b.wav\tc.wav\n0\ta b.wav\td.wav\n"
    assert is_trial_list("trials.txt")
    labels = read_trials("trials.txt").labels
    assert labels is not None
    assert labels.tolist() == [True, False]

    write_enroll_map("map.txt", {"ann": ["a b.wav", "c.wav"]})
    write_trials("named.txt", [(False, "ann", "d.wav")], by_name=True)
    assert text("named.txt") == "ann\td.wav\tnontarget\n"
    assert read_enroll_map("map.txt") == {"ann": ("a b.wav", "c.wav")}
    assert len(read_trials("named.txt", enroll_map="map.txt").enroll_rows[0]) == 2


@pytest.mark.parametrize("name", ["a\tb.wav", "a\nb.wav", "a\rb.wav"])
def test_names_that_would_break_the_list_leave_the_old_one(name: str) -> None:
    Path("list.txt").write_text("old", encoding="utf-8")
    with pytest.raises(DataListError, match="has a tab or a line break in its name"):
        write_lines("list.txt", [["fine.wav", "x"], [name, "x"]])
    assert text("list.txt") == "old"
    assert [path.name for path in Path().iterdir()] == ["list.txt"]


def test_trials_are_renamed_and_left_out() -> None:
    touch("a.wav", "b.wav", "c.wav", "new/a.flac")
    Path("trials.txt").write_text("1 a.wav b.wav\n0 a.wav c.wav\n0 b.wav a.wav\n", encoding="utf-8")
    kept = rewrite_trials(Path("trials.txt"), Path("out.txt"), {"a.wav": "new/a.flac", "c.wav": None})
    assert kept == 2
    assert text("out.txt") == "1\tnew/a.flac\tb.wav\n0\tb.wav\tnew/a.flac\n"


def test_enrollments_without_a_recording_leave_the_trials() -> None:
    touch("a.wav", "b.wav", "t.wav")
    Path("map.txt").write_text("ann\ta.wav\tb.wav\nbob\tb.wav\n", encoding="utf-8")
    gone = rewrite_enroll_map(Path("map.txt"), Path("map2.txt"), {"b.wav": None})
    assert gone == {"bob"}
    assert text("map2.txt") == "ann\ta.wav\n"
    Path("trials.txt").write_text("ann\tt.wav\ttarget\nbob\tt.wav\tnontarget\n", encoding="utf-8")
    rewrite_trials(Path("trials.txt"), Path("out.txt"), {"b.wav": None}, True, gone)
    assert text("out.txt") == "ann\tt.wav\ttarget\n"


def test_lists_beside_their_recordings_are_followed() -> None:
    """Paths that start from the list's folder are found, and start from the working directory in the copy."""
    touch("corpus/a.wav", "corpus/b.wav")
    Path("corpus/trials.txt").write_text("1 a.wav b.wav\n0 b.wav a.wav\n", encoding="utf-8")
    renamed = {"corpus/a.wav": "flac/a.flac"}
    rewrite_trials(Path("corpus/trials.txt"), Path("corpus/out.txt"), renamed)
    assert text("corpus/out.txt") == "1\tflac/a.flac\tcorpus/b.wav\n0\tcorpus/b.wav\tflac/a.flac\n"
