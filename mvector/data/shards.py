"""Shards: utterances in tar files of WebDataset layout, each with its speaker beside it, read in place.

    FOLDER/index.json       the shards in their order, with counts and hours; this is what a configuration names
    FOLDER/000000.tar       00001234.flac and 00001234.json {"speaker": …, "duration_s": …, "source": …}, and so on
    FOLDER/000000.json      where in the tar each recording's bytes are

`tools/make_shards.py` writes these. A pattern of tar files from elsewhere is read, too: `train-{0000..0099}.tar`,
`data/*.tar`, `s3://bucket/train-*.tar`. Each utterance becomes one whose path says where its bytes are (see
`mvector.audio.tar_members`), so whatever reads a data list reads shards, and nothing depends on who reads which.
"""

import glob
import json
import os
import re
import tarfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from mvector.audio.remote import is_remote, list_remote, local_copy, read_remote
from mvector.audio.tar_members import TarMember, tar_member
from mvector.data.corpora.base import SOUND_SUFFIXES
from mvector.data.lists import Utterance
from mvector.errors import DataListError, MVectorError

INDEX = "index.json"
INDEX_FORMAT, SHARD_FORMAT = "mvector shards 1", "mvector shard 1"
LABEL_SUFFIXES = ("json", "cls", "spk", "speaker")
LABEL_KEYS = ("speaker", "speaker_id", "spk", "spk_id", "label")  # in a key's JSON file
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_READERS = 8  # threads: an index is waited for, not worked on


def names_shards(path: str | Path) -> bool:
    """Whether `path` means shards, and not a data list: a shards index, a tar file, or a pattern of tar files."""
    return str(path).endswith((".tar", ".json"))


def read_shards(spec: str | Path) -> list[Utterance]:
    """The utterances of the shards that `spec` means, in their order. Raises DataListError.

    `spec` is an index, or tar files: one, {0000..0099} for a range of numbers, * and ? for what is there.
    """
    spec = str(spec)
    counts: list[int] | None = None
    if spec.endswith(".json"):
        shards, counts = _read_index(spec)
        _require_files(spec, shards)
    else:
        shards = expand(spec)
    with ThreadPoolExecutor(_READERS) as pool:
        found = list(
            tqdm(pool.map(_read_shard, shards), "reading shards", len(shards), unit="shard", disable=None, leave=False)
        )
    for shard, expected, utterances in zip(shards, counts or [], found, strict=False):
        if len(utterances) != expected:
            raise DataListError(
                f"{spec}: {shard} should hold {expected} utterances and holds {len(utterances)}: make the shards again."
            )
    return [utterance for utterances in found for utterance in utterances]


def expand(pattern: str) -> list[str]:
    """The tar files that a pattern stands for, in order; raises DataListError where one is missing."""
    found = [name for each in _number(pattern) for name in (_matches(each) if re.search(r"[*?]", each) else [each])]
    if not found:
        raise DataListError(f"{pattern}: no file fits this pattern.")
    _require_files(pattern, found)
    return found


def shard_numbers(utterances: Iterable[Utterance]) -> NDArray[np.int64] | None:
    """The number of each utterance's shard, counted from 0; None unless all of them are in shards."""
    numbers: dict[str, int] = {}
    result = []
    for utterance in utterances:
        member = tar_member(utterance.path)
        if member is None:
            return None
        result.append(numbers.setdefault(member.shard, len(numbers)))
    return np.array(result, dtype=np.int64)


def _number(pattern: str) -> list[str]:
    """'a-{08..11}.tar' → a-08.tar, a-09.tar, a-10.tar, a-11.tar; several ranges are multiplied."""
    found = _RANGE.search(pattern)
    if found is None:
        return [pattern]
    first, last = found[1], found[2]
    numbers = range(int(first), int(last) + 1)
    head, tail = pattern[: found.start()], pattern[found.end() :]
    return [f"{head}{number:0{len(first)}d}{rest}" for number in numbers for rest in _number(tail)]


def _require_files(spec: str, shards: list[str]) -> None:
    missing = [name for name in shards if not is_remote(name) and not os.path.isfile(name)]
    if missing:
        raise DataListError(f"{spec}: {len(missing)} of {len(shards)} shards are missing; the first: {missing[0]}.")


def _matches(pattern: str) -> list[str]:
    return list_remote(pattern) if is_remote(pattern) else sorted(glob.glob(pattern))


def _read_index(path: str) -> tuple[list[str], list[int]]:
    """The shards of an index and how many utterances each holds."""
    about = _json(path, INDEX_FORMAT)
    folder = path.rpartition("/")[0] if is_remote(path) else os.path.dirname(path)
    prefix = f"{folder}/" if folder else ""
    return [prefix + one["name"] for one in about["shards"]], [one["utterances"] for one in about["shards"]]


def _read_shard(shard: str) -> list[Utterance]:
    index = f"{shard.removesuffix('.tar')}.json"
    try:
        about = _json(index, SHARD_FORMAT)
    except FileNotFoundError:
        return list(_scan(shard))
    if not is_remote(shard) and os.path.getsize(shard) != about["bytes"]:
        raise DataListError(
            f"{shard} has {os.path.getsize(shard)} bytes, but {index} speaks of {about['bytes']}: copy or make it "
            "again."
        )
    speakers: dict[str, str] = {}  # one string object per speaker, not one per utterance
    return [
        Utterance(str(TarMember(shard, name, offset, size)), speakers.setdefault(speaker, speaker))
        for name, offset, size, speaker in about["utterances"]
    ]


def _json(path: str, expected: str) -> dict[str, Any]:
    """A JSON file of ours. FileNotFoundError where the index of a shard is absent, else DataListError."""
    try:
        about = json.loads(read_remote(path) if is_remote(path) else Path(path).read_bytes())
    except MVectorError as error:
        if expected == SHARD_FORMAT and isinstance(error.__cause__, FileNotFoundError):
            raise FileNotFoundError(path) from None
        raise
    except (OSError, ValueError) as error:
        if expected == SHARD_FORMAT and isinstance(error, FileNotFoundError):
            raise
        raise DataListError(f"{path}: the index of shards cannot be read ({error}).") from error
    if not isinstance(about, dict) or about.get("format") != expected:
        raise DataListError(f"{path} is no index of shards of this version ('format': '{expected}').")
    return about


def _scan(shard: str) -> Iterator[Utterance]:
    """The utterances of a tar that has no index beside it: its headers and labels are read."""
    sounds: dict[str, TarMember] = {}
    labels: dict[str, str] = {}
    try:
        with tarfile.open(local_copy(shard), "r:") as tar:
            for member in tar:
                folder, slash, name = member.name.rpartition("/")
                stem, _, suffix = name.partition(".")  # a key ends at the first dot of the file's name
                key, suffix = f"{folder}{slash}{stem}", suffix.lower()
                if not member.isfile():
                    continue
                if os.path.splitext(name)[1].lower() in SOUND_SUFFIXES:
                    sounds[key] = TarMember(shard, member.name, member.offset_data, member.size)
                elif suffix in LABEL_SUFFIXES and (file := tar.extractfile(member)) is not None:
                    label = _label(file.read(), suffix)
                    if label:
                        labels[key] = label
    except (OSError, tarfile.TarError) as error:
        raise DataListError(f"{shard}: it cannot be read as an uncompressed tar file ({error}).") from error
    if not sounds:
        raise DataListError(f"{shard}: there is no recording in this tar file.")
    for key, sound in sounds.items():
        if key not in labels:
            raise DataListError(
                f"{shard}: {sound.name} has no speaker; expected {key}.json with one of {', '.join(LABEL_KEYS)}, or "
                f"{key}.cls, {key}.spk or {key}.speaker, in the same tar file."
            )
        yield Utterance(str(sound), labels[key])


def _label(content: bytes, suffix: str) -> str:
    """The speaker that a label file states; empty where it states none."""
    try:
        text = content.decode("utf-8").strip()
        if suffix != "json":
            return text
        about = json.loads(text)
    except ValueError:
        return ""
    stated = next((about[key] for key in LABEL_KEYS if key in about), "") if isinstance(about, dict) else ""
    return str(stated).strip()
