"""Published backbones' outputs in tests/golden/models, and the weights that they were recorded with."""

import json
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

FOLDER = Path(__file__).parent / "golden" / "models"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def fill(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Value of one state-dict entry, from its key in the published implementation and its shape.

    Uses the legacy MT19937 generator, whose stream NumPy has frozen.
    """
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    values = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape).astype(np.float32)
    if key.endswith("running_var"):
        return (0.5 + 0.5 * np.abs(values)).astype(np.float32)
    if key.endswith("running_mean"):
        return 0.1 * values
    if len(shape) >= 2:
        return (values / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
    if key.endswith("bias"):
        return 0.1 * values
    return (1 + 0.1 * values).astype(np.float32)


class GoldenModel:
    """One recorded backbone: `info` (the JSON), `features` [2, 200, D], `embedding` [2, E]."""

    def __init__(self, name: str):
        self.info = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
        self.shapes = {key: tuple(shape) for key, shape in self.info["state_dict"].items()}
        arguments = self.info["arguments"]
        bins = arguments.get("feat_dim", arguments.get("input_size", 80))
        self.features = torch.from_numpy(np.load(FOLDER / f"features_{bins}.npz")["features"])
        self.embedding = torch.from_numpy(np.load(FOLDER / f"{name}.npz")["embedding"])

    def weights(self) -> dict[str, Tensor]:
        return {key: torch.from_numpy(np.asarray(fill(key, shape))) for key, shape in self.shapes.items()}
