"""Writing data lists, trial lists and enrollment maps: UTF-8, tabs, forward slashes, and whole or not at all."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mvector.data.lists import Utterance, read_lines, resolve_paths
from mvector.errors import DataListError


def write_lines(path: str | Path, rows: Iterable[Sequence[str]]) -> int:
    """Write each row's columns with tabs between them; returns the number of rows. The file appears when complete."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    number = 0
    try:
        with open(partial, "w", encoding="utf-8", newline="\n") as file:
            for row in rows:
                for column in row:
                    if "\t" in column or "\n" in column or "\r" in column:
                        raise DataListError(f"{column!r} has a tab or a line break in its name; rename it.")
                file.write("\t".join(row) + "\n")
                number += 1
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return number


def write_data_list(path: str | Path, utterances: Iterable[Utterance]) -> int:
    """`path<TAB>speaker`, with start and end where a recording is used in part."""
    return write_lines(path, (_row(utterance) for utterance in utterances))


def write_trials(path: str | Path, trials: Iterable[tuple[bool, str, str]], by_name: bool = False) -> int:
    """`1|0<TAB>enroll<TAB>test`, or where enrollments are names of a map `name<TAB>test<TAB>target|nontarget`."""
    if by_name:
        rows = ((enroll, test, "target" if target else "nontarget") for target, enroll, test in trials)
        return write_lines(path, rows)
    return write_lines(path, (("1" if target else "0", enroll, test) for target, enroll, test in trials))


def write_enroll_map(path: str | Path, enroll_map: Mapping[str, Sequence[str]]) -> int:
    """`name<TAB>path[<TAB>path …]` for each enrolled name."""
    return write_lines(path, ((name, *paths) for name, paths in enroll_map.items()))


def rewrite_enroll_map(source: Path, target: Path, rename: Mapping[str, str | None]) -> set[str]:
    """Copy an enrollment map with recordings renamed, or left out where `rename` gives None.

    Returns the names that have no recording left and are not in the copy.
    """
    rows = [(name, members) for _, line in read_lines(source) for name, *members in [line.split("\t")]]
    kept = {name: _renamed(members, source, rename) for name, members in rows}
    write_enroll_map(target, {name: members for name, members in kept.items() if members})
    return {name for name, members in kept.items() if not members}


def rewrite_trials(source: Path, target: Path, rename: Mapping[str, str | None], gone: Iterable[str] = ()) -> int:
    """Copy a trial list with recordings renamed; trials of a recording that `rename` maps to None, or of an enrollment
    in `gone`, are left out. Returns the number of trials in the copy."""
    lost = set(gone)
    rows = [line.split("\t") if line.count("\t") == 2 else line.split() for _, line in read_lines(source)]
    names = sorted({name for row in rows for name in row})
    new: dict[str, str | None] = {}
    for name, resolved in zip(names, resolve_paths(names, source), strict=True):
        new[name] = None if name in lost else rename.get(_key(resolved), name)
    translated = ([new[name] for name in row] for row in rows)
    return write_lines(target, ([name for name in row if name] for row in translated if None not in row))


def _renamed(members: Sequence[str], source: Path, rename: Mapping[str, str | None]) -> list[str]:
    new = [rename.get(_key(path), name) for name, path in zip(members, resolve_paths(members, source), strict=True)]
    return [name for name in new if name is not None]


def _key(path: str) -> str:
    return path.replace(os.sep, "/")


def _row(utterance: Utterance) -> list[str]:
    row = [utterance.path.replace(os.sep, "/"), utterance.speaker]
    if utterance.start_s is None and utterance.end_s is None:
        return row
    row.append("" if utterance.start_s is None else f"{utterance.start_s:.6g}")
    return row if utterance.end_s is None else [*row, f"{utterance.end_s:.6g}"]
