"""Large-margin fine-tuning as a second stage of the same run."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mvector.config import load_config
from mvector.errors import ConfigError, ModelError
from mvector.model_directory import load_model
from mvector.trainer import Interrupted, MVectorTrainer
from mvector.training.run import TrainingRun
from mvector.training.tracking import read_records


@pytest.fixture
def two_stages(settings) -> dict:
    settings["large_margin_conf"] = {"epochs": 4, "max_duration": 0.7, "margin": 0.4, "max_lr": 1e-3, "min_lr": 1e-4}
    return settings


def train(settings: dict, folder: Path, **arguments) -> TrainingRun | None:
    return MVectorTrainer(load_config(settings), device="cpu").train(folder / "models", folder / "log", **arguments)


def test_the_second_stage_has_longer_crops_a_larger_margin_and_the_speakers_at_their_own_speed(two_stages, tmp_path):
    two_stages["train_conf"]["log_interval"] = 1
    two_stages["large_margin_conf"]["epochs"] = 2
    two_stages["optimizer_conf"] |= {"optimizer": "SGD", "optimizer_args": {"lr": 0.01}}
    seen: list[tuple[torch.Tensor, int]] = []

    class Watched(MVectorTrainer):
        def build_run(self, stage, resume_from, do_eval):
            run = super().build_run(stage, resume_from, do_eval)
            if "large_margin" in stage.folder.parts:
                seen.append((run.classifier.weight.detach().clone(), run.dataset.crop.samples))
            return run

    run = Watched(load_config(two_stages), device="cpu").train(tmp_path / "models", tmp_path / "log")
    first = tmp_path / "models" / "EcapaTdnn_Fbank"
    assert run.folder == first / "large_margin"
    [(weight, samples)] = seen
    assert samples == round(0.7 * 16000)
    before = load_file(first / "best_model" / "classifier.safetensors")["weight"]
    assert (len(before), len(weight)) == (18, 6)  # three speeds, one
    torch.testing.assert_close(weight, before[:6])
    assert run.loss.margin == 0.4
    records = read_records(tmp_path / "log" / "EcapaTdnn_Fbank" / "large_margin" / "metrics.jsonl")
    rates = [record["learning_rate"] for record in records if "learning_rate" in record]
    np.testing.assert_allclose(rates, [1e-3 * 0.1 ** (step / 12) for step in range(1, 13)])
    assert {record["margin"] for record in records if "margin" in record} == {0.4}
    model = load_model(run.folder / "best_model")
    assert model.config.dataset_conf.dataset.max_duration == 0.7
    assert model.config.large_margin_conf is None
    assert model.threshold is not None


@pytest.mark.slow
def test_stopped_in_either_stage_it_goes_on_there(two_stages, tmp_path, stop_after):
    """Without --resume_model and with auto."""
    stop_after(float("inf"))
    expected = train(two_stages, tmp_path / "unbroken")
    for number, resume_model in enumerate([None, "auto"]):
        folder = tmp_path / f"broken-{number}"
        stop_after(8)  # inside the first stage
        with pytest.raises(Interrupted):
            train(two_stages, folder, resume_model=resume_model)
        stop_after(16)  # eleven steps and two epoch ends are left of the first stage: inside the second
        with pytest.raises(Interrupted) as stop:
            train(two_stages, folder, resume_model=resume_model)
        assert stop.value.folder == folder / "models" / "EcapaTdnn_Fbank" / "large_margin" / "last_model"
        stop_after(float("inf"))
        run = train(two_stages, folder, resume_model=resume_model)
        for name in ("best_model", "last_model"):
            one, other = (r.folder / name / "model.safetensors" for r in (run, expected))
            assert one.read_bytes() == other.read_bytes()
    assert train(two_stages, folder, resume_model="auto") is None


@pytest.mark.slow
def test_a_named_checkpoint_of_the_second_stage_is_gone_on_with(two_stages, tmp_path, stop_after):
    stop_after(24)  # the first stage asks 21 times
    with pytest.raises(Interrupted) as stop:
        train(two_stages, tmp_path)
    assert "large_margin" in stop.value.folder.parts
    stop_after(float("inf"))
    run = train(two_stages, tmp_path, resume_model=stop.value.folder)
    assert run.finished
    assert run.step == 24


def test_the_average_is_what_the_second_stage_starts_from(two_stages, tmp_path):
    two_stages["train_conf"]["average_epochs"] = 2
    two_stages["large_margin_conf"] |= {"epochs": 1, "max_lr": 1e-12, "min_lr": 1e-12}
    two_stages["optimizer_conf"] |= {"optimizer": "SGD", "optimizer_args": {"lr": 0.01}}
    run = train(two_stages, tmp_path, do_eval=False)
    average = load_model(run.folder.parent / "average_model").embedder.backbone
    for name, value in average.named_parameters():
        torch.testing.assert_close(run.embedder.backbone.get_parameter(name), value, rtol=0, atol=1e-6)


def test_the_first_stage_must_be_there(two_stages, tmp_path):
    two_stages["large_margin_conf"]["epochs"] = 1
    run = train(two_stages, tmp_path)
    shutil.rmtree(run.folder)
    shutil.rmtree(run.folder.parent / "best_model")
    with pytest.raises(ModelError, match="which large-margin fine-tuning starts from"):
        train(two_stages, tmp_path, resume_model="auto")


def test_a_loss_without_a_margin_is_refused_before_anything_is_trained(two_stages):
    two_stages["loss_conf"] = {"loss": "CELoss"}
    with pytest.raises(ConfigError, match="CELoss takes no such argument"):
        load_config(two_stages)
    two_stages["large_margin_conf"] = {"min_lr": 1e-3, "max_lr": 1e-4}
    with pytest.raises(ConfigError, match="is more than max_lr"):
        load_config(two_stages)
