"""Fine-tuning: the feature recipe of the pretrained model, a frozen backbone, a lower rate for it."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mvector.config import load_config
from mvector.errors import ConfigError, ModelError
from mvector.trainer import Interrupted, MVectorTrainer
from mvector.training.finetune import require_same_recipe
from mvector.training.run import TrainingRun
from mvector.training.tracking import read_records


def train(settings: dict, folder: Path, **arguments) -> TrainingRun:
    return MVectorTrainer(load_config(settings), device="cpu").train(folder / "models", folder / "log", **arguments)


@pytest.mark.parametrize(
    ("section", "key", "value", "named"),
    [
        ("preprocess_conf", "waveform_scale", 1.0, "preprocess_conf.waveform_scale=32768.0"),
        ("preprocess_conf", "mean_norm", False, "set preprocess_conf.mean_norm to True"),
        ("preprocess_conf", "method_args", {"num_mel_bins": 30}, "num_mel_bins=24, the configuration has 30"),
        ("preprocess_conf", "method_args", {"num_mel_bins": 24, "frame_shift": 20.0}, "method_args.frame_shift"),
        ("preprocess_conf", "feature_method", "MelSpectrogram", "preprocess_conf.feature_method"),
        ("dataset", "target_dB", -25.0, "dataset_conf.dataset.target_dB"),
        ("dataset", "use_dB_normalization", False, "dataset_conf.dataset"),
    ],
)  # fmt: skip
def test_other_features_than_the_pretrained_models_are_refused_by_name(settings, trained, section, key, value, named):
    place = settings["dataset_conf"]["dataset"] if section == "dataset" else settings[section]
    place[key] = value
    if value == "MelSpectrogram":
        settings["preprocess_conf"]["method_args"] = {}
    with pytest.raises(ConfigError) as error:
        require_same_recipe(trained, load_config(settings))
    assert named in str(error.value)


def test_the_same_features_said_otherwise_are_the_same(settings, trained):
    settings["preprocess_conf"]["method_args"] |= {"sample_frequency": 16000}  # the default
    settings["preprocess_conf"]["backend"] = "torchaudio"
    settings["dataset_conf"]["dataset"]["max_duration"] = 2.0
    require_same_recipe(trained, load_config(settings))
    with pytest.raises(ModelError, match=r"no config\.yml"):
        require_same_recipe(trained.parent, load_config(settings))


def test_the_trainer_refuses_them_before_it_moves_anything(settings, trained, tmp_path):
    settings["preprocess_conf"]["waveform_scale"] = 1.0
    with pytest.raises(ConfigError, match="Weights fit only their own features"):
        train(settings, tmp_path / "tuned", pretrained_model=trained)
    assert not (tmp_path / "tuned").exists()


@pytest.mark.slow
def test_a_frozen_backbone_stays_as_it_was_and_is_trained_afterwards(settings, trained, tmp_path, stop_after):
    settings["train_conf"] |= {"freeze_backbone_epochs": 1, "max_epoch": 2}
    stop_after(6)  # at the end of the frozen epoch
    with pytest.raises(Interrupted) as stop:
        train(settings, tmp_path / "tuned", pretrained_model=trained)
    before, after = (load_file(folder / "model.safetensors") for folder in (trained, stop.value.folder))
    assert before.keys() == after.keys()
    for name, value in before.items():  # batch statistics too
        torch.testing.assert_close(after[name], value, rtol=0, atol=0, msg=name)
    state = torch.load(stop.value.folder / "training_state.pt", weights_only=True)
    rows = load_file(trained / "classifier.safetensors")["weight"]
    assert not torch.equal(state["network"]["classifier.weight"], rows)
    stop_after(float("inf"))
    run = train(settings, tmp_path / "tuned", pretrained_model=trained)
    moved = load_file(run.folder / "last_model" / "model.safetensors")
    assert any(not torch.equal(moved[name], value) for name, value in before.items())

    unbroken = train(settings, tmp_path / "unbroken", pretrained_model=trained)
    one, other = (r.folder / "last_model" / "model.safetensors" for r in (run, unbroken))
    assert one.read_bytes() == other.read_bytes()


def test_freezing_random_weights_is_refused(settings, tmp_path):
    settings["train_conf"]["freeze_backbone_epochs"] = 1
    with pytest.raises(ConfigError, match="random weights would be frozen"):
        train(settings, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["WarmupCosineSchedulerLR", "WarmupExponentialSchedulerLR", "ExponentialLR"])
def test_the_backbone_has_its_own_rate(settings, trained, tmp_path, scheduler):
    """With plain SGD a step is the rate times the gradient, so the first steps of two runs tell the ratio of rates."""
    arguments = {"gamma": 0.9} if scheduler == "ExponentialLR" else {"min_lr": 1e-3, "warmup_epoch": 0}
    settings["optimizer_conf"] = {"optimizer": "SGD", "optimizer_args": {"lr": 0.01}, "scheduler": scheduler,
                                  "scheduler_args": arguments, "backbone_lr_factor": 0.1}  # fmt: skip
    settings["train_conf"] |= {"max_epoch": 1, "log_interval": 1, "accumulate_grad_batches": 6}
    settings["loss_conf"]["use_margin_scheduler"] = False
    slow = train(settings, tmp_path / "slow", pretrained_model=trained, do_eval=False)
    settings["optimizer_conf"]["backbone_lr_factor"] = 1.0
    fast = train(settings, tmp_path / "fast", pretrained_model=trained, do_eval=False)
    start = load_file(trained / "model.safetensors")
    name = "fc.conv.weight" if "fc.conv.weight" in start else next(k for k in start if k.startswith("fc"))
    moves = [run.embedder.backbone.state_dict()[name] - start[name] for run in (slow, fast)]
    torch.testing.assert_close(moves[0], 0.1 * moves[1], rtol=1e-2, atol=1e-6)
    torch.testing.assert_close(slow.classifier.weight, fast.classifier.weight, rtol=1e-5, atol=1e-6)
    rates = [
        read_records(run.folder.parents[1] / "log" / run.folder.name / "metrics.jsonl")[0]["learning_rate"]
        for run in (slow, fast)
    ]
    assert rates[0] == rates[1]  # what is shown is the classifier's
    classifier, backbone = (group["lr"] for group in slow.optimizer.param_groups)
    assert backbone == pytest.approx(0.1 * classifier)
