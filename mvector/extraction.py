"""Embedding a long list into packed embeddings: killed at any moment it goes on, and several processes share the work.

The list is divided into shards. Rank r of W embeds shards r, r + W, …, each into a file of `OUTPUT/shards/` that
appears when it is whole; a shard that is there is never embedded again, whatever W was then. Rank 0 then waits for the
others and packs the shards. The processes need nothing but that folder in common.
"""

import contextlib
import json
import logging
import math
import os
import shutil
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mvector.config import Config
from mvector.data.lists import Utterance, list_digest
from mvector.embeddings import Embedder, Embeddings, collect, embed_each, warn_of_doubts
from mvector.errors import DataListError, MVectorError
from mvector.packed_embeddings import pack, read_meta

logger = logging.getLogger("mvector")

SHARDS, JOB = "shards", "job.json"
MOST_SHARD_ROWS = 1024  # what a kill can cost; a million utterances are a thousand files
FEWEST_SHARDS = 64  # a short list is divided as well, for the other processes and for the progress bar
PATIENCE_S = 1800.0  # so long without a new shard means that another process has died
_POLL_S = 0.2


@dataclass(frozen=True)
class Extraction:
    """What was done: `rows` in the folder, `failed` of them NaN, `embedded_s` seconds of sound in `seconds` now."""

    rows: int
    failed: int
    embedded_s: float
    seconds: float
    first_failure: str = ""


def extract(
    embedder: Embedder,
    config: Config,
    utterances: Sequence[Utterance],
    folder: str | Path,
    fingerprint: str,
    description: str = "embedding",
    rank: int = 0,
    world_size: int = 1,
) -> Extraction | None:
    """Embed `utterances` into packed embeddings in `folder`, going on where an earlier call was cut off.

    `fingerprint` is that of the model (`mvector.fingerprint`). None for ranks other than 0, which do their share only.
    Raises DataListError where `folder` belongs to another model, list or cut, or nothing could be embedded.
    """
    started, folder = time.perf_counter(), Path(folder)
    job = _Job(folder, utterances, embedder.embedding_size, fingerprint, config.dataset_conf.eval_conf.max_duration)
    missing = job.claim()
    if missing is not None:
        with tqdm(desc=description, total=len(utterances), unit="utt", disable=rank > 0 or None, leave=False) as bar:
            bar.update(job.rows_done(missing))
            _embed_shards(job, [shard for shard in missing if shard % world_size == rank], embedder, config, bar)
            if rank == 0:
                _wait(job, bar)
    if rank > 0:
        return None
    seconds = time.perf_counter() - started
    embedded_s = 0.0 if missing is None else job.pack(set(missing))
    shutil.rmtree(job.shards, ignore_errors=True)
    meta = read_meta(folder) or {}
    return Extraction(len(utterances), meta["failed"], embedded_s, seconds, meta["first_failure"])


class _Job:
    """The shards of one extraction and their folder."""

    def __init__(
        self, folder: Path, utterances: Sequence[Utterance], size: int, fingerprint: str, max_duration_s: float
    ):
        self.folder, self.shards, self.utterances, self.size = folder, folder / SHARDS, utterances, size
        self.shard_rows = max(1, min(MOST_SHARD_ROWS, math.ceil(len(utterances) / FEWEST_SHARDS)))
        self.count = math.ceil(len(utterances) / self.shard_rows)
        self.about = {
            "model_fingerprint": fingerprint,
            "max_duration_s": max_duration_s,
            "list_digest": list_digest(utterances),
        }

    def part(self, shard: int) -> Sequence[Utterance]:
        return self.utterances[shard * self.shard_rows : (shard + 1) * self.shard_rows]

    def rows_in(self, shard: int) -> int:
        return min(self.shard_rows, len(self.utterances) - shard * self.shard_rows)

    def rows_done(self, missing: Sequence[int]) -> int:
        return len(self.utterances) - sum(self.rows_in(shard) for shard in missing)

    def file(self, shard: int) -> Path:
        return self.shards / f"{shard:06d}.npz"

    def claim(self) -> list[int] | None:
        """The shards that are missing; None where everything is packed already."""
        if not self.utterances:
            raise DataListError("there is no recording to embed.")
        if self._is_packed():
            return None
        job_file = self.shards / JOB
        if self.folder.exists() and not self.shards.exists() and (self.folder.is_file() or any(self.folder.iterdir())):
            raise DataListError(f"{self.folder} exists and holds no embeddings: give another --output.")
        try:
            self.shards.mkdir(parents=True, exist_ok=True)
            if job_file.is_file():
                self._require_same(json.loads(job_file.read_text(encoding="utf-8")))
            else:
                part = job_file.with_name(f"{JOB}.{os.getpid()}.part")  # another rank may write the same just now
                part.write_text(json.dumps(self.about, indent=2) + "\n", encoding="utf-8")
                os.replace(part, job_file)
            missing = self.missing()
        except OSError as error:
            if self._is_packed():
                return None
            raise MVectorError(f"{self.folder}: the embeddings cannot be written ({error.strerror}).") from error
        # Rank 0 may have packed and removed the shards just before they were looked for.
        return None if self._is_packed() else missing

    def missing(self) -> list[int]:
        present = {entry.name for entry in os.scandir(self.shards)}
        return [shard for shard in range(self.count) if self.file(shard).name not in present]

    def save(self, shard: int, part: Embeddings) -> None:
        file = self.file(shard)
        beside = file.with_name(f"{file.name}.{os.getpid()}.part")
        try:
            with open(beside, "wb") as stream:
                np.savez(
                    stream,
                    embeddings=part.embeddings,
                    quality=np.stack([part.duration_s, part.snr_db, part.magnitude]),
                    failed=np.array(list(part.reasons), dtype=np.int64),
                    reasons=np.array(list(part.reasons.values()), dtype=np.str_),
                )
            os.replace(beside, file)
        except OSError as error:
            raise MVectorError(f"{self.folder}: the embeddings cannot be written ({error.strerror}).") from error

    def load(self, shard: int) -> Embeddings:
        file = self.file(shard)
        try:
            with np.load(file, allow_pickle=False) as arrays:
                reasons = dict(zip(arrays["failed"].tolist(), arrays["reasons"].tolist(), strict=True))
                duration_s, snr_db, magnitude = arrays["quality"]
                part = Embeddings(arrays["embeddings"], list(self.part(shard)), duration_s, snr_db, magnitude, reasons)
            if part.embeddings.shape != (self.rows_in(shard), self.size):
                raise ValueError(f"shape {part.embeddings.shape}")
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            file.unlink(missing_ok=True)
            raise DataListError(
                f"{file} was damaged ({error}) and has been removed; run the same command again to embed it anew."
            ) from error
        return part

    def pack(self, new: set[int]) -> float:
        """Pack all the shards; the seconds of sound in those of `new`."""
        new_s, failed = 0.0, 0

        def parts() -> Iterator[Embeddings]:
            nonlocal new_s, failed
            for shard in range(self.count):
                part = self.load(shard)
                failed += len(part.reasons)
                if shard in new:
                    new_s += float(np.nansum(part.duration_s, dtype=np.float64))
                if failed == len(self.utterances):
                    for each in range(self.count):  # so that they are tried again
                        self.file(each).unlink()
                    path, reason = part.failed[-1]
                    raise DataListError(f"not one of {failed} recordings can be embedded; the last: {path}: {reason}")
                yield part

        pack(self.folder, parts(), len(self.utterances), self.size, self.about)
        return new_s

    def _is_packed(self) -> bool:
        meta = read_meta(self.folder)
        if meta is not None:
            self._require_same(meta)
        return meta is not None

    def _require_same(self, other: dict[str, Any]) -> None:
        for key, what in (("model_fingerprint", "model"), ("list_digest", "list"), ("max_duration_s", "max_duration")):
            if other.get(key) != self.about[key]:
                raise DataListError(
                    f"{self.folder} holds embeddings of another {what}: give another --output, or delete that folder."
                )


def _embed_shards(job: _Job, shards: Sequence[int], embedder: Embedder, config: Config, bar: Any) -> None:
    """Embed these shards, decoding the next while one is embedded."""
    doubts: list[str] = []
    todo = [utterance for shard in shards for utterance in job.part(shard)]
    with contextlib.closing(embed_each(embedder, config, todo, doubts)) as each:

        def counted() -> Iterator[Any]:
            for one in each:
                bar.update()
                yield one

        rows = counted()
        for shard in shards:
            job.save(shard, collect(rows, job.part(shard), job.size))
            if not bar.disable:
                bar.update(job.rows_done(job.missing()) - bar.n)  # what other processes have done
    warn_of_doubts(doubts)


def _wait(job: _Job, bar: Any) -> None:
    """Until every shard is there."""
    last_change, missing = time.monotonic(), job.missing()
    while missing:
        time.sleep(_POLL_S)
        now_missing = job.missing()
        if len(now_missing) < len(missing):
            last_change = time.monotonic()
            bar.update(job.rows_done(now_missing) - bar.n)
        elif time.monotonic() - last_change > PATIENCE_S:
            raise MVectorError(
                f"{len(missing)} of {job.count} parts are missing and no other process has written one for "
                f"{PATIENCE_S / 60:.0f} minutes: run the same command again to embed them."
            )
        missing = now_missing
