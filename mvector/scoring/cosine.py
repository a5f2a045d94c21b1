"""Cosine similarity of embeddings."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mvector.errors import MVectorError

Floats = NDArray[np.floating]


def length_normalize(embeddings: ArrayLike) -> Floats:
    """Embeddings [..., E] divided by their Euclidean length; an all-zero one stays zero, NaN stays NaN.

    float64 stays float64; everything else becomes float32.
    """
    x = np.asarray(embeddings)
    x = x if x.dtype == np.float64 else x.astype(np.float32)
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    return x / np.where(length == 0, 1, length)


def cosine_scores(enroll: ArrayLike, test: ArrayLike) -> Floats:
    """Cosine of each enrollment with each test embedding: enroll [N, E], test [M, E] → [N, M], from -1 to 1."""
    a, b = np.asarray(enroll), np.asarray(test)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise MVectorError(
            f"cosine scores need embeddings [N, E] and [M, E] of one size, found shapes {a.shape} and {b.shape}; "
            "embeddings of different models cannot be compared."
        )
    return length_normalize(a) @ length_normalize(b).T
