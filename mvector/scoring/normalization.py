"""Score normalisation: a raw score is judged by how its two sides score against a cohort of other people.

Each side's cohort scores have a mean μ and a standard deviation σ (ddof 0), and a raw score s becomes

    z-norm    (s - μ_e) / σ_e                            e the enrollment
    t-norm    (s - μ_t) / σ_t                            t the test recording
    s-norm    ½ (s - μ_e) / σ_e + ½ (s - μ_t) / σ_t
    as-norm   the same, each side's μ and σ from the `top_n` highest of its cohort scores only

z-norm and t-norm: Reynolds 1997, Auckenthaler, Carey and Lloyd-Thomas 2000, "Score normalization for text-independent
speaker verification systems"; s-norm: Kenny 2010, "Bayesian speaker verification with heavy-tailed priors"; as-norm:
"adaptive s-norm 1" of Matějka et al. 2017, "Analysis of score normalization in multilingual speaker recognition".
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mvector.errors import MVectorError, nearest
from mvector.scoring.cosine import Floats

NORMALIZATIONS = ("z-norm", "t-norm", "s-norm", "as-norm")
BLOCK_SCORES = 4_000_000
# Deviations of cosines below this are rounding of float32, not a spread.
LEAST_DEVIATION = 1e-6

Statistic = NDArray[np.float64]


@dataclass(frozen=True)
class ScoreNormalization:
    """Mean and standard deviation of each enrollment's [N] and each test recording's [M] cohort scores.

    A side that the kind does not look at has None. NaN stands for an embedding that is not finite.
    """

    kind: str
    enroll_mean: Statistic | None
    enroll_std: Statistic | None
    test_mean: Statistic | None
    test_std: Statistic | None

    @classmethod
    def fit(
        cls, kind: str, enroll_unit: ArrayLike, test_unit: ArrayLike, cohort_unit: ArrayLike, top_n: int = 300
    ) -> "ScoreNormalization":
        """Statistics of enroll_unit [N, E] and test_unit [M, E] against cohort_unit [S, E], all of unit length.

        A score is the product of two rows, so a voice of several utterances comes as its `voice_vectors`. `top_n` is
        read for as-norm only. Raises MVectorError for an unknown kind, a cohort smaller than `top_n`, and cohort
        scores without any spread.
        """
        if kind not in NORMALIZATIONS:
            raise MVectorError(
                f"there is no score normalisation {kind!r}; choose one of {', '.join(NORMALIZATIONS)}."
                f"{nearest(kind, NORMALIZATIONS)}"
            )
        chosen = top_n if kind == "as-norm" else None
        enroll_mean = enroll_std = test_mean = test_std = None
        if kind != "t-norm":
            enroll_mean, enroll_std = cohort_statistics(enroll_unit, cohort_unit, chosen)
        if kind != "z-norm":
            test_mean, test_std = cohort_statistics(test_unit, cohort_unit, chosen)
        return cls(kind, enroll_mean, enroll_std, test_mean, test_std)

    def adjust(self, raw: ArrayLike, enroll_index: Any, test_index: Any) -> Floats:
        """Normalised scores in the shape and precision of `raw`.

        raw [n, m] with enroll_index [n] and test_index [m] is a block of all pairs; raw [n] with both [n] is a list of
        pairs. Indexes count in the rows given to `fit`; a slice does as well.
        """
        scores = np.asarray(raw)
        scores = scores if np.issubdtype(scores.dtype, np.floating) else scores.astype(np.float64)
        weight = 0.5 if self.enroll_std is not None and self.test_std is not None else 1.0
        factor: NDArray[Any] = np.zeros((), scores.dtype)
        offset: NDArray[Any] = np.zeros((), scores.dtype)
        for mean, std, index, axis in (
            (self.enroll_mean, self.enroll_std, enroll_index, 1),
            (self.test_mean, self.test_std, test_index, 0),
        ):
            if mean is None or std is None:
                continue
            side_factor = (weight / std[index]).astype(scores.dtype)
            side_offset = (weight * mean[index] / std[index]).astype(scores.dtype)
            if scores.ndim == 2:
                side_factor, side_offset = np.expand_dims(side_factor, axis), np.expand_dims(side_offset, axis)
            factor, offset = factor + side_factor, offset + side_offset
        adjusted = scores * factor
        adjusted -= offset
        return adjusted


def cohort_statistics(
    unit: ArrayLike, cohort_unit: ArrayLike, top_n: int | None = None, block: int = BLOCK_SCORES
) -> tuple[Statistic, Statistic]:
    """(mean [N], standard deviation [N]) of the cosines of unit [N, E] with cohort_unit [S, E].

    With `top_n` only the so many highest of each row count. Memory is that of `block` scores at a time.
    """
    x, cohort = np.asarray(unit), np.asarray(cohort_unit)
    if x.ndim != 2 or cohort.ndim != 2 or x.shape[1] != cohort.shape[1]:
        raise MVectorError(
            f"cohort scores need embeddings [N, E] and a cohort [S, E] of one size, found shapes {x.shape} and "
            f"{cohort.shape}; the cohort must come from the same model."
        )
    size = len(cohort)
    if top_n is not None and not 2 <= top_n <= size:
        raise MVectorError(
            f"as-norm over the top {top_n} of a cohort of {size} speakers: the number must be from 2 to the cohort's "
            "size. Choose a smaller number, or build the cohort from more speakers."
        )
    if size < 2:
        raise MVectorError(f"score normalisation needs a cohort of at least 2 speakers, found {size}.")
    mean, std = np.empty(len(x)), np.empty(len(x))
    step = max(1, block // size)
    for start in range(0, len(x), step):
        part = slice(start, start + step)
        scores = x[part] @ cohort.T
        if top_n is not None and top_n < size:
            scores = np.partition(scores, size - top_n, axis=1)[:, size - top_n :]
        mean[part] = scores.mean(axis=1, dtype=np.float64)
        std[part] = scores.std(axis=1, dtype=np.float64)
    flat = np.flatnonzero(std < LEAST_DEVIATION)
    if len(flat):
        raise MVectorError(
            f"{len(flat)} of {len(x)} recordings have the same score against the whole cohort (the first: number "
            f"{flat[0]}), so scores cannot be normalised. The cohort's speakers must differ from one another."
        )
    return mean, std
