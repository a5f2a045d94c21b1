"""The scores of a run on disk, named by what they compare, so that runs can be set against each other later.

A report keeps them in scores.npz: arrays and JSON text, nothing that needs pickle. Scores of other toolkits are read
from text, one trial a line: `enroll test score target|nontarget` (also 1|0).
"""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mvector.data.lists import read_lines
from mvector.data.trial_lines import KALDI_LABELS
from mvector.data.trials import _joined
from mvector.errors import DataListError, MVectorError
from mvector.report.conditions import ScoredTrials
from mvector.report.worst_cases import NamedTrials, file_of

FORMAT = 1
SCORES_FILE = "scores.npz"


@dataclass(frozen=True)
class StoredScores:
    """Scores of n trials between things with names.

    scores [n] float, labels [n] bool; enroll, test [n] indexes into the names of N voices and M recordings (a voice of
    several recordings is named by their lines) and into the numbers of their speakers [N], [M].
    """

    scores: NDArray[np.floating]
    labels: NDArray[np.bool_]
    enroll: NDArray[np.integer]
    test: NDArray[np.integer]
    enroll_names: list[str]
    test_names: list[str]
    enroll_speakers: NDArray[np.integer]
    test_speakers: NDArray[np.integer]


def save_scores(path: Path, scored: ScoredTrials, trials: NamedTrials) -> None:
    """Write scores.npz; scores that are counted in bins are stored without names and cannot be compared later."""
    arrays: dict[str, Any] = {"format": np.array(FORMAT), "scores": scored.scores, "labels": scored.labels}
    if scored.counts is not None:
        arrays["counts"] = scored.counts
    if scored.enroll is not None and scored.test is not None:
        text = json.dumps(_names(trials), ensure_ascii=False).encode("utf-8", errors="replace")
        arrays |= {
            "enroll": scored.enroll,
            "test": scored.test,
            "enroll_speakers": trials.enroll_speakers,
            "test_speakers": trials.test_speakers,
            "names": np.frombuffer(text, dtype=np.uint8),
        }
    np.savez_compressed(path, **arrays)


def load_scores(path: str | Path) -> StoredScores:
    """The scores of a report's folder, of a scores.npz, or of a text file; an MVectorError says what is wrong."""
    source = Path(path)
    if source.is_dir():
        if not (source / SCORES_FILE).is_file():
            raise MVectorError(
                f"{source} has no {SCORES_FILE}; give the folder of a report, as eval.py --report writes."
            )
        source = source / SCORES_FILE
    if not source.is_file():
        raise MVectorError(f"{source}: no such report folder or score file.")
    return _load_npz(source) if zipfile.is_zipfile(source) else read_score_file(source)


def read_score_file(path: str | Path) -> StoredScores:
    """A text file of `enroll test score target|nontarget`; who is the same person is told by the target trials."""
    number_of: dict[str, int] = {}
    enroll: list[int] = []
    test: list[int] = []
    scores: list[float] = []
    labels: list[bool] = []
    for line_number, line in read_lines(path):
        fields = line.split("\t") if line.count("\t") == 3 else line.split()
        label = KALDI_LABELS.get(fields[3].strip()) if len(fields) == 4 else None
        try:
            score = float(fields[2]) if label is not None else np.nan
        except ValueError:
            label = None
        if label is None:
            raise DataListError(f"{path}:{line_number}: expected 'enroll test score target|nontarget', found {line!r}.")
        enroll.append(number_of.setdefault(fields[0].strip(), len(number_of)))
        test.append(number_of.setdefault(fields[1].strip(), len(number_of)))
        scores.append(score)
        labels.append(label)
    if not scores:
        raise DataListError(f"{path}: the score file is empty; expected 'enroll test score target|nontarget' per line.")
    names = list(number_of)
    one, other, label_array = np.array(enroll), np.array(test), np.array(labels)
    people = _joined(len(names), one[label_array], other[label_array])
    return StoredScores(np.array(scores), label_array, one, other, names, names, people, people)


def _names(trials: NamedTrials) -> dict[str, list[str]]:
    """The names of a trial list as it has them, else the recordings."""
    files = [file_of(utterance) for utterance in trials.utterances]
    return {
        "enroll": trials.enroll_names or ["\n".join(files[row] for row in members) for members in trials.enroll_rows],
        "test": trials.test_names or [files[row] for row in trials.test_rows],
    }


def _load_npz(path: Path) -> StoredScores:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if "counts" in arrays:
                raise MVectorError(
                    f"{path}: so many trials were counted in bins of scores, not kept one by one; runs can be compared "
                    "on a smaller list."
                )
            if int(arrays["format"]) != FORMAT:
                raise MVectorError(f"{path}: written by another version of mvector; evaluate the run again.")
            names = json.loads(arrays["names"].tobytes().decode("utf-8"))
            return StoredScores(
                **{
                    name: arrays[name]
                    for name in ("scores", "labels", "enroll", "test", "enroll_speakers", "test_speakers")
                },
                enroll_names=names["enroll"],
                test_names=names["test"],
            )
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise MVectorError(f"{path}: not a score file of a report ({error}); evaluate the run again.") from error
