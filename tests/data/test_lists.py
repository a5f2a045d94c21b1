"""Data lists: columns, encodings, where relative paths are looked for, and what is wrong told with file and line."""

import pickle

import pytest

from mvector.data.lists import Utterance, read_data_list, speaker_classes
from mvector.errors import DataListError


def write(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


@pytest.fixture
def recordings(tmp_path):
    for name in ("a.wav", "b.wav", "录音 一.wav"):
        write(tmp_path / "data" / name, "")
    return tmp_path / "data"


def test_columns(recordings):
    text = "a.wav\t7\nb.wav\t张三\t1.5\t2.25\na.wav\t7\t3\n录音 一.wav\t7\t\t4\n"
    found = read_data_list(write(recordings / "list.txt", text))
    assert found == [
        Utterance(str(recordings / "a.wav"), "7"),
        Utterance(str(recordings / "b.wav"), "张三", 1.5, 2.25),
        Utterance(str(recordings / "a.wav"), "7", 3.0, None),
        Utterance(str(recordings / "录音 一.wav"), "7", None, 4.0),
    ]
    assert pickle.loads(pickle.dumps(found)) == found  # spawned workers get it so


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_ends_byte_order_mark_and_blank_lines(recordings, encoding, end):
    text = end.join(["", "a.wav\t1", "  ", "b.wav\t2 ", "", "录音 一.wav\t3"])
    found = read_data_list(write(recordings / "list.txt", text, encoding))
    assert [u.speaker for u in found] == ["1", "2", "3"]
    assert found[0].path == str(recordings / "a.wav")


def test_where_relative_paths_are_looked_for(recordings, tmp_path, monkeypatch):
    listing = write(tmp_path / "lists" / "list.txt", "a.wav\t1\nb.wav\t2\n")
    work = tmp_path / "work"
    write(work / "a.wav", "")
    write(work / "b.wav", "")
    monkeypatch.chdir(work)
    assert [u.path for u in read_data_list(listing)] == ["a.wav", "b.wav"]
    assert read_data_list(listing, recordings)[0].path == str(recordings / "a.wav")  # data_root alone counts
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "lists" / "a.wav", "")
    assert read_data_list(listing)[0].path == str(tmp_path / "lists" / "a.wav")
    absolute = write(tmp_path / "lists" / "absolute.txt", f"{recordings / 'a.wav'}\t1\n")
    assert read_data_list(absolute, tmp_path / "elsewhere")[0].path == str(recordings / "a.wav")


def test_each_path_is_looked_for_where_the_sample_disagrees(tmp_path, monkeypatch):
    work = tmp_path / "work"
    names = [f"{i}.wav" for i in range(10)]
    for i, name in enumerate(names):
        write((work if i % 2 else tmp_path / "lists") / name, "")
    listing = write(tmp_path / "lists" / "list.txt", "".join(f"{name}\t1\n" for name in names))
    monkeypatch.chdir(work)
    found = [u.path for u in read_data_list(listing)]
    assert found == [name if i % 2 else str(tmp_path / "lists" / name) for i, name in enumerate(names)]


def test_missing_recordings_are_left_to_those_who_read_them(recordings):
    text = "".join(f"missing{i}.wav\t1\n" for i in range(500)) + "a.wav\t2\n"
    found = read_data_list(write(recordings / "list.txt", text))
    assert len(found) == 501
    assert found[-1].path == str(recordings / "a.wav")


def test_no_recording_at_all_names_what_was_tried(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    listing = write(tmp_path / "lists" / "list.txt", "x/a.wav\t1\n")
    with pytest.raises(DataListError) as error:
        read_data_list(listing)
    assert str(tmp_path / "x" / "a.wav") in str(error.value)
    assert str(tmp_path / "lists" / "x" / "a.wav") in str(error.value)
    assert "data_root" in str(error.value)
    with pytest.raises(DataListError) as error:
        read_data_list(listing, tmp_path / "root")
    assert str(tmp_path / "root" / "x" / "a.wav") in str(error.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.wav 1", "Separate the columns with one tab"),
        ("a.wav", "expected 'path<TAB>speaker'"),
        ("a.wav\t1\t0\t1\tx", "found 'a.wav"),
        ("\t1", "the path is empty"),
        ("a.wav\t ", "the speaker is empty"),
        ("a.wav\t1\tzero", "numbers of seconds"),
        ("a.wav\t1\t-1", "negative"),
        ("a.wav\t1\tnan", "negative"),
        ("a.wav\t1\t2\t2", "after the start"),
        ("a.wav\t1\t\t0", "after the start"),
    ],
)
def test_wrong_lines(recordings, line, message):
    listing = write(recordings / "list.txt", f"a.wav\t1\n\n{line}\n")
    with pytest.raises(DataListError, match=message) as error:
        read_data_list(listing)
    assert str(error.value).startswith(f"{listing}:3: ")


def test_wrong_files(tmp_path):
    with pytest.raises(DataListError, match=r"none\.txt: the list cannot be read"):
        read_data_list(tmp_path / "none.txt")
    with pytest.raises(DataListError, match="empty"):
        read_data_list(write(tmp_path / "empty.txt", "\r\n \n"))
    with pytest.raises(DataListError, match="not UTF-8"):
        read_data_list(write(tmp_path / "gbk.txt", "录音.wav\t张三\n", "gbk"))
    with pytest.raises(DataListError, match="not UTF-8"):
        read_data_list(write(tmp_path / "utf16.txt", "a.wav\t1\n", "utf-16"))


def test_speaker_classes():
    def classes(*speakers):
        return list(speaker_classes([Utterance("a.wav", speaker) for speaker in speakers]).items())

    assert classes("10", "9", "10", "100") == [("9", 0), ("10", 1), ("100", 2)]
    assert classes("10000", "70000", "10007") == [("10000", 0), ("10007", 1), ("70000", 2)]  # gaps do not matter
    assert classes("id2", "7", "id10", "张三") == [("7", 0), ("id10", 1), ("id2", 2), ("张三", 3)]
    assert classes("1", "01", "²") == [("01", 0), ("1", 1), ("²", 2)]
    assert classes() == []


def test_a_long_list_is_not_looked_for_file_by_file(recordings, monkeypatch):
    import mvector.data.lists as lists

    looks = []
    exists = lists.os.path.exists
    monkeypatch.setattr(lists.os.path, "exists", lambda path: looks.append(path) or exists(path))
    listing = write(recordings / "list.txt", "a.wav\t1\nb.wav\t2\n" * 10_000)
    assert len(read_data_list(listing)) == 20_000
    assert len(looks) < 300
