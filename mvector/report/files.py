"""The tables of a report as CSV, and what JSON can hold of it."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mvector.metrics.plots import _shown
from mvector.report.conditions import ConditionRow
from mvector.report.operating_points import ErrorCurve, OperatingPoint
from mvector.report.worst_cases import WorstCases


def write_csv_files(
    folder: Path,
    curve: ErrorCurve,
    points: Sequence[OperatingPoint],
    conditions: Sequence[ConditionRow],
    worst: WorstCases | None,
) -> None:
    """det.csv, thresholds.csv, conditions.csv, worst_pairs.csv and worst_speakers.csv; empty fields are unknown."""
    shown = _shown(curve.far, curve.frr)
    write_csv(
        folder / "det.csv",
        ("threshold", "far", "frr"),
        zip(curve.thresholds[shown].tolist(), curve.far[shown].tolist(), curve.frr[shown].tolist(), strict=True),
    )
    write_csv(
        folder / "thresholds.csv",
        ("operating_point", "parameter", "threshold", "far", "frr", "cost", "measurable", "trials_needed"),
        ((p.kind, p.parameter, p.threshold, p.far, p.frr, p.cost, p.measurable, p.trials_needed) for p in points),
    )
    write_csv(
        folder / "conditions.csv",
        ("condition", "value", "targets", "non_targets", "people", "eer", "eer_low", "eer_high", "eer_threshold",
         "min_dcf_0.01", "false_rejects", "false_accepts"),
        (_condition(row) for row in conditions),
    )  # fmt: skip
    pairs = [] if worst is None else [*worst.false_accepts, *worst.false_rejects]
    write_csv(
        folder / "worst_pairs.csv",
        ("score", "is_target", "is_error", "enroll_files", "test_file", "enroll_speaker", "test_speaker"),
        ((p.score, p.is_target, p.is_error, " | ".join(p.enroll_files), p.test_file, p.enroll_speaker, p.test_speaker)
         for p in pairs),
    )  # fmt: skip
    speakers = [] if worst is None else [*worst.goats, *worst.lambs, *worst.wolves]
    write_csv(
        folder / "worst_speakers.csv",
        ("kind", "speaker", "errors", "trials", "rate", "file"),
        ((s.kind, s.speaker, s.errors, s.trials, s.rate, s.file) for s in speakers),
    )


def write_csv(path: Path, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """UTF-8 with a byte-order mark, without which Excel takes Chinese for another encoding."""
    with open(path, "w", encoding="utf-8-sig", errors="replace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(heads)
        writer.writerows(rows)


def finite(value: Any) -> Any:
    """The value as JSON can hold it: NumPy's numbers as Python's, and None for what is infinite or not a number."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [finite(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def _condition(row: ConditionRow) -> tuple[object, ...]:
    counted = (row.condition, row.value, row.targets, row.non_targets, row.people)
    errors = (row.false_rejects, row.false_accepts)
    if row.metrics is None:
        return (*counted, *[None] * 5, *errors)
    low, high = (row.metrics.intervals_95 or {}).get("eer", (None, None))
    return (*counted, row.metrics.eer, low, high, row.metrics.threshold, row.metrics.min_dcf["0.01"], *errors)
