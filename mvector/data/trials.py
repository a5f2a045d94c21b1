"""Trials: which enrolled voice is compared with which recording, from trial lists, enrollment maps or two data lists.

Trial list      VoxCeleb form `1|0 enroll test`, or CN-Celeb/Kaldi form `enroll test target|nontarget` (also 1|0),
                recognised by content; columns separated by spaces, or by tabs where paths hold spaces.
Enrollment map  `spk_model path [path …]`: several utterances stand for the enrolled speaker `spk_model`.
Data lists      two of them (see `lists`) are compared all against all.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mvector.data.lists import Utterance, read_data_list, read_lines, resolve_paths
from mvector.data.shards import names_shards
from mvector.data.trial_lines import KALDI_LABELS as KALDI_LABELS
from mvector.data.trial_lines import TrialLines, line_of_enrollment, read_trial_lines, trial_form
from mvector.errors import DataListError, nearest

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trials:
    """Trials as numbers, so that millions of them stay small.

    utterances       U recordings to embed, each once
    enroll_rows      N enrolled voices: the rows in `utterances` of each one's recordings (one or several)
    test_rows        [M] the row in `utterances` of each test recording
    enroll_speakers  [N] numbers of the speakers; equal numbers in both arrays mean the same person. For a trial list,
    test_speakers    [M] which does not name speakers, the target trials say who is the same person, and a recording
                     that is in none of them has a number of its own.
    enroll, test     [n] int32 indexes of each trial into 0…N-1 and 0…M-1, labels [n] bool; all three are None when
    labels           everything is compared with everything (never an utterance with itself; a pair of utterances
                     that stand in both lists is taken once).
    enroll_names     [N], [M] names that a trial list or an enrollment map gives to the two sides; None: their paths
    test_names
    """

    utterances: list[Utterance]
    enroll_rows: list[tuple[int, ...]]
    test_rows: NDArray[np.int64]
    enroll_speakers: NDArray[np.int64]
    test_speakers: NDArray[np.int64]
    enroll: NDArray[np.int32] | None = None
    test: NDArray[np.int32] | None = None
    labels: NDArray[np.bool_] | None = None
    enroll_names: list[str] | None = None
    test_names: list[str] | None = None

    def speaker_count(self) -> int:
        """How many persons there certainly are: those that data lists name, or that a trial list's target trials show.

        Whose voice a recording is that stands in non-target trials only, a trial list does not say; nobody is counted
        for it.
        """
        if self.enroll is None or self.labels is None:
            return len(np.union1d(self.enroll_speakers, self.test_speakers))
        return len(np.unique(self.enroll_speakers[self.enroll[self.labels]]))


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
        pairs = _all_pairs([(name, [Utterance(path, name) for path in paths]) for name, paths in voices.items()], test)
        return replace(pairs, enroll_names=list(voices))
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
    if names_shards(path):
        return False
    for _, line in read_lines(path):
        return trial_form(line) is not None
    raise DataListError(f"{path}: the list is empty.")


def read_trials(path: str | Path, data_root: str | Path | None = None, enroll_map: str | Path | None = None) -> Trials:
    """A trial list. Without `enroll_map` each enrollment is a recording; with it, a name in that map.

    Relative recording paths are looked for as those of a data list are. Trials of an utterance with itself are left
    out with a warning. Raises DataListError with file, line and what was found.
    """
    lines = read_trial_lines(path)
    pool = _Pool()
    test_rows = [pool.row(Utterance(name, "")) for name in resolve_paths(list(lines.test_names), path, data_root)]
    if enroll_map:
        voices = read_enroll_map(enroll_map, data_root)
        for name in lines.enroll_names:
            if name not in voices:
                raise DataListError(
                    f"{path}:{line_of_enrollment(path, name)}: the enrolled speaker {name!r} is not in {enroll_map}."
                    f"{nearest(name, voices)}"
                )
        enroll_rows = [tuple(pool.row(Utterance(p, "")) for p in voices[name]) for name in lines.enroll_names]
    else:
        try:
            enroll_paths = resolve_paths(list(lines.enroll_names), path, data_root)
        except DataListError as error:
            raise DataListError(
                f"{error} If these enrollments are names of speakers and not recordings, give the enrollment map."
            ) from error
        enroll_rows = [(pool.row(Utterance(p, "")),) for p in enroll_paths]
    return _numbered(path, pool.utterances, enroll_rows, np.array(test_rows, dtype=np.int64), lines)


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
    test_rows: NDArray[np.int64],
    lines: TrialLines,
) -> Trials:
    """Trials from a trial list: self-comparisons left out, speakers found by following the target trials."""
    enroll, test, labels = lines.enroll, lines.test, lines.labels
    sizes = np.array([len(rows) for rows in enroll_rows])
    members = np.array([row for rows in enroll_rows for row in rows], dtype=np.int64)
    voices = np.repeat(np.arange(len(sizes)), sizes)
    first = members[np.cumsum(sizes) - sizes]
    own = first[enroll] == test_rows[test]
    several = np.flatnonzero(sizes[enroll] > 1)
    compared = enroll[several].astype(np.int64) * len(utterances) + test_rows[test[several]]
    own[several] = np.isin(compared, voices * len(utterances) + members)
    if own.any():
        logger.warning("%s: left out %d trials of an utterance with itself", path, np.count_nonzero(own))
        enroll, test, labels = enroll[~own], test[~own], labels[~own]

    # Recordings that a target trial (or one enrollment) joins are one person's.
    person = _joined(
        len(utterances),
        np.concatenate([members, first[enroll[labels]]]),
        np.concatenate([first[voices], test_rows[test[labels]]]),
    )
    return Trials(
        utterances=utterances,
        enroll_rows=enroll_rows,
        test_rows=test_rows,
        enroll_speakers=person[first],
        test_speakers=person[test_rows],
        enroll=enroll,
        test=test,
        labels=labels,
        enroll_names=list(lines.enroll_names),
        test_names=list(lines.test_names),
    )


def _joined(size: int, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """[size]: of each of the numbers 0 … size - 1 the lowest that a chain of the pairs (one, other) leads to."""
    lowest = np.arange(size)
    while True:
        a, b = lowest[one], lowest[other]
        apart = a != b
        if not apart.any():
            return lowest
        one, other, a, b = one[apart], other[apart], a[apart], b[apart]
        # Hang the higher of two roots under the lower, then let everybody point at a root again.
        np.minimum.at(lowest, np.maximum(a, b), np.minimum(a, b))
        while not np.array_equal(lowest, lowest[lowest]):
            lowest = lowest[lowest]
