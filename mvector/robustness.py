"""How a model's error rates change when the recordings that are to be recognised get worse.

The enrolled recordings of a trial list stay as they are, the tested ones are changed: cut, buried in noise, sent
through a telephone, made quiet, compressed. What is done to a recording depends on its place in the list alone, so two
models hear the same.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from mvector.audio import load_audio, normalize_level
from mvector.audio.augmentation.sounds import list_sounds
from mvector.audio.level import rms_dbfs
from mvector.audio.resample import resample
from mvector.calibration import rates_of
from mvector.config import Config
from mvector.data.lists import Utterance
from mvector.data.trials import Trials
from mvector.embeddings import Embedder
from mvector.errors import AudioError, MVectorError
from mvector.metrics import confidence_intervals, eer
from mvector.scoring import score_trials

DURATIONS_S = (5.0, 3.0, 2.0, 1.0)
SNRS_DB = (20.0, 15.0, 10.0, 5.0, 0.0)
LOW_LEVEL_DBFS = -40.0
TELEPHONE_BAND_HZ = (300.0, 3400.0)
TELEPHONE_RATE_HZ = 8000
OPUS_BITS_PER_S = 12_000
_OPUS_RANGE = (6_000, 256_000)  # what libsndfile's compression levels 1 and 0 mean, in bits per second

Change = Callable[[NDArray[np.float32], int, np.random.Generator], NDArray[np.float32]]


@dataclass(frozen=True)
class Condition:
    """A name and what is done: (waveform [T], sample rate in Hz, random generator) → waveform."""

    name: str
    change: Change


@dataclass(frozen=True)
class Outcome:
    """Rates of a list under one condition, fractions; `far` and `frr` are at the threshold that the model stores."""

    condition: str
    eer: float
    eer_interval_95: tuple[float, float] | None
    threshold: float | None
    far: float | None
    frr: float | None
    trials: int
    left_out: int  # recordings that could not be embedded, such as those too short for the model


def conditions(noises: Sequence[NDArray[np.float32]] = ()) -> list[Condition]:
    """Every condition; `noises` at the rate of the recordings, none: pink noise."""
    return [
        Condition("as recorded", lambda waveform, rate, rng: waveform),
        *(Condition(f"{seconds:g} s", _cut_to(seconds)) for seconds in DURATIONS_S),
        *(Condition(f"noise, SNR {snr:g} dB", _with_noise(snr, noises)) for snr in SNRS_DB),
        Condition("telephone (300–3400 Hz, G.711)", telephone),
        Condition(f"level {LOW_LEVEL_DBFS:g} dBFS, 16 bits", quiet),
        Condition(f"Opus, {OPUS_BITS_PER_S // 1000} kbit/s", opus),
    ]


def measure(
    embedder: Embedder,
    config: Config,
    trials: Trials,
    threshold: float | None,
    chosen: Sequence[Condition],
    description: str = "embedding",
) -> list[Outcome]:
    """The outcome of each condition. Raises MVectorError where no recording can be used under one of them."""
    if trials.labels is None:
        raise MVectorError("robustness is measured on a trial list: give one that says which trials are targets.")
    tested = np.unique(trials.test_rows)
    enrolled = np.unique([row for rows in trials.enroll_rows for row in rows])
    count = len(trials.utterances)
    embeddings = np.full((2 * count, embedder.embedding_size), np.nan, np.float32)  # as recorded, then changed
    twice = replace(trials, utterances=trials.utterances * 2, test_rows=trials.test_rows + count)
    outcomes = []
    with tqdm(total=len(enrolled) + len(tested) * len(chosen), desc=description, unit="utt", disable=None) as bar:
        for row in enrolled:
            embeddings[row] = _embed(embedder, config, trials.utterances[row], None, 0)
            bar.update()
        for condition in chosen:
            for row in tested:
                embeddings[count + row] = _embed(embedder, config, trials.utterances[row], condition.change, int(row))
                bar.update()
            lost = int(np.isnan(embeddings[count + tested, 0]).sum())
            scored = score_trials(embeddings, twice)
            rate, _ = eer(scored.scores, scored.labels, scored.counts)
            interval = None
            if scored.enroll_speakers is not None and scored.test_speakers is not None:
                interval = confidence_intervals(
                    scored.scores, scored.labels, scored.enroll_speakers, scored.test_speakers
                )["eer"]
            far = frr = None
            if threshold is not None:
                rates = rates_of(scored, threshold)
                far, frr = rates.far, rates.frr
            outcomes.append(Outcome(condition.name, rate, interval, threshold, far, frr, len(scored.scores), lost))
    return outcomes


def _embed(
    embedder: Embedder, config: Config, utterance: Utterance, change: Change | None, seed: int
) -> NDArray[np.float32] | float:
    """The embedding [E], or NaN for what cannot be embedded."""
    dataset = config.dataset_conf.dataset
    start_s = utterance.start_s or 0.0
    end_s = start_s + config.dataset_conf.eval_conf.max_duration
    if utterance.end_s is not None:
        end_s = min(end_s, utterance.end_s)
    try:
        waveform = load_audio(utterance.path, dataset.sample_rate, utterance.start_s, end_s, warnings=[])
    except AudioError:
        return float("nan")
    if change is not None:
        waveform = change(waveform, dataset.sample_rate, np.random.default_rng(seed)).astype(np.float32)
    if dataset.use_dB_normalization:
        waveform = normalize_level(waveform, dataset.target_dB)
    if not waveform.any() or len(waveform) < embedder.min_samples:
        return float("nan")
    return embedder.embed([np.ascontiguousarray(waveform)])[0]


def read_noises(folder: str | Path, sample_rate_hz: int) -> list[NDArray[np.float32]]:
    """The recordings of noise in `folder` and its subfolders; raises MVectorError where there are none."""
    found = [load_audio(path, sample_rate_hz, warnings=[]) for path in list_sounds(str(folder))]
    return [noise for noise in found if noise.any()]


def telephone(waveform: NDArray[np.float32], rate_hz: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """What a narrow-band telephone leaves: 300 to 3400 Hz at 8 kHz, in the 8 bits of G.711's µ-law."""
    narrow = resample(waveform, rate_hz, TELEPHONE_RATE_HZ)
    spectrum = np.fft.rfft(narrow)
    frequency = np.fft.rfftfreq(len(narrow), 1 / TELEPHONE_RATE_HZ)
    low, high = TELEPHONE_BAND_HZ
    spectrum[(frequency < low) | (frequency > high)] = 0.0
    sound = np.clip(np.fft.irfft(spectrum, len(narrow)), -1.0, 1.0)
    compressed = np.sign(sound) * np.log1p(255.0 * np.abs(sound)) / np.log(256.0)
    coded = np.rint(compressed * 127.0) / 127.0
    heard = np.sign(coded) * np.expm1(np.abs(coded) * np.log(256.0)) / 255.0
    return resample(heard.astype(np.float32), TELEPHONE_RATE_HZ, rate_hz)


def quiet(waveform: NDArray[np.float32], rate_hz: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Recorded far too quietly: at -40 dBFS, rounded to the 16 bits of a file."""
    low = waveform * np.float32(10.0 ** ((LOW_LEVEL_DBFS - rms_dbfs(waveform)) / 20.0))
    return np.rint(low * 32768.0).astype(np.float32) / np.float32(32768.0)


def opus(waveform: NDArray[np.float32], rate_hz: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Through Opus at 12 kbit/s, as a messenger sends it, and back."""
    return load_audio(opus_file(waveform, rate_hz), rate_hz, warnings=[])


def opus_file(waveform: NDArray[np.float32], rate_hz: int) -> bytes:
    """`waveform` as an Ogg file of about 12 kbit/s, by libsndfile's encoder."""
    import soundfile

    least, most = _OPUS_RANGE
    level = 1.0 - (OPUS_BITS_PER_S - least) / (most - least)
    file, sound = io.BytesIO(), np.clip(waveform, -1.0, 1.0)
    soundfile.write(file, sound, rate_hz, format="OGG", subtype="OPUS", compression_level=level)
    return file.getvalue()


def _cut_to(seconds: float) -> Change:
    """The middle of the recording; a shorter one stays whole."""

    def cut(waveform: NDArray[np.float32], rate_hz: int, rng: np.random.Generator) -> NDArray[np.float32]:
        samples = round(seconds * rate_hz)
        start = max(0, (len(waveform) - samples) // 2)
        return waveform[start : start + samples]

    return cut


def _with_noise(snr_db: float, noises: Sequence[NDArray[np.float32]]) -> Change:
    def add(waveform: NDArray[np.float32], rate_hz: int, rng: np.random.Generator) -> NDArray[np.float32]:
        if noises:
            noise = noises[int(rng.integers(len(noises)))]
            noise = np.resize(np.roll(noise, -int(rng.integers(len(noise)))), len(waveform))
        else:
            noise = pink_noise(len(waveform), rng)
        gain_db = rms_dbfs(waveform) - rms_dbfs(noise) - snr_db
        return waveform + noise * np.float32(10.0 ** (gain_db / 20.0))

    return add


def pink_noise(samples: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise [samples] with equal power in every octave."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0.0
    return np.fft.irfft(spectrum, samples).astype(np.float32)
