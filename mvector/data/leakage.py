"""What a test shares with the training: speakers and recordings that make its figures better than they are.

Two utterances share a recording when they are the same file (by path, link or content) and, where they are parts of
it, overlap. Other parts of one recording are reported apart: the room, the microphone and often the voice are the same.
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from mvector.data.lists import Utterance

Value = TypeVar("Value")

PROBE_BYTES = 4096  # from the middle: headers and leading silence are alike in different files
_THREADS = 8
_CHUNK = 64  # files that a thread looks at in one go


@dataclass(frozen=True)
class SharedRecording:
    """An utterance of the test and one of the training that hold the same sound."""

    training: Utterance
    evaluation: Utterance


@dataclass(frozen=True)
class Leakage:
    """What was found; all the lists are in the order of the test list.

    speakers          names that stand in both lists, and the training's names of people whose recordings do
    recordings        one pair for each utterance of the test whose sound the training has heard
    other_parts       one pair for each other utterance of the test that is another part of a training recording
    speakers_compared how many named speakers the test has (0: a trial list without names)
    utterances        how many utterances the test has
    numbers_only      every shared speaker is a mere number, and no recording is shared
    """

    speakers: list[str]
    recordings: list[SharedRecording]
    other_parts: list[SharedRecording]
    speakers_compared: int
    utterances: int
    numbers_only: bool = False

    def __bool__(self) -> bool:
        return bool(self.speakers or self.recordings or self.other_parts)

    def sentence(self) -> str:
        """What a person should know, in one or two sentences."""
        if not self and not self.speakers_compared:
            return "The test shares no recording with the training; its list names no speakers to compare."
        if not self:
            return "The test shares no recording and no speaker with the training."
        if self.numbers_only:
            return (
                f"{len(self.speakers)} of {self.speakers_compared} speakers of the test stand in the training list; "
                f"their names are mere numbers (for one {self.speakers[0]}), which may mean others in the other list; "
                "if they are the same people, the figures of this test are too good."
            )
        text = "The figures of this test are too good."
        if self.speakers:
            text += f" Speakers trained on: {len(self.speakers)}, for one {self.speakers[0]}."
        if self.recordings:
            text += f" Recordings trained on: {len(self.recordings)}, for one {self.recordings[0].evaluation.path}."
        if self.other_parts:
            first = self.other_parts[0].evaluation.path
            text += f" Other parts of recordings trained on: {len(self.other_parts)}, for one {first}."
        return text


def find_leakage(
    training: Sequence[Utterance], evaluation: Sequence[Utterance], compare_content: bool = True
) -> Leakage:
    """What `evaluation` shares with `training`; an utterance with an empty speaker (of a trial list) is nobody's.

    With `compare_content` files that are links to each other or have the same bytes count as one too. That asks the
    disk for the size of every file, reads 4 KiB of those whose size occurs on both sides, and hashes only those that
    agree in it. Files that are missing are compared by their path.
    """
    absolute = {name: os.path.abspath(name) for name in {u.path for u in (*training, *evaluation)}}
    of_training = {absolute[utterance.path] for utterance in training}
    of_test = {absolute[utterance.path] for utterance in evaluation}
    same = {path: path for path in of_test & of_training}  # path in the test → path in the training
    if compare_content:
        same |= _same_content(sorted(of_training), sorted(of_test - of_training))

    wanted = set(same.values())
    in_training: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in training:
        if absolute[utterance.path] in wanted:
            in_training[absolute[utterance.path]].append(utterance)

    recordings: list[SharedRecording] = []
    other_parts: list[SharedRecording] = []
    known = {utterance.speaker for utterance in training}
    named = {utterance.speaker for utterance in evaluation if utterance.speaker}
    speakers = dict.fromkeys(u.speaker for u in evaluation if u.speaker and u.speaker in known)
    for utterance in dict.fromkeys(evaluation):
        candidates = in_training.get(same.get(absolute[utterance.path], ""), ())
        overlapping = [other for other in candidates if _overlap(utterance, other)]
        if overlapping:
            recordings.append(SharedRecording(overlapping[0], utterance))
            speakers |= dict.fromkeys(other.speaker for other in overlapping)
        elif candidates:
            other_parts.append(SharedRecording(candidates[0], utterance))
    numbers_only = bool(speakers) and not recordings and not other_parts and all(map(str.isdecimal, speakers))
    return Leakage(list(speakers), recordings, other_parts, len(named), len(set(evaluation)), numbers_only)


def _overlap(one: Utterance, other: Utterance) -> bool:
    def end(utterance: Utterance) -> float:
        return float("inf") if utterance.end_s is None else utterance.end_s

    return (one.start_s or 0.0) < end(other) and (other.start_s or 0.0) < end(one)


def _same_content(training: Sequence[str], evaluation: Sequence[str]) -> dict[str, str]:
    """Path in the test → path in the training of the files that are the same file or have the same bytes."""
    test = {path: found for path, found in _in_threads(_status, evaluation) if found}
    sizes = {size for size, *_ in test.values()}
    train = {path: found for path, found in _in_threads(_status, training) if found and found[0] in sizes}
    files = {tuple(identity): path for path, (_, *identity) in train.items()}
    same = {path: files[tuple(identity)] for path, (_, *identity) in test.items() if tuple(identity) in files}

    key_test: dict[str, object] = {path: size for path, (size, *_) in test.items() if path not in same}
    key_train: dict[str, object] = {path: size for path, (size, *_) in train.items()}
    for look in (_probe, _content):  # the second reads whole files, and only those whose middle agrees
        shared = set(key_test.values()) & set(key_train.values())
        key_test, key_train = _refined(key_test, shared, look), _refined(key_train, shared, look)
    path_of = {key: path for path, key in reversed(key_train.items())}
    return same | {path: path_of[key] for path, key in key_test.items() if key in path_of}


def _refined(keys: Mapping[str, object], shared: set[object], look: Callable[[str], bytes | None]) -> dict[str, object]:
    """Of the paths whose key is in `shared`, the key with what `look` says of the file."""
    candidates = [path for path, key in keys.items() if key in shared]
    return {path: (keys[path], found) for path, found in _in_threads(look, candidates) if found is not None}


def _in_threads(look: Callable[[str], Value], paths: Sequence[str]) -> Iterator[tuple[str, Value]]:
    """(path, what `look` says of it), in order; waiting for disks and networks happens in parallel."""
    if len(paths) < _THREADS:
        yield from ((path, look(path)) for path in paths)
        return

    def look_at(chunk: Sequence[str]) -> list[tuple[str, Value]]:
        return [(path, look(path)) for path in chunk]

    with ThreadPoolExecutor(_THREADS) as pool:
        for found in pool.map(look_at, (paths[first : first + _CHUNK] for first in range(0, len(paths), _CHUNK))):
            yield from found


def _status(path: str) -> tuple[int, int, int] | None:
    """(size in bytes, device, number on it); None for no file, or an empty one."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_size, status.st_dev, status.st_ino) if status.st_size else None


def _probe(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size // 2 - PROBE_BYTES // 2))
            return hashlib.blake2b(file.read(PROBE_BYTES), digest_size=16).digest()
    except OSError:
        return None


def _content(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return None
