"""Cosine similarity of embeddings."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mvector.errors import MVectorError

Floats = NDArray[np.floating]


def length_normalize(embeddings: ArrayLike) -> Floats:
    """Embeddings [..., E] divided by their Euclidean length; an all-zero one stays zero, one not finite becomes NaN.

    float64 stays float64; everything else becomes float32.
    """
    x = np.asarray(embeddings)
    x = x if x.dtype == np.float64 else x.astype(np.float32)
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):  # infinity / infinity
        return x / np.where(length == 0, 1, length)


def subtract_mean(embeddings: ArrayLike, training_mean: ArrayLike) -> Floats:
    """Embeddings [..., E] minus the mean [E] of the training embeddings, in the embeddings' precision.

    Both as the network gives them, before any length normalisation (WeSpeaker's and Kaldi's convention): what all
    voices share says nothing about who speaks, and makes every cosine larger.
    """
    x, mean = np.asarray(embeddings), np.asarray(training_mean)
    if mean.ndim != 1 or x.shape[-1:] != mean.shape:
        raise MVectorError(
            f"the training mean [E] must be of the embeddings' size, found shapes {mean.shape} and {x.shape}; take "
            "the mean of this model's own embeddings."
        )
    x = x if np.issubdtype(x.dtype, np.floating) else x.astype(np.float32)
    return x - mean.astype(x.dtype)


def cosine_scores(enroll: ArrayLike, test: ArrayLike, training_mean: ArrayLike | None = None) -> Floats:
    """Cosine of each enrollment with each test embedding: enroll [N, E], test [M, E] → [N, M], from -1 to 1.

    With `training_mean` [E] both sides are centred first (`subtract_mean`).
    """
    a, b = np.asarray(enroll), np.asarray(test)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise MVectorError(
            f"cosine scores need embeddings [N, E] and [M, E] of one size, found shapes {a.shape} and {b.shape}; "
            "embeddings of different models cannot be compared."
        )
    if training_mean is not None:
        a, b = subtract_mean(a, training_mean), subtract_mean(b, training_mean)
    return length_normalize(a) @ length_normalize(b).T
