"""What enrolling, recognising and verifying answer with."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, overload

import numpy as np

from mvector.recognition.hearing import Quality
from mvector.scoring.calibration import posterior


class Reason(StrEnum):
    """Why nobody was recognised, or why it does not count as the person. Each is a plain string for programs."""

    SILENCE = "silence"  # every sample is zero
    NO_SPEECH = "no_speech"  # the detector hears nobody speak
    TOO_LITTLE_SPEECH = "too_little_speech"
    TOO_NOISY = "too_noisy"
    CLIPPED = "clipped"
    BELOW_THRESHOLD = "below_threshold"
    NOBODY_ENROLLED = "nobody_enrolled"
    NO_THRESHOLD = "no_threshold"  # the model has none and none was given


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A score and what it is to be compared with.

    score        the more, the more alike, on the scale that `scoring` names; None where the recording has no voice to
                 score, or where nobody is enrolled
    threshold    on the same scale: above it the voices count as one; None: the model has none. Among several people it
                 is higher than the one stored with the model, if that is calibrated
    scoring      cosine or as-norm: which of the two decided
    cosine, normalised   the score on either scale; `normalised` is None where the model has no cohort
    llr          calibrated natural-log likelihood ratio of the score; None where that score was never calibrated
    reason       a Reason, or None where the answer is a name or yes; explanation: the same as a sentence
    warnings     what makes the answer less reliable, a sentence each
    quality      of the recording: seconds of speech, signal-to-noise ratio, clipping, level
    """

    score: float | None
    threshold: float | None
    scoring: str = "cosine"
    cosine: float | None = None
    normalised: float | None = None
    llr: float | None = None
    reason: Reason | None = None
    explanation: str | None = None
    warnings: tuple[str, ...] = ()
    quality: Quality = field(default_factory=Quality)


@dataclass(frozen=True, kw_only=True)
class Recognition(Answer):
    """Who it is among the enrolled. Unpacks as `name, score`; the name is None where nobody is recognised.

    nearest  the person with the highest score, recognised or not. margin: that score less the second person's; None
             with one person enrolled. enrolled: how many people were compared.
    """

    name: str | None
    nearest: str | None = None
    margin: float | None = None
    enrolled: int = 0
    rivals: tuple[float, ...] = field(default=(), repr=False)  # llrs of the next best people, best first

    def probability(self, prior: float = 0.5) -> float | None:
        """Probability that `nearest` is speaking; None without an llr.

        `prior`: that somebody who is enrolled speaks at all, everyone of them alike, before anything was heard. With N
        people, the likelihood ratios Λ of the best and π = prior / N it is π Λ₁ / (1 - prior + π Σ Λ). The Λ of those
        who were not scored count as the last one's, or as 1, which is their mean for strangers, if that is less.
        """
        if self.llr is None:
            return None
        posterior(self.llr, prior)  # refuses a prior that is none
        scored = np.array([self.llr, *self.rivals])
        others = math.log(max(self.enrolled - len(scored), 0) or 1e-300) + min(float(scored[-1]), 0.0)
        share = math.log(prior / max(self.enrolled, 1))
        evidence = np.logaddexp.reduce([math.log1p(-prior), *(share + scored), share + others])
        return float(np.exp(share + self.llr - evidence))

    def __iter__(self) -> Iterator[Any]:
        return iter((self.name, self.score))

    def __len__(self) -> int:
        return 2

    @overload
    def __getitem__(self, index: slice) -> tuple[Any, ...]: ...
    @overload
    def __getitem__(self, index: int) -> Any: ...
    def __getitem__(self, index: int | slice) -> Any:
        return (self.name, self.score)[index]


@dataclass(frozen=True, kw_only=True)
class Verification(Answer):
    """Whether it is the person `name`. same: None where the model has no threshold and none was given."""

    name: str
    same: bool | None

    def probability(self, prior: float = 0.5) -> float | None:
        """Probability that it is this person, where before anything was heard it was `prior`; None without an llr."""
        return None if self.llr is None else float(posterior(self.llr, prior))


@dataclass(frozen=True)
class Registration:
    """A recording that was enrolled. Unpacks as `True, message`, as callers of the mvector package expect.

    utterances: how many the person has now. warnings: what makes the recording less good to recognise by, a sentence
    each, among them that it does not sound like the person's earlier ones.
    """

    name: str
    utterance_id: int
    utterances: int
    warnings: tuple[str, ...] = ()
    quality: Quality = field(default_factory=Quality)

    @property
    def message(self) -> str:
        return f"{self.name} is enrolled (recordings: {self.utterances})"

    def __iter__(self) -> Iterator[Any]:
        return iter((True, self.message))
