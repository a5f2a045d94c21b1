"""The moving average of the weights, and the average of the last epochs, against sums written out."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from mvector.config import load_config
from mvector.evaluation import evaluate_trials
from mvector.model_directory import load_model
from mvector.trainer import Interrupted, MVectorTrainer
from mvector.training.averaging import ExponentialAverage
from mvector.training.run import TrainingRun


def train(settings: dict, folder: Path, **arguments) -> TrainingRun:
    return MVectorTrainer(load_config(settings), device="cpu").train(folder / "models", folder / "log", **arguments)


def test_the_moving_average_is_the_recursion_of_its_definition():
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = ExponentialAverage(network, 0.8)
    expected: dict[str, torch.Tensor] = {}
    for step in range(60):
        with torch.no_grad():
            for value in network.state_dict().values():
                value.add_(1) if value.dtype is torch.int64 else value.normal_()
        average.update_parameters(network)
        for name, value in network.state_dict().items():
            if step == 0 or value.dtype is torch.int64:
                expected[name] = value.clone()
            else:
                kept = min(0.8, (1 + step) / (10 + step))
                expected[name] = kept * expected[name] + (1 - kept) * value
    for name, value in average.module.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6)
    assert not average.train().module.training


@pytest.mark.slow
def test_the_moving_average_is_what_is_evaluated_and_stored_and_it_is_resumed(settings, tmp_path, stop_after):
    settings["train_conf"]["ema_decay"] = 0.9
    run = train(settings, tmp_path / "unbroken")
    state = torch.load(run.folder / "last_model" / "training_state.pt", weights_only=True)
    stored = load_file(run.folder / "last_model" / "model.safetensors")
    for name, value in stored.items():
        torch.testing.assert_close(state["average"][f"module.backbone.{name}"], value, rtol=0, atol=0)
    assert any(not torch.equal(state["network"][f"backbone.{name}"], value) for name, value in stored.items())
    result, _ = evaluate_trials(load_model(run.folder / "best_model").embedder, run.config, run.development.trials)
    assert result.eer == pytest.approx(run.best_metrics["eer"], abs=1e-12)

    stop_after(9)
    with pytest.raises(Interrupted):
        train(settings, tmp_path / "broken")
    stop_after(float("inf"))
    again = train(settings, tmp_path / "broken")
    assert again.step == run.step
    name = "last_model/model.safetensors"
    assert (again.folder / name).read_bytes() == (run.folder / name).read_bytes()


def test_the_average_model_is_the_mean_of_the_kept_epochs(settings, tmp_path):
    settings["train_conf"] |= {"average_epochs": 2, "max_epoch": 4}
    settings["augmentation"] = None
    run = train(settings, tmp_path)
    kept = sorted((run.folder / "epochs").iterdir())
    assert [path.name for path in kept] == ["epoch-0003.safetensors", "epoch-0004.safetensors"]
    third, fourth = (load_file(path) for path in kept)
    model = load_model(run.folder / "average_model")
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    moved = 0
    for name, value in model.embedder.state_dict().items():
        if name.endswith(statistics):
            continue
        torch.testing.assert_close(value, (third[name] + fourth[name]) / 2, rtol=1e-6, atol=1e-7)
        moved += not torch.equal(value, fourth[name])
    assert moved
    # The last epoch alone is what last_model is, which went on unaveraged.
    last = load_file(run.folder / "last_model" / "model.safetensors")
    assert all(torch.equal(value, fourth[f"backbone.{name}"]) for name, value in last.items())
    assert model.threshold is not None
    result, _ = evaluate_trials(model.embedder, run.config, run.development.trials)
    assert result.eer == pytest.approx(model.metrics["eer"], abs=1e-12)


def test_the_batch_statistics_of_the_average_are_measured_on_the_training_data(settings, tmp_path):
    """Those of the first layer, by hand: mean and variance of its outputs over the batches of an epoch."""
    settings["train_conf"] |= {"average_epochs": 2, "max_epoch": 2}
    settings["augmentation"] = None
    run = train(settings, tmp_path, do_eval=False)
    model = load_model(run.folder / "average_model").embedder
    network, layer = model.backbone, model.backbone.blocks[0]
    norm = next(module for module in layer.modules() if isinstance(module, nn.BatchNorm1d))
    seen: list[torch.Tensor] = []
    norm.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    run.batches.epoch, run.batches.first_batch = 2, 0
    with torch.no_grad():
        for batch in run.loader:
            network(batch["sound"])
    channels = norm.num_features
    outputs = [x.transpose(0, 1).flatten(1) if x.dim() == 3 and x.shape[1] == channels else x.flatten(0, -2).T
               for x in seen]  # fmt: skip
    mean = torch.stack([x.mean(1) for x in outputs]).mean(0)
    variance = torch.stack([x.var(1) for x in outputs]).mean(0)
    torch.testing.assert_close(norm.running_mean, mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_var, variance, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_run_killed_before_its_last_checkpoint_averages_again(settings, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    settings["train_conf"]["average_epochs"] = 2
    run = train(settings, tmp_path / "unbroken")
    with monkeypatch.context() as patch:

        def die(*_):
            raise Killed

        patch.setattr("mvector.trainer.save_average_model", die)
        with pytest.raises(Killed):
            train(settings, tmp_path / "broken")
    again = train(settings, tmp_path / "broken")
    for name in ("average_model", "last_model"):
        one, other = (r.folder / name / "model.safetensors" for r in (run, again))
        assert one.read_bytes() == other.read_bytes(), name
