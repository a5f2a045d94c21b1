"""Evaluation of a model: utterances → embeddings → scores of trials → error rates.

`evaluate_trials` is the short form that a training run uses after each epoch; the parts below it are what `eval.py`
puts together: enrollment by joined audio, the cohort or PLDA of the training list, and qualities for calibration.
"""

import contextlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mvector.config import Config
from mvector.data.lists import Utterance, read_data_list
from mvector.data.trials import Trials
from mvector.embedder import SpeakerEmbedder
from mvector.embeddings import Embedder, Embeddings, embed_utterances, read_waveform
from mvector.errors import AudioError, DataListError, MVectorError
from mvector.metrics import (
    IdentificationMetrics,
    confidence_intervals,
    count_trials,
    eer,
    identification_metrics,
    min_dcf,
)
from mvector.metrics.detection import nontargets_needed_for_cost
from mvector.packed_embeddings import load_embeddings
from mvector.scoring import (
    Calibration,
    Cohort,
    Plda,
    QualityCalibration,
    TrialScores,
    cohort_statistics,
    length_normalize,
    mean_of_members,
    recording_qualities,
    score_trials,
    trial_qualities,
)
from mvector.scoring.scorer import Scorer

logger = logging.getLogger("mvector")

COHORT, PLDA = "cohort.safetensors", "plda.safetensors"
# Of a speaker of the training list so many utterances are embedded for the cohort: the mean hardly moves with more.
COHORT_UTTERANCES = 10


@dataclass
class Evaluation:
    """What an evaluation found; rates are fractions, the threshold is a cosine similarity."""

    eer: float
    threshold: float
    min_dcf: float  # p_target 0.01, both costs 1, normalised
    targets: int
    non_targets: int
    utterances: int
    seconds: float
    left_out: list[tuple[str, str]] = field(default_factory=list)  # (path, reason)
    speakers: int | None = None
    intervals_95: dict[str, tuple[float, float]] | None = None  # of 'eer' and 'min_dcf', over resampled speakers
    calibration: Calibration | None = None  # of the cosine, fitted on these trials

    def line(self) -> str:
        eer_interval = dcf_interval = ""
        if self.intervals_95 is not None:
            low, high = (100 * bound for bound in self.intervals_95["eer"])
            eer_interval = f" [{low:.2f}, {high:.2f}]"
            dcf_interval = " [{:.3f}, {:.3f}]".format(*self.intervals_95["min_dcf"])
        cost, needed = f"{self.min_dcf:.4f}{dcf_interval}", nontargets_needed_for_cost(0.01)
        if self.non_targets < needed:
            cost = f"not measurable: needs {needed:,} non-target trials"
        left_out = f", {len(self.left_out)} unusable recordings left out" if self.left_out else ""
        speakers = f" by {self.speakers:,} speakers" if self.speakers is not None else ""
        return (
            f"EER {100 * self.eer:.3f} %{eer_interval}, threshold {self.threshold:.4f}, "
            f"minDCF(0.01) {cost} "
            f"({self.targets:,} target and {self.non_targets:,} non-target trials of {self.utterances:,} "
            f"recordings{speakers}{left_out}; {self.seconds:.1f} s)"
        )


def evaluate_trials(
    embedder: SpeakerEmbedder,
    config: Config,
    trials: Trials,
    description: str = "embedding",
    embeddings: Embeddings | None = None,
) -> tuple[Evaluation, TrialScores]:
    """The evaluation and the scores it comes from; trials of unusable recordings are left out and counted.

    `embeddings` of the trials' utterances, where they are there already, save embedding them.
    """
    started = time.perf_counter()
    was_training = embedder.training
    embedder.eval()
    try:
        if embeddings is None:
            embeddings = embed_utterances(embedder, config, trials.utterances, description)
    finally:
        embedder.train(was_training)
    require_usable(embeddings)
    scored = score_trials(embeddings.embeddings, trials)
    rate, threshold = eer(scored.scores, scored.labels, scored.counts)
    targets, non_targets = count_trials(scored.labels, scored.counts)
    result = Evaluation(
        eer=rate,
        threshold=threshold,
        min_dcf=min_dcf(scored.scores, scored.labels, p_target=0.01, counts=scored.counts),
        targets=targets,
        non_targets=non_targets,
        utterances=len(trials.utterances),
        seconds=0.0,
        left_out=embeddings.failed,
    )
    with contextlib.suppress(MVectorError):  # a network that has learned nothing yet cannot be calibrated
        result.calibration = Calibration.fit(scored.scores, scored.labels, counts=scored.counts)
    if scored.enroll_speakers is not None and scored.test_speakers is not None:
        result.speakers = len(np.union1d(scored.enroll_speakers, scored.test_speakers))
        with contextlib.suppress(MVectorError):  # a handful of speakers cannot be resampled
            result.intervals_95 = confidence_intervals(
                scored.scores, scored.labels, scored.enroll_speakers, scored.test_speakers
            )
    result.seconds = time.perf_counter() - started
    return result, scored


def embed_trials(
    embedder: Embedder, config: Config, trials: Trials, fingerprint: str, description: str, packed: str | None = None
) -> Embeddings:
    """Embeddings of the trials' recordings: from the recordings, or those of this model in the folder `packed`."""
    if packed is None:
        return embed_utterances(embedder, config, trials.utterances, description, fingerprint)
    embeddings = load_embeddings(packed)
    embeddings.require_model(fingerprint)
    return embeddings.select(trials.utterances)


def require_usable(embeddings: Embeddings) -> None:
    """DataListError if no recording could be embedded; a warning if some could not."""
    failed = embeddings.failed
    if not failed:
        return
    path, reason = failed[0]
    if len(failed) == len(embeddings):
        raise DataListError(f"no recording of the trials can be used; the first: {path}: {reason}")
    logger.warning(
        "%d recordings cannot be used and their trials are left out; the first: %s (%s)", len(failed), path, reason
    )


def embed_joined(
    embedder: Embedder, config: Config, trials: Trials, embeddings: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Embeddings [N, E] of the enrolled voices; the recordings of a voice are put end to end and embedded once.

    A recording that cannot be read is passed over; a voice without any is NaN. Each is cut as an utterance alone is.
    """
    limit_s = config.dataset_conf.eval_conf.max_duration
    voices = np.full((len(trials.enroll_rows), embeddings.shape[1]), np.nan, dtype=np.float32)
    for index, rows in enumerate(trials.enroll_rows):
        if len(rows) == 1:
            voices[index] = embeddings[rows[0]]
            continue
        waveforms = []
        for row in rows:
            with contextlib.suppress(AudioError):
                waveforms.append(read_waveform(config, trials.utterances[row], limit_s))
        joined = np.concatenate(waveforms) if waveforms else np.empty(0, np.float32)
        if len(joined) >= embedder.min_samples:
            voices[index] = embedder.embed([joined])[0]
    return voices


def identify(scored: TrialScores, trials: Trials) -> IdentificationMetrics | None:
    """Who of the enrolled is it? None where not every test was compared with every enrolled voice one by one.

    That is the case for a trial list, for a list compared with itself, and above EXACT_SCORES comparisons.
    """
    if trials.enroll is not None or scored.enroll is None or scored.test is None:
        return None
    enroll, test = np.unique(scored.enroll), np.unique(scored.test)  # without recordings that could not be embedded
    if len(scored.scores) != len(enroll) * len(test):
        return None
    matrix = np.empty((len(test), len(enroll)), np.float32)
    matrix[np.searchsorted(test, scored.test), np.searchsorted(enroll, scored.enroll)] = scored.scores
    probe, gallery = trials.test_speakers[test], trials.enroll_speakers[enroll]
    return identification_metrics(matrix, probe, gallery) if np.isin(probe, gallery).any() else None


def training_cohort(
    folder: Path, embedder: Embedder, config: Config, fingerprint: str, training: Embeddings | None = None
) -> Cohort:
    """The cohort stored in the model directory; made of `training` embeddings, or of its training list, if need be."""
    stored = folder / COHORT
    if training is None and stored.is_file():
        return Cohort.load(stored, fingerprint)
    if training is None:
        listed = config.dataset_conf.train_list
        if listed is None or not Path(listed).is_file():
            raise MVectorError(
                f"{folder} has no {COHORT}, and the training list {listed} to make one of is not here. Give training "
                "embeddings (tools/extract_embeddings.py makes them) with --training_embeddings."
            )
        utterances = some_of_each_speaker(read_data_list(listed, config.dataset_conf.data_root))
        training = embed_utterances(embedder, config, utterances, "cohort", fingerprint)
    training.require_model(fingerprint)
    cohort = Cohort.from_embeddings(training.embeddings, [utterance.speaker for utterance in training.utterances])
    cohort.save(stored, fingerprint)
    return cohort


def training_plda(folder: Path, fingerprint: str, training: Embeddings | None) -> Plda:
    """The PLDA stored in the model directory, or one fitted to `training` embeddings and stored there."""
    stored = folder / PLDA
    if training is None:
        if not stored.is_file():
            raise MVectorError(
                f"{folder} has no {PLDA}: give training embeddings (tools/extract_embeddings.py makes them) with "
                "--training_embeddings."
            )
        return Plda.load(stored, fingerprint)
    training.require_model(fingerprint)
    plda = Plda.fit(training.embeddings, [utterance.speaker for utterance in training.utterances])
    plda.save(stored, fingerprint)
    return plda


def some_of_each_speaker(utterances: list[Utterance], most: int = COHORT_UTTERANCES) -> list[Utterance]:
    """At most `most` utterances of each speaker, spread over the list."""
    of_speaker: dict[str, list[Utterance]] = {}
    for utterance in dict.fromkeys(utterances):
        of_speaker.setdefault(utterance.speaker, []).append(utterance)
    return [
        members[index * len(members) // min(most, len(members))]
        for members in of_speaker.values()
        for index in range(min(most, len(members)))
    ]


def trial_quality_measures(
    embeddings: Embeddings, trials: Trials, scored: TrialScores, cohort: Cohort | None
) -> Mapping[str, NDArray[Any]]:
    """The quality measures [n] of scored trials for `QualityCalibration`: duration, magnitude, mean cohort score.

    A voice of several utterances lasts as long as all of them; its other measures are their means.
    """
    if scored.enroll is None or scored.test is None:
        raise MVectorError("a quality-aware calibration needs single scores: use a list of fewer trials.")
    duration_s = np.maximum(embeddings.duration_s, 1e-3)  # NaN, of an unusable recording, stays NaN
    means = None
    if cohort is not None:
        unit = length_normalize(cohort.center(embeddings.embeddings))
        means = cohort_statistics(unit, cohort.means, min(300, len(cohort.means)))[0]
    measures = recording_qualities(duration_s, embeddings.magnitude, means)
    sizes = np.array([len(rows) for rows in trials.enroll_rows])
    enroll, test = {}, {}
    for name, values in measures.items():
        of_voice = mean_of_members(values[:, None], trials.enroll_rows)[:, 0]
        enroll[name] = (of_voice + np.log(sizes) * (name == "log_duration"))[scored.enroll]
        test[name] = values[trials.test_rows][scored.test]
    return trial_qualities(enroll, test)


def calibrate_scores(
    scorer: Scorer,
    embeddings: Embeddings,
    trials: Trials,
    scored: TrialScores,
    by_quality: bool,
) -> Calibration | QualityCalibration:
    """A calibration of a scorer, fitted on trials other than those it is to judge."""
    if not by_quality:
        return Calibration.fit(scored.scores, scored.labels, counts=scored.counts)
    measures = trial_quality_measures(embeddings, trials, scored, scorer.cohort)
    return QualityCalibration.fit(scored.scores, measures, scored.labels)


def log_likelihood_ratios(
    calibration: Calibration | QualityCalibration,
    scorer: Scorer,
    embeddings: Embeddings,
    trials: Trials,
    scored: TrialScores,
) -> NDArray[Any]:
    """Calibrated natural-log likelihood ratios [n] of scored trials."""
    if isinstance(calibration, Calibration):
        return calibration.llr(scored.scores)
    return calibration.llr(scored.scores, trial_quality_measures(embeddings, trials, scored, scorer.cohort))
