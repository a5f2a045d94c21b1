"""A model by its path: a model directory, or an exported file, which needs no torch."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mvector.errors import ConfigError
from mvector.export.runtime import METRICS, MODEL, ExportedModel, exported_file, is_whole_model, load_exported

if TYPE_CHECKING:
    from typing import TypeAlias

    from mvector.model_directory import ModelDirectory

    Model: TypeAlias = ModelDirectory | ExportedModel


STARTER_MODEL = Path(__file__).with_name("starter_model")  # docs/starter_model.md tells what it can do


def open_model(
    path: str | os.PathLike[str], device: Any = "auto", use_gpu: bool | None = None, overrides: str | Sequence[str] = ()
) -> "Model":
    """The model at `path`; both kinds have path, folder, embedder, config, metrics and threshold.

    device: auto, cpu, cuda[:n] or mps; for an exported model auto, cpu or openvino. `overrides` ('a.b=c') change keys
    of a configuration; of an exported model those that decide on embeddings are fixed. Raises ModelError for a path
    that is no model, ConfigError for a wrong argument.
    """
    file = exported_file(path)
    if file is None:
        from mvector.device import choose_device
        from mvector.model_directory import load_model

        return load_model(path, choose_device(device, use_gpu), overrides)
    exported = load_exported(file, device, use_gpu)
    if overrides:
        from mvector.config import load_config
        from mvector.fingerprint import decisive_settings

        config = load_config(exported.config.model_dump(), overrides=overrides, check_names=False)
        if decisive_settings(config) != decisive_settings(exported.config):
            raise ConfigError(
                f"{file} is an exported model, whose configuration cannot be changed any more; change that of "
                "its model directory and export it again."
            )
        exported.config = config
    return exported


def metrics_file(model: "Model") -> Path:
    """The metrics.json that a threshold chosen for `model` is written into; ConfigError where it would not be read."""
    if isinstance(model, ExportedModel) and not is_whole_model(model.path):
        raise ConfigError(
            f"{model.path} carries the metrics of the model that it was made of. Put it into a folder of its own under "
            f"the name {MODEL} to choose a threshold for it, or choose one for its model directory and export it again."
        )
    return model.folder / METRICS
