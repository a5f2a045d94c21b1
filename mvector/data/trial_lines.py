"""The lines of a trial list as numbered names, read at millions of lines in a few hundred nanoseconds each.

VoxCeleb form      1|0 enroll test
CN-Celeb, Kaldi    enroll test target|nontarget (also 1|0)

Columns are separated by spaces, or by two tabs where names hold spaces.
"""

from codecs import BOM_UTF8
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mvector.data.lists import read_lines
from mvector.errors import DataListError

KALDI_LABELS = {"target": True, "nontarget": False, "1": True, "0": False}
VOXCELEB_LABELS = {"1": True, "0": False}
# Read at a time: the strings of so many bytes are made and dropped again within a processor's cache.
BLOCK_BYTES = 1 << 18

Columns = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_]]


@dataclass
class TrialLines:
    """enroll, test [n] number the names of each line in the order in which the names appear; labels [n] are bool."""

    enroll_names: dict[str, int] = field(default_factory=dict)
    test_names: dict[str, int] = field(default_factory=dict)
    enroll: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    test: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    labels: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, bool))


def read_trial_lines(path: str | Path) -> TrialLines:
    """All lines of a trial list; DataListError with file and line where one has another form than the first."""
    lines = TrialLines()
    parts: list[Columns] = []
    regular: _RegularLines | None = None
    number = 1
    for block in _blocks(path):
        if regular is None and not block.isspace():
            first = next(line for line in block.split("\n") if line and not line.isspace())
            regular = _RegularLines(trial_form(first), lines)
        columns = regular.columns(block) if regular is not None else None
        if columns is not None:
            number += len(columns[2])
        else:
            columns = _irregular(path, number, block, regular.form if regular is not None else None, lines)
            number += block.count("\n")
        parts.append(columns)
    if parts:
        lines.enroll, lines.test, lines.labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    if not len(lines.labels):
        raise DataListError(f"{path}: the trial list is empty.")
    return lines


def line_of_enrollment(path: str | Path, name: str) -> int:
    """The number of the first line that names this enrollment."""
    column = None
    for number, line in read_lines(path):
        if column is None:
            column = 1 if trial_form(line) == "voxceleb" else 0
        if trial_fields(line)[column] == name:
            return number
    raise AssertionError(f"{name} is not in {path}")


def trial_fields(line: str) -> list[str]:
    return [field.strip() for field in line.split("\t")] if line.count("\t") == 2 else line.split()


def trial_form(line: str) -> str | None:
    """'voxceleb', 'kaldi' or None. A line with tabs may be a data list's: `1.wav<TAB>7<TAB>0.5` is no trial."""
    fields = trial_fields(line)
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


def _blocks(path: str | Path) -> Iterator[str]:
    """The text in blocks of whole lines, each of them ended by a line feed."""
    try:
        with open(path, "rb") as file:  # a fifth of the time of a text file
            file.seek(len(BOM_UTF8) if file.read(len(BOM_UTF8)) == BOM_UTF8 else 0)
            while raw := file.read(BLOCK_BYTES):
                block = (raw + file.readline()).decode()
                if "\r" in block:
                    block = block.replace("\r\n", "\n").replace("\r", "\n")
                yield block if block.endswith("\n") else block + "\n"
    except (UnicodeDecodeError, OSError):
        for _ in read_lines(path):  # meets the same fault and tells it in a sentence
            pass
        raise


class _RegularLines:
    """Blocks whose lines all have two separators of one kind, split at once instead of line by line.

    With one separator after every first and second column, the text falls into the middle columns and, between them,
    joints: the third column of a line, the line feed, and the first column of the next line. There are hardly more
    different joints than names, so each is taken apart once. Joints with one line feed each, and none in between, show
    that every line has its three columns.
    """

    def __init__(self, form: str | None, lines: TrialLines) -> None:
        self.form = form
        self._enroll_names, self._test_names = lines.enroll_names, lines.test_names
        self._tables: dict[str, tuple[_Tokens, _Tokens]] = {}

    def columns(self, block: str) -> Columns | None:
        """(enroll, test, labels) of the lines, or None when they are not so regular or not right."""
        separator = "\t" if "\t" in block else " "
        tokens = ("\n" + block).split(separator)
        if self.form is None or len(tokens) % 2 == 0:
            return None
        voxceleb = self.form == "voxceleb"
        if separator not in self._tables:
            of_middle, of_joint = (self._enroll_names, self._test_names)[:: 1 if voxceleb else -1]
            labels = VOXCELEB_LABELS if voxceleb else KALDI_LABELS
            self._tables[separator] = (
                _Tokens(lambda token: (_name(token, separator), -1), of_middle),
                _Tokens(lambda token: _joint(token, separator, labels, voxceleb), of_joint),
            )
        middle, joint = self._tables[separator]
        middles, joints = middle.number(tokens[1::2]), joint.number(tokens[::2])
        named, labelled = (joints[1:], joints[:-1]) if voxceleb else (joints[:-1], joints[1:])
        label = joint.label.take(labelled)
        if not (middle.all_names and joint.is_name.take(named).all() and (label >= 0).all()):
            del self._tables[separator]  # what it learnt here may be no names
            return None
        middle_column, named_column = middle.name_numbers().take(middles), joint.name_numbers().take(named)
        label = label == 1
        return (middle_column, named_column, label) if voxceleb else (named_column, middle_column, label)


class _Tokens:
    """Numbers the different tokens, and keeps for each whether it holds a name, that name's number, and its label.
    `all_names`: every token so far holds one.

    read(token) gives its name (None if there is none) and label (1, 0, or -1 if there is none). Names enter `names`
    when their numbers are asked for.
    """

    def __init__(self, read: Callable[[str], tuple[str | None, int]], names: dict[str, int]) -> None:
        self._read, self._names = read, names
        self._codes: defaultdict[str, int] = defaultdict(count().__next__)
        self._waiting: list[str | None] = []
        self._name_number = np.empty(0, np.int32)
        self.all_names = True
        self.is_name = np.empty(0, bool)
        self.label = np.empty(0, np.int8)

    def number(self, tokens: list[str]) -> NDArray[np.intp]:
        """The number of each token; equal tokens have one number."""
        codes = np.fromiter(map(self._codes.__getitem__, tokens), np.intp, len(tokens))
        known = len(self.label)
        if len(self._codes) == known:
            return codes
        learnt: list[tuple[str | None, int]] = []
        new = np.flatnonzero(codes >= known)
        for index, code in zip(new.tolist(), codes[new].tolist(), strict=True):
            if code == known + len(learnt):  # its first appearance
                learnt.append(self._read(tokens[index]))
        names = [name for name, _ in learnt]
        self._waiting += names
        self.all_names &= None not in names
        self.is_name = np.append(self.is_name, [name is not None for name in names]).astype(bool, copy=False)
        self.label = np.append(self.label, np.array([label for _, label in learnt], np.int8))
        return codes

    def name_numbers(self) -> NDArray[np.int32]:
        """The number in `names` of each token's name; -1 where it has none."""
        if not self._waiting:
            return self._name_number
        new = [-1 if name is None else self._names.setdefault(name, len(self._names)) for name in self._waiting]
        self._waiting = []
        self._name_number = np.append(self._name_number, np.array(new, np.int32))
        return self._name_number


def _name(text: str, separator: str) -> str | None:
    if separator == "\t":
        return None if "\n" in text else text.strip() or None
    return text if text.split() == [text] else None  # any other white space separates as well


def _joint(text: str, separator: str, labels: dict[str, bool], voxceleb: bool) -> tuple[str | None, int]:
    end, feed, begin = text.partition("\n")
    if not feed or "\n" in begin:
        return None, -1
    name, label = (end, begin) if voxceleb else (begin, end)
    return _name(name, separator), int(labels.get(label.strip() if separator == "\t" else label, -1))


def _irregular(path: str | Path, number: int, block: str, form: str | None, lines: TrialLines) -> Columns:
    """The columns of a block that begins at line `number`, line by line."""
    enroll: list[int] = []
    test: list[int] = []
    labels: list[bool] = []
    for line_number, line in enumerate(block.split("\n")[:-1], number):
        if not line or line.isspace():
            continue
        fields = trial_fields(line)
        label = None
        if form == "voxceleb" and len(fields) == 3:
            label, enroll_name, test_name = VOXCELEB_LABELS.get(fields[0]), fields[1], fields[2]
        elif form == "kaldi" and len(fields) == 3:
            label, enroll_name, test_name = KALDI_LABELS.get(fields[2]), fields[0], fields[1]
        if label is None:
            raise DataListError(
                f"{path}:{line_number}: expected '1|0 enroll test' or 'enroll test target|nontarget' (one form in the "
                f"whole list), found {line!r}."
            )
        enroll.append(lines.enroll_names.setdefault(enroll_name, len(lines.enroll_names)))
        test.append(lines.test_names.setdefault(test_name, len(lines.test_names)))
        labels.append(label)
    return np.array(enroll, np.int32), np.array(test, np.int32), np.array(labels, bool)
