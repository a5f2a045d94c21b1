"""Trials: which enrolled voice is compared with which recording, from trial lists, enrollment maps or two data lists.

Trial list      VoxCeleb form `1|0 enroll test`, or CN-Celeb/Kaldi form `enroll test target|nontarget` (also 1|0),
                recognised by content; columns separated by spaces, or by tabs where paths hold spaces.
Enrollment map  `spk_model path [path …]`: several utterances stand for the enrolled speaker `spk_model`.
Data lists      two of them (see `lists`) are compared all against all.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mvector.data.lists import Utterance, read_data_list, read_lines, resolve_paths
from mvector.errors import DataListError, nearest

logger = logging.getLogger(__name__)

KALDI_LABELS = {"target": True, "nontarget": False, "1": True, "0": False}
VOXCELEB_LABELS = {"1": True, "0": False}


@dataclass(frozen=True)
class Trials:
    """Trials as numbers, so that millions of them stay small.

    utterances       U recordings to embed, each once
    enroll_rows      N enrolled voices: the rows in `utterances` of each one's recordings (one or several)
    test_rows        [M] the row in `utterances` of each test recording
    enroll_speakers  [N] numbers of the speakers; equal numbers in both arrays mean the same person. For a trial list,
    test_speakers    [M] which does not name speakers, the target trials say who is the same person.
    enroll, test     [n] int32 indexes of each trial into 0…N-1 and 0…M-1, labels [n] bool; all three are None when
    labels           everything is compared with everything (never an utterance with itself; a pair of utterances
                     that stand in both lists is taken once).
    """

    utterances: list[Utterance]
    enroll_rows: list[tuple[int, ...]]
    test_rows: NDArray[np.int64]
    enroll_speakers: NDArray[np.int64]
    test_speakers: NDArray[np.int64]
    enroll: NDArray[np.int32] | None = None
    test: NDArray[np.int32] | None = None
    labels: NDArray[np.bool_] | None = None


def load_trials(
    enroll_list: str | Path | None = None,
    trials_list: str | Path | None = None,
    enroll_map: str | Path | None = None,
    data_root: str | Path | None = None,
) -> Trials:
    """The trials that a configuration names.

    `trials_list` holding a trial list is used as it is (`enroll_list` is then not needed; `enroll_map` gives the
    utterances of its enrolled speakers). Otherwise `trials_list` is a data list, compared all against all with
    `enroll_list` or the voices of `enroll_map` (whose names must then be speakers of the list), or with itself.
    """
    tests = trials_list or enroll_list
    if tests is None:
        raise DataListError("no trials: give a trial list, or data lists for enrollment and test.")
    if is_trial_list(tests):
        if enroll_list and trials_list:
            logger.info("%s is a trial list: %s is not used", trials_list, enroll_list)
        return read_trials(tests, data_root, enroll_map)
    test = read_data_list(tests, data_root)
    if enroll_map:
        voices = read_enroll_map(enroll_map, data_root)
        return _all_pairs([(name, [Utterance(path, name) for path in paths]) for name, paths in voices.items()], test)
    if enroll_list is None or Path(enroll_list) == Path(tests):
        return all_pairs(test, test)
    if is_trial_list(enroll_list):
        raise DataListError(f"{enroll_list}: a trial list was given as enroll_list; give it as trials_list.")
    return all_pairs(read_data_list(enroll_list, data_root), test)


def all_pairs(enroll: Sequence[Utterance], test: Sequence[Utterance]) -> Trials:
    """Every enrollment utterance against every test utterance; a target trial where the speakers are the same."""
    return _all_pairs([(utterance.speaker, [utterance]) for utterance in dict.fromkeys(enroll)], test)


def is_trial_list(path: str | Path) -> bool:
    """Whether the first line of a list has one of the two forms of a trial (and not that of a data list)."""
    for _, line in read_lines(path):
        return _trial_form(line) is not None
    raise DataListError(f"{path}: the list is empty.")


def read_trials(path: str | Path, data_root: str | Path | None = None, enroll_map: str | Path | None = None) -> Trials:
    """A trial list. Without `enroll_map` each enrollment is a recording; with it, a name in that map.

    Relative recording paths are looked for as those of a data list are. Trials of an utterance with itself are left
    out with a warning. Raises DataListError with file, line and what was found.
    """
    form: str | None = None
    enroll_names: dict[str, int] = {}
    test_names: dict[str, int] = {}
    first_lines: list[int] = []  # where each enrollment is named first, for the error
    enroll: list[int] = []
    test: list[int] = []
    labels: list[bool] = []
    for number, line in read_lines(path):
        form = form or _trial_form(line)
        fields = _fields(line)
        if form == "voxceleb" and len(fields) == 3:
            label, enroll_name, test_name = VOXCELEB_LABELS.get(fields[0]), fields[1], fields[2]
        elif form == "kaldi" and len(fields) == 3:
            label, enroll_name, test_name = KALDI_LABELS.get(fields[2]), fields[0], fields[1]
        else:
            label = None
        if label is None:
            raise DataListError(
                f"{path}:{number}: expected '1|0 enroll test' or 'enroll test target|nontarget' (one form in the whole "
                f"list), found {line!r}."
            )
        index = enroll_names.setdefault(enroll_name, len(enroll_names))
        if index == len(first_lines):
            first_lines.append(number)
        enroll.append(index)
        test.append(test_names.setdefault(test_name, len(test_names)))
        labels.append(label)
    if not labels:
        raise DataListError(f"{path}: the trial list is empty.")

    pool = _Pool()
    test_rows = [pool.row(Utterance(name, "")) for name in resolve_paths(list(test_names), path, data_root)]
    if enroll_map:
        voices = read_enroll_map(enroll_map, data_root)
        for name, line_number in zip(enroll_names, first_lines, strict=True):
            if name not in voices:
                raise DataListError(
                    f"{path}:{line_number}: the enrolled speaker {name!r} is not in {enroll_map}."
                    f"{nearest(name, voices)}"
                )
        enroll_rows = [tuple(pool.row(Utterance(p, "")) for p in voices[name]) for name in enroll_names]
    else:
        try:
            enroll_paths = resolve_paths(list(enroll_names), path, data_root)
        except DataListError as error:
            raise DataListError(
                f"{error} If these enrollments are names of speakers and not recordings, give the enrollment map."
            ) from error
        enroll_rows = [(pool.row(Utterance(p, "")),) for p in enroll_paths]
    return _numbered(path, pool.utterances, enroll_rows, test_rows, enroll, test, labels)


def read_enroll_map(path: str | Path, data_root: str | Path | None = None) -> dict[str, tuple[str, ...]]:
    """Enrolled name → paths of its utterances. A name may stand on several lines; they are joined.

    The name ends at the first space or tab; paths are separated by tabs if there are any among them, else by spaces.
    """
    names: list[str] = []
    paths: list[str] = []
    for number, line in read_lines(path):
        name, *rest = line.strip().split(maxsplit=1)
        members = [] if not rest else [p.strip() for p in rest[0].split("\t" if "\t" in rest[0] else None)]
        if not members or not all(members):
            raise DataListError(f"{path}:{number}: expected 'name path [path …]', found {line!r}.")
        names += [name] * len(members)
        paths += members
    if not names:
        raise DataListError(f"{path}: the enrollment map is empty; expected 'name path [path …]' per line.")
    voices: dict[str, dict[str, None]] = {}  # a dict as an ordered set: a path given twice counts once
    for name, resolved in zip(names, resolve_paths(paths, path, data_root), strict=True):
        voices.setdefault(name, {})[resolved] = None
    return {name: tuple(members) for name, members in voices.items()}


class _Pool:
    """The different recordings in order of first appearance."""

    def __init__(self) -> None:
        self.utterances: list[Utterance] = []
        self._rows: dict[tuple[str, float | None, float | None], int] = {}

    def row(self, utterance: Utterance) -> int:
        row = self._rows.setdefault((utterance.path, utterance.start_s, utterance.end_s), len(self.utterances))
        if row == len(self.utterances):
            self.utterances.append(utterance)
        return row


def _fields(line: str) -> list[str]:
    return [field.strip() for field in line.split("\t")] if line.count("\t") == 2 else line.split()


def _trial_form(line: str) -> str | None:
    """'voxceleb', 'kaldi' or None. A line with tabs may be a data list's: `1.wav<TAB>7<TAB>0.5` is no trial."""
    fields = _fields(line)
    if len(fields) != 3 or line.count("\t") == 1:
        return None
    if fields[2] in ("target", "nontarget"):
        return "kaldi"
    if "\t" in line and _is_number(fields[2]):
        return None
    if fields[0] in VOXCELEB_LABELS:
        return "voxceleb"
    return "kaldi" if fields[2] in KALDI_LABELS else None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _all_pairs(voices: Sequence[tuple[str, Sequence[Utterance]]], test: Sequence[Utterance]) -> Trials:
    test = list(dict.fromkeys(test))  # a line that stands twice in a list counts once
    pool = _Pool()
    speakers: dict[str, int] = {}
    return Trials(
        enroll_rows=[tuple(pool.row(utterance) for utterance in members) for _, members in voices],
        test_rows=np.array([pool.row(utterance) for utterance in test], dtype=np.int64),
        enroll_speakers=np.array([speakers.setdefault(name, len(speakers)) for name, _ in voices], dtype=np.int64),
        test_speakers=np.array([speakers.setdefault(u.speaker, len(speakers)) for u in test], dtype=np.int64),
        utterances=pool.utterances,
    )


def _numbered(
    path: str | Path,
    utterances: list[Utterance],
    enroll_rows: list[tuple[int, ...]],
    test_rows: list[int],
    enroll: list[int],
    test: list[int],
    labels: list[bool],
) -> Trials:
    """Trials from a trial list: self-comparisons left out, speakers found by following the target trials."""
    members = [set(rows) for rows in enroll_rows]
    keep = [test_rows[t] not in members[e] for e, t in zip(enroll, test, strict=True)]
    if not all(keep):
        logger.warning("%s: left out %d trials of an utterance with itself", path, keep.count(False))
    kept = np.array(keep)
    enroll_index, test_index = np.array(enroll, np.int32)[kept], np.array(test, np.int32)[kept]
    label = np.array(labels, dtype=bool)[kept]

    # Recordings that a target trial (or one enrollment) joins are one person's: union-find over rows.
    parent = list(range(len(utterances)))

    def person(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for rows in enroll_rows:
        for row in rows[1:]:
            parent[person(row)] = person(rows[0])
    for e, t in zip(enroll_index[label].tolist(), test_index[label].tolist(), strict=True):
        parent[person(test_rows[t])] = person(enroll_rows[e][0])
    return Trials(
        utterances=utterances,
        enroll_rows=enroll_rows,
        test_rows=np.array(test_rows, dtype=np.int64),
        enroll_speakers=np.array([person(rows[0]) for rows in enroll_rows], dtype=np.int64),
        test_speakers=np.array([person(row) for row in test_rows], dtype=np.int64),
        enroll=enroll_index,
        test=test_index,
        labels=label,
    )
