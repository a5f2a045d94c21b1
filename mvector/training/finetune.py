"""Starting a run from another model's weights: the backbone whole, the classifier speaker by speaker.

Weights fit only the features that they were trained on, so the two models must have the same feature recipe.
"""

import inspect
import logging
from pathlib import Path
from typing import Any

from torch import nn

from mvector.config import Config, load_config
from mvector.errors import ConfigError, ModelError
from mvector.losses import SpeakerClassifier
from mvector.losses.partial_fc import PartialFC
from mvector.model_directory import CLASSIFIER, CONFIG, SPEAKERS, WEIGHTS, load_weights, read_speakers
from mvector.registry import FEATURES
from mvector.training.stages import Stage

logger = logging.getLogger("mvector")


def check_start(stage: Stage) -> None:
    """Raise where a new run of `stage` cannot start: from a model that is missing or has another feature recipe, or
    with random weights that would be frozen."""
    start = stage.pretrained_model
    if start is None:
        if stage.config.train_conf.freeze_backbone_epochs:
            raise ConfigError(
                "train_conf.freeze_backbone_epochs: a backbone with random weights would be frozen. Name the model to "
                "start from with --pretrained_model, or set it to 0."
            )
        return
    if start.parent == stage.folder.parent and not start.is_dir():  # what the stage before has left
        raise ModelError(
            f"{start} is missing, which large-margin fine-tuning starts from. Train the first stage again, or leave "
            "out large_margin_conf."
        )
    require_same_recipe(start, stage.config)


def require_same_recipe(folder: Path, config: Config) -> None:
    """Raise ConfigError, naming the key, where `config` makes other features than the model directory `folder`.

    It is an error rather than taken over: a configuration file that says one thing and trains another would mislead
    whoever reads it later.
    """
    if not (folder / CONFIG).is_file():
        raise ModelError(f"pretrained_model: {folder} has no {CONFIG}; give a model directory")
    theirs, ours = _recipe(load_config(folder / CONFIG, check_names=False)), _recipe(config)
    for key in sorted(theirs.keys() | ours.keys()):
        if theirs.get(key) != ours.get(key):
            raise ConfigError(
                f"pretrained_model: {folder} was trained with {key}={theirs.get(key)}, the configuration has "
                f"{ours.get(key)}. Weights fit only their own features: set {key} to {theirs.get(key)}."
            )


def _recipe(config: Config) -> dict[str, Any]:
    """Everything between the recording and the network, by its dotted key; defaults of the feature method filled in.

    Left out are the backend, which computes the same in two ways, and where a self-supervised front end is read from.
    """
    preprocess, data = config.preprocess_conf, config.dataset_conf.dataset
    recipe: dict[str, Any] = {f"preprocess_conf.{name}": value for name, value in preprocess.model_dump().items()}
    arguments = recipe.pop("preprocess_conf.method_args")
    del recipe["preprocess_conf.backend"]
    if preprocess.use_hf_model:
        del recipe["preprocess_conf.feature_method"]
    else:
        parameters = inspect.signature(FEATURES.get(preprocess.feature_method)).parameters.values()
        defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
        for name, value in {**defaults, **arguments}.items():
            recipe[f"preprocess_conf.method_args.{name}"] = value
    recipe["dataset_conf.dataset.sample_rate"] = data.sample_rate
    recipe["dataset_conf.dataset.use_dB_normalization"] = data.use_dB_normalization
    if data.use_dB_normalization:
        recipe["dataset_conf.dataset.target_dB"] = data.target_dB
    return recipe


def start_from(
    folder: Path, backbone: nn.Module, classifier: SpeakerClassifier | PartialFC | None, classes: dict[str, int]
) -> int:
    """Load the backbone of the model directory `folder`, and the classifier rows of the speakers that both know.

    Speakers are matched by name, never by position. Returns how many were; none where either side has no classifier or
    the two have different numbers of vectors per speaker. Raises ModelError when the backbone's weights don't fit.
    """
    if not (folder / WEIGHTS).is_file():
        raise ModelError(f"pretrained_model: {folder} has no {WEIGHTS}; give a model directory")
    load_weights(backbone, folder / WEIGHTS)
    known = 0 if classifier is None else _copy_rows(folder, classifier, classes)
    logger.info("starting from %s: backbone, and %d of %d speakers of the classifier", folder, known, len(classes))
    return known


def _copy_rows(folder: Path, classifier: SpeakerClassifier | PartialFC, classes: dict[str, int]) -> int:
    from safetensors.torch import load_file

    if not all((folder / name).is_file() for name in (CLASSIFIER, SPEAKERS, CONFIG)):
        return 0
    if load_config(folder / CONFIG, check_names=False).model_conf.classifier.K != classifier.K:
        return 0
    names = read_speakers(folder)
    pairs = [(classes[name], row) for row, name in enumerate(names) if name in classes]
    theirs, own, known = load_file(folder / CLASSIFIER), classifier.state_dict(), len(pairs)
    if isinstance(classifier, PartialFC):  # this process has the rows of some speakers
        own, mine = {"weight": classifier.rows}, range(classifier.own.start, classifier.own.stop)
        pairs = [(new - mine.start, old) for new, old in pairs if new in mine]
    key = "weight" if "weight" in own else "output.weight"
    if not known or key not in theirs or theirs[key].shape[1] != own[key].shape[1]:
        return 0
    for name in (key, "output.bias"):
        if name in own and name in theirs:
            ours = own[name].unflatten(0, (-1, classifier.K))  # [S, K, …]
            others = theirs[name].unflatten(0, (-1, classifier.K))
            for new, old in pairs:  # the class at the recorded speed; those of other speeds are learned anew
                ours[new].copy_(others[old])
    for name, tensor in theirs.items():  # the hidden layers, where they are the same
        if name.startswith("blocks.") and name in own and own[name].shape == tensor.shape:
            own[name].copy_(tensor)
    return known
