"""On which scale a score decides: the cosine, or the cosine normalised by the model's cohort (as-norm).

A threshold belongs to one way of scoring. The one in metrics.json under "threshold" is a cosine, so as-norm decides
only where the model has both a cohort and a threshold that was chosen on as-norm scores with that very cohort, which
`mvector calibrate --score as-norm` stores under "as_norm". Otherwise the cosine decides.
"""

import hashlib
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mvector.calibration import stored_calibration
from mvector.errors import ModelError
from mvector.scoring.calibration import Calibration
from mvector.scoring.cohort import Cohort
from mvector.scoring.cosine import length_normalize
from mvector.scoring.normalization import ScoreNormalization

logger = logging.getLogger("mvector")

COSINE, AS_NORM = "cosine", "as-norm"
COHORT = "cohort.safetensors"  # of mvector.evaluation, which imports torch
STORED = "as_norm"  # the section of metrics.json
TOP_N = 300  # speakers of the cohort that as-norm looks at, as in evaluation
LEAST_LOG_ODDS = math.log(0.9 / 0.1)  # of the person who is named, against a stranger


@dataclass(frozen=True)
class Scale:
    """One way of scoring, with the threshold and the calibration that were chosen on its scores, where it has them."""

    method: str
    threshold: float | None
    calibration: Calibration | None

    def among(self, people: int) -> "Scale":
        """With the threshold for the best score of so many people, where the calibration tells it.

        The model's threshold is for one comparison. A stranger who is compared with N people has N chances, so the
        likelihood ratio that is asked for is N times as high: log N more in llr, log N / scale more in score. And a
        name is only given where it is right with a probability of 90 %, half of those who are heard being strangers.
        With one person it is the comparison that the threshold was chosen for.
        Measured with the starter model and 20 people of open_speech's ocean list, three times: strangers who got a
        name fell from 69 % at the threshold to 26 % by the first and 6 % by the second, the enrolled who got their own
        from 90 % to 88 % and 83 %.
        """
        if self.threshold is None or self.calibration is None or people < 2:
            return self
        for_name = (math.log(people) + LEAST_LOG_ODDS - self.calibration.offset) / self.calibration.scale
        return replace(self, threshold=max(self.threshold + math.log(people) / self.calibration.scale, for_name))


@dataclass(frozen=True)
class Scoring:
    """cosine: always there. as_norm: where it is to decide. cohort, top_n: of normalised scores, whoever decides."""

    cosine: Scale
    as_norm: Scale | None = None
    cohort: Cohort | None = None
    top_n: int = TOP_N

    @classmethod
    def of_model(cls, path: Path, metrics: Mapping[str, Any], fingerprint: str) -> "Scoring":
        """What the model at `path` (a directory or an exported file) was given."""
        cosine = Scale(COSINE, metrics.get("threshold"), stored_calibration(metrics))
        file = (path if path.is_dir() else path.parent) / COHORT
        if not file.is_file():
            return cls(cosine)
        try:
            cohort = Cohort.load(file, fingerprint)
        except ModelError as error:
            logger.warning("scores are not normalised: %s", error)
            return cls(cosine)
        stored = metrics.get(STORED)
        if stored is None:
            logger.info(
                "%s has no threshold for scores normalised by it, so the cosine decides; mvector calibrate --score "
                "as-norm chooses one",
                file,
            )
        elif stored.get("cohort_sha256") != cohort_digest(file):
            logger.warning(
                "%s is not the cohort that the threshold for normalised scores was chosen with, so the cosine decides; "
                "mvector calibrate --score as-norm chooses a new one",
                file,
            )
        else:
            as_norm = Scale(AS_NORM, float(stored["threshold"]), stored_calibration(stored))
            return cls(cosine, as_norm, cohort, int(stored["top_n"]))
        return cls(cosine, None, cohort)

    def normalised(self, voices: np.ndarray, test: np.ndarray) -> np.ndarray | None:
        """as-norm scores [N] of enrolled voices [N, E] against a recording [E], both of the network's own magnitude.

        None without a cohort. A voice of several utterances is their mean, where evaluation takes the mean of the
        centred ones: the same for one utterance, and nearly so for several of one voice.
        """
        if self.cohort is None:
            return None
        enrolled = length_normalize(self.cohort.center(voices))
        heard = length_normalize(self.cohort.center(test[None]))
        top_n = min(self.top_n, len(self.cohort.means))
        normalization = ScoreNormalization.fit(AS_NORM, enrolled, heard, self.cohort.means, top_n)
        return normalization.adjust(enrolled @ heard.T, slice(None), slice(None))[:, 0]


def as_norm_settings(model: Path) -> dict[str, Any]:
    """What belongs to a threshold for as-norm scores of the model directory `model`."""
    return {"top_n": TOP_N, "cohort_sha256": cohort_digest(model / COHORT)}


def cohort_digest(file: Path) -> str:
    """SHA-256 of a cohort file: a threshold for normalised scores holds for one cohort."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
