"""A published state dict becomes one of our backbones, entry by entry; nothing is guessed and nothing is dropped."""

import importlib
import inspect
import os
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mvector.errors import ConfigError, ModelError, nearest
from mvector.registry import BACKBONES

# Family -> the module that knows it. Each has ARCHITECTURES: name -> function of the published constructor's arguments
# (with that constructor's defaults) to Published; and NOT_EMBEDDING: a pattern of entries that training checkpoints
# carry beside the embedding network.
FAMILIES = {
    "mvector": "mvector.zoo.mvector_package",
    "3dspeaker": "mvector.zoo.three_d_speaker",
    "wespeaker": "mvector.zoo.wespeaker",
    "speechbrain": "mvector.zoo.speechbrain",
    "resemblyzer": "mvector.zoo.resemblyzer",
}
# Where training scripts put the weights inside what they save.
WRAPPERS = ("model_state", "model_state_dict", "state_dict", "model", "embedding_model")
LISTED_AT_MOST = 12  # entries of each kind in an error


@dataclass(frozen=True)
class Published:
    """What a published network is called here: a backbone, its arguments, and how its entries are renamed.

    `renames` are (pattern, replacement) pairs for ``re.sub``, each tried on every key in turn.
    """

    backbone: str
    arguments: dict[str, Any]
    renames: tuple[tuple[str, str], ...] = ()

    def rename(self, key: str) -> str:
        for pattern, replacement in self.renames:
            key = re.sub(pattern, replacement, key)
        return key


def from_published(
    state_dict_or_path: Mapping[str, Tensor] | str | os.PathLike[str],
    family: str,
    architecture: str,
    arguments: Mapping[str, Any] | None = None,
) -> nn.Module:
    """A published network with its weights, as one of our backbones in evaluation mode.

    `family` is one of FAMILIES; `architecture` and `arguments` are the class name and the constructor arguments of
    the published implementation, its own defaults included. The module maps features [B, F, D] to embeddings [B, E].

    Raises ConfigError for an unknown family, architecture or argument, and ModelError for a file that cannot be read
    without unpickling or when entries are unknown, missing or of another shape; the message lists them.
    """
    translation = describe(family, architecture, arguments)
    return load_published(state_dict_or_path, family, translation, f"{family} {architecture}")


def load_published(
    state_dict_or_path: Mapping[str, Tensor] | str | os.PathLike[str], family: str, translation: Published, name: str
) -> nn.Module:
    """The backbone that `translation` describes with the entries of a published state dict, or of its file."""
    if isinstance(state_dict_or_path, str | os.PathLike):
        entries: Mapping[str, Tensor] = read_checkpoint(state_dict_or_path)
        name = f"{state_dict_or_path} as {name}"
    else:
        entries = state_dict_or_path
    entries = embedding_entries(entries, _module(family).NOT_EMBEDDING)
    model = BACKBONES.build(translation.backbone, translation.arguments)
    model.load_state_dict(_fitted(model, entries, translation, name))
    return model.eval()


def describe(family: str, architecture: str, arguments: Mapping[str, Any] | None = None) -> Published:
    """How a published constructor call reads here; ConfigError for a name or argument that it does not know."""
    architectures: dict[str, Callable[..., Published]] = _module(family).ARCHITECTURES
    if architecture not in architectures:
        raise ConfigError(
            f"family {family} has no architecture {architecture!r}; there are: {', '.join(sorted(architectures))}."
            f"{nearest(architecture, architectures)}"
        )
    constructor = architectures[architecture]
    known = inspect.signature(constructor).parameters
    for key in arguments or {}:
        if key not in known:
            raise ConfigError(
                f"{family} {architecture} takes no argument {key!r}; it takes: {', '.join(known) or 'none'}."
                f"{nearest(key, known)}"
            )
    try:
        return constructor(**(arguments or {}))
    except TypeError as error:  # an argument without default is missing
        raise ConfigError(f"{family} {architecture}: {error}") from error


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The state dict in a .pt, .pth, .bin, .ckpt or .safetensors file, read without unpickling objects.

    A state dict inside a training checkpoint ('model', 'state_dict', 'model_state', …) is found. Raises ModelError.
    """
    file = Path(path)
    if not file.is_file():
        raise ModelError(f"there is no checkpoint file {file}.")
    if file.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(file)
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{file} cannot be read as safetensors: {error}") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a TorchScript archive is refused below, with a sentence of ours
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise whatever the byte at hand leads to
        # Its first sentence: in the others torch explains how to load the file all the same.
        reason = str(error).strip().split("\n")[0].split(". ")[0].removesuffix(".")
        raise ModelError(
            f"{file} cannot be read as a plain state dict: {reason}. Files that hold more than tensors and numbers are "
            "refused, because loading those can run a stranger's code."
        ) from error
    entries = _unwrapped(content)
    if entries is None:
        raise ModelError(f"{file} holds no state dict (names and tensors), only {type(content).__name__}.")
    return entries


def _unwrapped(content: Any) -> dict[str, Tensor] | None:
    """The mapping of names to tensors in what torch.load gave; None where there is none."""
    if not isinstance(content, Mapping):
        return None
    for key in WRAPPERS:
        if isinstance(content.get(key), Mapping):
            return _unwrapped(content[key])
    entries = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    return entries if entries and len(entries) == len(content) else None


def embedding_entries(entries: Mapping[str, Tensor], not_embedding: str) -> dict[str, Tensor]:
    """The entries of the embedding network: without those that match `not_embedding`, without a common prefix.

    'module.' comes from data-parallel training, '0.' from the mvector package's nn.Sequential(backbone, classifier).
    """
    kept = {key.removeprefix("module."): value for key, value in entries.items()}
    kept = {key: value for key, value in kept.items() if not re.match(not_embedding, key)}
    for prefix in ("0.", "backbone.", "model.", "embedding_model."):
        if kept and all(key.startswith(prefix) for key in kept):
            return {key.removeprefix(prefix): value for key, value in kept.items()}
    return kept


def _fitted(model: nn.Module, entries: Mapping[str, Tensor], translation: Published, name: str) -> dict[str, Tensor]:
    """`entries` under our names; ModelError with a list when they are not exactly what `model` has."""
    own = model.state_dict()
    renamed = {translation.rename(key): (key, value) for key, value in entries.items()}
    problems = {
        "unknown": [key for ours, (key, _) in renamed.items() if ours not in own],
        "missing": [key for key in own if key not in renamed],
        "of another shape": [
            f"{key} {tuple(value.shape)} instead of {tuple(own[ours].shape)}"
            for ours, (key, value) in renamed.items()
            if ours in own and own[ours].shape != value.shape
        ],
    }
    if any(problems.values()):
        parts = [f"{len(keys)} {kind}: {_some(keys)}" for kind, keys in problems.items() if keys]
        raise ModelError(
            f"{name}: the entries do not fit. {'; '.join(parts)}. Check the architecture and its arguments "
            "(embedding size, width, pooling, feature size)."
        )
    return {ours: value for ours, (_, value) in renamed.items()}


def _some(keys: list[str]) -> str:
    rest = len(keys) - LISTED_AT_MOST
    return ", ".join(keys[:LISTED_AT_MOST]) + (f" and {rest} more" if rest > 0 else "")


def _module(family: str) -> Any:
    if family not in FAMILIES:
        raise ConfigError(f"unknown family {family!r}; there are: {', '.join(FAMILIES)}.{nearest(family, FAMILIES)}")
    return importlib.import_module(FAMILIES[family])
