"""Arrays of one model in a safetensors file that knows which model it belongs to.

Scores against another model's cohort or PLDA look plausible and mean nothing, so each file carries the fingerprint of
the model whose embeddings it was made from, and is read only for that model.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mvector.errors import ModelError


def save_arrays(
    path: str | Path, arrays: Mapping[str, NDArray[Any]], kind: str, model: str, metadata: Mapping[str, str]
) -> None:
    """Write `arrays` beside `path` and put them in place at once; `model` is the fingerprint of the model."""
    from safetensors.numpy import save_file

    file = Path(path)
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    save_file(contiguous, part, metadata={**metadata, "kind": kind, "model": model})
    os.replace(part, file)


def load_arrays(
    path: str | Path, names: Iterable[str], kind: str, model: str
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """(arrays by name, metadata) of a file that `save_arrays` wrote.

    Raises ModelError for a file that cannot be read, is of another kind, lacks one of `names`, or belongs to another
    model than `model`.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = dict(file.metadata() or {})
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read as safetensors: {error}") from error
    missing = [name for name in names if name not in arrays]
    if metadata.get("kind") != kind or missing:
        raise ModelError(f"{path} is not a {kind} file; build it again with this model.")
    if metadata.get("model") != model:
        raise ModelError(
            f"{path} was made from the embeddings of another model (fingerprint {metadata.get('model')!r}, this "
            f"model's is {model!r}); scores against it would mean nothing. Build it again with this model."
        )
    return arrays, metadata
