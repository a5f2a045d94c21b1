"""The state of a training run on disk: tensors and plain numbers only, readable with weights_only=True."""

import logging
import os
from pathlib import Path
from typing import Any

import torch

from mvector.config import Config, load_config
from mvector.errors import ModelError
from mvector.model_directory import CONFIG, recover

logger = logging.getLogger("mvector")

STATE = "training_state.pt"
FORMAT = 1


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write `state` (tensors, numbers, strings, lists and dicts of them) into `folder`."""
    torch.save({"format": FORMAT, **state}, folder / STATE)


def load_state(folder: Path) -> dict[str, Any]:
    """The state that :func:`save_state` wrote, on the CPU; ModelError when there is none or it is damaged."""
    path = folder / STATE
    if not path.is_file():
        raise ModelError(
            f"{folder} has no {STATE}, so training cannot go on from it. Resume from a last_model folder, "
            "or start a new run from these weights with --pretrained_model."
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen kinds for damaged files
        raise ModelError(f"{path} cannot be read: {error}") from error
    if state.get("format") != FORMAT:
        raise ModelError(f"{path} has format {state.get('format')}; this version reads format {FORMAT}")
    return state


def find_run(
    run_folder: Path, config: Config, resume_model: Path | None = None, pretrained_model: str | None = None
) -> Path | None:
    """The folder to go on from: `resume_model`, or an unfinished run in `run_folder` of the same configuration that
    started from the same pretrained model.

    None means a new run (see :func:`set_aside`). Raises ModelError when `resume_model` cannot be gone on from; other
    settings than that run had are allowed, with a warning that names them.
    """
    if resume_model is not None:
        recover(resume_model)
        load_state(resume_model)
        then = _comparable(load_config(resume_model / CONFIG)).splitlines()
        now = _comparable(config).splitlines()
        if changed := [line for line in now if line not in then]:
            logger.warning("going on with other settings than %s had: %s", resume_model, ", ".join(changed))
        return resume_model
    last = run_folder / "last_model"
    recover(last)
    if not (last / STATE).is_file():
        return None
    same = _comparable(load_config(last / CONFIG)) == _comparable(config)
    state = load_state(last) if same else {}
    if same and state["epoch"] < config.train_conf.max_epoch and state["pretrained_model"] == pretrained_model:
        logger.info("an unfinished run of this configuration is in %s", last)
        return last
    return None


def set_aside(folder: Path) -> None:
    """Keep what an earlier run left in `folder` as `folder`.previous-N: a new run never overwrites it."""
    if not folder.exists():
        return
    number = 1
    while (aside := folder.with_name(f"{folder.name}.previous-{number}")).exists():
        number += 1
    os.replace(folder, aside)
    logger.info("what an earlier run left in %s is kept in %s", folder, aside)


def _comparable(config: Config) -> str:
    """The configuration without the number of speakers, which is counted from the list when a run starts."""
    copy = config.model_copy(deep=True)
    copy.model_conf.classifier.num_speakers = None
    return copy.describe()
