"""Writing data lists, trial lists and enrollment maps: UTF-8, tabs, forward slashes, and whole or not at all."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from mvector.data.lists import Utterance, read_lines, resolve_paths
from mvector.data.trials import read_enroll_map
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
    kept = {name: _renamed(paths, rename) for name, paths in read_enroll_map(source).items()}
    members = {name: [path for path in paths if path is not None] for name, paths in kept.items()}
    write_enroll_map(target, {name: paths for name, paths in members.items() if paths})
    return {name for name, paths in members.items() if not paths}


def rewrite_trials(
    source: Path, target: Path, rename: Mapping[str, str | None], by_name: bool = False, gone: Iterable[str] = ()
) -> int:
    """Copy a trial list with recordings renamed; those that `rename` maps to None take their trials with them.

    `by_name`: enrollments of the Kaldi form are names of a map; the trials of those in `gone` are left out. Paths that
    start from the list's folder start from the working directory in the copy. Returns the number of its trials.
    """
    rows = [line.split("\t") if line.count("\t") == 2 else line.split() for _, line in read_lines(source)]
    # As `read_trials` tells them apart: '1|0 enroll test' or 'enroll test target|nontarget|1|0'.
    kaldi = rows[0][2] in ("target", "nontarget") or rows[0][0] not in ("0", "1")
    columns = ([1] if by_name else [0, 1]) if kaldi else [1, 2]
    names = list(dict.fromkeys(row[column] for row in rows for column in columns))
    new = dict(zip(names, _renamed(resolve_paths(names, source), rename), strict=True))
    lost = {name for name, path in new.items() if path is None}
    gone = set(gone)

    def copy() -> Iterator[list[str]]:
        for row in rows:
            if lost.isdisjoint(row[column] for column in columns) and not (by_name and row[0] in gone):
                yield [new[field] or field if column in columns else field for column, field in enumerate(row)]

    return write_lines(target, copy())


def _renamed(paths: Sequence[str], rename: Mapping[str, str | None]) -> list[str | None]:
    slashed = [path.replace(os.sep, "/") for path in paths]
    return [rename.get(path, path) for path in slashed]


def _row(utterance: Utterance) -> list[str]:
    row = [utterance.path.replace(os.sep, "/"), utterance.speaker]
    if utterance.start_s is None and utterance.end_s is None:
        return row
    row.append("" if utterance.start_s is None else f"{utterance.start_s:.6g}")
    return row if utterance.end_s is None else [*row, f"{utterance.end_s:.6g}"]
