"""Linear discriminant analysis: the directions in which speakers differ most, measured by how one speaker varies."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mvector.errors import MVectorError

Matrix = NDArray[np.float64]

# Added to the within-speaker scatter, as a share of its mean variance: a dimension that never varies (a dead unit of
# the network) is then passed over and no error.
RIDGE = 1e-10


@dataclass(frozen=True)
class SpeakerStatistics:
    """What the embeddings [U, E] of S speakers come down to: counts [S], means [S, E], pooled scatter [E, E].

    `within` is Σ over all embeddings of (x - its speaker's mean)(x - its speaker's mean)ᵀ, not divided by anything.
    """

    counts: NDArray[np.int64]
    means: Matrix
    within: Matrix

    @classmethod
    def of(cls, embeddings: ArrayLike, speakers: Sequence[Any] | NDArray[Any]) -> "SpeakerStatistics":
        """Rows that are not finite are passed over. Raises MVectorError where U - S is less than E."""
        x = np.asarray(embeddings, dtype=np.float64)
        if x.ndim != 2 or len(x) != len(speakers):
            raise MVectorError(
                f"statistics of speakers need embeddings [U, E] and a speaker for each, found shape {x.shape} and "
                f"{len(speakers)} speakers."
            )
        finite = np.isfinite(x).all(axis=1)
        x = x[finite]
        _, number, counts = np.unique(np.asarray(speakers)[finite], return_inverse=True, return_counts=True)
        if len(counts) < 2 or len(x) - len(counts) < x.shape[1]:
            raise MVectorError(
                f"{len(x)} embeddings of {len(counts)} speakers are too few for LDA and PLDA over {x.shape[1]} "
                "dimensions: at least 2 speakers, and that many recordings more than speakers, are needed. Take more "
                "recordings, or score by cosine."
            )
        order = np.argsort(number, kind="stable")
        sums = np.add.reduceat(x[order], np.cumsum(counts) - counts, axis=0)
        means = sums / counts[:, None]
        deviations = x - means[number]
        return cls(counts, means, deviations.T @ deviations)


@dataclass(frozen=True)
class Lda:
    """x [..., E] → (x - mean) @ projection [E, D], after which the within-speaker covariance is the identity.

    The directions come in falling order of the variance between speakers.
    """

    mean: Matrix
    projection: Matrix

    @classmethod
    def fit(cls, embeddings: ArrayLike, speakers: Sequence[Any] | NDArray[Any], dimension: int | None = None) -> "Lda":
        """From embeddings [U, E] and the speaker of each; `dimension` D (default: as many as can be, E or S - 1).

        Solves S_b v = λ S_w v, with S_w the within-speaker scatter divided by U - S and S_b the scatter of the
        speakers' means around the mean of all embeddings, each weighted by its number of embeddings.
        """
        known = SpeakerStatistics.of(embeddings, speakers)
        total, size = int(known.counts.sum()), known.means.shape[1]
        most = min(size, len(known.counts) - 1)
        if dimension is None:
            dimension = most
        if not 1 <= dimension <= most:
            raise MVectorError(
                f"LDA of {size} dimensions and {len(known.counts)} speakers can keep 1 to {most} directions, "
                f"{dimension} were asked for; ask for fewer, or train on more speakers."
            )
        mean = known.counts @ known.means / total
        centred = np.sqrt(known.counts)[:, None] * (known.means - mean)
        within = known.within / (total - len(known.counts))
        within += RIDGE * np.trace(within) / size * np.eye(size)
        _, basis = diagonalize(centred.T @ centred / total, within)
        return cls(mean, basis[:, :dimension])

    def transform(self, embeddings: ArrayLike) -> Matrix:
        """Embeddings [..., E] → [..., D]."""
        x = np.asarray(embeddings, dtype=np.float64)
        if x.shape[-1:] != self.mean.shape:
            raise MVectorError(
                f"this LDA takes embeddings of {len(self.mean)} dimensions, found shape {x.shape}; it belongs to "
                "another model."
            )
        return (x - self.mean) @ self.projection


def diagonalize(between: Matrix, within: Matrix) -> tuple[NDArray[np.float64], Matrix]:
    """(variances [E] in falling order, basis V [E, E]) with Vᵀ within V = I and Vᵀ between V = diag(variances).

    Negative variances, which are rounding, are given as 0.
    """
    try:
        root = np.linalg.cholesky(within)
    except np.linalg.LinAlgError as error:
        raise MVectorError(
            "the recordings of single speakers do not vary at all in some direction; take more recordings per speaker, "
            "or fewer LDA dimensions."
        ) from error
    half = np.linalg.solve(root, between)
    whitened = np.linalg.solve(root, half.T)
    variances, rotation = np.linalg.eigh((whitened + whitened.T) / 2)
    basis = np.linalg.solve(root.T, rotation[:, ::-1])
    return np.maximum(variances[::-1], 0), basis
