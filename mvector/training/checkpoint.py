"""The state of a training run on disk: tensors and plain numbers only, readable with weights_only=True."""

from pathlib import Path
from typing import Any

import torch

from mvector.errors import ModelError

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
