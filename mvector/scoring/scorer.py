"""Which score two voices get, by name: what `eval.py --score` chooses among."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mvector.errors import MVectorError, nearest
from mvector.scoring.cohort import Cohort
from mvector.scoring.cosine import length_normalize
from mvector.scoring.enrollment import voice_vectors
from mvector.scoring.normalization import NORMALIZATIONS, ScoreNormalization
from mvector.scoring.plda import Plda
from mvector.scoring.trial_scores import TrialIndexes, TrialScores, score_vectors

METHODS = ("cosine", "centred-cosine", *NORMALIZATIONS, "plda")


@dataclass(frozen=True)
class Scorer:
    """Embeddings and trials → scores.

    method      cosine; centred-cosine: after the training embeddings' mean is subtracted; z-norm, t-norm, s-norm,
                as-norm: the centred cosine judged by a cohort; plda
    enrollment  how several utterances make one voice (see `voice_vectors`); PLDA has its own way, by the book
    cohort      for all but cosine and plda; top_n: of as-norm, at most the cohort's size
    """

    method: str = "cosine"
    enrollment: str = "mean"
    cohort: Cohort | None = None
    top_n: int = 300
    plda: Plda | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise MVectorError(
                f"there is no score {self.method!r}; choose one of {', '.join(METHODS)}.{nearest(self.method, METHODS)}"
            )
        if self.method == "plda" and self.plda is None:
            raise MVectorError("scores by PLDA need a PLDA model: give training embeddings to fit one.")
        if self.method not in ("cosine", "plda") and self.cohort is None:
            raise MVectorError(f"the score {self.method} needs a cohort: give training embeddings to make one.")

    def score(self, embeddings: ArrayLike, trials: TrialIndexes, voices: ArrayLike | None = None) -> TrialScores:
        """Embeddings [U, E] as `trials.utterances` → scores; `voices` [N, E] replace those of the enrolled voices."""
        x = np.asarray(embeddings)
        rows = trials.enroll_rows
        enrolled = x
        if voices is not None:
            enrolled, rows = np.asarray(voices), [(index,) for index in range(len(rows))]
        if self.plda is not None and self.method == "plda":
            enroll = self.plda.enrollment_vectors(enrolled, rows)
            return score_vectors(enroll, self.plda.test_vectors(x[trials.test_rows]), trials)
        enroll, test = self._vectors(enrolled, rows), self._vectors(x[trials.test_rows], None)
        adjust: Any = None
        if self.cohort is not None and self.method in NORMALIZATIONS:
            top_n = min(self.top_n, len(self.cohort.means))
            adjust = ScoreNormalization.fit(self.method, enroll, test, self.cohort.means, top_n).adjust
        return score_vectors(enroll, test, trials, adjust)

    def _vectors(self, embeddings: NDArray[Any], rows: Any) -> NDArray[Any]:
        if self.cohort is not None and self.method != "cosine":
            embeddings = self.cohort.center(embeddings)
        if rows is None:
            return length_normalize(embeddings)
        return voice_vectors(embeddings, rows, "mean" if self.enrollment == "concatenate" else self.enrollment)
