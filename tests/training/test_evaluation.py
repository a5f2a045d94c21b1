"""Evaluation from recordings to figures, and the eval command."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mvector.cli.evaluate import main as evaluate
from mvector.cli.train import main as train
from mvector.data.lists import read_data_list
from mvector.data.trials import load_trials
from mvector.errors import DataListError
from mvector.evaluation import embed_utterances, evaluate_trials, rates_at
from mvector.model_directory import load_model
from mvector.scoring import TrialScores


@pytest.fixture
def trained(config_file, tmp_path, capsys) -> Path:
    train(["--configs", config_file, "--save_model_path", str(tmp_path / "models"), "--log_dir", str(tmp_path / "log"),
           "--device", "cpu", "--set", "train_conf.max_epoch=1"])  # fmt: skip
    capsys.readouterr()
    return tmp_path / "models" / "EcapaTdnn_Fbank" / "best_model"


def test_train_prints_commands_to_try_next(trained, capsys, config_file):
    train(["--configs", config_file, "--save_model_path", str(trained.parents[2] / "again"), "--log_dir",
           str(trained.parents[2] / "log2"), "--device", "cpu", "--set", "train_conf.max_epoch=1"])  # fmt: skip
    text = capsys.readouterr().out
    assert "eval.py --model_path" in text
    assert "infer_contrast.py --model_path" in text
    assert "visualdl --logdir" in text


def test_eval_prints_one_line_and_writes_report_and_pictures(trained, capsys, tmp_path, corpus):
    evaluate(["--resume_model", str(trained), "--save_image_path", str(tmp_path / "图"), "--device", "cpu"])
    line = capsys.readouterr().out.splitlines()[0]
    report = json.loads((trained / "eval_test.json").read_text(encoding="utf-8"))
    assert f"EER {100 * report['eer']:.3f} %" in line
    assert report["targets"] == 24
    assert report["non_targets"] == 96
    assert "is_development_list" not in report
    stored = json.loads((trained / "metrics.json").read_text(encoding="utf-8"))["threshold"]
    assert report["at_stored_threshold"]["threshold"] == stored
    for name in ("det.png", "roc.png", "scores.png"):
        assert (tmp_path / "图" / name).read_bytes().startswith(b"\x89PNG")


def test_eval_on_the_development_list_says_so(trained, capsys, corpus):
    evaluate(["--model_path", str(trained), "--device", "cpu", "--set", f"dataset_conf.trials_list={corpus['dev']}"])
    assert "not a test result" in capsys.readouterr().out
    assert json.loads((trained / "eval_dev.json").read_text(encoding="utf-8"))["is_development_list"] is True


def test_a_trial_list_and_the_same_pairs_from_data_lists_agree(trained, corpus, tmp_path):
    model = load_model(trained)
    rows = read_data_list(corpus["test"])
    pairs = [(a, b) for i, a in enumerate(rows) for b in rows[i + 1 :]]
    for form in ("voxceleb", "kaldi"):
        listing = tmp_path / f"{form}.txt"
        listing.write_text("".join(
            f"{int(a.speaker == b.speaker)}\t{a.path}\t{b.path}\n" if form == "voxceleb"
            else f"{a.path}\t{b.path}\t{'target' if a.speaker == b.speaker else 'nontarget'}\n"
            for a, b in pairs), encoding="utf-8")  # fmt: skip
        result, _ = evaluate_trials(model.embedder, model.config, load_trials(trials_list=listing))
        expected, _ = evaluate_trials(model.embedder, model.config, load_trials(trials_list=corpus["test"]))
        assert (result.targets, result.non_targets) == (expected.targets, expected.non_targets)
        # The two ways multiply in another order: cosines agree to float32 rounding.
        assert result.threshold == pytest.approx(expected.threshold, abs=1e-6)
        assert result.eer == pytest.approx(expected.eer, abs=1e-9)
        assert result.min_dcf == pytest.approx(expected.min_dcf, abs=1e-9)


def test_embeddings_do_not_depend_on_the_order_or_on_neighbours(trained, corpus):
    model = load_model(trained)
    rows = read_data_list(corpus["test"])
    config = model.config
    one, _ = embed_utterances(model.embedder, config, rows)
    other, _ = embed_utterances(model.embedder, config, rows[::-1])
    np.testing.assert_array_equal(one, other[::-1])
    alone, _ = embed_utterances(model.embedder, config, rows[5:6])
    np.testing.assert_allclose(alone[0], one[5], rtol=1e-5, atol=1e-6)


def test_unusable_recordings_are_left_out_and_counted(trained, corpus, tmp_path, caplog):
    model = load_model(trained)
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(16000), 16000)
    text = Path(corpus["test"]).read_text(encoding="utf-8")
    listing = tmp_path / "with_bad.txt"
    listing.write_text(text + f"{silent}\ttest-10\n{tmp_path}/missing.wav\ttest-11\n", encoding="utf-8")
    result, _ = evaluate_trials(model.embedder, model.config, load_trials(trials_list=listing))
    assert len(result.left_out) == 2
    assert (result.targets, result.non_targets) == (24, 96)
    assert "2 recordings cannot be used" in caplog.text
    only_bad = tmp_path / "only_bad.txt"
    only_bad.write_text(f"{silent}\ta\n{silent}\tb\n{tmp_path}/missing.wav\ta\n", encoding="utf-8")
    with pytest.raises(DataListError, match="no recording"):
        evaluate_trials(model.embedder, model.config, load_trials(trials_list=only_bad))


def test_rates_at_a_threshold_counts_by_hand():
    scores = np.array([0.1, 0.5, 0.5, 0.9, 0.4, 0.6], np.float32)
    labels = np.array([1, 1, 1, 1, 0, 0], bool)
    assert rates_at(TrialScores(scores, labels), 0.5) == {"threshold": 0.5, "frr": 0.75, "far": 0.5}
    counts = np.array([10, 0, 0, 30, 1, 3])
    assert rates_at(TrialScores(scores, labels, counts=counts), 0.5) == {"threshold": 0.5, "frr": 0.25, "far": 0.75}


def test_eval_overrides_reach_the_model(trained, capsys):
    def eer(*overrides: str) -> float:
        evaluate(["--model_path", str(trained), "--device", "cpu", *(x for o in overrides for x in ("--set", o))])
        capsys.readouterr()
        return json.loads((trained / "eval_test.json").read_text(encoding="utf-8"))["threshold"]

    assert eer() != eer("dataset_conf.eval_conf.max_duration=0.2")
