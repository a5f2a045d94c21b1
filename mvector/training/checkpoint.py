"""The folders that a run writes: last_model with its whole state, best_model, and the average of the last epochs.

The state on disk holds tensors and plain numbers only, readable with weights_only=True.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mvector.embedder import SpeakerEmbedder
from mvector.errors import ModelError, MVectorError
from mvector.losses.partial_fc import PartialFC
from mvector.model_directory import replace_directory, save_model, write_text
from mvector.training.ranks import is_first

if TYPE_CHECKING:
    from mvector.training.run import TrainingRun

logger = logging.getLogger("mvector")

STATE = "training_state.pt"
FORMAT = 2
LAST, BEST, AVERAGE = "last_model", "best_model", "average_model"


def save_last_model(run: "TrainingRun", state: dict[str, Any]) -> None:
    """last_model: the model, and the state that the run needs to go on as if it had never stopped."""

    _save(run, LAST, run.model, run.last_metrics, state)
    if run.skipped and is_first():
        report = "".join(f"{path}\t{reason}\n" for path, reason in sorted(run.skipped.items()))
        write_or_explain(run, lambda: write_text(run.folder / "skipped.tsv", report))


def save_best_model(run: "TrainingRun") -> None:
    """best_model: the model as it is, with the best metrics."""
    _save(run, BEST, run.model, run.best_metrics or run.metrics(None))


def save_average_model(run: "TrainingRun", model: SpeakerEmbedder, metrics: dict[str, Any]) -> None:
    """average_model: the average of the last epochs, with the classifier of the last one for fine-tuning."""
    _save(run, AVERAGE, model, metrics)


def write_or_explain(run: "TrainingRun", write: Callable[[], None]) -> None:
    """Do `write`; what a full disk or a folder without permission raises becomes a sentence that says what is safe."""
    from safetensors import SafetensorError

    try:
        write()
    except (OSError, SafetensorError, RuntimeError) as error:  # RuntimeError: torch.save on a full disk
        last = run.folder / LAST
        safe = f"the last complete checkpoint is {last}" if (last / STATE).is_file() else "nothing was saved before"
        raise MVectorError(
            f"{run.folder} cannot be written at epoch {run.epoch + 1}, batch {run.first_batch} "
            f"({str(error).splitlines()[0]}); {safe}. Make room there, and go on with --resume_model auto."
        ) from error


def _save(
    run: "TrainingRun", name: str, model: SpeakerEmbedder, metrics: dict[str, Any], state: dict[str, Any] | None = None
) -> None:
    """Write a model directory of the run. All processes call it: the first one writes, a sharded classifier comes from
    all."""
    classifier = run.classifier.gathered() if isinstance(run.classifier, PartialFC) else run.classifier

    def fill(folder: Path) -> None:
        save_model(folder, model, run.config, metrics, run.speakers, classifier)
        if state is not None:
            save_state(folder, state)

    if is_first():
        write_or_explain(run, lambda: replace_directory(run.folder / name, fill))


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
