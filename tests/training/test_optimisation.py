import math

import pytest
import torch

from mvector.config import load_config
from mvector.errors import ConfigError
from mvector.training.optimisation import build_optimizer, build_scheduler


def build(optimizer_conf: dict, epochs: int = 10, steps_per_epoch: int = 7):
    config = load_config({"optimizer_conf": optimizer_conf, "train_conf": {"max_epoch": epochs}})
    optimizer = build_optimizer(config, [torch.nn.Linear(2, 2)])
    return optimizer, *build_scheduler(config, optimizer, steps_per_epoch)


def rates(optimizer, scheduler, steps: int) -> list[float]:
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_warm_up_then_cosine():
    optimizer, scheduler, every_batch = build(
        {
            "optimizer": "SGD",
            "optimizer_args": {"lr": 0.1, "momentum": 0.9},
            "scheduler_args": {"min_lr": 0.001, "max_lr": 0.2, "warmup_epoch": 2},
        }
    )
    assert every_batch
    seen = rates(optimizer, scheduler, 75)
    for step, rate in enumerate(seen):
        if step < 14:
            expected = 0.001 + 0.199 * step / 14
        else:
            expected = 0.001 + 0.199 * (1 + math.cos(math.pi * min(1, (step - 14) / 56))) / 2
        assert rate == pytest.approx(expected, rel=1e-9)
    assert seen[0] == pytest.approx(0.001)
    assert max(seen) == seen[14]
    assert seen[-1] == pytest.approx(0.001)


def test_the_older_form_without_a_learning_rate_range():
    optimizer, scheduler, _ = build({"optimizer": "Adam", "optimizer_args": {"lr": 0.004}})
    assert max(rates(optimizer, scheduler, 70)) == pytest.approx(0.004)


@pytest.mark.parametrize(
    ("name", "arguments", "every_batch"),
    [
        ("StepLR", {"step_size": 3}, False),
        ("CosineAnnealingLR", {}, False),
        ("OneCycleLR", {"max_lr": 0.1}, True),
        ("ExponentialLR", {"gamma": 0.9}, False),
    ],
)
def test_torch_schedulers_by_name(name, arguments, every_batch):
    conf = {"optimizer": "AdamW", "optimizer_args": {"lr": 0.01}, "scheduler": name, "scheduler_args": arguments}
    _, scheduler, stepped_every_batch = build(conf)
    assert type(scheduler) is getattr(torch.optim.lr_scheduler, name)
    assert stepped_every_batch is every_batch
    if name == "OneCycleLR":
        assert scheduler.total_steps == 70


def test_wrong_arguments_get_a_sentence():
    with pytest.raises(ConfigError, match="optimizer"):
        build({"optimizer": "SGD", "optimizer_args": {"lr": -1}, "scheduler": "StepLR"})
    with pytest.raises(ConfigError, match="min_lr"):
        build({"optimizer": "SGD", "optimizer_args": {"lr": 0.1}, "scheduler_args": {"min_lr": 1.0, "max_lr": 0.1}})
