"""Runs side by side on the trials that all of them scored, and whether they differ by more than chance.

Every run is compared with the first. The paired bootstrap over speakers (`mvector.metrics.confidence`) measures both on
the same drawn speakers, so that a hard speaker counts against both. With several runs one of many differences looks
large by accident: the p-values of a metric are corrected for that (Holm 1979).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mvector.errors import MVectorError
from mvector.metrics.confidence import PairedDifference, paired_difference
from mvector.metrics.detection import (
    FEWEST_FALSE_ACCEPTS,
    count_trials,
    nontargets_needed,
    nontargets_needed_for_cost,
)
from mvector.report.stored_scores import StoredScores

METRICS = ("eer", "min_dcf_0.01", "frr_at_far_0.001")
# Those of which less is better, and which scores of any scale have.
ERROR_METRICS = ("eer", "min_dcf_", "frr_at_far_", "min_cllr")
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Difference:
    """A run's metric less that of the first run (below zero: better); `p_value` is corrected for several runs."""

    run: str
    measured: PairedDifference
    p_value: float

    @property
    def larger_than_chance(self) -> bool:
        return self.measured.larger_than_chance and self.p_value < SIGNIFICANT


@dataclass(frozen=True)
class Comparison:
    """values[metric] [runs] on the shared trials; differences[metric] [runs - 1] from the first run.

    A metric that the shared trials are too few for stands in `not_measurable`, with the number of non-target trials
    that it needs. scores [runs][n], labels [n] are of the shared trials, `given` is how many each run had.
    """

    runs: tuple[str, ...]
    given: tuple[int, ...]
    targets: int
    non_targets: int
    people: int
    scores: tuple[NDArray[np.floating], ...]
    labels: NDArray[np.bool_]
    values: dict[str, list[float]]
    differences: dict[str, list[Difference]]
    not_measurable: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON, without the scores."""
        return {
            "runs": list(self.runs),
            "trials_given": list(self.given),
            "shared_trials": self.targets + self.non_targets,
            "targets": self.targets,
            "non_targets": self.non_targets,
            "speakers": self.people,
            "values": self.values,
            "differences_from_first": {
                metric: [
                    {
                        "run": d.run,
                        **asdict(d.measured),
                        "p_value_corrected": d.p_value,
                        "larger_than_chance": d.larger_than_chance,
                    }
                    for d in differences
                ]
                for metric, differences in self.differences.items()
            },
            "not_measurable": self.not_measurable,
        }


def compare(
    runs: Sequence[tuple[str, StoredScores]], metrics: Sequence[str] = METRICS, resamples: int = 500, seed: int = 0
) -> Comparison:
    """Two or more runs, each with a name, on the trials that all of them have."""
    if len(runs) < 2:
        raise MVectorError("a comparison needs at least two runs.")
    names, stored = tuple(name for name, _ in runs), [scores for _, scores in runs]
    chosen = _shared(names, stored)
    first, kept = stored[0], chosen[0]
    labels = first.labels[kept]
    enroll, test = first.enroll_speakers[first.enroll[kept]], first.test_speakers[first.test[kept]]
    scores = tuple(run.scores[index] for run, index in zip(stored, chosen, strict=True))
    targets, non_targets = count_trials(labels)
    values: dict[str, list[float]] = {}
    differences: dict[str, list[Difference]] = {}
    not_measurable: dict[str, int] = {}
    for metric in metrics:
        needed = _non_targets_needed(metric)
        if non_targets < needed:
            not_measurable[metric] = needed
            continue
        measured = [
            paired_difference(other, scores[0], labels, enroll, test, metric, resamples=resamples, seed=seed)
            for other in scores[1:]
        ]
        values[metric] = [measured[0].value_b, *(d.value_a for d in measured)]
        corrected = holm([d.p_value for d in measured])
        differences[metric] = [Difference(*both) for both in zip(names[1:], measured, corrected, strict=True)]
    return Comparison(
        runs=names,
        given=tuple(len(run.scores) for run in stored),
        targets=targets,
        non_targets=non_targets,
        people=len(np.union1d(enroll, test)),
        scores=scores,
        labels=labels,
        values=values,
        differences=differences,
        not_measurable=not_measurable,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for being several: the smallest times their number, the next times one fewer, …"""
    order = np.argsort(p_values)
    steps = np.asarray(p_values)[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return [float(p) for p in corrected]


def _non_targets_needed(metric: str) -> int:
    name, _, point = metric.rpartition("_")
    try:
        if name == "min_dcf":
            return nontargets_needed_for_cost(float(point))
        if name == "frr_at_far":
            return nontargets_needed(float(point))
    except ValueError:
        pass  # paired_difference knows how to say it
    return FEWEST_FALSE_ACCEPTS


def _shared(names: Sequence[str], runs: Sequence[StoredScores]) -> list[NDArray[np.intp]]:
    """For each run the indexes of the trials that all runs have, in one order."""
    keys = _keys(runs, relative=False)
    shared = _in_all(keys)
    if not len(shared):  # the same recordings, perhaps, but in another folder on another machine
        keys = _keys(runs, relative=True)
        shared = _in_all(keys)
    if not len(shared):
        raise MVectorError(
            f"{names[0]} and {names[1]} have no trial in common; runs are compared on the same test list."
        )
    chosen = [_positions(key, shared) for key in keys]
    labels = runs[0].labels[chosen[0]]
    for name, run, index in zip(names[1:], runs[1:], chosen[1:], strict=True):
        differing = int(np.count_nonzero(run.labels[index] != labels))
        if differing:
            raise MVectorError(
                f"{name} calls {differing} trials target that {names[0]} calls non-target, or the other way round; "
                "runs are compared on the same test list."
            )
    return chosen


def _keys(runs: Sequence[StoredScores], relative: bool) -> list[NDArray[np.int64]]:
    """A number for each trial [n] that is the same in all runs, whichever of the two recordings is the enrolled one."""
    number_of: dict[str, int] = {}
    sides = []
    for run in runs:
        start = _common_folder([*run.enroll_names, *run.test_names]) if relative else 0
        both = []
        for names, index in ((run.enroll_names, run.enroll), (run.test_names, run.test)):
            cut = ("\n".join(file[start:] for file in name.split("\n")) for name in names)
            both.append(np.array([number_of.setdefault(name, len(number_of)) for name in cut], np.int64)[index])
        sides.append(both)
    return [np.minimum(one, other) * len(number_of) + np.maximum(one, other) for one, other in sides]


def _common_folder(names: Sequence[str]) -> int:
    """How many characters the paths of all recordings begin with, up to a separator."""
    files = [file for name in names for file in name.split("\n")]
    first, last = min(files), max(files)  # what these two begin with, all do
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return max(first.rfind("/", 0, same), first.rfind("\\", 0, same)) + 1


def _in_all(keys: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    shared = np.unique(keys[0])
    for key in keys[1:]:
        if not np.array_equal(key, keys[0]):
            shared = np.intersect1d(shared, key)
    return shared


def _positions(key: NDArray[np.int64], shared: NDArray[np.int64]) -> NDArray[np.intp]:
    """Where each shared key stands in `key`, the first time."""
    found, position = np.unique(key, return_index=True)
    return position[np.searchsorted(found, shared)]
