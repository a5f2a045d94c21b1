"""A model directory explains itself: everything that predicting, evaluating and exporting need, and no pickles.

    model.safetensors        the backbone's weights
    config.yml               the resolved configuration: features, backbone, level, precision, data lists
    metrics.json             EER, minDCF, threshold, trial counts, versions, and whether the voices were synthetic
    speakers.txt             one speaker per line, in class order
    classifier.safetensors   the classifier's weights, for resuming and fine-tuning only
    frontend.safetensors     the weights of a learned feature (use_hf_model), whether they were trained or frozen
    frontend_config.json     what that front end is, so that neither its source nor the Hugging Face hub is needed

A directory is written beside, flushed to the disk and renamed, so that neither a reader nor a power cut meets a
half-written one.
"""

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mvector.config import Config, load_config
from mvector.embedder import SpeakerEmbedder
from mvector.errors import ModelError

logger = logging.getLogger("mvector")

WEIGHTS, CONFIG, METRICS = "model.safetensors", "config.yml", "metrics.json"
SPEAKERS, CLASSIFIER = "speakers.txt", "classifier.safetensors"
FRONTEND, FRONTEND_CONFIG = "frontend.safetensors", "frontend_config.json"


@dataclass
class ModelDirectory:
    """A loaded model: the embedder in evaluation mode and what is known of it."""

    path: Path
    embedder: SpeakerEmbedder
    config: Config
    metrics: dict[str, Any]
    speakers: list[str]

    @property
    def folder(self) -> Path:
        """Where what belongs to the model lies: the directory itself."""
        return self.path

    @property
    def threshold(self) -> float | None:
        """The similarity at which development trials had their equal error rate; None if never evaluated."""
        return self.metrics.get("threshold")


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text beside `path` and put it in place at once; a power cut leaves the old text or the new one."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8", newline="\n")
    flush_to_disk(part)
    os.replace(part, path)


def replace_directory(path: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` write into a new folder, then put that folder in the place of `path`.

    Where `fill` fails, `path` stays as it is. Killed in between, or after a power cut, `path` is whole, or it is
    missing and `path.new` is whole (see :func:`recover`).
    """
    recover(path)
    new, old = path.with_name(path.name + ".new"), path.with_name(path.name + ".old")
    part = path.with_name(path.name + ".part")
    for leftover in (part, old):
        shutil.rmtree(leftover, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        fill(part)
        for written in (*part.rglob("*"), part):
            flush_to_disk(written)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)  # on a full disk it would take the room that is missing
        raise
    _rename(part, new)
    if path.exists():
        _rename(path, old)
    _rename(new, path)
    flush_to_disk(path.parent)  # the renames, before what they replaced is gone
    shutil.rmtree(old, ignore_errors=True)


def flush_to_disk(path: Path) -> None:
    """Wait until a file's contents, or a folder's names, are on the disk: a power cut may keep a rename and lose what
    was written before it. Windows and some network drives cannot flush folders."""
    windows = os.name == "nt"
    if windows and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDWR if windows else os.O_RDONLY)  # Windows flushes what is open for writing
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def _rename(source: Path, target: Path) -> None:
    """os.replace, tried for some seconds: on Windows a virus scanner or a reader may hold a file for a moment."""
    for attempt in range(20):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if os.name != "nt" or attempt == 19:
                raise
            time.sleep(0.2)


def recover(path: Path) -> None:
    """Finish a replacement of `path` that was cut off between its renames."""
    new = path.with_name(path.name + ".new")
    if not new.exists():
        return
    old = path.with_name(path.name + ".old")
    if path.exists():
        shutil.rmtree(old, ignore_errors=True)
        os.replace(path, old)
    os.replace(new, path)
    shutil.rmtree(old, ignore_errors=True)


def save_model(
    folder: Path,
    embedder: SpeakerEmbedder,
    config: Config,
    metrics: dict[str, Any],
    speakers: list[str],
    classifier: Any = None,
) -> None:
    """Write the files of a model directory into the existing `folder`."""
    from safetensors.torch import save_file

    save_file(_plain_state(embedder.backbone), folder / WEIGHTS)
    if classifier is not None:
        save_file(_plain_state(classifier), folder / CLASSIFIER)
    if frontend := _plain_state(embedder.featurizer):
        save_file(frontend, folder / FRONTEND)
    if description := getattr(embedder.featurizer.feature, "description", None):
        write_text(folder / FRONTEND_CONFIG, json.dumps(description, indent=2, ensure_ascii=False) + "\n")
    (folder / CONFIG).write_text(config.to_yaml(), encoding="utf-8", newline="\n")
    write_text(folder / METRICS, json.dumps(metrics, indent=2, ensure_ascii=False) + "\n")
    write_text(folder / SPEAKERS, "".join(f"{name}\n" for name in speakers))


def _plain_state(module: Any) -> dict[str, Any]:
    return {key: tensor.detach().cpu().contiguous() for key, tensor in module.state_dict().items()}


def load_model(
    path: str | os.PathLike[str], device: str | torch.device = "cpu", overrides: str | Sequence[str] = ()
) -> ModelDirectory:
    """Read a model directory; the embedder comes in evaluation mode on `device`.

    `overrides` ('a.b=c') change keys of its configuration. Raises ModelError for a folder that is no model directory,
    or whose weights don't fit its configuration; ConfigError for a wrong override.
    """
    folder = Path(path).resolve() if str(path) in (".", "..") else Path(path)
    replacement = folder.with_name(folder.name + ".new")
    if not folder.exists() and replacement.exists():  # a trainer is just between its renames, or was killed there
        folder = replacement
    for name in (WEIGHTS, CONFIG):
        if not (folder / name).is_file():
            raise ModelError(_why_no_model(folder, name))
    config = load_config(folder / CONFIG, overrides=overrides)
    embedder = build_embedder(config, folder)
    load_weights(embedder.backbone, folder / WEIGHTS)
    metrics_file = folder / METRICS
    try:
        metrics = json.loads(metrics_file.read_text(encoding="utf-8")) if metrics_file.is_file() else {}
    except ValueError as error:
        raise ModelError(f"{metrics_file} is not valid JSON: {error}") from error
    threshold = metrics.get("threshold", 0.0) if isinstance(metrics, dict) else None
    if isinstance(threshold, bool) or not isinstance(threshold, int | float):
        raise ModelError(f"{metrics_file}: expected a JSON object whose 'threshold', if it has one, is a number")
    evaluated_in = metrics.get("precision", "float32")
    if "threshold" in metrics and evaluated_in != config.model_conf.precision:
        logger.warning(
            "%s: the threshold was found in %s, and embeddings are now computed in %s; evaluate again for an exact one",
            folder,
            evaluated_in,
            config.model_conf.precision,
        )
    return ModelDirectory(folder, embedder.eval().to(device), config, metrics, read_speakers(folder))


def build_embedder(config: Config, folder: Path) -> SpeakerEmbedder:
    """The embedder of the model directory `folder` with the weights of a learned feature; the backbone's are random."""
    frontend = None
    if config.preprocess_conf.use_hf_model:
        try:
            frontend = json.loads((folder / FRONTEND_CONFIG).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError(
                f"{folder / FRONTEND_CONFIG}, which says what front end the model has, cannot be read: {error}"
            ) from error
    embedder = SpeakerEmbedder.from_config(config, frontend)
    load_frontend(embedder, folder)
    return embedder


def load_frontend(embedder: SpeakerEmbedder, folder: Path) -> None:
    """Load the weights of a learned feature, where the embedder has one, from a model directory."""
    if embedder.featurizer.state_dict():
        load_weights(embedder.featurizer, folder / FRONTEND)


def read_speakers(folder: Path) -> list[str]:
    """The speakers of a model directory in class order; empty when it has no list of them."""
    file = folder / SPEAKERS
    # Not splitlines(): a name may hold a character that Python takes for a line's end, and the order would shift.
    return file.read_text(encoding="utf-8").split("\n")[:-1] if file.is_file() else []


def load_weights(module: Any, path: Path) -> None:
    """Load a safetensors file into `module`; every key and shape must fit."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read as safetensors: {error}") from error
    own = module.state_dict()
    for key in sorted(own.keys() | state.keys()):
        if key not in state:
            raise ModelError(f"{path} lacks the weight {key!r}; it belongs to another model than its config.yml says")
        if key not in own:
            raise ModelError(f"{path} has an unknown weight {key!r}; it belongs to another model")
        if own[key].shape != state[key].shape:
            raise ModelError(
                f"{path}: weight {key!r} has shape {tuple(state[key].shape)}, the model has {tuple(own[key].shape)}"
            )
    module.load_state_dict(state)


def _why_no_model(folder: Path, missing: str) -> str:
    """What is wrong with `folder`, which lacks the file `missing`, and which directory may have been meant."""
    others = [folder.parent] if folder.is_file() else [folder / "best_model", folder / "last_model"]
    if folder.is_dir():
        others += sorted(weights.parent for weights in folder.glob(f"*/*/{WEIGHTS}"))
    elif len(folder.parts) > 2:  # models/NAME/best_model: what else is in models/
        others += sorted(weights.parent for weights in folder.parents[1].glob(f"*/*/{WEIGHTS}"))
    found = next((other for other in others if (other / WEIGHTS).is_file() and (other / CONFIG).is_file()), None)
    hint = "" if found is None else f" Did you mean {found}?"
    if not folder.exists():
        return (
            f"there is no model directory {folder}. Train a model first (python train.py --configs "
            f"configs/quickstart.yml), or name one with --model_path.{hint}"
        )
    return f"{folder} is not a model directory: it has no {missing}.{hint}"
