"""Evaluation of a model: utterances → embeddings → scores of trials → EER, its threshold, minDCF."""

import contextlib
import logging
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from tqdm import tqdm

from mvector.audio import load_audio, normalize_level
from mvector.config import Config
from mvector.data.lists import Utterance
from mvector.data.trials import Trials
from mvector.embedder import SpeakerEmbedder
from mvector.errors import AudioError, DataListError, MVectorError
from mvector.metrics import confidence_intervals, count_trials, eer, min_dcf
from mvector.scoring import TrialScores, score_trials

logger = logging.getLogger("mvector")

DECODED_AHEAD = 64


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

    def line(self) -> str:
        eer_interval = dcf_interval = ""
        if self.intervals_95 is not None:
            low, high = (100 * bound for bound in self.intervals_95["eer"])
            eer_interval = f" [{low:.2f}, {high:.2f}]"
            dcf_interval = " [{:.3f}, {:.3f}]".format(*self.intervals_95["min_dcf"])
        left_out = f", {len(self.left_out)} unusable recordings left out" if self.left_out else ""
        speakers = f" by {self.speakers:,} speakers" if self.speakers is not None else ""
        return (
            f"EER {100 * self.eer:.3f} %{eer_interval}, threshold {self.threshold:.4f}, "
            f"minDCF(0.01) {self.min_dcf:.4f}{dcf_interval} "
            f"({self.targets:,} target and {self.non_targets:,} non-target trials of {self.utterances:,} "
            f"recordings{speakers}{left_out}; {self.seconds:.1f} s)"
        )

    def as_dict(self) -> dict[str, Any]:
        values = asdict(self)
        values["min_dcf_p_target"] = 0.01
        values["left_out"] = len(self.left_out)
        return values


def read_waveform(
    config: Config, utterance: Utterance, max_duration_s: float | None = None, warnings: list[str] | None = None
) -> np.ndarray:
    """An utterance [T] as the model wants it: its first `max_duration_s` seconds, at the model's rate and level.

    `warnings` takes what is doubtful about the recording, as in `load_audio`.
    """
    dataset = config.dataset_conf.dataset
    end_s = utterance.end_s
    if max_duration_s is not None:
        limit_s = (utterance.start_s or 0.0) + max_duration_s
        end_s = limit_s if end_s is None else min(end_s, limit_s)
    waveform = load_audio(utterance.path, dataset.sample_rate, utterance.start_s, end_s, warnings=warnings)
    if not np.any(waveform):
        raise AudioError(f"{utterance.path} is silent (all zero).")
    return normalize_level(waveform, dataset.target_dB) if dataset.use_dB_normalization else waveform


def embed_utterances(
    embedder: SpeakerEmbedder, config: Config, utterances: Sequence[Utterance], description: str = "embedding"
) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """Embeddings [N, E] of utterances in their order, and (path, reason) of those that cannot be embedded.

    The row of an utterance that cannot be embedded is NaN. Recordings are decoded ahead by threads; memory holds
    a few dozen waveforms at a time.
    """
    embeddings = np.full((len(utterances), embedder.backbone.embd_dim), np.nan, dtype=np.float32)
    failed: list[tuple[str, str]] = []
    doubts: list[str] = []
    max_duration_s = config.dataset_conf.eval_conf.max_duration

    def read(index: int) -> np.ndarray | AudioError:
        try:
            return read_waveform(config, utterances[index], max_duration_s, doubts)
        except AudioError as error:
            return error

    def blocks() -> Iterator[tuple[range, list[np.ndarray | AudioError]]]:
        with ThreadPoolExecutor(min(8, (os.cpu_count() or 1))) as pool:
            ranges = [
                range(first, min(first + DECODED_AHEAD, len(utterances)))
                for first in range(0, len(utterances), DECODED_AHEAD)
            ]
            pending = None
            for block in ranges:
                following = (block, [pool.submit(read, index) for index in block])
                if pending is not None:
                    yield pending[0], [future.result() for future in pending[1]]
                pending = following
            if pending is not None:
                yield pending[0], [future.result() for future in pending[1]]

    with tqdm(total=len(utterances), desc=description, unit="utt", disable=None, leave=False) as progress:
        for block, waveforms in blocks():
            usable = []
            for index, waveform in zip(block, waveforms, strict=True):
                if isinstance(waveform, np.ndarray) and len(waveform) >= embedder.min_samples:
                    usable.append((index, waveform))
                else:
                    reason = "too short for this model" if isinstance(waveform, np.ndarray) else str(waveform)
                    failed.append((utterances[index].path, reason))
            if usable:
                embeddings[[index for index, _ in usable]] = embedder.embed(
                    [waveform for _, waveform in usable], config.dataset_conf.eval_conf.batch_size
                )
            progress.update(len(block))
    if doubts:
        logger.warning("%d doubts about recordings; the first: %s", len(doubts), doubts[0])
    return embeddings, failed


def evaluate_trials(
    embedder: SpeakerEmbedder, config: Config, trials: Trials, description: str = "embedding"
) -> tuple[Evaluation, TrialScores]:
    """The evaluation and the scores it comes from; trials of unusable recordings are left out and counted."""
    started = time.perf_counter()
    was_training = embedder.training
    embedder.eval()
    try:
        embeddings, failed = embed_utterances(embedder, config, trials.utterances, description)
    finally:
        embedder.train(was_training)
    if len(failed) == len(trials.utterances):
        raise DataListError(f"no recording of the trials can be used; the first: {failed[0][0]}: {failed[0][1]}")
    if failed:
        path, reason = failed[0]
        logger.warning(
            "%d recordings cannot be used and their trials are left out; the first: %s (%s)", len(failed), path, reason
        )
    scored = score_trials(embeddings, trials)
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
        left_out=failed,
    )
    if scored.enroll_speakers is not None and scored.test_speakers is not None:
        result.speakers = len(np.union1d(scored.enroll_speakers, scored.test_speakers))
        with contextlib.suppress(MVectorError):  # a handful of speakers cannot be resampled
            result.intervals_95 = confidence_intervals(
                scored.scores, scored.labels, scored.enroll_speakers, scored.test_speakers
            )
    result.seconds = time.perf_counter() - started
    return result, scored


def rates_at(scored: TrialScores, threshold: float) -> dict[str, float]:
    """{'threshold', 'frr', 'far'}: shares of target trials at or under it, and of non-target trials above it."""
    counts = np.ones(len(scored.scores)) if scored.counts is None else scored.counts
    accepted, target = scored.scores > threshold, scored.labels
    return {
        "threshold": threshold,
        "frr": float(counts[target & ~accepted].sum() / counts[target].sum()),
        "far": float(counts[~target & accepted].sum() / counts[~target].sum()),
    }
