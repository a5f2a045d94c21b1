"""The cohort: what the speakers of the training list sound like to a model, for normalising scores.

One mean per speaker rather than single utterances: fewer rows say as much, and no speaker fills the top of another's
list with near copies. The training embeddings' mean is kept with it, because a cohort only fits embeddings that were
centred in the same way.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mvector.errors import ModelError, MVectorError
from mvector.scoring.cosine import Floats, length_normalize, subtract_mean
from mvector.scoring.stored_arrays import load_arrays, save_arrays

BLOCK_ROWS = 50_000


@dataclass(frozen=True)
class Cohort:
    """means [S, E]: for each speaker the mean of the centred, unit-length embeddings, at unit length.

    training_mean [E] is what centring subtracts: the mean of the training embeddings as the network gives them, or
    zeros. Embeddings to be scored against the cohort go through `center` first.
    """

    means: NDArray[np.float32]
    speakers: list[str] = field(repr=False)
    training_mean: NDArray[np.float32]

    @classmethod
    def from_embeddings(cls, embeddings: ArrayLike, speakers: Sequence[str], center: bool = True) -> "Cohort":
        """From training embeddings [U, E] and the speaker of each; rows that are not finite are passed over.

        Speakers come in the order of their names. With `center` false nothing is subtracted. Memory is that of a
        block of embeddings beside the given ones.
        """
        x = np.asarray(embeddings)
        if x.ndim != 2 or len(x) != len(speakers):
            raise MVectorError(
                f"a cohort needs embeddings [U, E] and a speaker for each, found shape {x.shape} and "
                f"{len(speakers)} speakers."
            )
        usable = np.flatnonzero(np.isfinite(x).all(axis=1))
        names, number = np.unique(np.asarray(speakers, dtype=str)[usable], return_inverse=True)
        if len(names) < 2:
            raise MVectorError(f"a cohort needs at least 2 speakers with usable recordings, found {len(names)}.")
        mean = np.zeros(x.shape[1])
        if center:
            for start in range(0, len(usable), BLOCK_ROWS):
                mean += x[usable[start : start + BLOCK_ROWS]].sum(axis=0, dtype=np.float64)
            mean /= len(usable)
        training_mean = mean.astype(np.float32)
        sums = np.zeros((len(names), x.shape[1]))
        order = np.argsort(number, kind="stable")
        for start in range(0, len(order), BLOCK_ROWS):
            part = order[start : start + BLOCK_ROWS]
            unit = length_normalize(subtract_mean(x[usable[part]], training_mean))
            people, first = np.unique(number[part], return_index=True)
            sums[people] += np.add.reduceat(unit, first, axis=0, dtype=np.float64)
        return cls(length_normalize(sums).astype(np.float32), names.tolist(), training_mean)

    def center(self, embeddings: ArrayLike) -> Floats:
        """Embeddings [..., E] minus the training mean, as cosine scores against the cohort want them."""
        return subtract_mean(embeddings, self.training_mean)

    def save(self, path: str | Path, model: str) -> None:
        """Write a safetensors file; `model` is the fingerprint of the model that made the embeddings."""
        arrays = {"means": self.means, "training_mean": self.training_mean}
        save_arrays(path, arrays, "cohort", model, {"speakers": json.dumps(self.speakers, ensure_ascii=False)})

    @classmethod
    def load(cls, path: str | Path, model: str) -> "Cohort":
        """Read what `save` wrote; ModelError for a damaged file or one of another model than `model`."""
        arrays, metadata = load_arrays(path, ("means", "training_mean"), "cohort", model)
        means, training_mean = arrays["means"], arrays["training_mean"]
        try:
            speakers = json.loads(metadata["speakers"])
        except (KeyError, ValueError) as error:
            raise ModelError(f"{path}: the names of the cohort's speakers cannot be read ({error}).") from error
        if means.ndim != 2 or means.shape != (len(speakers), training_mean.size):
            raise ModelError(
                f"{path}: {means.shape} means do not fit {len(speakers)} speakers and a training mean of "
                f"{training_mean.shape}; build the cohort again."
            )
        return cls(means.astype(np.float32), [str(name) for name in speakers], training_mean.astype(np.float32))
