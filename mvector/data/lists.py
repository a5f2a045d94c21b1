"""Data lists: one utterance a line, `path<TAB>speaker[<TAB>start[<TAB>end]]`, UTF-8; start and end in seconds."""

import hashlib
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mvector.audio.remote import is_remote
from mvector.audio.tar_members import file_of
from mvector.errors import DataListError

# How many recordings of a list are looked for on the disk to learn which folder its relative paths start from.
# A look costs some microseconds locally but a round trip on a network drive, so a list of a million is only sampled.
PROBED_PATHS = 64


@dataclass(frozen=True, slots=True)
class Utterance:
    """A recording, or the part of it between `start_s` and `end_s` seconds (None: from its start, to its end)."""

    path: str
    speaker: str
    start_s: float | None = None
    end_s: float | None = None


def read_data_list(path: str | Path, data_root: str | Path | None = None) -> list[Utterance]:
    """The utterances of a data list, in its order; also of shards (see `mvector.data.shards`).

    A relative recording path is looked for under `data_root` if that is given, else in the working directory, then
    in the list's folder. Some missing recordings are no error here (training counts and skips them); a list of which
    no recording exists is one. Raises DataListError with file, line and what was found.
    """
    from mvector.data.shards import names_shards, read_shards  # which are made of utterances

    if names_shards(path):
        return read_shards(path)
    names: list[str] = []
    rest: list[tuple[str, float | None, float | None]] = []
    speakers: dict[str, str] = {}  # one string object per speaker, not one per line
    for number, line in read_lines(path):
        columns = line.split("\t")
        if not 2 <= len(columns) <= 4:
            raise DataListError(
                f"{path}:{number}: expected 'path<TAB>speaker' with optional start and end in seconds, found {line!r}. "
                "Separate the columns with one tab, not with spaces."
            )
        name, speaker = columns[0].strip(), columns[1].strip()
        if not name or not speaker:
            raise DataListError(f"{path}:{number}: the {'speaker' if name else 'path'} is empty in {line!r}.")
        start_s, end_s = (None, None) if len(columns) == 2 else _segment(columns[2:], f"{path}:{number}")
        names.append(name)
        rest.append((speakers.setdefault(speaker, speaker), start_s, end_s))
    if not names:
        raise DataListError(f"{path}: the data list is empty; expected one 'path<TAB>speaker' per line.")
    return [Utterance(name, *more) for name, more in zip(resolve_paths(names, path, data_root), rest, strict=True)]


def speaker_classes(utterances: Iterable[Utterance]) -> dict[str, int]:
    """Speaker → class number 0 … S-1; speakers that are integers come first and in numerical order."""
    speakers = {utterance.speaker for utterance in utterances}
    return {speaker: number for number, speaker in enumerate(sorted(speakers, key=_speaker_order))}


def list_digest(utterances: Iterable[Utterance]) -> str:
    """32 hexadecimal digits for a list's recordings and speakers, in their order."""
    digest = hashlib.sha256()
    for one in utterances:
        digest.update(repr((one.path, one.speaker, one.start_s, one.end_s)).encode("utf-8", "backslashreplace"))
    return digest.hexdigest()[:32]


def read_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """(line number from 1, line without its end) of each line that is not blank; byte-order mark and CRLF tolerated."""
    number = 0
    try:
        with open(path, encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if not line.isspace():
                    yield number, line.rstrip("\n")
    except UnicodeDecodeError as error:
        # The decoder reads ahead, so the line number is only about right.
        raise DataListError(f"{path}: not UTF-8 text after line {number}; save the list as UTF-8.") from error
    except OSError as error:
        raise DataListError(f"{path}: the list cannot be read ({error.strerror}).") from error


def resolve_paths(names: Sequence[str], list_path: str | Path, data_root: str | Path | None = None) -> list[str]:
    """The paths of a list's recordings; raises DataListError when not one of them exists.

    One folder is chosen for the whole list from a sample of its lines, and each path is looked for by itself only when
    the sample does not agree (some here, some there) or finds nothing.
    """
    folders = [str(data_root)] if data_root else ["", str(Path(list_path).parent)]
    step = max(1, len(names) // PROBED_PATHS)
    found = {_first_folder(name, folders) for name in names[::step]} - {None}
    if len(found) == 1:
        folder = found.pop()
        assert folder is not None
        return [os.path.join(folder, name) for name in names]  # keeps a name that is absolute

    each = [_first_folder(name, folders) for name in names]
    if all(folder is None for folder in each):
        tried = [os.path.abspath(os.path.join(folder, names[0])) for folder in folders]
        raise DataListError(
            f"{list_path}: not one of its {len(names)} recordings exists; for {names[0]!r} this was tried: "
            f"{', '.join(dict.fromkeys(tried))}. Set dataset_conf.data_root to the folder that the paths start from."
        )
    return [
        os.path.join(folders[0] if folder is None else folder, name) for folder, name in zip(each, names, strict=True)
    ]


def _first_folder(name: str, folders: Sequence[str]) -> str | None:
    if is_remote(name):
        return ""
    for folder in folders:
        if os.path.exists(file_of(os.path.join(folder, name))):
            return folder
    return None


def _segment(columns: Sequence[str], where: str) -> tuple[float | None, float | None]:
    try:
        seconds = [float(column) if column.strip() else None for column in columns]
    except ValueError:
        raise DataListError(f"{where}: start and end must be numbers of seconds, found {columns}.") from None
    start_s, end_s = seconds[0], seconds[1] if len(seconds) > 1 else None
    if any(value is not None and not (math.isfinite(value) and value >= 0) for value in (start_s, end_s)):
        raise DataListError(f"{where}: start and end must not be negative, found {columns}.")
    if end_s is not None and end_s <= (start_s or 0.0):
        raise DataListError(f"{where}: the end must come after the start, found {columns}.")
    return start_s, end_s


def _speaker_order(speaker: str) -> tuple[int, int, str]:
    is_integer = speaker.isdecimal() and len(speaker) < 19
    return (0, int(speaker), speaker) if is_integer else (1, 0, speaker)
