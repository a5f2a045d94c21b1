"""The thresholds a report speaks of, and what each of them gives on the trials at hand."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mvector.metrics.detection import count_trials, error_rates


@dataclass(frozen=True)
class ErrorCurve:
    """FAR and FRR at every distinct score: thresholds, far, frr [K], thresholds rising (a trial above is accepted)."""

    thresholds: NDArray[np.floating]
    far: NDArray[np.float64]
    frr: NDArray[np.float64]
    targets: int
    non_targets: int

    @staticmethod
    def of(scores: ArrayLike, labels: ArrayLike, counts: ArrayLike | None = None) -> "ErrorCurve":
        thresholds, frr, far = error_rates(scores, labels, counts)
        return ErrorCurve(thresholds, far, frr, *count_trials(labels, counts))

    def at(self, threshold: float) -> tuple[float, float]:
        """(FAR, FRR) when scores above `threshold` are accepted."""
        index = int(np.searchsorted(self.thresholds, threshold, side="right")) - 1
        return (1.0, 0.0) if index < 0 else (float(self.far[index]), float(self.frr[index]))


@dataclass(frozen=True)
class OperatingPoint:
    """One threshold. `kind` is 'eer', 'far', 'min_dcf' or 'stored'; `parameter` the FAR asked for or p_target.

    threshold is -inf where accepting everything is cheapest. When the trials are too few to tell, `trials_needed` says
    how many non-target trials it takes, and threshold, far, frr and cost are None.
    """

    kind: str
    parameter: float | None = None
    threshold: float | None = None
    far: float | None = None
    frr: float | None = None
    cost: float | None = None
    trials_needed: int | None = None

    @property
    def measurable(self) -> bool:
        return self.trials_needed is None


def operating_points(
    curve: ErrorCurve, result: Mapping[str, Any], threshold: float | None = None
) -> list[OperatingPoint]:
    """The points of `result` (DetectionMetrics.as_dict()), and the stored `threshold` if there is one."""
    points = [_measured(curve, "eer", None, result["threshold"])]
    for point in result["frr_at_far"]:
        if point["measurable"]:
            points.append(_measured(curve, "far", point["far"], point["threshold"]))
        else:
            points.append(OperatingPoint("far", point["far"], trials_needed=point["trials_needed"]))
    for p_target, cost in result["min_dcf"].items():
        best = result["min_dcf_threshold"][p_target]
        if cost is None:
            needed = result["not_measurable"][f"min_dcf_{p_target}"]
            points.append(OperatingPoint("min_dcf", float(p_target), trials_needed=needed))
        else:
            # JSON holds no infinity: a cost without a threshold is that of accepting everything.
            points.append(_measured(curve, "min_dcf", float(p_target), -math.inf if best is None else best, cost))
    if threshold is not None:
        points.append(_measured(curve, "stored", None, threshold))
    return points


def _measured(
    curve: ErrorCurve, kind: str, parameter: float | None, threshold: float, cost: float | None = None
) -> OperatingPoint:
    far, frr = curve.at(float(threshold))
    return OperatingPoint(kind, parameter, float(threshold), far, frr, cost)
