"""Starting a run from another model's weights: the backbone whole, the classifier speaker by speaker."""

import logging
from pathlib import Path

from torch import nn

from mvector.config import load_config
from mvector.errors import ModelError
from mvector.losses import SpeakerClassifier
from mvector.model_directory import CLASSIFIER, CONFIG, SPEAKERS, WEIGHTS, load_weights, read_speakers

logger = logging.getLogger("mvector")


def start_from(folder: Path, backbone: nn.Module, classifier: SpeakerClassifier | None, classes: dict[str, int]) -> int:
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


def _copy_rows(folder: Path, classifier: SpeakerClassifier, classes: dict[str, int]) -> int:
    from safetensors.torch import load_file

    if not all((folder / name).is_file() for name in (CLASSIFIER, SPEAKERS, CONFIG)):
        return 0
    if load_config(folder / CONFIG, check_names=False).model_conf.classifier.K != classifier.K:
        return 0
    names = read_speakers(folder)
    pairs = [(classes[name], row) for row, name in enumerate(names) if name in classes]
    theirs, own = load_file(folder / CLASSIFIER), classifier.state_dict()
    key = "weight" if "weight" in own else "output.weight"
    if not pairs or key not in theirs or theirs[key].shape[1] != own[key].shape[1]:
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
    return len(pairs)
