"""A recording heard for recognising: where speech is, how good it is, and the embedding of the speech.

Silence and noise around the speech are cut off before it is embedded. Measured with ECAPA-TDNN on 30 people of the
open_speech test lists (equal error rate, recordings of at most 8 s): 3 s of hiss at -60 dBFS before and after each
recording made 7.1 % of 3.3 %. Cut to the bare speech it is 4.7 %, cut to the speech and 0.3 s around it 3.6 %, and the
undisturbed recordings cut in the same way have 3.5 %. Pauses below 0.6 s thus stay as they are, and most recordings
with them as the model was trained and calibrated on them.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import numpy as np

from mvector.audio import find_speech, iter_windows, rms_dbfs
from mvector.audio.decode import AudioSource
from mvector.audio.quality import clipped_share, estimate_snr_db
from mvector.audio.windows import MIN_LAST_WINDOW_S
from mvector.config import Config
from mvector.embeddings import Embedder
from mvector.errors import TooShortError
from mvector.listening import ENOUGH_SPEECH_S, WINDOW_S, at_level, recording_name

MARGIN_S = 0.3
BATCH = 32  # windows embedded together on an accelerator

# Measured on the same people, by how many comparisons of one person fell below the model's threshold (2.2 %
# undisturbed): 20 % with white noise at 10 dB, 42 % at 5 dB, 69 % at 0 dB; 6 % with 5 % of the samples clipped, 19 %
# with 20 %; 28 % with 1 s of speech, 57 % with 0.6 s. Under all of them strangers were accepted less often, so a bad
# recording is no reason to refuse a score that is above the threshold.
LEAST_SNR_DB = 10.0
MOST_CLIPPED = 0.02
# 107 recordings of rain, engines, animals, fire and clocks: the detector takes at most 0.22 s of one for speech. Of 360
# recordings of people, the shortest of them single words, 359 have more than 0.3 s.
LEAST_SPEECH_S = 0.3


@dataclass(frozen=True)
class Quality:
    """What of a recording tells how far a score can be relied on.

    duration_s: all of it. speech_s: where somebody speaks. snr_db, clipped_share, level_dbfs: of the parts that were
    embedded, None where there are none. magnitude: Euclidean length of the embedding as the network gives it.
    """

    duration_s: float = 0.0
    speech_s: float = 0.0
    snr_db: float | None = None
    clipped_share: float | None = None
    level_dbfs: float | None = None
    magnitude: float | None = None

    def numbers(self) -> dict[str, float]:
        """Those that are known, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Heard:
    """A recording after listening.

    name       what messages call it
    embedding  [E] float32 of unit length; None where there is not enough speech to embed (below LEAST_SPEECH_S)
    is_silent  every sample is zero, and there are some
    speech     [T] float32 at the model's rate: what was embedded; None unless asked for
    """

    name: str
    embedding: np.ndarray | None
    quality: Quality
    is_silent: bool
    warnings: tuple[str, ...]
    speech: np.ndarray | None = None


class _Tally:
    """The quality of a recording, gathered window by window."""

    def __init__(self, sample_rate_hz: int):
        self.rate = sample_rate_hz
        self.samples = 0
        self.speech_s = 0.0
        self.is_silent = True
        self.snrs_db: list[float] = []
        self.clipped: list[float] = []
        self.levels_dbfs: list[float] = []

    def spans(self, window: np.ndarray) -> list[tuple[float, float]]:
        """The speech in `window`, after noting what it is like."""
        self.samples += len(window)
        if not window.any():
            return []
        self.is_silent = False
        spans = find_speech(window, self.rate)
        if spans:
            self.speech_s += sum(end_s - start_s for start_s, end_s in spans)
            snr_db = estimate_snr_db(window, self.rate)
            self.snrs_db += [] if np.isnan(snr_db) else [snr_db]
            self.clipped.append(clipped_share(window))
            self.levels_dbfs.append(rms_dbfs(window))
        return spans

    def quality(self, magnitude: float | None) -> Quality:
        snr_db, clipped, level_dbfs = (
            float(np.median(each)) if each else None for each in (self.snrs_db, self.clipped, self.levels_dbfs)
        )
        return Quality(self.samples / self.rate, self.speech_s, snr_db, clipped, level_dbfs, magnitude)


def hear(
    source: AudioSource,
    sample_rate: int,
    embedder: Embedder,
    config: Config,
    keep_speech: bool = False,
    most_s: float | None = None,
) -> Heard:
    """Listen to a recording and embed what is spoken in it. `most_s`: stop after so many seconds of it.

    Raises what `mvector.audio.load_audio` does for what cannot be decoded; too little sound, silence and noise are no
    errors here, their `embedding` is None.
    """
    name, rate = recording_name(source), config.dataset_conf.dataset.sample_rate
    tally, warnings, kept = _Tally(rate), list[str](), list[np.ndarray]()
    windows = iter_windows(source, WINDOW_S, rate, end_s=most_s, source_rate_hz=sample_rate, warnings=warnings)
    total, magnitudes = None, list[float]()
    stream = _speech_windows(windows, tally)
    try:
        while batch := list(itertools.islice(stream, BATCH)):
            usable = [window for window in batch if len(window) >= embedder.min_samples]
            if keep_speech:
                kept += usable
            if not usable:
                continue
            rows = embedder.embed([at_level(window, config) for window in usable], BATCH).astype(np.float64)
            lengths = np.linalg.norm(rows, axis=1)
            magnitudes += lengths.tolist()
            units = (rows / lengths[:, None]).sum(axis=0)
            total = units if total is None else total + units
    except TooShortError:
        total = None
    embedding = None
    if total is not None and tally.speech_s >= LEAST_SPEECH_S:
        embedding = (total / np.linalg.norm(total)).astype(np.float32)
    quality = tally.quality(float(np.mean(magnitudes)) if embedding is not None else None)
    if embedding is not None:
        warnings += _doubts(name, quality)
    speech = np.concatenate(kept) if kept and embedding is not None else None
    return Heard(
        name, embedding, quality, tally.is_silent and tally.samples > 0, tuple(dict.fromkeys(warnings)), speech
    )


def _speech_windows(windows: Iterable[np.ndarray], tally: _Tally) -> Iterator[np.ndarray]:
    """The speech with MARGIN_S around it, joined, in windows as `iter_windows` makes them."""
    size, shortest = round(WINDOW_S * tally.rate), round(MIN_LAST_WINDOW_S * tally.rate)
    rest = np.zeros(0, np.float32)
    for window in windows:
        keep = np.zeros(len(window), bool)
        for start_s, end_s in tally.spans(window):
            keep[max(0, round((start_s - MARGIN_S) * tally.rate)) : round((end_s + MARGIN_S) * tally.rate)] = True
        rest = np.concatenate((rest, window[keep]))
        while len(rest) >= size + shortest:
            yield rest[:size]
            rest = rest[size:]
    if len(rest):
        yield rest


def _doubts(name: str, quality: Quality) -> list[str]:
    """A sentence for each quality that makes scores less reliable."""
    doubts = []
    if quality.speech_s < ENOUGH_SPEECH_S:
        doubts.append(
            f"{name}: only {quality.speech_s:.1f} s of speech was found in it; scores of less than "
            f"{ENOUGH_SPEECH_S:g} s are less reliable"
        )
    if is_noisy(quality):
        doubts.append(
            f"{name}: the voice is only about {quality.snr_db:.0f} dB above the noise; below {LEAST_SNR_DB:g} dB "
            "people are often not recognised"
        )
    if is_clipped(quality):
        doubts.append(
            f"{name}: {100 * (quality.clipped_share or 0):.1f} % of its samples are clipped; lower the level of the "
            "microphone"
        )
    return doubts


def is_noisy(quality: Quality) -> bool:
    """Of a second and more: in less there may be no pause, and the estimate takes the voice itself for noise."""
    return quality.snr_db is not None and quality.duration_s >= ENOUGH_SPEECH_S and quality.snr_db < LEAST_SNR_DB


def is_clipped(quality: Quality) -> bool:
    return quality.clipped_share is not None and quality.clipped_share > MOST_CLIPPED
