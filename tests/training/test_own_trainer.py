"""A trainer of one's own: what a subclass may override, and that the rest goes on working."""

from pathlib import Path

import pytest
import torch
from torch import nn

from mvector.config import load_config
from mvector.trainer import Interrupted, MVectorTrainer


class Own(MVectorTrainer):
    """A penalty with a parameter of its own, another figure for the best epoch, and a note at every epoch's end."""

    def __init__(self, *arguments, **keywords):
        super().__init__(*arguments, **keywords)
        self.epochs: list[int] = []

    def build_run(self, stage, resume_from, do_eval):
        run = super().build_run(stage, resume_from, do_eval)
        self.built = run
        return run

    def compute_loss(self, run, batch):
        loss, correct = super().compute_loss(run, batch)
        return loss + 1e-2 * run.classifier.weight.square().mean(), correct

    def evaluate_model(self, run, model, development):
        result = super().evaluate_model(run, model, development)
        assert isinstance(model.backbone, nn.Module)
        result.eer = 1.0 / run.epoch  # as if every epoch were better
        return result

    def end_epoch(self, run):
        self.epochs.append(run.epoch)


def train(settings: dict, folder: Path, **arguments):
    trainer = Own(load_config(settings), device="cpu")
    return trainer, trainer.train(folder / "models", folder / "log", **arguments)


@pytest.mark.slow
def test_what_is_overridden_is_used_and_what_is_not_goes_on_working(settings, tmp_path, stop_after):
    stop_after(float("inf"))
    trainer, run = train(settings, tmp_path / "own")
    assert trainer.built is run
    assert trainer.epochs == [1, 2, 3]
    assert run.best_metrics["epoch"] == 3
    assert run.best_eer == pytest.approx(1 / 3)
    plain = MVectorTrainer(load_config(settings), device="cpu").train(tmp_path / "plain" / "models", tmp_path / "p")
    assert not torch.equal(plain.classifier.weight, run.classifier.weight)

    stop_after(9)
    with pytest.raises(Interrupted):
        train(settings, tmp_path / "broken")
    stop_after(float("inf"))
    _, again = train(settings, tmp_path / "broken", resume_model="auto")
    one, other = (r.folder / "last_model" / "model.safetensors" for r in (run, again))
    assert one.read_bytes() == other.read_bytes()
