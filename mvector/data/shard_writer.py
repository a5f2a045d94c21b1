"""Writing shards (see `mvector.data.shards`) from a data list: shuffled by a seed, resumable, a shard at a time.

Which utterance goes into which shard is settled before the first is written. A shard is written beside its place and
renamed; one that is there is not written again, so a run that was killed goes on with the next.
"""

import io
import json
import os
import tarfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mvector.audio import audio_info, load_audio
from mvector.audio.tar_members import open_member, tar_member
from mvector.data.convert import SAMPLE_RATE_HZ, write_16_bit
from mvector.data.list_writer import write_lines
from mvector.data.lists import Utterance, list_digest, speaker_classes
from mvector.data.shards import INDEX, INDEX_FORMAT, SHARD_FORMAT
from mvector.errors import AudioError, DataListError, MVectorError

JOB, SPEAKERS, SKIPPED = "job.json", "speakers.txt", "skipped.tsv"
SEGMENT_FORMAT = "flac"  # of a part that is cut out of a recording


@dataclass(frozen=True)
class ShardSettings:
    """How a list becomes shards.

    utterances    in a shard; where `megabytes` is given, that decides: so much of the recordings as they are now
    seed          of the order
    audio_format  None: files as they are (parts of recordings are cut out as 16 kHz mono FLAC); 'wav' or 'flac':
                  everything is converted to 16 kHz, mono, 16 bits
    """

    utterances: int = 1000
    megabytes: float | None = None
    seed: int = 0
    audio_format: str | None = None


@dataclass(frozen=True)
class Written:
    """What `write_shards` made; `skipped` recordings could not be used and stand in skipped.tsv."""

    index: Path
    shards: int
    utterances: int
    speakers: int
    hours: float
    skipped: int


def write_shards(
    utterances: Sequence[Utterance], folder: str | Path, settings: ShardSettings, num_threads: int = 1
) -> Written:
    """Write `utterances` as shards into `folder`, going on where an earlier call with the same list was cut off.

    Raises DataListError where `folder` holds something else, or not one recording can be used.
    """
    folder = Path(folder)
    parts = _divide(utterances, settings)
    job = {"list_digest": list_digest(utterances), **vars(settings)}
    try:
        _claim(folder, job)
        stop = threading.Event()
        done = {shard for shard in range(len(parts)) if _shard_file(folder, shard).exists()}
        with (
            tqdm(desc="writing shards", total=len(utterances), unit="utt", disable=None) as bar,
            ThreadPoolExecutor(max(1, num_threads)) as pool,  # copying and decoding leave Python's lock
        ):
            bar.update(sum(len(parts[shard]) for shard in done))
            todo = [shard for shard in range(len(parts)) if shard not in done]
            lock = threading.Lock()

            def write(shard: int) -> None:
                for _ in _write_shard(folder, shard, utterances, parts[shard], settings.audio_format):
                    with lock:
                        bar.update()
                    if stop.is_set():
                        return

            try:
                for _ in pool.map(write, todo):
                    pass
            except BaseException:
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return _finish(folder, len(parts), job)
    except OSError as error:
        raise MVectorError(f"{folder}: the shards cannot be written ({error.strerror or error}).") from error


def _divide(utterances: Sequence[Utterance], settings: ShardSettings) -> list[np.ndarray]:
    """The rows of `utterances` in each shard."""
    order = np.random.default_rng(settings.seed).permutation(len(utterances))
    if settings.megabytes is None:
        return np.array_split(order, max(1, -(-len(order) // settings.utterances)))
    sizes = np.array([_bytes_of(utterances[row]) for row in tqdm(order, "sizes", disable=None, leave=False)])
    shards = max(1, round(sizes.sum() / (settings.megabytes * 1e6)))
    after = np.cumsum(sizes) * (shards / max(1.0, sizes.sum()))
    number = np.minimum(shards - 1, np.ceil(after).astype(int) - 1).clip(0)
    return [order[number == shard] for shard in range(shards) if np.any(number == shard)]


def _bytes_of(utterance: Utterance) -> float:
    if utterance.end_s is not None:  # as the cut part will be, at about half of 16-bit PCM
        return (utterance.end_s - (utterance.start_s or 0.0)) * SAMPLE_RATE_HZ
    member = tar_member(utterance.path)
    if member is not None and member.size is not None:
        return float(member.size)
    try:
        return float(os.path.getsize(utterance.path))
    except OSError:
        return 0.0


def _claim(folder: Path, job: dict[str, Any]) -> None:
    """Make the folder this job's own."""
    file = folder / JOB
    if file.is_file():
        earlier: Any = json.loads(file.read_text(encoding="utf-8"))
    elif (folder / INDEX).is_file():
        earlier = json.loads((folder / INDEX).read_text(encoding="utf-8")).get("made_from")
    else:
        # A half-written job is all that a run leaves that was killed inside its first lines.
        if folder.exists() and (folder.is_file() or any(not one.name.endswith(".part") for one in folder.iterdir())):
            raise DataListError(f"{folder} exists and is no folder of shards: give another --output.")
        folder.mkdir(parents=True, exist_ok=True)
        _write_json(file, job)
        return
    if earlier != job:
        raise DataListError(
            f"{folder} holds shards of another list, or made with other options: give another --output, or delete that "
            "folder."
        )


def _write_shard(
    folder: Path, shard: int, utterances: Sequence[Utterance], rows: np.ndarray, audio_format: str | None
) -> Iterator[None]:
    """Write one shard and its index. Yields after each utterance; not gone on with, it leaves nothing in place."""
    target = _shard_file(folder, shard)
    part = target.with_name(f"{target.name}.part")
    listed: list[tuple[str, int, int, str]] = []
    skipped: list[tuple[str, str]] = []
    seconds = 0.0
    with tarfile.open(part, "w", format=tarfile.GNU_FORMAT) as tar:
        for row in rows.tolist():
            utterance = utterances[row]
            try:
                content, suffix, duration_s = _content(utterance, audio_format)
            except AudioError as error:
                skipped.append((utterance.path, " ".join(str(error).split())))
                yield
                continue
            key = f"{row:08d}"
            offset = _add(tar, f"{key}.{suffix}", content)
            about = {"speaker": utterance.speaker, "duration_s": round(duration_s, 6), "source": utterance.path}
            if utterance.start_s is not None or utterance.end_s is not None:
                about |= {"start_s": utterance.start_s, "end_s": utterance.end_s}
            _add(tar, f"{key}.json", json.dumps(about, ensure_ascii=False).encode("utf-8", "surrogateescape"))
            listed.append((f"{key}.{suffix}", offset, len(content), utterance.speaker))
            seconds += duration_s
            yield
    _write_json(
        target.with_suffix(".json"),
        {
            "format": SHARD_FORMAT,
            "bytes": part.stat().st_size,
            "seconds": seconds,
            "skipped": skipped,
            "utterances": listed,
        },
    )
    os.replace(part, target)


def _content(utterance: Utterance, audio_format: str | None) -> tuple[bytes, str, float]:
    """The bytes of a sound file, its suffix without the dot, and how long it lasts. Raises AudioError."""
    whole = utterance.start_s is None and utterance.end_s is None
    if whole and audio_format is None:
        member = tar_member(utterance.path)
        if member is not None:
            name = member.name
            with open_member(member) as file:
                content = file.read()
        else:
            name = utterance.path
            try:
                content = Path(name).read_bytes()
            except OSError as error:
                raise AudioError(f"{name}: it cannot be read ({error.strerror})") from error
        try:
            return content, os.path.splitext(name)[1][1:].lower() or "wav", audio_info(content).duration_s
        except AudioError as error:
            raise AudioError(str(error).replace("the given bytes", name)) from error
    audio_format = audio_format or SEGMENT_FORMAT
    waveform = load_audio(utterance.path, SAMPLE_RATE_HZ, utterance.start_s, utterance.end_s, warnings=[])
    buffer = io.BytesIO()
    write_16_bit(buffer, waveform, audio_format)
    return buffer.getvalue(), audio_format, len(waveform) / SAMPLE_RATE_HZ


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> int:
    """Append a member, with neither owner nor time, so that the same list gives the same bytes; where they begin."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
    return tar.offset - -(-len(content) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _finish(folder: Path, count: int, job: dict[str, Any]) -> Written:
    """The index, the speakers and the report of all the shards."""
    shards, skipped, speakers = [], [], dict[str, None]()
    for shard in range(count):
        tar = _shard_file(folder, shard)
        about = json.loads(tar.with_suffix(".json").read_text(encoding="utf-8"))
        speakers |= dict.fromkeys(row[3] for row in about["utterances"])
        skipped += about["skipped"]
        shards.append(
            {"name": tar.name, "utterances": len(about["utterances"]), "hours": round(about["seconds"] / 3600, 4)}
        )
    utterances = sum(shard["utterances"] for shard in shards)
    if utterances == 0:
        raise DataListError(f"not one of {len(skipped)} recordings can be used; the last: {skipped[-1][1]}")
    names = list(speaker_classes(Utterance("", speaker) for speaker in speakers))
    write_lines(folder / SPEAKERS, ([name] for name in names))
    if skipped:
        write_lines(folder / SKIPPED, sorted(skipped))
    hours = sum(shard["hours"] for shard in shards)
    index = {
        "format": INDEX_FORMAT,
        "utterances": utterances,
        "speakers": len(names),
        "hours": round(hours, 4),
        "skipped": len(skipped),
        "made_from": job,
        "shards": shards,
    }
    _write_json(folder / INDEX, index)
    (folder / JOB).unlink(missing_ok=True)
    return Written(folder / INDEX, count, utterances, len(names), hours, len(skipped))


def _shard_file(folder: Path, shard: int) -> Path:
    return folder / f"{shard:06d}.tar"


def _write_json(path: Path, content: dict[str, Any]) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8", errors="surrogateescape")
    os.replace(part, path)
