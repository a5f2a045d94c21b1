"""Optimisers and learning-rate schedules by name: everything in torch.optim, and two schedules with a warm-up."""

import logging
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from mvector.config import Config
from mvector.config.schema import WARMUP_COSINE, WARMUP_EXPONENTIAL
from mvector.errors import ConfigError

logger = logging.getLogger("mvector")


class _WarmupSchedule(torch.optim.lr_scheduler.LambdaLR):
    """Linear warm-up from `min_lr` to `max_lr` over `warmup_epoch` epochs, then down to `min_lr` at `fix_epoch`.
    Stepped once per step of the optimiser; a parameter group with an `lr_factor` has that times the rate."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        min_lr: float,
        max_lr: float,
        warmup_epoch: float,
        fix_epoch: float,
        steps_per_epoch: int,
    ):
        if not 0 <= min_lr <= max_lr:
            raise ConfigError(
                f"optimizer_conf.scheduler_args: min_lr ({min_lr}) must lie between 0 and max_lr ({max_lr})"
            )
        warmup_steps, end_step = warmup_epoch * steps_per_epoch, fix_epoch * steps_per_epoch

        def rate(step: int) -> float:
            if step < warmup_steps:
                return min_lr + (max_lr - min_lr) * step / warmup_steps
            progress = min(1.0, (step - warmup_steps) / max(1.0, end_step - warmup_steps))
            return self.rate_at(progress, min_lr, max_lr)

        for group in optimizer.param_groups:
            group["lr"] = group.get("lr_factor", 1.0)  # the lambda below gives the rate itself
            group.pop("initial_lr", None)
        super().__init__(optimizer, rate)

    @staticmethod
    def rate_at(progress: float, min_lr: float, max_lr: float) -> float:
        """The rate after the warm-up, when the fraction `progress` of the way down is done."""
        raise NotImplementedError


class WarmupCosineSchedulerLR(_WarmupSchedule):
    """Linear warm-up, then half a cosine down (Loshchilov & Hutter 2017)."""

    @staticmethod
    def rate_at(progress: float, min_lr: float, max_lr: float) -> float:
        return min_lr + (max_lr - min_lr) * 0.5 * (1 + math.cos(math.pi * progress))


class WarmupExponentialSchedulerLR(_WarmupSchedule):
    """Linear warm-up, then max_lr · (min_lr / max_lr) ** progress, as WeSpeaker's recipes have it."""

    @staticmethod
    def rate_at(progress: float, min_lr: float, max_lr: float) -> float:
        if min_lr <= 0:
            raise ConfigError(
                "optimizer_conf.scheduler_args.min_lr: an exponential schedule never reaches 0; set it above 0"
            )
        return max_lr * (min_lr / max_lr) ** progress


SCHEDULES: dict[str, type[_WarmupSchedule]] = {
    WARMUP_COSINE: WarmupCosineSchedulerLR,
    WARMUP_EXPONENTIAL: WarmupExponentialSchedulerLR,
}
FUSED = ("Adam", "AdamW", "SGD", "Adagrad")  # one kernel for all weights instead of one for each


def build_optimizer(
    config: Config, modules: Sequence[nn.Module], slower: Sequence[nn.Module] = (), scaled: bool = False
) -> torch.optim.Optimizer:
    """The optimiser of the parameters of `modules`, and of those of `slower` at `backbone_lr_factor` times the rate.

    `scaled` says that a gradient scaler (float16) leaves out steps.
    """
    name, arguments = config.optimizer_conf.optimizer, dict(config.optimizer_conf.optimizer_args)
    cls, factor = getattr(torch.optim, name), config.optimizer_conf.backbone_lr_factor
    if name in ("LBFGS", "SparseAdam"):
        raise ConfigError(
            f"optimizer_conf.optimizer: {name} does not train such networks (a closure, sparse gradients)"
        )
    if factor != 1.0 and config.optimizer_conf.scheduler in ("OneCycleLR", "CyclicLR"):
        raise ConfigError(
            f"optimizer_conf.backbone_lr_factor does not go with {config.optimizer_conf.scheduler}, which sets one "
            "rate for everything: take another scheduler, or leave backbone_lr_factor at 1"
        )
    slow, fast = _trained(slower), _trained(modules)
    groups: list[dict[str, Any]] = [{"params": fast}, {"params": slow, "lr_factor": factor}]
    if factor == 1.0:
        groups = [{"params": [*slow, *fast]}]
    device = next((parameter.device.type for parameter in [*slow, *fast]), "cpu")
    chosen = {"fused", "foreach", "differentiable"} & arguments.keys()
    # Where the first step of all is left out, torch's fused SGD goes on with a momentum of uninitialised memory.
    if name in FUSED and device in ("cpu", "cuda") and not chosen and not (scaled and name == "SGD"):
        arguments["fused"] = True
    optimizer = _construct(cls, "optimizer_conf.optimizer_args", [g for g in groups if g["params"]], **arguments)
    for group in optimizer.param_groups:
        group["lr"] *= group.get("lr_factor", 1.0)
    return optimizer


def _trained(modules: Sequence[nn.Module]) -> list[nn.Parameter]:
    return [parameter for module in modules for parameter in module.parameters() if parameter.requires_grad]


def build_scheduler(
    config: Config, optimizer: torch.optim.Optimizer, steps_per_epoch: int
) -> tuple[torch.optim.lr_scheduler.LRScheduler, bool]:
    """The schedule and whether it is stepped at every step of the optimiser, of which there are `steps_per_epoch`
    (torch's own count epochs, or total_steps)."""
    name, arguments = config.optimizer_conf.scheduler, dict(config.optimizer_conf.scheduler_args)
    if name in SCHEDULES:
        arguments = {"fix_epoch": config.train_conf.max_epoch} | arguments
        return SCHEDULES[name](optimizer, steps_per_epoch=steps_per_epoch, **arguments), True
    cls = getattr(torch.optim.lr_scheduler, name)
    per_batch = name in ("OneCycleLR", "CyclicLR")
    logger.info("%s is stepped once every %s", name, "batch" if per_batch else "epoch (mvector 1.1: every batch)")
    if name == "OneCycleLR" and "total_steps" not in arguments and "epochs" not in arguments:
        arguments["total_steps"] = steps_per_epoch * config.train_conf.max_epoch
    if name == "CosineAnnealingLR":
        arguments.setdefault("T_max", int(1.2 * config.train_conf.max_epoch))  # epochs; as in mvector 1.1
    return _construct(cls, "optimizer_conf.scheduler_args", optimizer, **arguments), per_batch


def _construct(cls: type, key: str, *positional: Any, **arguments: Any) -> Any:
    try:
        return cls(*positional, **arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{key}: {cls.__name__} refuses these arguments: {error}") from error
