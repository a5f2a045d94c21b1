"""Enrolling and recognising people: a predictor's ears and a store of voices put together."""

import os
import re
from dataclasses import replace
from typing import Any

import numpy as np

from mvector.audio.decode import AudioSource
from mvector.audio.speech import MIN_DETECTABLE_S
from mvector.config import Config
from mvector.embeddings import Embedder
from mvector.errors import AudioError, ConfigError, NoSpeechError, StoreError, TooShortError
from mvector.recognition.answer import Reason, Recognition, Registration, Verification
from mvector.recognition.hearing import Heard, Quality, hear, is_clipped, is_noisy
from mvector.recognition.scale import Scale, Scoring
from mvector.store import VoiceStore

# Of a voice that is compared again and again more is asked than of a recording that is compared once.
ENROLLED_SPEECH_S = 1.0
ENROLLED_SNR_DB = 0.0
ENROLLED_CLIPPED = 0.2
ENROLLED_MOST_S = 300.0  # a voice does not get clearer beyond minutes, and the recording is kept

CANDIDATES = 10  # the nearest by cosine, which as-norm may put into another order
UNSURE_SPEECH_S = 1.0  # with less, "too little speech" explains a low score (28 % are not recognised with 1 s)


class Recogniser:
    """Who speaks, and is it really her: over the people of one store, all enrolled with one model."""

    def __init__(self, store: VoiceStore, scoring: Scoring, config: Config):
        self.store, self.scoring, self.config = store, scoring, config

    def import_folders(self, location: str | os.PathLike[str], embedder: Embedder) -> None:
        """Enroll the recordings that the mvector package left in the store's folder, those that are not known yet."""
        if isinstance(location, str) and re.match(r"\w+://", location):
            return

        def embed(path: str) -> tuple[np.ndarray, dict[str, float]]:
            heard = self.require_good(hear(path, 16000, embedder, self.config, most_s=ENROLLED_MOST_S))
            assert heard.embedding is not None
            return heard.embedding, heard.quality.numbers()

        self.store.import_folders(location, embed)

    def hear(self, source: AudioSource, sample_rate: int, embedder: Embedder) -> Heard:
        """Listen to a recording that is to be recognised; raises what `mvector.audio.load_audio` does."""
        return hear(source, sample_rate, embedder, self.config)

    def require_person(self, name: str) -> str:
        """The name as it is stored; raises StoreError where nobody has it."""
        person = self.store.get(name)
        if person is None:
            raise StoreError(f"nobody is enrolled as {name!r}.")
        return person.name

    def hear_for_enrollment(self, source: AudioSource, sample_rate: int, embedder: Embedder) -> Heard:
        """Listen to a recording that is to be enrolled; raises what `require_good` does."""
        heard = hear(source, sample_rate, embedder, self.config, self.store.keep_audio, ENROLLED_MOST_S)
        if heard.quality.duration_s >= ENROLLED_MOST_S - 1:
            limit = f"{heard.name}: only its first {ENROLLED_MOST_S:g} s are enrolled"
            heard = replace(heard, warnings=(*heard.warnings, limit))
        return self.require_good(heard)

    def enroll(self, name: str, heard: Heard) -> Registration:
        """Add to `name` what was heard. Raises StoreError for a name that cannot be one."""
        assert heard.embedding is not None
        rate = self.config.dataset_conf.dataset.sample_rate
        audio = None if heard.speech is None else (heard.speech, rate)
        added = self.store.add(name, heard.embedding, quality=heard.quality.numbers(), audio=audio)
        warnings = heard.warnings if added.warning is None else (*heard.warnings, added.warning)
        return Registration(added.name, added.utterance_id, added.utterances, warnings, heard.quality)

    def require_good(self, heard: Heard) -> Heard:
        """`heard` if a voice can be enrolled from it; otherwise NoSpeechError, TooShortError or AudioError says why."""
        name, quality = heard.name, heard.quality
        refusal = _unheard(heard)
        if refusal in (Reason.SILENCE, Reason.NO_SPEECH):
            raise NoSpeechError(_explanation(refusal, heard))
        if refusal is not None or quality.speech_s < ENROLLED_SPEECH_S:
            raise TooShortError(
                f"{name}: only {quality.speech_s:.1f} s of speech was found in it; enrolling needs at least "
                f"{ENROLLED_SPEECH_S:g} s, better several seconds"
            )
        if is_noisy(quality) and quality.snr_db is not None and quality.snr_db < ENROLLED_SNR_DB:
            raise AudioError(
                f"{name}: the noise is louder than the voice (about {quality.snr_db:.0f} dB); enroll from a quieter "
                "place"
            )
        if quality.clipped_share is not None and quality.clipped_share > ENROLLED_CLIPPED:
            raise AudioError(
                f"{name}: {100 * quality.clipped_share:.0f} % of its samples are clipped; lower the level of the "
                "microphone and enroll again"
            )
        return heard

    def recognise(self, heard: Heard, threshold: float | None = None) -> Recognition:
        """Who of the enrolled people was heard; `threshold`, a cosine, decides on this call alone.

        Without one it is the model's, raised by the number of enrolled people (see `Scale.among`).
        """
        given = self._given(threshold)
        matches = [] if heard.embedding is None else self.store.search(heard.embedding, CANDIDATES)
        if not matches:
            reason = _unheard(heard) or Reason.NOBODY_ENROLLED
            return Recognition(name=None, enrolled=self.store.count(), **self._without_score(heard, given, reason))
        normalised = self._normalised([match.name for match in matches], heard)
        scale, scores = self._deciding(given, np.array([match.score for match in matches]), normalised)
        enrolled = self.store.count()
        if given is None:
            scale = scale.among(enrolled)
        order = np.argsort(-scores, kind="stable")
        best = int(order[0])
        score, nearest = float(scores[best]), matches[best].name
        llrs = [] if scale.calibration is None else scale.calibration.llr(scores[order]).tolist()
        why_not = _why_not(score, scale.threshold, heard.quality)
        return Recognition(
            name=nearest if why_not is None else None,
            nearest=nearest,
            score=score,
            margin=score - float(scores[order[1]]) if len(order) > 1 else None,
            threshold=scale.threshold,
            scoring=scale.method,
            cosine=float(matches[best].score),
            normalised=None if normalised is None else float(normalised[best]),
            llr=llrs[0] if llrs else None,
            rivals=tuple(llrs[1:]),
            enrolled=enrolled,
            reason=why_not,
            explanation=_explanation(why_not, heard),
            warnings=heard.warnings,
            quality=heard.quality,
        )

    def verify(self, heard: Heard, name: str, threshold: float | None = None) -> Verification:
        """Whether `name` was heard. Raises StoreError where nobody has that name."""
        given = self._given(threshold)
        name = self.require_person(name)
        if heard.embedding is None:
            reason = _unheard(heard)
            assert reason is not None
            return Verification(name=name, same=False, **self._without_score(heard, given, reason))
        cosine = self.store.compare(name, heard.embedding)
        if cosine is None:
            raise StoreError(f"nobody is enrolled as {name!r}.")  # any more
        normalised = self._normalised([name], heard)
        scale, scores = self._deciding(given, np.array([cosine]), normalised)
        score = float(scores[0])
        why_not = _why_not(score, scale.threshold, heard.quality)
        return Verification(
            name=name,
            same=None if scale.threshold is None else why_not is None,
            score=score,
            threshold=scale.threshold,
            scoring=scale.method,
            cosine=float(cosine),
            normalised=None if normalised is None else float(normalised[0]),
            llr=None if scale.calibration is None else float(scale.calibration.llr(score)),
            reason=why_not,
            explanation=_explanation(why_not, heard, name),
            warnings=heard.warnings,
            quality=heard.quality,
        )

    def _given(self, threshold: float | None) -> Scale | None:
        """The cosine's scale with a threshold of the caller's, which no other scale could be meant by."""
        if threshold is None:
            return None
        check_threshold(threshold)
        return replace(self.scoring.cosine, threshold=float(threshold))

    def _deciding(
        self, given: Scale | None, cosines: np.ndarray, normalised: np.ndarray | None
    ) -> tuple[Scale, np.ndarray]:
        """(scale, scores [N] on it)."""
        if given is None and self.scoring.as_norm is not None and normalised is not None:
            return self.scoring.as_norm, normalised
        return given or self.scoring.cosine, cosines

    def _without_score(self, heard: Heard, given: Scale | None, reason: Reason) -> dict[str, Any]:
        scale = given or self.scoring.as_norm or self.scoring.cosine
        return {
            "score": None,
            "threshold": scale.threshold,
            "scoring": scale.method,
            "reason": reason,
            "explanation": _explanation(reason, heard),
            "warnings": heard.warnings,
            "quality": heard.quality,
        }

    def _normalised(self, names: list[str], heard: Heard) -> np.ndarray | None:
        """as-norm scores of people; None without a cohort, or where the magnitude of an utterance is not known.

        Centring needs embeddings as the network gives them, so their magnitudes are kept with the utterances.
        """
        if self.scoring.cohort is None or heard.embedding is None or heard.quality.magnitude is None:
            return None
        voices = []
        for name in names:
            unit = self.store.mean(name)
            magnitudes = [utterance.quality.get("magnitude") for utterance in self.store.utterances(name)]
            known = [magnitude for magnitude in magnitudes if magnitude is not None]
            if unit is None or not known or len(known) < len(magnitudes):
                return None
            voices.append(unit * float(np.mean(known)))
        return self.scoring.normalised(np.array(voices), heard.embedding * heard.quality.magnitude)


def check_threshold(threshold: float) -> None:
    if not -1 <= threshold <= 1:
        raise ConfigError(f"threshold must be a cosine similarity from -1 to 1, found {threshold!r}")


def _unheard(heard: Heard) -> Reason | None:
    """Why there is no embedding; None if there is one."""
    if heard.embedding is not None:
        return None
    if heard.is_silent:
        return Reason.SILENCE
    if heard.quality.speech_s > 0 or heard.quality.duration_s < MIN_DETECTABLE_S:
        return Reason.TOO_LITTLE_SPEECH
    return Reason.NO_SPEECH


def _why_not(score: float, threshold: float | None, quality: Quality) -> Reason | None:
    """None if the score is above the threshold; otherwise what most probably keeps it below."""
    if threshold is None:
        return Reason.NO_THRESHOLD
    if score > threshold:
        return None
    if quality.speech_s < UNSURE_SPEECH_S:
        return Reason.TOO_LITTLE_SPEECH
    if is_noisy(quality):
        return Reason.TOO_NOISY
    return Reason.CLIPPED if is_clipped(quality) else Reason.BELOW_THRESHOLD


def _explanation(reason: Reason | None, heard: Heard, person: str | None = None) -> str | None:
    """`reason` as a sentence; `person`: who it was compared with, None for everybody."""
    name = heard.name
    whom = "anybody enrolled" if person is None else repr(person)
    if reason is None:
        return None
    return {
        Reason.SILENCE: f"{name}: digital silence, every sample is zero; check the microphone and record again",
        Reason.NO_SPEECH: (
            f"{name}: no speech was found in it; record again, close to the microphone and with less noise"
        ),
        Reason.TOO_LITTLE_SPEECH: (
            f"{name}: only {heard.quality.speech_s:.1f} s of speech was found in it; speak for two seconds or more"
        ),
        Reason.TOO_NOISY: f"{name}: not similar enough to {whom}, perhaps because of the noise; find a quieter place",
        Reason.CLIPPED: (
            f"{name}: not similar enough to {whom}, perhaps because it is clipped; lower the level of the microphone"
        ),
        Reason.BELOW_THRESHOLD: f"{name}: not similar enough to {whom}",
        Reason.NOBODY_ENROLLED: "nobody is enrolled yet",
        Reason.NO_THRESHOLD: "this model has no threshold: give one, or choose one with mvector calibrate",
    }[reason]
