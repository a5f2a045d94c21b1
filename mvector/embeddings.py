"""Embeddings of many recordings, and what is known of each: how long, how clean, from which model.

:func:`embed_utterances` makes them; `mvector.packed_embeddings` keeps them in a folder, so that scoring can be repeated
without the network.
"""

import contextlib
import functools
import logging
import os
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from mvector.audio import load_audio, normalize_level
from mvector.audio.quality import estimate_snr_db
from mvector.config import Config
from mvector.data.lists import Utterance
from mvector.errors import AudioError, DataListError, ModelError, MVectorError

logger = logging.getLogger("mvector")

DECODED_AHEAD = 64


class Embedder(Protocol):
    """A `mvector.embedder.SpeakerEmbedder` in evaluation mode, or a `mvector.export.runtime.ExportedEmbedder`."""

    @property
    def min_samples(self) -> int: ...
    @property
    def embedding_size(self) -> int: ...
    def embed(self, waveforms: Sequence[np.ndarray], batch_size: int = ...) -> np.ndarray: ...


@dataclass(eq=False)
class Embeddings:
    """Embeddings of U utterances with their quality. A row is NaN where an utterance could not be embedded.

    embeddings         [U, E] float32 as the network gives them (not of unit length); may be a memory map
    utterances         U; the speaker is empty where a trial list, which names none, was embedded
    duration_s         [U] float32, seconds of sound that were embedded (after the cut at `max_duration_s`)
    snr_db             [U] float32, see `estimate_snr_db`
    magnitude          [U] float32, Euclidean length of the embedding
    reasons            row → why it could not be embedded
    model_fingerprint  of the model (see `mvector.fingerprint`); empty: not stated
    max_duration_s     longer utterances were cut after this time; None: not stated
    """

    embeddings: NDArray[np.float32]
    utterances: list[Utterance]
    duration_s: NDArray[np.float32]
    snr_db: NDArray[np.float32]
    magnitude: NDArray[np.float32]
    reasons: dict[int, str] = field(default_factory=dict)
    model_fingerprint: str = ""
    max_duration_s: float | None = None

    @classmethod
    def empty(cls, utterances: Sequence[Utterance], size: int, **known: Any) -> "Embeddings":
        """NaN everywhere: rows to be filled, `size` numbers each."""
        quality = np.full((3, len(utterances)), np.nan, dtype=np.float32)
        rows = np.full((len(utterances), size), np.nan, dtype=np.float32)
        return cls(rows, list(utterances), *quality, **known)

    def __len__(self) -> int:
        return len(self.utterances)

    @property
    def failed(self) -> list[tuple[str, str]]:
        """(path, reason) of the utterances that could not be embedded."""
        return [(self.utterances[row].path, reason) for row, reason in sorted(self.reasons.items())]

    @functools.cached_property
    def _row_of(self) -> dict[tuple[str, float | None, float | None], int]:
        return {(u.path, u.start_s, u.end_s): row for row, u in enumerate(self.utterances)}

    def rows_for(self, utterances: Sequence[Utterance]) -> NDArray[np.int64]:
        """The row of each utterance, found by its path (as its list resolved it), start and end; not by its speaker.

        Raises DataListError when some are not among them.
        """
        find = self._row_of.get
        rows = np.array([find((u.path, u.start_s, u.end_s), -1) for u in utterances], dtype=np.int64)
        missing = np.flatnonzero(rows < 0)
        if len(missing):
            first = utterances[missing[0]]
            part = "" if first.start_s is first.end_s is None else f" ({first.start_s} s to {first.end_s} s)"
            raise DataListError(
                f"{len(missing)} of {len(utterances)} recordings are not among the {len(self)} packed embeddings; the "
                f"first: {first.path}{part}. Extract the embeddings of this list with tools/extract_embeddings.py, "
                "started in the same folder so that its paths are the same."
            )
        return rows

    def select(self, utterances: Sequence[Utterance]) -> "Embeddings":
        """Those of `utterances` in that order, such as `Trials.utterances`; raises what `rows_for` does."""
        rows = self.rows_for(utterances)
        first = int(rows[0]) if len(rows) else 0
        run = np.array_equal(rows, np.arange(first, first + len(rows)))
        chosen: Any = slice(first, first + len(rows)) if run else rows  # a run stays a view of the file
        reasons = {new: self.reasons[old] for new, old in enumerate(rows.tolist()) if old in self.reasons}
        return Embeddings(
            self.embeddings[chosen],
            list(utterances),
            self.duration_s[chosen],
            self.snr_db[chosen],
            self.magnitude[chosen],
            reasons,
            self.model_fingerprint,
            self.max_duration_s,
        )

    def require_model(self, fingerprint: str, max_duration_s: float | None = None) -> None:
        """Raise ModelError if these embeddings are another model's, or of utterances cut at another time."""
        if self.model_fingerprint != fingerprint:
            raise ModelError(
                f"the packed embeddings come from the model {self.model_fingerprint or 'not stated'}, and this one is "
                f"{fingerprint}: extract them again, or give the model that they come from."
            )
        if max_duration_s is not None and self.max_duration_s != max_duration_s:
            raise ModelError(
                f"the packed embeddings are of utterances cut after {self.max_duration_s} s, and now "
                f"dataset_conf.eval_conf.max_duration is {max_duration_s} s: extract them again, or set it to the same."
            )


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
    embedder: Embedder,
    config: Config,
    utterances: Sequence[Utterance],
    description: str = "embedding",
    fingerprint: str = "",
) -> Embeddings:
    """Embeddings of utterances in their order, with their quality; `fingerprint` is noted in the result.

    What cannot be embedded has a row of NaN and a reason. Recordings are decoded ahead by threads; memory holds a few
    dozen waveforms at a time. An embedder of torch must be in evaluation mode.
    """
    doubts: list[str] = []
    with contextlib.closing(embed_each(embedder, config, utterances, doubts)) as each:
        shown = tqdm(each, description, len(utterances), unit="utt", disable=None, leave=False)
        result = collect(shown, utterances, embedder.embedding_size)
    result.model_fingerprint = fingerprint
    result.max_duration_s = config.dataset_conf.eval_conf.max_duration
    warn_of_doubts(doubts)
    return result


@dataclass(frozen=True, slots=True)
class Embedded:
    """One utterance's row; `reason` says why there is no embedding."""

    embedding: NDArray[np.float32] | None
    duration_s: float = float("nan")
    snr_db: float = float("nan")
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Heard:
    waveform: np.ndarray
    snr_db: float


def embed_each(
    embedder: Embedder, config: Config, utterances: Sequence[Utterance], doubts: list[str]
) -> Generator[Embedded, None, None]:
    """One `Embedded` for each utterance, in order, as the network gets to it; `doubts` takes what is doubtful."""
    rate_hz, settings = config.dataset_conf.dataset.sample_rate, config.dataset_conf.eval_conf

    def read(utterance: Utterance) -> _Heard | str:
        try:
            waveform = read_waveform(config, utterance, settings.max_duration, doubts)
            return _Heard(waveform, estimate_snr_db(waveform, rate_hz))
        except AudioError as error:
            return str(error)
        except MVectorError:  # a missing package concerns all recordings, not this one
            raise
        except Exception as error:  # a decoder's own trouble with one file must not end an extraction of a million
            return f"{utterance.path}: {type(error).__name__}: {error}"

    for heard in _decoded_blocks(read, utterances):
        usable = [one for one in heard if isinstance(one, _Heard) and len(one.waveform) >= embedder.min_samples]
        rows = iter(embedder.embed([one.waveform for one in usable], settings.batch_size) if usable else ())
        for one in heard:
            if isinstance(one, str):
                yield Embedded(None, reason=one)
            elif len(one.waveform) < embedder.min_samples:
                yield Embedded(None, reason="too short for this model")
            elif not np.isfinite(row := next(rows)).all():
                yield Embedded(None, reason="the model's answer is not finite")
            else:
                yield Embedded(row, len(one.waveform) / rate_hz, one.snr_db)


def _decoded_blocks(read: Any, utterances: Sequence[Utterance]) -> Iterator[list[_Heard | str]]:
    """What `read` gives, DECODED_AHEAD utterances at a time; while a block is used, threads decode the next."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        pending: list[Any] = []
        for first in range(0, len(utterances), DECODED_AHEAD):
            following = [pool.submit(read, utterance) for utterance in utterances[first : first + DECODED_AHEAD]]
            if pending:
                yield [future.result() for future in pending]
            pending = following
        yield [future.result() for future in pending]


def collect(each: Iterator[Embedded], utterances: Sequence[Utterance], size: int) -> Embeddings:
    """The next len(utterances) rows of `each`, which are theirs."""
    result = Embeddings.empty(utterances, size)
    for row, one in enumerate(islice(each, len(utterances))):
        if one.embedding is None:
            result.reasons[row] = one.reason
        else:
            result.embeddings[row] = one.embedding
            result.duration_s[row], result.snr_db[row] = one.duration_s, one.snr_db
    result.magnitude = np.linalg.norm(result.embeddings, axis=1).astype(np.float32)
    return result


def warn_of_doubts(doubts: Sequence[str]) -> None:
    if doubts:
        logger.warning("%d doubts about recordings; the first: %s", len(doubts), doubts[0])
