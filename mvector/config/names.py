"""Do the names exist, and do their classes take the arguments given? The part of the checks that needs torch.

A class name is right when it is registered, when it is a dotted path, or when the mvector 1.1 package has it: a file
written for that package loads even where the class is not here yet (building it then says which ones there are).
Arguments are checked wherever the class is here.
"""

import inspect
from collections.abc import Callable
from typing import Any, NoReturn

from mvector.config.messages import show
from mvector.config.schema import WARMUP_SCHEDULERS, Config
from mvector.errors import ConfigError, nearest
from mvector.registry import BACKBONES, FEATURES, LOSSES, Registry

Origin = Callable[[tuple[str, ...]], str]

NAMES_OF_1_1 = {
    "feature": ("Fbank", "MFCC", "MelSpectrogram", "Spectrogram"),
    "backbone": ("CAMPPlus", "ERes2Net", "ERes2NetV2", "EcapaTdnn", "Res2Net", "ResNetSE", "TDNN"),
    "loss": ("AAMLoss", "AMLoss", "ARMLoss", "CELoss", "SphereFace2", "SubCenterLoss", "TripletAngularMarginLoss"),
}
# Arguments that the program supplies, so that a configuration may not.
_FROM_PROGRAM = {
    "feature": (),
    "front end": ("source", "description"),
    "backbone": ("input_size",),
    "loss": (),
    "margin scheduler": ("loss", "steps_per_epoch"),
    "optimiser": ("params",),
    "scheduler": ("optimizer",),
}
# Arguments without a default that the trainer fills in where they are not given.
_FILLED_IN = {"MarginScheduler": ("increase_start_epoch", "fix_epoch"), "CosineAnnealingLR": ("T_max",)}
# `fix_epoch` follows max_epoch, `step_per_epoch` the training list.
_WARMUP_COSINE_ARGUMENTS = ("min_lr", "max_lr", "warmup_epoch", "fix_epoch")


def check_names(config: Config, origin: Origin = lambda key: "configuration") -> None:
    """Raise ConfigError for the first class name that does not exist or argument that its class does not take."""
    features, model, loss, optimizer = (
        config.preprocess_conf,
        config.model_conf,
        config.loss_conf,
        config.optimizer_conf,
    )
    from mvector.losses import MarginScheduler  # here, because it imports torch

    if features.use_hf_model:
        from mvector.features.self_supervised import SelfSupervised

        where, name = "preprocess_conf.method_args", features.feature_method
        _check_arguments("front end", name, SelfSupervised, features.method_args, where, origin)
    else:
        arguments = features.method_args if features.backend == "native" else None
        _check_registered(FEATURES, "preprocess_conf.feature_method", features.feature_method, arguments, origin)
    _check_registered(BACKBONES, "model_conf.model", model.model, model.model_args, origin)
    _check_registered(LOSSES, "loss_conf.loss", loss.loss, loss.loss_args, origin)
    if config.large_margin_conf is not None:
        with_margin = {**loss.loss_args, "margin": config.large_margin_conf.margin}
        _check_registered(LOSSES, "loss_conf.loss", loss.loss, with_margin, origin)
    _check_batches(config, origin)
    _check_arguments(
        "margin scheduler",
        "MarginScheduler",
        MarginScheduler,
        loss.margin_scheduler_args,
        "loss_conf.margin_scheduler_args",
        origin,
    )
    _check_torch("optimiser", "optimizer_conf.optimizer", optimizer.optimizer, optimizer.optimizer_args, origin)
    _check_torch("scheduler", "optimizer_conf.scheduler", optimizer.scheduler, optimizer.scheduler_args, origin)


def _check_batches(config: Config, origin: Origin) -> None:
    """A loss that compares utterances must find several of a speaker in a batch."""
    loss, data = config.loss_conf.loss, config.dataset_conf
    if not getattr(LOSSES.get(loss), "needs_pk_batches", False):
        return
    if not data.is_use_pksampler:
        _fail(
            "dataset_conf.is_use_pksampler",
            f"{loss} compares utterances of a speaker with each other and needs several of them in a batch: set "
            "is_use_pksampler to True, and sample_per_id to how many.",
            origin,
        )
    if data.sample_per_id < 2:
        _fail(
            "dataset_conf.sample_per_id",
            f"found {data.sample_per_id}, but {loss} compares utterances of a speaker with each other: set it to at "
            "least 2.",
            origin,
        )


def _torch_classes(kind: str) -> dict[str, type]:
    import torch.optim
    from torch.optim import lr_scheduler

    module, base = (
        (torch.optim, torch.optim.Optimizer) if kind == "optimiser" else (lr_scheduler, lr_scheduler.LRScheduler)
    )
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, base) and value is not base and not name.startswith("_")
    }


def _check_torch(kind: str, key: str, name: str, arguments: dict[str, Any], origin: Origin) -> None:
    if name in WARMUP_SCHEDULERS:
        _check_keys(kind, name, _WARMUP_COSINE_ARGUMENTS, arguments, f"{key}_args", origin)
        for argument, value in arguments.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                _fail(f"{key}_args.{argument}", f"found {show(value)}, expected a number of at least 0.", origin)
        return
    classes = _torch_classes(kind)
    if name not in classes:
        names = sorted([*classes, *WARMUP_SCHEDULERS] if kind == "scheduler" else classes)
        _fail(key, f"unknown {kind} {name!r}; there are: {', '.join(names)}.{nearest(name, names)}", origin)
    _check_arguments(kind, name, classes[name], arguments, f"{key}_args", origin)


def _check_registered(
    registry: Registry, key: str, name: str, arguments: dict[str, Any] | None, origin: Origin
) -> None:
    from torch import nn

    kind = registry.kind
    available = registry.names()
    known = sorted({*available, *NAMES_OF_1_1[kind]})
    if name not in known and "." not in name:
        message = f"unknown {kind} {name!r}; there are: {', '.join(known)}, or a dotted path.{nearest(name, known)}"
        _fail(key, message, origin)
    if name in known and name not in available:
        return
    try:
        cls = registry.get(name)
    except ConfigError as error:
        _fail(key, str(error), origin)
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        # Else a model directory from a stranger could name any callable, such as one that runs a command.
        _fail(key, f"{name!r} is not a class derived from torch.nn.Module.", origin)
    if arguments is not None:
        where = "preprocess_conf.method_args" if kind == "feature" else f"{key}_args"
        _check_arguments(kind, name, cls, arguments, where, origin)


def _check_arguments(kind: str, name: str, cls: type, arguments: dict[str, Any], where: str, origin: Origin) -> None:
    try:
        parameters = dict(inspect.signature(cls).parameters)
    except (TypeError, ValueError):  # a class without a readable signature; building it will tell
        return
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    own = {
        argument: parameter
        for argument, parameter in parameters.items()
        if argument not in _FROM_PROGRAM[kind]
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    if not takes_any:
        _check_keys(kind, name, tuple(own), arguments, where, origin)
    for argument, parameter in own.items():
        if argument in arguments:
            problem = _wrong_kind(arguments[argument], parameter.default)
            if problem:
                _fail(f"{where}.{argument}", problem, origin)
        elif parameter.default is parameter.empty and argument not in _FILLED_IN.get(name, ()):
            _fail(f"{where}.{argument}", f"missing; {kind} {name} needs it.", origin)


def _check_keys(
    kind: str, name: str, allowed: tuple[str, ...], arguments: dict[str, Any], where: str, origin: Origin
) -> None:
    for key in arguments:
        if key not in allowed:
            takes = ", ".join(allowed) or "none"
            _fail(
                f"{where}.{key}",
                f"{kind} {name} takes no such argument; it takes: {takes}.{nearest(key, allowed)}",
                origin,
            )


def _wrong_kind(value: Any, default: Any) -> str | None:
    """A complaint when `value` is of a kind that cannot stand where `default` does (text for a number, say)."""
    if isinstance(default, bool):
        return None if isinstance(value, bool) else f"found {show(value)}, expected true or false."
    if isinstance(default, int | float):
        return f"found {show(value)}, expected a number." if isinstance(value, bool | str) else None
    if isinstance(default, list | tuple):
        return None if isinstance(value, list | tuple) else f"found {show(value)}, expected a list."
    return None


def _fail(dotted: str, problem: str, origin: Origin) -> NoReturn:
    raise ConfigError(f"{origin(tuple(dotted.split('.')))}: {dotted}: {problem}")
