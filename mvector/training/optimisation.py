"""Optimisers and learning-rate schedules by name: everything in torch.optim, and a warm-up cosine schedule."""

import logging
import math
from typing import Any

import torch
from torch import nn

from mvector.config import Config
from mvector.errors import ConfigError

logger = logging.getLogger("mvector")


class WarmupCosineSchedulerLR(torch.optim.lr_scheduler.LambdaLR):
    """Linear warm-up from `min_lr` to `max_lr` over `warmup_epoch` epochs, then half a cosine down to `min_lr` at
    `fix_epoch` (Loshchilov & Hutter 2017). Stepped once per batch."""

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
            return min_lr + (max_lr - min_lr) * 0.5 * (1 + math.cos(math.pi * progress))

        for group in optimizer.param_groups:
            group["lr"] = 1.0  # the lambda below gives the rate itself
            group.pop("initial_lr", None)
        super().__init__(optimizer, rate)


def build_optimizer(config: Config, modules: list[nn.Module]) -> torch.optim.Optimizer:
    name, arguments = config.optimizer_conf.optimizer, dict(config.optimizer_conf.optimizer_args)
    cls = getattr(torch.optim, name)
    if name in ("LBFGS", "SparseAdam"):
        raise ConfigError(
            f"optimizer_conf.optimizer: {name} does not train such networks (a closure, sparse gradients)"
        )
    parameters = [parameter for module in modules for parameter in module.parameters() if parameter.requires_grad]
    return _construct(cls, "optimizer_conf.optimizer_args", parameters, **arguments)


def build_scheduler(
    config: Config, optimizer: torch.optim.Optimizer, steps_per_epoch: int
) -> tuple[torch.optim.lr_scheduler.LRScheduler, bool]:
    """The schedule and whether it is stepped every batch (torch's own count epochs, or total_steps in batches)."""
    name, arguments = config.optimizer_conf.scheduler, dict(config.optimizer_conf.scheduler_args)
    if name == "WarmupCosineSchedulerLR":
        arguments = {"fix_epoch": config.train_conf.max_epoch} | arguments
        return WarmupCosineSchedulerLR(optimizer, steps_per_epoch=steps_per_epoch, **arguments), True
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
