"""All detection metrics of a set of scored trials at once, with what they rest on and what they cannot tell."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mvector.metrics.confidence import FEWEST_SPEAKERS, TooFewSpeakersError, confidence_intervals
from mvector.metrics.detection import (
    FarPoint,
    accuracy,
    act_dcf,
    count_trials,
    eer_point,
    error_rates,
    far_point,
    min_dcf_point,
    nontargets_needed_for_cost,
    precision_recall_area,
    roc_area,
)
from mvector.metrics.llr import cllr, min_cllr_of_rates

# The operating points that publications in the field report: VoxCeleb and CN-Celeb 0.01, VoxSRC 0.05, NIST SRE 0.001.
P_TARGETS = (0.01, 0.05, 0.001)
FARS = (0.01, 0.001, 0.0001)


@dataclass(frozen=True)
class DetectionMetrics:
    """Rates are fractions; detection costs are normalised, with costs of 1, and keyed by their p_target ("0.01", …).

    An operating point that these trials cannot measure (fewer than 30 expected false accepts, see
    `nontargets_needed` and `nontargets_needed_for_cost`) holds None, and `not_measurable` tells the number of
    non-target trials that it needs, by the name of the metric.
    """

    eer: float
    threshold: float  # of the EER
    min_dcf: dict[str, float | None]
    min_dcf_threshold: dict[str, float | None]  # -inf where accepting everything is best
    act_dcf: dict[str, float | None] | None  # None without LLRs
    cllr: float | None  # bits; None without LLRs
    min_cllr: float  # bits
    frr_at_far: list[FarPoint]
    roc_auc: float
    average_precision: float
    accuracy: float
    accuracy_threshold: float
    targets: int
    non_targets: int
    speakers: int | None
    intervals_95: dict[str, tuple[float, float]] | None  # by name: eer, min_dcf_0.01, frr_at_far_0.001, cllr, …
    interval_too_narrow: bool | None  # fewer than FEWEST_SPEAKERS speakers; None when they are not known
    not_measurable: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON, which has no infinity: the threshold that accepts everything becomes None."""
        values = asdict(self)
        values["min_dcf_threshold"] = {
            key: None if value is None or math.isinf(value) else value for key, value in self.min_dcf_threshold.items()
        }
        if self.intervals_95 is not None:
            values["intervals_95"] = {name: list(interval) for name, interval in self.intervals_95.items()}
        return values

    def lines(self) -> list[str]:
        """One line for each metric, in English; what cannot be measured has no number but says what it would take."""
        lines = [f"EER {100 * self.eer:.3f} %{self._interval('eer', 100)} at threshold {self.threshold:.4f}"]
        for p_target, cost in self.min_dcf.items():
            interval, threshold = self._interval(f"min_dcf_{p_target}"), self.min_dcf_threshold[p_target]
            if cost is None or threshold is None:
                needed = self.not_measurable[f"min_dcf_{p_target}"]
                lines.append(f"minDCF({p_target}) not measurable: needs {needed:,} non-target trials")
            else:
                lines.append(f"minDCF({p_target}) {cost:.4f}{interval} at threshold {threshold:.4f}")
        for p_target, cost in (self.act_dcf or {}).items():
            if cost is None:
                needed = self.not_measurable[f"act_dcf_{p_target}"]
                lines.append(f"actDCF({p_target}) not measurable: needs {needed:,} non-target trials")
            else:
                lines.append(f"actDCF({p_target}) {cost:.4f}{self._interval(f'act_dcf_{p_target}')}")
        for point in self.frr_at_far:
            if point.frr is None or point.threshold is None:
                lines.append(
                    f"FRR at FAR {100 * point.far:g} % not measurable: needs {point.trials_needed:,} non-target trials"
                )
            else:
                interval = self._interval(f"frr_at_far_{point.far:g}", 100)
                lines.append(
                    f"FRR {100 * point.frr:.3f} %{interval} at FAR {100 * point.far:g} %, "
                    f"threshold {point.threshold:.4f}"
                )
        if self.cllr is not None:
            lines.append(f"Cllr {self.cllr:.4f}{self._interval('cllr')} bits")
        lines.append(f"min Cllr {self.min_cllr:.4f}{self._interval('min_cllr')} bits")
        lines.append(f"area under the ROC curve {self.roc_auc:.5f}{self._interval('roc_auc', digits=5)}")
        lines.append(f"average precision {self.average_precision:.4f}{self._interval('average_precision')}")
        lines.append(
            f"accuracy {100 * self.accuracy:.3f} %{self._interval('accuracy', 100)} "
            f"at threshold {self.accuracy_threshold:.4f}"
        )
        if self.speakers is None:
            lines.append(f"{self.targets:,} target and {self.non_targets:,} non-target trials")
        else:
            lines.append(
                f"{self.targets:,} target and {self.non_targets:,} non-target trials by {self.speakers:,} speakers"
            )
        if self.intervals_95 is not None:
            lines.append("in brackets: 95 % confidence intervals from resampling the speakers")
        if self.interval_too_narrow:
            lines.append(f"fewer than {FEWEST_SPEAKERS} speakers: the true confidence interval is wider than any shown")
        return lines

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _interval(self, name: str, factor: float = 1.0, digits: int | None = None) -> str:
        """' [low, high]', or nothing when there is none; percentages get 3 digits, others 4."""
        if self.intervals_95 is None or name not in self.intervals_95:
            return ""
        low, high = (factor * bound for bound in self.intervals_95[name])
        digits = digits or (3 if factor == 100 else 4)
        return f" [{low:.{digits}f}, {high:.{digits}f}]"


def detection_metrics(
    scores: ArrayLike,
    labels: ArrayLike,
    counts: ArrayLike | None = None,
    llrs: ArrayLike | None = None,
    enroll_speakers: ArrayLike | None = None,
    test_speakers: ArrayLike | None = None,
    threshold: float | None = None,
    resamples: int = 200,
    seed: int = 0,
) -> DetectionMetrics:
    """Every metric of scored trials; scores, labels, counts as for `eer`, the rest optional.

    llrs [N]                        calibrated natural-log likelihood ratios of the same trials, for actDCF and Cllr
    enroll_speakers, test_speakers  [N] integers that number the person on each side, for the intervals; they cannot be
                                    had from binned scores, so with `counts` these are not looked at
    threshold                       where the accuracy is taken, default the EER's (chosen on these trials: optimistic)
    Raises MVectorError when a kind of trial is missing or a number is not finite.
    """
    thresholds, fnr, fpr = error_rates(scores, labels, counts)
    targets, non_targets = count_trials(labels, counts)
    rate, eer_threshold = eer_point(thresholds, fnr, fpr)
    at = eer_threshold if threshold is None else threshold

    min_costs: dict[str, float | None] = {}
    min_thresholds: dict[str, float | None] = {}
    act_costs: dict[str, float | None] = {}
    not_measurable: dict[str, int] = {}
    for p_target in P_TARGETS:
        key = f"{p_target:g}"
        min_costs[key] = min_thresholds[key] = act_costs[key] = None
        needed = nontargets_needed_for_cost(p_target)
        if non_targets >= needed:
            min_costs[key], min_thresholds[key], _, _ = min_dcf_point(thresholds, fnr, fpr, p_target)
            if llrs is not None:
                act_costs[key] = act_dcf(llrs, labels, p_target, counts=counts)
        else:
            not_measurable[f"min_dcf_{key}"] = needed
            if llrs is not None:
                not_measurable[f"act_dcf_{key}"] = needed
    far_points = [far_point(thresholds, fnr, fpr, far, non_targets) for far in FARS]
    not_measurable |= {f"frr_at_far_{p.far:g}": p.trials_needed for p in far_points if not p.measurable}

    speakers = intervals = None
    if counts is None and enroll_speakers is not None and test_speakers is not None:
        speakers = len(np.union1d(enroll_speakers, test_speakers))
        names = [name for name in _names(llrs is not None) if name not in not_measurable]
        try:
            intervals = confidence_intervals(
                scores,
                labels,
                enroll_speakers,
                test_speakers,
                resamples=resamples,
                seed=seed,
                metrics=names,
                llrs=llrs,
                threshold=at,
            )
        except TooFewSpeakersError:
            intervals = None
    return DetectionMetrics(
        eer=rate,
        threshold=eer_threshold,
        min_dcf=min_costs,
        min_dcf_threshold=min_thresholds,
        act_dcf=act_costs if llrs is not None else None,
        cllr=None if llrs is None else cllr(llrs, labels, counts),
        min_cllr=min_cllr_of_rates(fnr, fpr),
        frr_at_far=far_points,
        roc_auc=roc_area(fnr, fpr),
        average_precision=precision_recall_area(fnr, fpr, targets / (targets + non_targets)),
        accuracy=accuracy(scores, labels, at, counts),
        accuracy_threshold=at,
        targets=targets,
        non_targets=non_targets,
        speakers=speakers,
        intervals_95=intervals,
        interval_too_narrow=None if speakers is None else speakers < FEWEST_SPEAKERS,
        not_measurable=not_measurable,
    )


def _names(with_llrs: bool) -> Sequence[str]:
    """The metrics that get an interval."""
    costs = ["min_dcf", "act_dcf"] if with_llrs else ["min_dcf"]
    names = ["eer", *(f"{cost}_{p_target:g}" for cost in costs for p_target in P_TARGETS)]
    names += [f"frr_at_far_{far:g}" for far in FARS]
    return [*names, *(["cllr"] if with_llrs else []), "min_cllr", "roc_auc", "average_precision", "accuracy"]
