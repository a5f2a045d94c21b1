"""tools/compare_runs.py from the command line to its files."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mvector.cli.compare_runs import main
from mvector.errors import MVectorError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def score_files(tmp_path):
    """Two text files of scores of the same trials by 22 speakers; the second system is better."""
    rng = np.random.default_rng(0)
    speakers = np.repeat(np.arange(22), 3)
    one, other = np.triu_indices(len(speakers), 1)
    noise = rng.normal(size=len(one))
    target = speakers[one] == speakers[other]
    paths = []
    for name, separation in (("weak", 1.0), ("strong", 4.0)):
        scores = noise + separation * target
        lines = [f"{a}.wav {b}.wav {s:.6f} {int(t)}\n" for a, b, s, t in zip(one, other, scores, target, strict=True)]
        paths.append(tmp_path / f"{name}.txt")
        paths[-1].write_text("".join(lines), encoding="utf-8")
    return [str(path) for path in paths]


def test_it_prints_and_writes(score_files, tmp_path, capsys):
    main([*score_files, "--output", str(tmp_path / "out"), "--metrics", "eer"])
    printed = capsys.readouterr().out
    weak, strong = score_files
    assert "On the 2,145 trials that all runs scored (66 target, 2,079 non-target, 22 speakers)." in printed
    assert f"{strong}: EER -" in printed
    assert "larger than chance, better" in printed
    assert str(tmp_path / "out" / "comparison.html") in printed
    stored = json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))
    assert stored["runs"] == [weak, strong]
    assert stored["values"]["eer"][0] > stored["values"]["eer"][1]
    assert (tmp_path / "out" / "comparison.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_in_chinese(score_files, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("LANGUAGE", "zh_CN")
    main([*score_files, "--output", str(tmp_path), "--metrics", "eer"])
    printed = capsys.readouterr().out
    assert "与第一次评估的差别" in printed
    assert "比较结果保存在" in printed
    assert 'lang="zh-CN"' in (tmp_path / "comparison.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["a"], "at least two different runs"),
        (["a", "a"], "at least two different runs"),
        (["a", "b"], "no such report folder or score file"),
        (["a", "b", "--metrics", "roc_auc"], "roc_auc is not an error metric"),
    ],
)
def test_mistakes(arguments, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MVectorError, match=expected):
        main(arguments)


def test_as_a_program(tmp_path):
    script = ROOT / "tools" / "compare_runs.py"
    done = subprocess.run(
        [sys.executable, str(script), "a", "b"], cwd=tmp_path, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 2
    assert done.stderr == "error: a: no such report folder or score file.\n"
