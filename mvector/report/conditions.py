"""The same metrics for each condition: gender, age group, duration, noise, recording, any column of a metadata file.

A trial has two sides. Where the condition is an amount that hurts when it is low (duration, signal-to-noise ratio) the
trial counts with its worse side; otherwise with its pair of values: both female, both male, or different. Which
value is hard is seen best in the pairs of equal values, because a non-target trial of different values is an easy one.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mvector.metrics.detection import count_trials
from mvector.metrics.summary import DetectionMetrics, detection_metrics
from mvector.report.metadata import Column

# An EER of fewer trials of a kind moves by whole percents with a single trial.
FEWEST_TRIALS = 30
# Of fewer people it says who they are, not what the condition does.
FEWEST_PEOPLE = 5
# A column of more values (a recording session, a phone's serial number) is only told as same and different.
MOST_VALUES = 20

SAME, DIFFERENT = "same", "different"


class ScoredTrials(Protocol):
    """What is read of a `mvector.scoring.TrialScores` (see there)."""

    @property
    def scores(self) -> NDArray[Any]: ...
    @property
    def labels(self) -> NDArray[Any]: ...
    @property
    def counts(self) -> NDArray[Any] | None: ...
    @property
    def enroll(self) -> NDArray[Any] | None: ...
    @property
    def test(self) -> NDArray[Any] | None: ...


class TrialSides(Protocol):
    """What is read of a `mvector.data.trials.Trials` (see there)."""

    @property
    def enroll_rows(self) -> Sequence[tuple[int, ...]]: ...
    @property
    def test_rows(self) -> NDArray[Any]: ...
    @property
    def enroll_speakers(self) -> NDArray[Any]: ...
    @property
    def test_speakers(self) -> NDArray[Any]: ...
    @property
    def labels(self) -> NDArray[Any] | None: ...


@dataclass(frozen=True)
class ConditionRow:
    """One condition's value, such as gender: f–f. `metrics` is None where the trials or people are too few.

    false_rejects and false_accepts count the errors at the report's threshold (None without one).
    """

    condition: str
    value: str
    targets: int
    non_targets: int
    people: int
    metrics: DetectionMetrics | None = None
    false_rejects: int | None = None
    false_accepts: int | None = None

    @property
    def n(self) -> int:
        return self.targets + self.non_targets


def condition_rows(
    scored: ScoredTrials, trials: TrialSides, columns: Sequence[Column], threshold: float | None = None
) -> list[ConditionRow]:
    """A row for each value of each column that any trial has; none when the scores are counted in bins.

    A row has metrics from FEWEST_TRIALS trials of each kind by FEWEST_PEOPLE people on.
    """
    if scored.enroll is None or scored.test is None:
        return []
    rows = []
    for column in columns:
        names, cells = _cells(column, scored.enroll, scored.test, trials)
        for number, name in enumerate(names):
            chosen = np.flatnonzero(cells == number)
            if len(chosen):
                rows.append(_row(column.name, name, scored, trials, chosen, threshold))
    return rows


def _row(
    condition: str,
    value: str,
    scored: ScoredTrials,
    trials: TrialSides,
    chosen: NDArray[np.intp],
    threshold: float | None,
) -> ConditionRow:
    assert scored.enroll is not None
    assert scored.test is not None
    scores, labels = scored.scores[chosen], scored.labels[chosen]
    enroll = trials.enroll_speakers[scored.enroll[chosen]]
    test = trials.test_speakers[scored.test[chosen]]
    targets, non_targets = count_trials(labels)
    # Whose voice a recording is that stands in non-target trials only, a trial list does not say.
    people = len(np.union1d(enroll, test) if trials.labels is None else np.unique(enroll[labels]))
    metrics = None
    if min(targets, non_targets) >= FEWEST_TRIALS and people >= FEWEST_PEOPLE:
        metrics = detection_metrics(scores, labels, enroll_speakers=enroll, test_speakers=test)
    accepted = None if threshold is None else scores > np.float64(threshold)
    return ConditionRow(
        condition=condition,
        value=value,
        targets=targets,
        non_targets=non_targets,
        people=people,
        metrics=metrics,
        false_rejects=None if accepted is None else int(np.count_nonzero(labels & ~accepted)),
        false_accepts=None if accepted is None else int(np.count_nonzero(~labels & accepted)),
    )


def _cells(
    column: Column, enroll: NDArray[Any], test: NDArray[Any], trials: TrialSides
) -> tuple[list[str], NDArray[np.int32]]:
    """(names of the cells, the number of each trial's cell [n]); -1: a side is unknown."""
    names, of_enroll, of_test = _values(column, trials)
    one, other = of_enroll[enroll], of_test[test]
    unknown = (one < 0) | (other < 0)
    if column.by_worse_side:
        cells = np.minimum(one, other)
    elif len(names) > MOST_VALUES:
        names, cells = [SAME, DIFFERENT], np.where(one == other, 0, 1)
    else:
        cells = np.where(one == other, one, len(names))
        names = [*(f"{name} – {name}" if column.texts else name for name in names), DIFFERENT]
    return names, np.where(unknown, -1, cells).astype(np.int32)


def _values(column: Column, trials: TrialSides) -> tuple[list[str], NDArray[np.int32], NDArray[np.int32]]:
    """(names of the values, the number of each enrolled voice's value [N], of each test recording's [M]); -1: unknown.

    A voice enrolled from several recordings has the sum of their durations, the mean of other amounts, and a value of
    texts only if they agree.
    """
    if column.numbers is not None:
        pooled = np.sum if column.name == "duration" else np.mean
        voices = np.array([pooled(column.numbers[list(members)]) for members in trials.enroll_rows])
        tests = column.numbers[trials.test_rows]
        return _bin_names(column), _binned(voices, column.edges), _binned(tests, column.edges)
    names = sorted(set(column.texts) - {""})
    number = {name: index for index, name in enumerate(names)} | {"": -1}
    of_row = np.array([number[text] for text in column.texts], dtype=np.int32)
    agreed = [members[0] if len(set(of_row[list(members)])) == 1 else None for members in trials.enroll_rows]
    of_voice = np.array([-1 if row is None else of_row[row] for row in agreed], dtype=np.int32)
    return names, of_voice, of_row[trials.test_rows]


def _binned(amounts: NDArray[np.float64], edges: Sequence[float]) -> NDArray[np.int32]:
    bins = np.searchsorted(np.asarray(edges), amounts, side="right")
    return np.where(np.isnan(amounts), -1, bins).astype(np.int32)


def _bin_names(column: Column) -> list[str]:
    unit = f" {column.unit}" if column.unit else ""
    edges = [f"{edge:g}" for edge in column.edges]
    between = [f"{low} – {high}{unit}" for low, high in itertools.pairwise(edges)]
    return [f"< {edges[0]}{unit}", *between, f"≥ {edges[-1]}{unit}"]
