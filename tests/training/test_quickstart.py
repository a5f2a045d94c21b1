"""The README's first line: the synthetic corpus and its configuration teach a network something, and say so plainly."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mvector.cli.contrast import main as contrast
from mvector.cli.evaluate import main as evaluate
from mvector.config import load_config
from mvector.data.corpora.demo import ensure_demo_corpus
from mvector.data.lists import read_data_list
from mvector.data.trials import load_trials
from mvector.embedder import SpeakerEmbedder
from mvector.evaluation import evaluate_trials
from mvector.trainer import MVectorTrainer

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with the corpus."""
    folder = tmp_path_factory.mktemp("quickstart")
    ensure_demo_corpus(folder / "dataset" / "demo")
    return folder


@pytest.mark.slow
def test_the_quickstart_learns_and_says_that_its_voices_are_synthetic(quickstart, monkeypatch, capsys):
    monkeypatch.chdir(quickstart)
    config = ROOT / "configs" / "quickstart.yml"
    # Four of its eight epochs teach enough for what is asked here.
    run = MVectorTrainer(config, overwrites=["train_conf.max_epoch=4"], device="cpu").train()
    trained = run.best_metrics["eer"]

    plain = load_config(config)
    torch.manual_seed(0)
    untrained = SpeakerEmbedder.from_config(plain).eval()
    result, _ = evaluate_trials(untrained, plain, load_trials(trials_list="dataset/demo/dev_trials.txt"))
    assert result.eer >= 3 * trained, f"untrained {result.eer:.3f}, trained {trained:.3f}"

    train_speakers = {row.speaker for row in read_data_list("dataset/demo/train_list.txt")}
    dev = {Path(utterance.path).parent.name for utterance in run.development.trials.utterances}
    assert len(train_speakers) >= 40
    assert not train_speakers & dev

    model = run.folder / "best_model"
    assert "synthetic" in json.loads((model / "metrics.json").read_text(encoding="utf-8"))["synthetic"]
    evaluate(["--model_path", str(model), "--device", "cpu"])
    assert "synthetic" in capsys.readouterr().out
    first, second = (utterance.path for utterance in run.development.trials.utterances[:2])
    contrast(["--model_path", str(model), "--audio_path1", first, "--audio_path2", second])
    assert "synthetic" in capsys.readouterr().out


@pytest.mark.slow
def test_shuffled_labels_teach_nothing(quickstart, monkeypatch):
    """Random labels must leave development trials at chance, or the recordings give the answer away otherwise.

    One epoch with the right ones brings their equal error rate below 0.3.
    """
    monkeypatch.chdir(quickstart)
    rng = np.random.default_rng(0)
    rows = read_data_list("dataset/demo/train_list.txt")
    speakers = rng.permutation([row.speaker for row in rows])
    text = "".join(f"{row.path}\t{speaker}\n" for row, speaker in zip(rows, speakers, strict=True))
    Path("shuffled.txt").write_text(text, encoding="utf-8")
    trainer = MVectorTrainer(
        ROOT / "configs" / "quickstart.yml",
        overwrites=["dataset_conf.train_list=shuffled.txt", "train_conf.max_epoch=1"],
        device="cpu",
    )
    run = trainer.train(save_model_path="shuffled_models", log_dir="shuffled_log")
    assert 0.4 <= run.last_metrics["eer"] <= 0.6
