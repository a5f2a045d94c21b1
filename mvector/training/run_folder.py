"""The folder of a run: which checkpoint in it to go on from, and room for a new run."""

import json
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mvector.config import Config, load_config
from mvector.errors import ConfigError
from mvector.model_directory import CONFIG, recover
from mvector.training.checkpoint import BEST, LAST, STATE, load_state
from mvector.training.stages import Stage

logger = logging.getLogger("mvector")

AUTO = "auto"


@dataclass(frozen=True)
class Start:
    """Where training begins: at a stage, from a checkpoint of it or (None) anew; stage None: all is done already."""

    stage: int | None
    checkpoint: Path | None = None


def find_start(stages: list[Stage], resume_model: Path | None, pretrained_model: str | None) -> Start:
    """Where a run of these stages (the training, and large-margin fine-tuning where it is asked for) begins.

    `resume_model` is a last_model folder; the word auto: the newest complete checkpoint, whatever the settings it was
    made with (a warning names those that differ; another network, feature or finished list is a ConfigError); None:
    that of an unfinished run of the same configuration, which started from the same pretrained model. A complete run
    is done for auto; otherwise it is kept and a new one begins (see :func:`set_aside`). Raises ModelError where
    `resume_model` cannot be gone on from.
    """
    if resume_model is not None and os.fspath(resume_model) != AUTO:
        recover(resume_model)
        load_state(resume_model)
        number = next((n for n, stage in enumerate(stages) if _same_folder(stage.folder, resume_model.parent)), None)
        if number is None:  # another run's: by the name of its folder
            number = len(stages) - 1 if resume_model.parent.name == stages[-1].folder.name else 0
        _warn_of_changes(stages[number].config, resume_model)
        return Start(number, resume_model)
    auto = resume_model is not None
    for number in reversed(range(len(stages))):
        stage, last = stages[number], stages[number].folder / LAST
        recover(last)
        if not (last / STATE).is_file():
            continue
        same = _comparable(load_config(last / CONFIG)) == _comparable(stage.config)
        if not auto and not same:
            continue
        state = load_state(last)
        finished = state["epoch"] >= stage.config.train_conf.max_epoch
        if auto:
            _require_this_run(stage.config, last, finished)
            _warn_of_changes(stage.config, last)
        if not auto and number == 0 and state["pretrained_model"] != pretrained_model:
            continue
        if not finished:
            logger.info("an unfinished run is in %s", last)
            return Start(number, last)
        if number + 1 < len(stages):
            return Start(number + 1)
        return Start(None) if auto else Start(0)
    return Start(0)


def _same_folder(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def _require_this_run(config: Config, checkpoint: Path, finished: bool) -> None:
    """Raise ConfigError where `checkpoint` is plainly of another run: it would be taken for this one's end, or could
    not be gone on with. Whether an unfinished run has the same list is seen when that is read: its folder may move."""
    then, now = (_identity(c, finished) for c in (load_config(checkpoint / CONFIG), config))
    if other := [key for key, value in now.items() if then[key] != value]:
        raise ConfigError(
            f"{checkpoint} is of another run, with another {' and '.join(other)}. Give this one a folder of its own "
            "with --save_model_path (and --log_dir), or leave out --resume_model auto: then the other one is kept as "
            "….previous-1 and this one begins."
        )


def _identity(config: Config, finished: bool) -> dict[str, str]:
    """What two configurations of one run have in common, as text: a tuple of Python is a list in a file."""
    parts: dict[str, object] = {
        "model_conf.model_args": config.model_conf.model_args,
        "preprocess_conf": config.preprocess_conf.model_dump(),
    }
    if finished:
        parts["dataset_conf.train_list"] = config.dataset_conf.train_list
    return {key: json.dumps(value, sort_keys=True, default=str) for key, value in parts.items()}


def _warn_of_changes(config: Config, checkpoint: Path) -> None:
    then, now = _comparable(load_config(checkpoint / CONFIG)).splitlines(), _comparable(config).splitlines()
    if changed := [line for line in now if line not in then]:
        logger.warning("%s was made with other settings; now: %s", checkpoint, ", ".join(changed))


def make_room(folder: Path, log_folder: Path, resume_from: Path | None) -> None:
    """Keep what an earlier run left in the two folders; carry over the best model of a run that goes on elsewhere."""
    if resume_from is None:
        set_aside(folder)
        set_aside(log_folder)
    elif not _same_folder(resume_from.parent, folder):
        set_aside(folder)
        best = resume_from.parent / BEST
        if best.is_dir():
            shutil.copytree(best, folder / BEST)


def set_aside(folder: Path) -> None:
    """Keep what an earlier run left in `folder` as `folder`.previous-N: a new run never overwrites it.

    What a run left that was killed inside its first save is half a file and is removed.
    """
    if not folder.exists():
        return
    if all(path.name.endswith(".part") for path in folder.iterdir()):
        shutil.rmtree(folder)
        return
    number = 1
    while (aside := folder.with_name(f"{folder.name}.previous-{number}")).exists():
        number += 1
    os.replace(folder, aside)
    logger.info("what an earlier run left in %s is kept in %s", folder, aside)


def _comparable(config: Config) -> str:
    """The configuration without the number of speakers, which is counted from the list when a run starts."""
    copy: Any = config.model_copy(deep=True)
    copy.model_conf.classifier.num_speakers = None
    return copy.describe()
