"""One step: accumulated gradients, clipping, precision, memory layout, moving average."""

import math
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from mvector.config import load_config
from mvector.errors import ConfigError, MVectorError
from mvector.trainer import MVectorTrainer
from mvector.training.checkpoint import save_last_model
from mvector.training.optimisation import build_optimizer
from mvector.training.precision import training_dtype
from mvector.training.run import TrainingRun
from mvector.training.run_state import state_of
from mvector.training.step import clip_gradients
from mvector.training.tracking import read_records

# Without batch norm, so that a batch is nothing but the sum of its parts.
PLAIN_NET = """
import torch
from torch import nn
class Net(nn.Module):
    min_frames = 1
    def __init__(self, input_size, embd_dim=8):
        super().__init__()
        self.embd_dim = embd_dim
        self.layers = nn.Sequential(nn.Linear(input_size, 16), nn.ReLU(), nn.Linear(16, embd_dim))
    def forward(self, features):
        return self.layers(features).mean(dim=1)
"""


@pytest.fixture
def plain(settings, tmp_path, monkeypatch) -> dict:
    (tmp_path / "plain_net.py").write_text(PLAIN_NET, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    settings["model_conf"] = {"model": "plain_net.Net"}
    settings["loss_conf"]["use_margin_scheduler"] = False
    settings["optimizer_conf"] = {"optimizer": "SGD", "optimizer_args": {"lr": 0.05, "momentum": 0.9},
                                  "scheduler_args": {"warmup_epoch": 1, "min_lr": 1e-3}}  # fmt: skip
    return settings


def train(settings: dict, folder: Path, **arguments) -> TrainingRun:
    return MVectorTrainer(load_config(settings), device="cpu").train(folder / "models", folder / "log", **arguments)


def records(run: TrainingRun) -> list[dict]:
    return read_records(run.folder.parents[1] / "log" / run.folder.name / "metrics.jsonl")


def test_batches_that_are_accumulated_equal_one_large_batch(plain, tmp_path):
    plain["dataset_conf"]["sampler"] = {"batch_size": 12}
    large = train(plain, tmp_path / "large", do_eval=False)
    plain["dataset_conf"]["sampler"] = {"batch_size": 4}
    plain["train_conf"]["accumulate_grad_batches"] = 3
    small = train(plain, tmp_path / "small", do_eval=False)
    assert (large.step, small.step) == (9, 27)
    for name, value in large.network.state_dict().items():
        torch.testing.assert_close(small.network.state_dict()[name], value, rtol=1e-4, atol=1e-5, msg=name)
    one, other = records(large)[-1], records(small)[-1]
    assert other["loss"] == pytest.approx(one["loss"], rel=1e-4)
    assert other["gradient_norm"] == pytest.approx(one["gradient_norm"], rel=1e-4)


def test_the_rest_of_an_epoch_makes_a_smaller_step(plain, tmp_path):
    """Six batches in steps of four and two."""
    plain["train_conf"] |= {"accumulate_grad_batches": 4, "max_epoch": 2}
    run = train(plain, tmp_path, do_eval=False)
    assert run.optimizer_steps_per_epoch == 2
    steps = {int(state["step"]) for state in run.optimizer.state.values() if "step" in state} or {
        run.scheduler.last_epoch
    }
    assert steps == {4}


def test_the_schedule_counts_the_optimisers_steps(plain, tmp_path):
    plain["train_conf"]["accumulate_grad_batches"] = 3  # six batches: two steps an epoch
    plain["train_conf"]["log_interval"] = 3
    run = train(plain, tmp_path, do_eval=False)
    rates = [record["learning_rate"] for record in records(run)]

    def rate(step: int) -> float:  # warm-up over one epoch of two steps, then half a cosine over the four of the rest
        if step < 2:
            return 1e-3 + 0.049 * step / 2
        return 1e-3 + 0.049 * (1 + math.cos(math.pi * (step - 2) / 4)) / 2

    assert rates == pytest.approx([rate(step) for step in range(1, 7)])


def test_gradients_are_clipped_to_the_norm_of_all_of_them(plain, tmp_path):
    plain["train_conf"] |= {"clip_grad_norm": 0.5, "max_epoch": 1}
    run = train(plain, tmp_path, do_eval=False)
    for number, parameter in enumerate(run.trained):
        parameter.grad = torch.full_like(parameter, 1.0 + number)
    before = torch.cat([parameter.grad.flatten().double() for parameter in run.trained])
    assert float(clip_gradients(run)) == pytest.approx(float(before.norm()), rel=1e-6)
    after = torch.cat([parameter.grad.flatten().double() for parameter in run.trained])
    torch.testing.assert_close(after, before * 0.5 / before.norm(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_the_fused_optimiser_makes_the_same_steps(name):
    torch.manual_seed(0)
    networks = [nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2)) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    networks[1].to(memory_format=torch.channels_last)
    conf = {"optimizer": name, "optimizer_args": {"lr": 0.01, "weight_decay": 0.1}}
    fused = build_optimizer(load_config({"optimizer_conf": conf}), [networks[1]])
    conf["optimizer_args"]["foreach"] = False
    single = build_optimizer(load_config({"optimizer_conf": conf}), [networks[0]])
    assert fused.param_groups[0]["fused"] is True
    for _ in range(5):
        x = torch.randn(6, 3, 4, 4)
        for network, optimizer in zip(networks, (single, fused), strict=True):
            optimizer.zero_grad()
            network(x).square().mean().backward()
            optimizer.step()
    for one, other in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_network_in_another_memory_layout_is_stored_as_ever(settings, tmp_path):
    """As a GPU trains it."""
    from safetensors.torch import load_file

    settings["model_conf"] = {"model": "ResNetSE", "model_args": {"layers": [1, 1, 1, 1], "num_filters": [4, 4, 8, 8],
                                                                 "embd_dim": 8}}  # fmt: skip
    settings["train_conf"]["max_epoch"] = 1
    run = train(settings, tmp_path, do_eval=False)
    run.network.to(memory_format=torch.channels_last)
    save_last_model(run, state_of(run))
    kernels = {name: value for name, value in run.embedder.backbone.named_parameters() if value.dim() == 4}
    assert any(not value.is_contiguous() for value in kernels.values())
    stored = load_file(run.folder / "last_model" / "model.safetensors")
    for name, value in kernels.items():
        assert stored[name].is_contiguous()
        torch.testing.assert_close(stored[name], value.detach(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("choice", "computes", "expected"),
    [("auto", True, torch.bfloat16), ("auto", False, torch.float32), (True, False, torch.bfloat16),
     (False, True, torch.float32)],
)  # fmt: skip
def test_auto_asks_the_device_and_an_explicit_choice_wins(monkeypatch, choice, computes, expected):
    monkeypatch.setattr("mvector.training.precision.computes", lambda dtype, device: computes)
    config = load_config({"train_conf": {"enable_amp": choice}})
    assert training_dtype(config, torch.device("cpu")) is expected
    assert load_config({}).train_conf.enable_amp == "auto"


def test_the_precision_is_stored_with_the_model_and_its_threshold(settings, tmp_path, monkeypatch):
    monkeypatch.setattr("mvector.training.precision.computes", lambda dtype, device: True)
    settings["train_conf"] |= {"enable_amp": "auto", "max_epoch": 1}
    run = train(settings, tmp_path)
    assert run.dtype is torch.bfloat16
    assert (run.best_metrics["training_precision"], run.best_metrics["precision"]) == ("bfloat16", "float32")


@pytest.mark.filterwarnings("ignore:Detected call of")
def test_float16_scales_the_loss_and_leaves_out_steps_that_overflow(plain, tmp_path):
    plain["train_conf"] |= {"enable_amp": True, "amp_dtype": "float16", "log_interval": 1}
    run = train(plain, tmp_path, do_eval=False)
    assert run.scaler.is_enabled()
    assert all(parameter.isfinite().all() for parameter in run.network.parameters())
    plain["train_conf"] |= {"enable_amp": False}
    exact = train(plain, tmp_path / "exact", do_eval=False)
    assert records(run)[0]["loss"] == pytest.approx(records(exact)[0]["loss"], rel=5e-3)
    assert records(run)[-1]["loss"] < 0.9 * records(run)[0]["loss"]  # once the scale fits, it learns


def test_progress_says_how_fast_and_how_large(settings, tmp_path):
    settings["train_conf"]["max_epoch"] = 1
    record = records(train(settings, tmp_path, do_eval=False))[-1]
    assert record["gradient_norm"] > 0
    assert record["utterances_per_s"] > 0
    assert 0 <= record["data_stall_percent"] <= 100
    assert record.get("memory_gib", 1) > 0


def test_a_gradient_that_is_not_finite_is_never_saved(plain, tmp_path, monkeypatch):
    """The loss of the step is still finite, its weights are not any more."""

    def spoil(run):
        norm = clip_gradients(run)
        return norm * float("nan") if run.step == 4 else norm

    monkeypatch.setattr("mvector.training.step.clip_gradients", spoil)
    plain["train_conf"]["save_every_minutes"] = 1e-9
    with pytest.raises(MVectorError, match="the gradient nan at step 4"):
        train(plain, tmp_path)
    state = torch.load(tmp_path / "models/Net_Fbank/last_model/training_state.pt", weights_only=True)
    assert state["step"] == 3


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler, a system package")
def test_a_compiled_network_learns_the_same(plain, tmp_path):
    plain["train_conf"]["max_epoch"] = 1
    eager = train(plain, tmp_path / "eager", do_eval=False)
    plain["train_conf"]["use_compile"] = True
    compiled = train(plain, tmp_path / "compiled", do_eval=False)
    for name, value in eager.network.state_dict().items():
        torch.testing.assert_close(compiled.network.state_dict()[name], value, rtol=1e-3, atol=1e-4, msg=name)
    assert not any("_orig_mod" in name for name in compiled.embedder.state_dict())


def test_a_network_that_cannot_be_compiled_is_one_sentence(plain, tmp_path, monkeypatch):
    class InductorError(RuntimeError):
        __module__ = "torch._inductor.exc"

    def refuse(network):
        def forward(features):
            raise InductorError("Compiler: g++ is not found\nmore lines")

        return forward

    monkeypatch.setattr(torch, "compile", refuse)
    plain["train_conf"]["use_compile"] = True
    with pytest.raises(MVectorError, match=r"\(Compiler: g\+\+ is not found\).*use_compile to False"):
        train(plain, tmp_path)


def test_schedules_of_one_rate_do_not_go_with_two(plain):
    plain["optimizer_conf"] = {"optimizer": "SGD", "optimizer_args": {"lr": 0.1}, "scheduler": "OneCycleLR",
                               "scheduler_args": {"max_lr": 0.1}, "backbone_lr_factor": 0.1}  # fmt: skip
    with pytest.raises(ConfigError, match="another scheduler"):
        build_optimizer(load_config(plain), [nn.Linear(2, 2)], [nn.Linear(2, 2)])
