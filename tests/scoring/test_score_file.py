"""The score file, read back line by line and compared with Python's own formatting."""

from dataclasses import replace

import numpy as np
import pytest

from mvector.data.lists import Utterance
from mvector.data.trials import Trials, all_pairs, read_trials
from mvector.errors import MVectorError
from mvector.scoring import TrialScores, score_file, score_trials
from mvector.scoring.score_file import write_scores


def some_trials(names, count=500, seed=0):
    rng = np.random.default_rng(seed)
    n = len(names)
    trials = Trials(
        utterances=[Utterance(name, "") for name in names],
        enroll_rows=[(i,) for i in range(n)],
        test_rows=np.arange(n),
        enroll_speakers=np.arange(n),
        test_speakers=np.arange(n),
    )
    scores = rng.uniform(-1, 1, count).astype(np.float32)
    scores[:6] = 0, 1, -1, -1e-8, 5e-7, -0.0999996
    index = rng.integers(0, n, (2, count)).astype(np.int32)
    return trials, TrialScores(scores, rng.random(count) < 0.3, enroll=index[0], test=index[1])


def expected_lines(trials, scored, separator):
    for score, label, e, t in zip(scored.scores.tolist(), scored.labels, scored.enroll, scored.test, strict=True):
        text = f"{score:.6f}"
        text = "0.000000" if text == "-0.000000" else text
        enroll, test = trials.utterances[e].path, trials.utterances[t].path
        yield separator.join([enroll, test, text, "target" if label else "nontarget"])


@pytest.mark.parametrize("block_bytes", [1, 1000, 1 << 22])
@pytest.mark.parametrize(
    ("names", "separator"),
    [
        (["a.wav", "说话人/录音.wav", "a/much/longer/name.flac", "é"], " "),
        (["a.wav", "录 音.wav"], "\t"),
        (["a.wav", "录\u3000音.wav"], "\t"),
    ],
)
def test_lines(names, separator, block_bytes, tmp_path, monkeypatch):
    monkeypatch.setattr(score_file, "BLOCK_BYTES", block_bytes)
    trials, scored = some_trials(names)
    path = tmp_path / "new" / "scores.txt"
    assert write_scores(path, scored, trials) == 500
    lines = path.read_bytes().decode("utf-8").split("\n")
    assert lines.pop() == ""
    assert lines == list(expected_lines(trials, scored, separator))
    assert [entry.name for entry in path.parent.iterdir()] == ["scores.txt"]


def test_scores_of_any_size(tmp_path):
    trials, scored = some_trials(["a", "b"], 400)
    scores = np.random.default_rng(0).normal(size=400) * 10.0 ** np.arange(-5, 5).repeat(40)
    scored = replace(scored, scores=scores)
    write_scores(tmp_path / "scores.txt", scored, trials)
    assert (tmp_path / "scores.txt").read_text().splitlines() == list(expected_lines(trials, scored, " "))


def test_names_are_those_of_the_trial_list(tmp_path):
    folder = tmp_path / "audio"
    folder.mkdir()
    for name in ("a.wav", "b.wav", "c.wav"):
        (folder / name).write_bytes(b"")
    (tmp_path / "trials.txt").write_text("anna b.wav target\nben a.wav nontarget\n", encoding="utf-8")
    (tmp_path / "map.txt").write_text("anna a.wav c.wav\nben b.wav\n", encoding="utf-8")
    trials = read_trials(tmp_path / "trials.txt", folder, tmp_path / "map.txt")
    scored = score_trials(np.eye(3)[[0, 0, 1]], trials)
    write_scores(tmp_path / "scores.txt", scored, trials)
    columns = [line.split() for line in (tmp_path / "scores.txt").read_text().splitlines()]
    assert [[e, t, label] for e, t, _, label in columns] == [["anna", "b.wav", "target"], ["ben", "a.wav", "nontarget"]]
    assert [float(column[2]) for column in columns] == pytest.approx(scored.scores.tolist(), abs=1e-6)


def test_segments_have_names_of_their_own(tmp_path):
    trials = all_pairs([Utterance("a.wav", "1", 0.0, 2.5), Utterance("a.wav", "1", 2.5)], [Utterance("b.wav", "2")])
    write_scores(tmp_path / "scores.txt", score_trials(np.eye(3), trials), trials)
    enrolled = [line.split()[0] for line in (tmp_path / "scores.txt").read_text().splitlines()]
    assert enrolled == ["a.wav#0-2.5", "a.wav#2.5-"]


def test_what_cannot_be_written(tmp_path):
    trials, scored = some_trials(["a", "b"])
    with pytest.raises(MVectorError, match="counted in bins"):
        write_scores(tmp_path / "scores.txt", replace(scored, enroll=None), trials)
    (tmp_path / "file").write_text("")
    with pytest.raises(MVectorError, match="cannot be written"):
        write_scores(tmp_path / "file" / "scores.txt", scored, trials)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
