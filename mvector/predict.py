"""Two recordings → one similarity and a verdict; a recording → who of the enrolled people speaks.

>>> predictor = MVectorPredictor()  # the model that the package carries
>>> predictor.contrast("a.wav", "b.wav")
0.7312
>>> predictor.verdict("a.wav", "b.wav").same
True
>>> predictor = MVectorPredictor(model_path="models/EcapaTdnn_Fbank/best_model/", audio_db_path="audio_db")
>>> predictor.register("anna.wav", "anna").utterances
1
>>> name, score = predictor.recognition("who.wav")
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

from mvector.audio.decode import AudioSource
from mvector.config import Config, load_config
from mvector.errors import ConfigError, MVectorError
from mvector.fingerprint import decisive_settings, model_fingerprint
from mvector.listening import HEARD, UNHEARD, at_level, listen
from mvector.opening import STARTER_MODEL, open_model

if TYPE_CHECKING:  # for a quick start: torch is imported for a model of torch, scoring where it is asked for
    from mvector.recognition import Recogniser, Recognition, Registration, Verification
    from mvector.scoring.calibration import Calibration
    from mvector.store import VoiceStore

logger = logging.getLogger("mvector")


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
        if self.llr is None:
            return None
        from mvector.scoring.calibration import posterior

        return float(posterior(self.llr, prior))


class MVectorPredictor:
    """Embeds and compares recordings with a trained model, enrolls people and recognises them.

    configs         for callers of the older package: the model directory's own config.yml decides; a configuration
                    that contradicts it is answered with one warning
    threshold       similarity above which two voices are one; None: the one stored with the model
    audio_db_path   where enrolled voices are kept: a folder (recordings that the mvector package left in it are
                    enrolled at the start), or a postgresql:// address; None: nobody can be enrolled
    model_path      a model directory; or an exported model, which needs no torch: an .onnx file, or a folder that has
                    a model.onnx and no weights of torch; None: the small model that the package carries
    use_gpu         older form of `device`: True needs a GPU, False is the CPU
    device          auto, cpu, cuda, cuda:0 … or mps; for an exported model auto, cpu (onnxruntime) or openvino
    overwrites      'a.b=c' texts that override keys of the model's configuration; of an exported one those that
                    decide on embeddings are fixed
    keep_audio      keep the recordings of people enrolled from now on, so that another model can take them over
    index           how enrolled people are searched: exact (everybody is compared), or ivf, lists for a hundred
                    thousand people and more (see :func:`mvector.store.open_store`)

    A recording is a path, the bytes of a sound file, a binary file object, or an array [T] or [T, channels] at
    `sample_rate`. Raises MVectorError kinds: ModelError for the directory, ConfigError for an argument, and for
    recordings what :func:`mvector.audio.load_audio` raises.
    """

    def __init__(
        self,
        configs: str | os.PathLike[str] | Mapping[str, Any] | Config | None = None,
        threshold: float | None = None,
        audio_db_path: str | os.PathLike[str] | None = None,
        model_path: str | os.PathLike[str] | None = None,
        use_gpu: bool | None = None,
        device: str = "auto",
        overwrites: str | Sequence[str] = (),
        keep_audio: bool = True,
        index: str = "exact",
    ):
        self.audio_db_path = audio_db_path
        if threshold is not None and not -1 <= threshold <= 1:
            raise ConfigError(f"threshold must be a cosine similarity from -1 to 1, found {threshold!r}")
        self.model = open_model(STARTER_MODEL if model_path is None else model_path, device, use_gpu, overwrites)
        self.config, self.embedder = self.model.config, self.model.embedder
        self.threshold = self.model.threshold if threshold is None else float(threshold)
        self._threshold_is_given = threshold is not None
        self.calibration = self._stored_calibration()
        self.sample_rate_hz = self.config.dataset_conf.dataset.sample_rate
        if configs is not None:
            self._compare_config(configs)
        self._recogniser = None if audio_db_path is None else self._open_recogniser(audio_db_path, keep_audio, index)

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

    def register(self, audio_data: AudioSource, user_name: str, sample_rate: int = 16000) -> "Registration":
        """Enroll a recording of `user_name`, whose earlier recordings stay; unpacks as `True, message`.

        Raises NoSpeechError, TooShortError or AudioError for a recording that no voice can be enrolled from (silence,
        noise, too little speech, clipped), StoreError for a name that cannot be one.
        """
        recogniser = self.recogniser
        return recogniser.enroll(user_name, recogniser.hear_for_enrollment(audio_data, sample_rate, self.embedder))

    def recognition(
        self, audio_data: AudioSource, threshold: float | None = None, sample_rate: int = 16000
    ) -> "Recognition":
        """Who of the enrolled people speaks; unpacks as `name, score`, the name None where nobody is recognised.

        threshold: a cosine similarity for this call alone; None: the predictor's. Silence and noise are answered with
        nobody and a reason; what cannot be decoded raises what :func:`mvector.audio.load_audio` does.
        """
        recogniser = self.recogniser
        heard = recogniser.hear(audio_data, sample_rate, self.embedder)
        return recogniser.recognise(heard, self._given_threshold(threshold))

    def verify(
        self, audio_data: AudioSource, user_name: str, threshold: float | None = None, sample_rate: int = 16000
    ) -> "Verification":
        """Whether `user_name` speaks; arguments and errors as in `recognition`, StoreError for a name nobody has."""
        recogniser = self.recogniser
        recogniser.require_person(user_name)
        heard = recogniser.hear(audio_data, sample_rate, self.embedder)
        return recogniser.verify(heard, user_name, self._given_threshold(threshold))

    def remove_user(self, user_name: str) -> bool:
        """Delete everything that is kept of `user_name`; False if nobody has the name."""
        return self.store.remove(user_name)

    def get_users(self) -> list[str]:
        """The names of the enrolled people, each once, sorted."""
        return self.store.names()

    @property
    def recogniser(self) -> "Recogniser":
        """What enrolls and recognises; raises ConfigError without audio_db_path."""
        if self._recogniser is None:
            raise ConfigError(
                "enrolling and recognising people needs a place for their voices: give MVectorPredictor an "
                "audio_db_path, such as 'audio_db'."
            )
        return self._recogniser

    @property
    def store(self) -> "VoiceStore":
        """The enrolled voices; raises ConfigError without audio_db_path."""
        return self.recogniser.store

    def _open_recogniser(self, location: str | os.PathLike[str], keep_audio: bool, index: str) -> "Recogniser":
        from mvector.recognition import Recogniser
        from mvector.recognition.scale import Scoring
        from mvector.store import open_store

        fingerprint = model_fingerprint(self.model.path, self.config)
        store = open_store(
            location,
            fingerprint,
            self.embedder.embedding_size,
            keep_audio=keep_audio,
            outlier_score=self.model.threshold,
            index=index,
        )
        scoring = Scoring.of_model(self.model.path, self.model.metrics, fingerprint)
        recogniser = Recogniser(store, scoring, self.config)
        recogniser.import_folders(location, self.embedder)
        return recogniser

    def _stored_calibration(self) -> "Calibration | None":
        if not self.model.metrics.get("calibration"):
            return None
        from mvector.calibration import stored_calibration

        return stored_calibration(self.model.metrics)

    def _given_threshold(self, threshold: float | None) -> float | None:
        """The caller's threshold, of this call or of this predictor; None where the model's own is to decide."""
        if threshold is not None:
            return threshold
        # Or it was assigned to the attribute later, as callers of the mvector package may do.
        given = self._threshold_is_given or self.threshold != self.model.threshold
        return self.threshold if given else None

    def _embed(
        self,
        sources: Sequence[AudioSource],
        sample_rate: int,
        batch_size: int = 32,
        verdict: bool = False,
        warnings: list[str] | None = None,
    ) -> np.ndarray:
        """Embeddings [N, E] of length 1; the windows of all recordings stream through in batches."""
        shape = (2, len(sources), self.embedder.embedding_size)
        sums = np.zeros(shape)  # the windows with speech, those without
        stream = self._all_windows(sources, sample_rate, verdict, warnings)
        while batch := list(itertools.islice(stream, batch_size)):
            embeddings = self.embedder.embed([window for _, _, window in batch], batch_size).astype(np.float64)
            embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
            for (index, kind, _), embedding in zip(batch, embeddings, strict=True):
                sums[kind, index] += embedding
        chosen = np.where(sums[HEARD].any(axis=1, keepdims=True), sums[HEARD], sums[UNHEARD])
        return (chosen / np.linalg.norm(chosen, axis=1, keepdims=True)).astype(np.float32)

    def _all_windows(
        self, sources: Sequence[AudioSource], sample_rate: int, verdict: bool, warnings: list[str] | None
    ) -> Iterator[tuple[int, int, np.ndarray]]:
        """(index of the recording, HEARD or UNHEARD, window [T] at the model's level)."""
        for index, source in enumerate(sources):
            try:
                needed = self.embedder.min_samples
                for kind, window in listen(source, self.sample_rate_hz, sample_rate, needed, verdict, warnings):
                    yield index, kind, at_level(window, self.config)
            except MVectorError as error:
                if len(sources) == 1 or isinstance(source, (str, Path)):
                    raise
                raise type(error)(f"recording {index + 1} of {len(sources)}: {error}") from error

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
