"""A published checkpoint becomes a model directory that every script takes, with the features it was trained on."""

import hashlib
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import mvector
from mvector.config import Config, load_config
from mvector.embedder import SpeakerEmbedder
from mvector.errors import ConfigError, ModelError
from mvector.export.runtime import ExportedModel
from mvector.features import AudioFeaturizer
from mvector.model_directory import ModelDirectory, load_model, replace_directory, save_model
from mvector.zoo.presets import Preset, find_preset
from mvector.zoo.published import Published, describe, load_published
from mvector.zoo.recipes import family_recipe


def import_checkpoint(
    source: str | Path,
    save_dir: str | Path,
    family: str | None = None,
    architecture: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    preset: str | None = None,
    configs: str | Path | Mapping[str, Any] | None = None,
) -> ModelDirectory | ExportedModel:
    """Write the published checkpoint `source` as the model directory `save_dir`, and return that, loaded.

    What the file holds is said by `family`, `architecture` and `arguments` as in :func:`mvector.zoo.from_published`, or
    by the name of a `preset` (to whose arguments `arguments` are added), or, for family mvector, by `configs`: the
    configuration that the file was trained with, whose features are taken too. Otherwise the features are the family's
    own. metrics.json says where the weights come from; it has neither an EER nor a threshold, because none was measured
    here. An ONNX export of such a network (`source` ends in .onnx) becomes a directory that is run without torch.

    Raises ConfigError for names and arguments that don't exist or contradict each other, ModelError for a file that
    cannot be read or does not fit, and for a `save_dir` that is not empty.
    """
    source, folder = Path(source), Path(save_dir)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ModelError(f"{folder} is there already and not empty; name another folder with --save_dir.")
    known = None if preset is None else find_preset(preset)
    if known is not None:
        if family is not None or architecture is not None or configs is not None:
            raise ConfigError("a preset says what the file holds: leave out --family, --architecture and --configs.")
        family, architecture, arguments = known.family, known.architecture, {**known.arguments, **(arguments or {})}
    trained_with = None
    if configs is not None:
        if family not in (None, "mvector") or architecture is not None or arguments:
            raise ConfigError(
                "--configs is for checkpoints of the mvector package and says what the file holds: leave out "
                "--architecture and --arguments, and any other --family."
            )
        trained_with = load_config(configs, check_names=False)  # its names are that package's, not all of them ours
        family, architecture, arguments = "mvector", trained_with.model_conf.model, _published_arguments(trained_with)
    if family is None or architecture is None:
        raise ConfigError("say what the file holds: --preset NAME, or --family and --architecture.")
    arguments = dict(arguments or {})

    translation = describe(family, architecture, arguments)
    config = _configuration(family, translation, trained_with)
    if not source.is_file():
        raise ModelError(f"there is no checkpoint file {source}.")
    try:
        embedder = SpeakerEmbedder.from_config(config)
    except (TypeError, ValueError, RuntimeError) as error:  # layers of -1 channels, or of half a channel
        raise ConfigError(f"{family} {architecture} cannot be built with {arguments}: {error}") from error
    said = {"family": family, "architecture": architecture, "arguments": arguments, "preset": preset}
    metrics = _facts(source, said, known, embedder)
    if source.suffix == ".onnx":
        from mvector.zoo.onnx_import import import_onnx

        return import_onnx(source, folder, embedder, config, metrics)
    backbone = load_published(source, family, translation, f"{family} {architecture}")
    embedder.backbone.load_state_dict(backbone.state_dict())
    replace_directory(folder, lambda part: save_model(part, embedder, config, metrics, speakers=[]))
    return load_model(folder)


def _facts(source: Path, said: dict[str, Any], known: Preset | None, embedder: SpeakerEmbedder) -> dict[str, Any]:
    """What metrics.json says of an imported model."""
    with open(source, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "imported": {
            "file": source.name,
            "sha256": digest,
            **said,
            "page": known and known.page,
            "licence": known and known.licence,
            "trained_on": known and known.trained_on,
            "published": known and known.published,
        },
        "parameters": sum(parameter.numel() for parameter in embedder.backbone.parameters()),
        "embedding_size": embedder.backbone.embd_dim,
        "versions": {
            "mvector": mvector.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }


def _published_arguments(config: Config) -> dict[str, Any]:
    """How the mvector package calls the constructor of a configuration's network."""
    preprocess = config.preprocess_conf
    featurizer = AudioFeaturizer(preprocess.feature_method, preprocess.method_args)
    return {"input_size": featurizer.feature_size, **config.model_conf.model_args}


def _configuration(family: str, translation: Published, trained_with: Config | None) -> Config:
    """That of the network: `trained_with` in our words or, where that is None, the family's own features."""
    model_args = dict(translation.arguments)
    bins = model_args.pop("input_size")
    if trained_with is not None:
        values = trained_with.model_dump()
    else:
        recipe = family_recipe(family, bins)
        values = {**recipe.sections(), "model_conf": {}}
        model_args |= recipe.model_args
    values["model_conf"] |= {"model": translation.backbone, "model_args": model_args}
    return load_config(values)
