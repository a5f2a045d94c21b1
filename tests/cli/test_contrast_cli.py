"""`infer_contrast.py` as a person runs it: what it prints and how it ends."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mvector.cli import run
from mvector.cli.contrast import main
from mvector.predict import MVectorPredictor

ROOT = Path(__file__).parents[2]


@pytest.fixture
def pair(tmp_path, make_voice):
    paths = [tmp_path / "张三.wav", tmp_path / "b.wav"]
    for seed, path in enumerate(paths):
        soundfile.write(path, make_voice(4.0, seed=seed), 16000)
    return [str(path) for path in paths]


def arguments(model, pair, *more):
    return ["--model_path", str(model), "--audio_path1", pair[0], "--audio_path2", pair[1], *more]


def test_it_prints_files_similarity_threshold_and_answer(tiny_model_dir, pair, capsys):
    main(arguments(tiny_model_dir, pair))
    score = MVectorPredictor(model_path=tiny_model_dir).contrast(*pair)
    answer = "the same person" if score > 0.25 else "different people"
    assert capsys.readouterr().out.splitlines() == [
        f"recording 1: {pair[0]}",
        f"recording 2: {pair[1]}",
        f"similarity {score:.4f}",
        "threshold 0.2500 (stored with the model: the equal error rate of its development trials lists/dev.txt)",
        f"verdict: {answer}",
    ]


@pytest.mark.parametrize(("threshold", "answer"), [("-1", "the same person"), ("1", "different people")])
def test_a_given_threshold_decides(tiny_model_dir, pair, capsys, threshold, answer):
    main(arguments(tiny_model_dir, pair, f"--threshold={threshold}"))
    printed = capsys.readouterr().out
    assert f"threshold {float(threshold):.4f} (given by --threshold)\nverdict: {answer}\n" in printed


def test_threshold_zero_is_a_threshold(tiny_model_dir, pair, capsys):
    main(arguments(tiny_model_dir, pair, "--threshold", "0"))
    assert "threshold 0.0000 (given by --threshold)" in capsys.readouterr().out


def test_a_calibrated_model_gives_a_probability_at_the_prior(make_model, pair, capsys):
    calibration = {"scale": 9.0, "offset": -2.5, "prior": 0.5, "targets": 10, "non_targets": 40}
    metrics = {"threshold": 0.25, "calibration": calibration, "calibrated_on": {"list": "own.txt"}}
    model = make_model(metrics)
    main(arguments(model, pair, "--prior", "0.1"))
    llr = 9 * MVectorPredictor(model_path=model).contrast(*pair) - 2.5
    odds = np.exp(llr) / 9
    printed = capsys.readouterr().out
    assert f"probability of one person {100 * odds / (1 + odds):.2f} % (prior 0.1; log-likelihood" in printed
    assert "threshold 0.2500 (stored with the model: chosen on own.txt by mvector calibrate)" in printed


def test_a_model_without_threshold_gives_no_verdict(make_model, pair, capsys):
    main(arguments(make_model({}), pair))
    printed = capsys.readouterr().out
    assert "similarity " in printed
    assert "no threshold" in printed
    assert "\nverdict: " not in printed


def test_synthetic_voices_are_told_plainly(make_model, pair, capsys):
    statement = "Trained on synthetic voices: not for real decisions."
    main(arguments(make_model({"threshold": 0.3, "synthetic": statement}), pair))
    assert statement in capsys.readouterr().out.splitlines()


def test_warnings_are_printed(tiny_model_dir, pair, make_voice, capsys):
    soundfile.write(pair[1], make_voice(4.0, 8000), 8000)
    main(arguments(tiny_model_dir, pair))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]
    assert "b.wav: recorded at 8000 Hz" in line


@pytest.mark.parametrize("trouble", ["silence", "text", "absent", "model", "threshold"])
def test_a_mistake_is_one_line_and_status_2(tiny_model_dir, pair, tmp_path, capsys, trouble):
    model, more, expected = tiny_model_dir, [], "b.wav"
    if trouble == "silence":
        soundfile.write(pair[1], np.zeros(16000), 16000)
    elif trouble == "text":
        Path(pair[1]).write_text("hello", encoding="utf-8")
    elif trouble == "absent":
        Path(pair[1]).unlink()
    elif trouble == "model":
        model, expected = tmp_path / "no_model", "no_model"
    else:
        more, expected = ["--threshold", "60"], "60"
    with pytest.raises(SystemExit) as ended:
        run(main, arguments(model, pair, *more))
    assert ended.value.code == 2
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith("error: ")
    assert expected in line
    assert "similarity" not in printed.out


def test_pictures_on_request(tiny_model_dir, pair, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    folder = tmp_path / "图"
    main(arguments(tiny_model_dir, pair, "--save_image_path", str(folder)))
    assert sorted(path.name for path in folder.iterdir()) == [
        "1_张三_silence.png",
        "1_张三_spectrogram.png",
        "2_b_silence.png",
        "2_b_spectrogram.png",
    ]
    assert str(folder) in capsys.readouterr().out


def test_the_script_at_the_root_runs(tiny_model_dir, pair):
    done = subprocess.run(
        [sys.executable, str(ROOT / "infer_contrast.py"), *arguments(tiny_model_dir, pair)],
        capture_output=True,
        encoding="utf-8",
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "verdict: " in done.stdout
    assert done.stderr == ""
