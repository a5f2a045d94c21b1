"""Two-covariance PLDA: log-likelihood ratios of embeddings under a Gaussian model of speakers and their recordings.

A speaker is y ~ N(μ, B), each of the speaker's recordings x ~ N(y, W) (Brümmer & De Villiers 2010, "The speaker
partitioning problem"; Sizov, Lee and Kinnunen 2014, "Unifying probabilistic linear discriminant analysis variants in
biometric authentication"). Embeddings are brought to unit length, centred and projected by LDA, and brought to unit
length again (Garcia-Romero & Espy-Wilson 2011), which makes them nearly Gaussian.

In the basis V where W is the identity and B is diag(ψ), with z = Vᵀ(x - μ), the enrollment of n recordings with mean
z̄ leaves the speaker as N(m, v), m = nψ / (1 + nψ) · z̄ and v = ψ / (1 + nψ), dimension by dimension, and

    llr = log N(z; m, 1 + v) - log N(z; 0, 1 + ψ)
        = Σ ½ log((1 + ψ) / (1 + v)) - ½ m² / (1 + v)  +  m / (1 + v) · z  +  ½ (1 / (1 + ψ) - 1 / (1 + v)) · z²

is a product of a vector of the enrollment with the vector (z, z², 1) of the test. So PLDA scores, like cosines, are
one matrix product, and work block by block.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mvector.errors import ModelError, MVectorError
from mvector.scoring.cosine import length_normalize
from mvector.scoring.enrollment import mean_of_members
from mvector.scoring.lda import Lda, Matrix, SpeakerStatistics, diagonalize
from mvector.scoring.stored_arrays import load_arrays, save_arrays

ARRAYS = ("lda_mean", "lda_projection", "mean", "between", "within")


@dataclass(frozen=True)
class Plda:
    """The model in the D dimensions after `lda`: mean [D], between [D, D] = B and within [D, D] = W."""

    lda: Lda
    mean: NDArray[np.float64]
    between: Matrix
    within: Matrix

    @classmethod
    def fit(
        cls,
        embeddings: ArrayLike,
        speakers: Sequence[Any] | NDArray[Any],
        lda_dimension: int | None = None,
        iterations: int = 10,
    ) -> "Plda":
        """From training embeddings [U, E] and the speaker of each, any number of recordings per speaker.

        `lda_dimension` D, `iterations` of expectation maximisation. Rows that are not finite are passed over.
        """
        x = length_normalize(np.asarray(embeddings, dtype=np.float64))
        lda = Lda.fit(x, speakers, lda_dimension)
        known = SpeakerStatistics.of(length_normalize(lda.transform(x)), speakers)
        return cls(lda, *fit_two_covariances(known, iterations))

    def transform(self, embeddings: ArrayLike) -> Matrix:
        """Embeddings [U, E] → z [U, D]: within-speaker covariance the identity, between-speaker diagonal."""
        x = self.lda.transform(length_normalize(np.asarray(embeddings, dtype=np.float64)))
        _, basis = diagonalize(self.between, self.within)
        return (length_normalize(x) - self.mean) @ basis

    def enrollment_vectors(
        self, embeddings: ArrayLike, rows: Sequence[tuple[int, ...]] | None = None, independence: float = 1.0
    ) -> Matrix:
        """[N, 2 D + 1], to be multiplied with `test_vectors`, from embeddings [U, E].

        `rows` are N tuples of rows, the utterances of each voice; without it each row is a voice. n utterances count
        as 1 + independence · (n - 1): 1 is by the book, right for recordings of different days; 0 takes the mean as
        one recording, better for pieces of one session, which are wrong in the same way (Rajan et al. 2014, "From
        single to multiple enrollment i-vectors"). The scores of a voice without a finite row are NaN.
        """
        if not 0 <= independence <= 1:
            raise MVectorError(f"the independence of a voice's utterances lies between 0 and 1, found {independence}.")
        z = self.transform(embeddings)
        count = np.ones(len(z))
        if rows is not None:
            finite = np.asarray(np.isfinite(z).all(axis=1))
            count = np.array([max(1, finite[list(members)].sum()) for members in rows], dtype=np.float64)
            z = np.asarray(mean_of_members(z, rows), dtype=np.float64)
        variances, _ = diagonalize(self.between, self.within)
        n = (1 + independence * (count - 1))[:, None]
        mean = n * variances / (1 + n * variances) * z
        spread = 1 + variances / (1 + n * variances)
        constant = 0.5 * (np.log((1 + variances) / spread) - mean**2 / spread).sum(axis=1)
        return np.column_stack([mean / spread, 0.5 * (1 / (1 + variances) - 1 / spread), constant])

    def test_vectors(self, embeddings: ArrayLike) -> Matrix:
        """[M, 2 D + 1] from embeddings [M, E]: z, z² and 1."""
        z = self.transform(embeddings)
        return np.column_stack([z, z**2, np.ones(len(z))])

    def llr(self, enroll: ArrayLike, test: ArrayLike) -> Matrix:
        """Natural log-likelihood ratio of each pair: enroll [N, E] and test [M, E] → [N, M]."""
        return self.enrollment_vectors(enroll) @ self.test_vectors(test).T

    def save(self, path: str | Path, model: str) -> None:
        """Write a safetensors file; `model` is the fingerprint of the model that made the embeddings."""
        values = (self.lda.mean, self.lda.projection, self.mean, self.between, self.within)
        save_arrays(path, dict(zip(ARRAYS, values, strict=True)), "plda", model, {})

    @classmethod
    def load(cls, path: str | Path, model: str) -> "Plda":
        """Read what `save` wrote; ModelError for a damaged file or one of another model than `model`."""
        arrays, _ = load_arrays(path, ARRAYS, "plda", model)
        lda_mean, projection, mean, between, within = (arrays[name].astype(np.float64) for name in ARRAYS)
        size = len(mean)
        if projection.shape != (len(lda_mean), size) or between.shape != (size, size) or within.shape != (size, size):
            raise ModelError(f"{path}: the arrays of the PLDA do not fit one another; build it again.")
        return cls(Lda(lda_mean, projection), mean, between, within)


def fit_two_covariances(known: SpeakerStatistics, iterations: int = 10) -> tuple[NDArray[np.float64], Matrix, Matrix]:
    """(μ [D], B [D, D], W [D, D]) by expectation maximisation, speakers of different numbers of recordings allowed.

    It starts from the moments (analysis of variance with unequal groups), W = scatter / (U - S) and
    B = (between-speaker scatter / (S - 1) - W) / n_0 with n_0 = (U - Σ n² / U) / (S - 1), negative variances cut.
    """
    counts, means = known.counts, known.means
    people, total = len(counts), int(counts.sum())
    mean = counts @ means / total
    centred = np.sqrt(counts)[:, None] * (means - mean)
    within = known.within / (total - people)
    group_size = (total - (counts**2).sum() / total) / (people - 1)
    variances, basis = diagonalize(centred.T @ centred / (people - 1), within)
    # In the basis where W is the identity: subtract it, cut, and go back (x - μ = V^-T z).
    back = np.linalg.inv(basis).T
    between = (back * (np.maximum(variances - 1, 0) / group_size)) @ back.T

    n = counts[:, None].astype(np.float64)
    for _ in range(iterations):
        variances, basis = diagonalize(between, within)
        back = np.linalg.inv(basis).T
        z = (means - mean) @ basis
        speaker_mean = n * variances / (1 + n * variances) * z
        speaker_variance = variances / (1 + n * variances)
        shift = speaker_mean.mean(axis=0)
        spread = (speaker_mean - shift).T @ (speaker_mean - shift) / people + np.diag(speaker_variance.mean(axis=0))
        rest = z - speaker_mean
        noise = (n * rest).T @ rest + np.diag((n * speaker_variance).sum(axis=0))
        mean = mean + back @ shift
        between = back @ spread @ back.T
        within = (known.within + back @ noise @ back.T) / total
    return mean, between, within
