"""Two recordings → one similarity and a verdict, with nothing but a model directory.

>>> predictor = MVectorPredictor(model_path="models/EcapaTdnn_Fbank/best_model/")
>>> predictor.contrast("a.wav", "b.wav")
0.7312
>>> predictor.verdict("a.wav", "b.wav").same
True
"""

import itertools
import logging
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mvector.audio import find_speech, iter_windows, normalize_level, require_speech
from mvector.audio.decode import AudioSource
from mvector.calibration import stored_calibration
from mvector.config import Config, load_config
from mvector.errors import ConfigError, MVectorError, NoSpeechError, TooShortError
from mvector.export.runtime import ExportedModel, exported_file, load_exported
from mvector.fingerprint import decisive_settings
from mvector.scoring.calibration import posterior

if TYPE_CHECKING:  # torch is imported for a model of torch, and not for an exported one
    from mvector.model_directory import ModelDirectory

logger = logging.getLogger("mvector")

DEFAULT_MODEL = "models/EcapaTdnn_Fbank/best_model/"
WINDOW_S = 20.0  # longer recordings are embedded in windows; evaluation hears 20 s of an utterance too
ENOUGH_SPEECH_S = 2.0  # with less the verdict comes with a warning
COUNTED_PIECE_S = 2.0  # the detector takes 1–2 % of real time: speech is counted piece by piece until there is enough
_HEARD, _UNHEARD = 0, 1


@dataclass(frozen=True)
class Verdict:
    """The answer for two recordings.

    similarity: cosine of their embeddings, -1 to 1, as it is (not mapped to 0–1). same: whether it is greater than
    `threshold`, a similarity too; None where the model has no threshold and none was given. warnings: what makes the
    answer less reliable (narrow band, truncated, little speech), a sentence each. llr: the calibrated natural-log
    likelihood ratio, how much more likely this similarity is for one person than for two; None where the model has no
    calibration.
    """

    similarity: float
    threshold: float | None
    same: bool | None
    warnings: tuple[str, ...] = ()
    llr: float | None = None

    def probability(self, prior: float = 0.5) -> float | None:
        """Probability that it is one person, where before any sound was heard it was `prior`; None without an llr."""
        return None if self.llr is None else float(posterior(self.llr, prior))


class MVectorPredictor:
    """Embeds and compares recordings with a trained model.

    configs         for callers of the older package: the model directory's own config.yml decides; a configuration
                    that contradicts it is answered with one warning
    threshold       similarity above which two voices are one; None: the one stored with the model
    audio_db_path   not in this version yet
    model_path      a model directory; or an exported model, which needs no torch: an .onnx file, or a folder that has
                    a model.onnx and no weights of torch
    use_gpu         older form of `device`: True needs a GPU, False is the CPU
    device          auto, cpu, cuda, cuda:0 … or mps; for an exported model auto, cpu (onnxruntime) or openvino
    overwrites      'a.b=c' texts that override keys of the model's configuration; an exported one is fixed

    A recording is a path, the bytes of a sound file, a binary file object, or an array [T] or [T, channels] at
    `sample_rate`. Raises MVectorError kinds: ModelError for the directory, ConfigError for an argument, and for
    recordings what :func:`mvector.audio.load_audio` raises.
    """

    def __init__(
        self,
        configs: str | os.PathLike[str] | Mapping[str, Any] | Config | None = None,
        threshold: float | None = None,
        audio_db_path: str | os.PathLike[str] | None = None,
        model_path: str | os.PathLike[str] = DEFAULT_MODEL,
        use_gpu: bool | None = None,
        device: str = "auto",
        overwrites: str | Sequence[str] = (),
    ):
        self.audio_db_path = audio_db_path
        if audio_db_path is not None:
            raise MVectorError(
                f"audio_db_path {os.fspath(audio_db_path)!r}: enrolling and recognising people is not in this version "
                "yet. Leave audio_db_path out; comparing two recordings (contrast) works without it."
            )
        if threshold is not None and not -1 <= threshold <= 1:
            raise ConfigError(f"threshold must be a cosine similarity from -1 to 1, found {threshold!r}")
        self.model: ModelDirectory | ExportedModel
        exported = exported_file(model_path)
        if exported is None:
            from mvector.device import choose_device
            from mvector.model_directory import load_model

            self.model = directory = load_model(model_path, choose_device(device, use_gpu), overwrites)
            self._embedding_size = directory.embedder.backbone.embd_dim
        else:
            if overwrites:
                raise ConfigError(
                    f"{exported} is an exported model, whose configuration cannot be changed any more; change that of "
                    "its model directory and export it again."
                )
            self.model = load_exported(exported, device, use_gpu)
            self._embedding_size = self.model.embedder.embedding_size
        self.config, self.embedder = self.model.config, self.model.embedder
        self.threshold = self.model.threshold if threshold is None else float(threshold)
        self.calibration = stored_calibration(self.model.metrics)
        self.sample_rate_hz = self.config.dataset_conf.dataset.sample_rate
        if configs is not None:
            self._compare_config(configs)

    def predict(self, audio_data: AudioSource, sample_rate: int = 16000) -> np.ndarray:
        """The embedding [E] float32 of a recording, of length 1, so that a dot product is the cosine similarity.

        A recording longer than 20 s is embedded in windows of 20 s; the result is the mean of their unit-length
        embeddings, brought to length 1 again. Windows without speech are left out of it if any has speech.
        Raises NoSpeechError for a recording of zeros; noise is embedded, only a verdict on it is refused.
        """
        return self._embed([audio_data], sample_rate)[0]

    def predict_batch(
        self, audios_data: Iterable[AudioSource], sample_rate: int = 16000, batch_size: int = 32
    ) -> np.ndarray:
        """Embeddings [N, E] float32 of N recordings: each is what `predict` gives for it alone, in the order given.

        `batch_size` windows are in memory at a time; it changes the speed, never the result.
        """
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, found {batch_size}")
        return self._embed(list(audios_data), sample_rate, batch_size)

    def contrast(self, audio_data1: AudioSource, audio_data2: AudioSource, sample_rate: int = 16000) -> float:
        """Cosine similarity of two recordings, -1 to 1. Raises NoSpeechError where nobody speaks in one of them."""
        first, second = self._embed([audio_data1, audio_data2], sample_rate, verdict=True)
        return _cosine(first, second)

    def verdict(self, audio_data1: AudioSource, audio_data2: AudioSource, sample_rate: int = 16000) -> Verdict:
        """As `contrast`, with the threshold, the answer, and warnings (which are not logged then)."""
        warnings: list[str] = []
        first, second = self._embed([audio_data1, audio_data2], sample_rate, verdict=True, warnings=warnings)
        similarity = _cosine(first, second)
        same = None if self.threshold is None else similarity > self.threshold
        llr = None if self.calibration is None else float(self.calibration.llr(similarity))
        return Verdict(similarity, self.threshold, same, tuple(dict.fromkeys(warnings)), llr)

    def _embed(
        self,
        sources: Sequence[AudioSource],
        sample_rate: int,
        batch_size: int = 32,
        verdict: bool = False,
        warnings: list[str] | None = None,
    ) -> np.ndarray:
        """Embeddings [N, E] of length 1; the windows of all recordings stream through in batches."""
        shape = (2, len(sources), self._embedding_size)
        sums = np.zeros(shape)  # the windows with speech, those without
        stream = self._all_windows(sources, sample_rate, verdict, warnings)
        while batch := list(itertools.islice(stream, batch_size)):
            embeddings = self.embedder.embed([window for _, _, window in batch], batch_size).astype(np.float64)
            embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
            for (index, kind, _), embedding in zip(batch, embeddings, strict=True):
                sums[kind, index] += embedding
        chosen = np.where(sums[_HEARD].any(axis=1, keepdims=True), sums[_HEARD], sums[_UNHEARD])
        return (chosen / np.linalg.norm(chosen, axis=1, keepdims=True)).astype(np.float32)

    def _all_windows(
        self, sources: Sequence[AudioSource], sample_rate: int, verdict: bool, warnings: list[str] | None
    ) -> Iterator[tuple[int, int, np.ndarray]]:
        """(index of the recording, _HEARD or _UNHEARD, window [T] at the model's level)."""
        for index, source in enumerate(sources):
            try:
                for kind, window in self._windows(source, sample_rate, verdict, warnings):
                    yield index, kind, self._level(window)
            except MVectorError as error:
                if len(sources) == 1 or isinstance(source, (str, Path)):
                    raise
                raise type(error)(f"recording {index + 1} of {len(sources)}: {error}") from error

    def _windows(
        self, source: AudioSource, sample_rate: int, verdict: bool, warnings: list[str] | None
    ) -> Iterator[tuple[int, np.ndarray]]:
        name, rate = _name(source), self.sample_rate_hz
        windows = iter_windows(source, WINDOW_S, rate, source_rate_hz=sample_rate, warnings=warnings)
        ahead = list(itertools.islice(windows, 2))
        self._require_frames(ahead[0], name)
        ask_detector = verdict or len(ahead) == 2
        speech_s, refusal, usable = 0.0, None, False
        for window in itertools.chain(ahead, windows):
            try:
                if ask_detector:
                    require_speech(window, rate, name)
                elif not window.any():
                    raise NoSpeechError(f"{name}: digital silence, every sample is zero; check the microphone")
            except NoSpeechError as error:
                refusal = refusal or error
                if not verdict and window.any():
                    usable = True
                    yield _UNHEARD, window
                continue
            usable = True
            if warnings is not None and speech_s < ENOUGH_SPEECH_S:
                speech_s += _speech_seconds(window, rate, ENOUGH_SPEECH_S - speech_s)
            yield _HEARD, window
        if refusal is not None and not usable:
            raise refusal
        if warnings is not None and speech_s < ENOUGH_SPEECH_S:
            warnings.append(
                f"{name}: only {speech_s:.1f} s of speech was found in it; scores of less than "
                f"{ENOUGH_SPEECH_S:g} s are less reliable"
            )

    def _level(self, window: np.ndarray) -> np.ndarray:
        dataset = self.config.dataset_conf.dataset
        return normalize_level(window, dataset.target_dB) if dataset.use_dB_normalization else window

    def _require_frames(self, waveform: np.ndarray, name: str) -> None:
        needed = self.embedder.min_samples
        if len(waveform) < needed:
            raise TooShortError(
                f"{name}: {len(waveform) / self.sample_rate_hz:.3f} s of sound; this model needs at least "
                f"{needed / self.sample_rate_hz:.3f} s, and a few seconds of speech for a reliable answer"
            )

    def _compare_config(self, configs: str | os.PathLike[str] | Mapping[str, Any] | Config) -> None:
        given = configs if isinstance(configs, Config) else load_config(configs, check_names=False)
        theirs, ours = decisive_settings(given), decisive_settings(self.config)
        differing = [key for key in ours if theirs[key] != ours[key]]
        if differing:
            logger.warning(
                "the given configuration differs from %s in %s; the model's own is used",
                self.model.path / "config.yml",
                ", ".join(differing),
            )


def _cosine(first: np.ndarray, second: np.ndarray) -> float:
    """Of two embeddings of length 1; rounding may not carry it beyond ±1."""
    return float(np.clip(math.fsum(np.multiply(first, second, dtype=np.float64)), -1.0, 1.0))


def _speech_seconds(waveform: np.ndarray, sample_rate_hz: int, enough_s: float) -> float:
    """Seconds of speech in `waveform` [T]; counting stops at `enough_s`."""
    total_s, piece = 0.0, round(COUNTED_PIECE_S * sample_rate_hz)
    for start in range(0, len(waveform), piece):
        spans = find_speech(waveform[start : start + piece], sample_rate_hz)
        total_s += sum(end_s - start_s for start_s, end_s in spans)
        if total_s >= enough_s:
            break
    return total_s


def _name(source: AudioSource) -> str:
    """What the messages of :mod:`mvector.audio` call this recording."""
    if isinstance(source, (str, Path)):
        return str(source)
    if isinstance(source, np.ndarray):
        return "the given array"
    name = getattr(source, "name", None)
    return name if isinstance(name, str) and name else "the given recording"
