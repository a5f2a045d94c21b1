"""Trial lists in their forms, enrollment maps, data lists compared all against all."""

import logging

import numpy as np
import pytest

from mvector.data.lists import Utterance
from mvector.data.trial_lines import read_trial_lines
from mvector.data.trials import _joined, all_pairs, is_trial_list, load_trials, read_enroll_map, read_trials
from mvector.errors import DataListError


@pytest.fixture
def folder(tmp_path):
    for name in ("a.wav", "b.wav", "c.wav", "d.wav", "录 音.wav"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def write(folder, name, text):
    path = folder / name
    path.write_bytes(text.encode("utf-8"))
    return path


def names_of(trials):
    """[(paths enrolled, path tested, label)] with bare names."""
    bare = [utterance.path.replace("\\", "/").rpartition("/")[2] for utterance in trials.utterances]
    return [
        (tuple(bare[row] for row in trials.enroll_rows[e]), bare[trials.test_rows[t]], bool(label))
        for e, t, label in zip(trials.enroll, trials.test, trials.labels, strict=True)
    ]


EXPECTED = [(("a.wav",), "b.wav", True), (("a.wav",), "c.wav", False), (("d.wav",), "b.wav", False)]


@pytest.mark.parametrize(
    "text",
    [
        "1 a.wav b.wav\n0 a.wav c.wav\n0 d.wav b.wav\n",
        "\ufeff1 a.wav  b.wav\r\n\r\n0\ta.wav\tc.wav\r\n0 d.wav b.wav",
        "a.wav b.wav target\na.wav c.wav nontarget\nd.wav b.wav nontarget\n",
        "a.wav\tb.wav\ttarget\na.wav\tc.wav\tnontarget\nd.wav\tb.wav\tnontarget\n",
        "a.wav b.wav 1\na.wav c.wav 0\nd.wav b.wav 0\n",
    ],
)
def test_forms(folder, text):
    path = write(folder, "trials.txt", text)
    assert is_trial_list(path)
    trials = load_trials(trials_list=path)
    assert names_of(trials) == EXPECTED
    assert len(trials.utterances) == 4  # each recording is embedded once
    assert trials.labels.dtype == bool
    assert trials.enroll.dtype == trials.test.dtype == np.int32


def test_paths_with_spaces_between_tabs(folder):
    trials = read_trials(write(folder, "trials.txt", "1\ta.wav\t录 音.wav\n0\tb.wav\t录 音.wav\n"))
    assert names_of(trials) == [(("a.wav",), "录 音.wav", True), (("b.wav",), "录 音.wav", False)]


@pytest.mark.parametrize(
    "line", ["a.wav\t7", "a.wav\t7\t0.5", "a.wav\t7\t1", "1\t7\t0.5", "a b.wav\t7", "1 2.wav\t7", "a.wav\t1\t0\t2.5"]
)
def test_data_lists_are_not_trial_lists(folder, line):
    assert not is_trial_list(write(folder, "list.txt", line + "\n"))


def test_enrollment_map(folder):
    mapping = write(folder, "enroll.map", "spk1 a.wav b.wav\nspk2\tc.wav\n\nspk3\ta.wav\t录 音.wav\nspk2 d.wav c.wav\n")
    voices = read_enroll_map(mapping)
    assert {name: [p.rpartition("/")[2].rpartition("\\")[2] for p in paths] for name, paths in voices.items()} == {
        "spk1": ["a.wav", "b.wav"],
        "spk2": ["c.wav", "d.wav"],
        "spk3": ["a.wav", "录 音.wav"],
    }
    path = write(folder, "trials.txt", "spk1 c.wav target\nspk2 a.wav nontarget\nspk1 d.wav nontarget\n")
    trials = load_trials(trials_list=path, enroll_map=mapping)
    assert names_of(trials) == [
        (("a.wav", "b.wav"), "c.wav", True),
        (("c.wav", "d.wav"), "a.wav", False),
        (("a.wav", "b.wav"), "d.wav", False),
    ]


def test_enrollment_map_with_a_data_list(folder):
    mapping = write(folder, "enroll.map", "s1 a.wav b.wav\ns2 c.wav\n")
    trials = load_trials(trials_list=write(folder, "test.txt", "d.wav\ts1\na.wav\ts1\n"), enroll_map=mapping)
    assert trials.labels is None
    assert trials.enroll_rows == [(0, 1), (2,)]
    assert trials.test_rows.tolist() == [3, 0]
    assert (trials.enroll_speakers[:, None] == trials.test_speakers).tolist() == [[True, True], [False, False]]


def test_unknown_enrolled_speaker(folder):
    mapping = write(folder, "enroll.map", "id001-enroll a.wav\n")
    path = write(folder, "trials.txt", "id001-enroll b.wav target\nid01-enroll b.wav target\n")
    with pytest.raises(DataListError, match="Did you mean 'id001-enroll'") as error:
        read_trials(path, enroll_map=mapping)
    assert str(error.value).startswith(f"{path}:2: ")
    with pytest.raises(DataListError, match="give the enrollment map"):
        read_trials(path)


def test_two_data_lists(folder):
    enroll = write(folder, "enroll.txt", "a.wav\t1\nb.wav\t2\n")
    test = write(folder, "test.txt", "c.wav\t1\na.wav\t1\n")
    trials = load_trials(enroll, test)
    assert trials.enroll is trials.test is trials.labels is None
    assert [len(trials.utterances), trials.enroll_rows, trials.test_rows.tolist()] == [3, [(0,), (1,)], [2, 0]]
    assert (trials.enroll_speakers[:, None] == trials.test_speakers).tolist() == [[True, True], [False, False]]
    alone = load_trials(trials_list=enroll)
    assert (alone.enroll_rows, alone.test_rows.tolist()) == ([(0,), (1,)], [0, 1])


def test_segments_of_one_recording_are_utterances_of_their_own():
    first, second = Utterance("a.wav", "1", 0.0, 2.0), Utterance("a.wav", "1", 2.0, 4.0)
    trials = all_pairs([first, second, first], [first, second])
    assert trials.utterances == [first, second]
    assert trials.enroll_rows == [(0,), (1,)]  # a line that stands twice counts once


def test_trial_list_wins_over_an_enrollment_list(folder, caplog):
    path = write(folder, "trials.txt", "1 a.wav b.wav\n0 a.wav c.wav\n")
    enroll = write(folder, "enroll.txt", "a.wav\t1\n")
    with caplog.at_level(logging.INFO):
        assert len(load_trials(enroll, path).labels) == 2
    assert "is not used" in caplog.text
    with pytest.raises(DataListError, match="give it as trials_list"):
        load_trials(path, enroll)


def test_trials_of_an_utterance_with_itself_are_left_out(folder, caplog):
    path = write(folder, "trials.txt", "1 a.wav a.wav\n1 a.wav b.wav\n0 a.wav c.wav\n")
    trials = read_trials(path)
    assert len(trials.labels) == 2
    assert "left out 1 trials" in caplog.text


def test_speakers_follow_from_the_target_trials(folder):
    trials = read_trials(write(folder, "trials.txt", "1 a.wav b.wav\n1 b.wav c.wav\n0 a.wav d.wav\n0 d.wav b.wav\n"))
    enroll, test = trials.enroll_speakers[trials.enroll], trials.test_speakers[trials.test]
    assert (enroll == test).tolist() == trials.labels.tolist()
    assert len(set(enroll.tolist()) | set(test.tolist())) == 2


def test_recordings_that_no_target_trial_names_are_nobody_known(folder):
    trials = read_trials(write(folder, "trials.txt", "1 a.wav b.wav\n0 a.wav c.wav\n0 d.wav b.wav\n"))
    assert trials.speaker_count() == 1
    numbers = set(trials.enroll_speakers.tolist()) | set(trials.test_speakers.tolist())
    assert len(numbers) == 3  # and are not taken for each other
    enroll = write(folder, "enroll.txt", "a.wav\t1\nb.wav\t2\nc.wav\t7\n")
    assert load_trials(trials_list=enroll).speaker_count() == 3


@pytest.mark.parametrize("seed", range(20))
def test_joined_speakers_are_connected_components(seed):
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rng = np.random.default_rng(seed)
    size, edges = int(rng.integers(1, 300)), int(rng.integers(0, 300))
    one, other = rng.integers(0, size, (2, edges))
    if seed == 0:  # a chain, numbered so that neighbours are far apart
        size, order = 1000, rng.permutation(1000)
        one, other = order[:-1], order[1:]
    expected = connected_components(coo_array((np.ones(len(one)), (one, other)), (size, size)), directed=False)[1]
    found = _joined(size, one, other)
    assert len(set(zip(found.tolist(), expected.tolist(), strict=True))) == len(set(found)) == len(set(expected))


def line_by_line(text):
    """[(enrollment, test, label)] of a correct list, read as simply as can be."""
    for line in text.split("\n"):
        fields = [f.strip() for f in line.split("\t")] if line.count("\t") == 2 else line.split()
        if fields and fields[0] in "01":
            yield fields[1], fields[2], fields[0] == "1"
        elif fields:
            yield fields[0], fields[1], fields[2] in ("target", "1")


def made_up_list(seed, form):
    """Lines that are mostly regular, with what else occurs: two spaces, tabs, blank lines, names with spaces."""
    rng = np.random.default_rng(seed)
    names = [f"id{i}/{'录音' if i % 3 else 'x' * (i % 7)}.wav" for i in range(12)]
    lines = []
    for _ in range(200):
        enroll, test = (names[i] for i in rng.integers(0, 12, 2))
        label = int(rng.integers(0, 2))
        columns = [str(label), enroll, test]
        if form == "kaldi":
            columns = [
                enroll,
                test,
                ("nontarget", "target")[label] if rng.random() < 0.9 or not "".join(lines).strip() else str(label),
            ]
        odd = rng.random() if seed % 3 else 1.0
        separator = " " if seed % 2 else "\t"
        if odd < 0.02:
            lines.append("\t".join([*columns[:2], "a b " + columns[2]]) if form == "voxceleb" else "")
        elif odd < 0.04:
            lines.append(rng.choice(["  ".join(columns), " " + " ".join(columns), "\t".join(columns) + " "]))
        elif odd < 0.05:
            lines.append(rng.choice(["", " ", "\t"]))
        else:
            lines.append(separator.join(columns))
    first = next(i for i, line in enumerate(lines) if line.strip())
    return "\n".join(lines[first:]) + ("\n" if seed % 4 else "")


@pytest.mark.parametrize("form", ["voxceleb", "kaldi"])
@pytest.mark.parametrize("seed", range(12))
def test_reading_in_blocks(seed, form, folder, monkeypatch):
    monkeypatch.setattr("mvector.data.trial_lines.BLOCK_BYTES", (60, 1000, 1 << 18)[seed % 3])
    text = made_up_list(seed, form)
    lines = read_trial_lines(write(folder, "trials.txt", text.replace("\n", "\r\n") if seed % 5 == 0 else text))
    enroll_names, test_names = list(lines.enroll_names), list(lines.test_names)
    found = [
        (enroll_names[e], test_names[t], bool(label))
        for e, t, label in zip(lines.enroll, lines.test, lines.labels, strict=True)
    ]
    expected = list(line_by_line(text))
    assert found == expected
    assert enroll_names == list(dict.fromkeys(enroll for enroll, _, _ in expected))
    assert test_names == list(dict.fromkeys(test for _, test, _ in expected))


@pytest.mark.parametrize(
    "bad",
    ["1 a.wav", "1 a.wav b.wav c.wav", "2 a.wav b.wav", "a.wav b.wav target", "1\ta.wav", "1 a.wav\xa0x b.wav", "x"],
)
@pytest.mark.parametrize("place", [1, 7, 40])
def test_a_wrong_line_anywhere(bad, place, folder, monkeypatch):
    monkeypatch.setattr("mvector.data.trial_lines.BLOCK_BYTES", 100)
    lines = ["1 a.wav b.wav", "0 a.wav c.wav"] * 20 + ["", "1 a.wav b.wav"]
    path = write(folder, "trials.txt", "\n".join([*lines[:place], bad, *lines[place:]]))
    with pytest.raises(DataListError, match="expected '1") as error:
        read_trials(path)
    assert str(error.value).startswith(f"{path}:{place + 1}: ")
    assert repr(bad) in str(error.value)


def test_lines_that_make_up_for_each_other(folder):
    """Two columns too few and two too many are right in sum only."""
    path = write(folder, "trials.txt", "1 a.wav b.wav\n1 a.wav\nb.wav 1 a.wav b.wav\n1 a.wav b.wav\n")
    with pytest.raises(DataListError, match=r":2: expected"):
        read_trials(path)


def test_data_root(folder):
    path = write(folder, "trials.txt", "1 x.wav y.wav\n0 x.wav z.wav\n")
    root = folder / "root"
    root.mkdir()
    for name in ("x.wav", "y.wav"):
        (root / name).write_bytes(b"")
    trials = read_trials(path, root)
    assert trials.utterances[-1].path == str(root / "x.wav")
    with pytest.raises(DataListError, match="not one of its 2 recordings exists"):
        read_trials(path)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("1 a.wav b.wav\n2 a.wav b.wav\n", 2),
        ("1 a.wav b.wav\na.wav b.wav target\n", 2),
        ("a.wav b.wav target\na.wav b.wav Target\n", 2),
        ("1 a.wav b.wav\n\n1 a.wav\n", 3),
        ("1 a.wav b.wav\n1 a.wav b.wav c.wav\n", 2),
    ],
)
def test_wrong_lines(folder, text, line):
    path = write(folder, "trials.txt", text)
    with pytest.raises(DataListError, match="expected '1") as error:
        load_trials(trials_list=path)
    assert str(error.value).startswith(f"{path}:{line}: ")


def test_wrong_files(folder):
    with pytest.raises(DataListError, match="no trials"):
        load_trials()
    with pytest.raises(DataListError, match="empty"):
        load_trials(trials_list=write(folder, "empty.txt", "\n"))
    with pytest.raises(DataListError, match="cannot be read"):
        load_trials(trials_list=folder / "none.txt")
    with pytest.raises(DataListError, match=r"enroll\.map:1: expected 'name path"):
        read_enroll_map(write(folder, "enroll.map", "spk1\n"))
    (folder / "latin.txt").write_bytes("1 a.wav é.wav\n".encode("latin-1"))
    with pytest.raises(DataListError, match="not UTF-8"):
        read_trials(folder / "latin.txt")
    with pytest.raises(DataListError, match="cannot be read"):
        read_trials(folder / "none.txt")
    with pytest.raises(DataListError, match="map is empty"):
        read_enroll_map(write(folder, "empty.map", "\n"))
