"""Pictures of an evaluation: DET, ROC and score distribution; `save_training_curves` is found here as well."""

import math
import statistics
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mvector.metrics.detection import check_trials, count_trials, eer_point, error_rates, min_dcf_point
from mvector.metrics.figures import (
    CURVE_COLOUR,
    MARK_COLOUR,
    NONTARGET_COLOUR,
    TARGET_COLOUR,
    new_figure,
    save_figure,
)
from mvector.metrics.training_curves import save_training_curves

__all__ = ["save_det", "save_evaluation_plots", "save_roc", "save_score_histogram", "save_training_curves"]

DET_TICKS_PERCENT = (0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10, 20, 40, 60, 80, 90, 95, 98, 99)
# A picture of 800 pixels shows no more points than this; drawing millions takes minutes.
MOST_POINTS = 4000


class ScoredTrials(Protocol):
    """What is read of a `mvector.scoring.TrialScores` (see there)."""

    @property
    def scores(self) -> NDArray[Any]: ...
    @property
    def labels(self) -> NDArray[Any]: ...
    @property
    def counts(self) -> NDArray[Any] | None: ...


def save_evaluation_plots(folder: str | Path, scored: ScoredTrials) -> list[Path]:
    """Write det.png, roc.png and scores.png into `folder` (made if need be); returns their paths."""
    det, roc, histogram = (Path(folder) / name for name in ("det.png", "roc.png", "scores.png"))
    save_det(det, scored.scores, scored.labels, scored.counts)
    save_roc(roc, scored.scores, scored.labels, scored.counts)
    save_score_histogram(histogram, scored.scores, scored.labels, scored.counts)
    return [det, roc, histogram]


def save_det(
    path: str | Path,
    scores: ArrayLike,
    labels: ArrayLike,
    counts: ArrayLike | None = None,
    p_target: float = 0.01,
    title: str = "Detection error trade-off (DET)",
) -> None:
    """FNR over FPR on normal-deviate axes (Martin 1997), with the EER and minDCF points marked.

    scores, labels [n] and counts as for `mvector.metrics.eer`.
    """
    thresholds, fnr, fpr = error_rates(scores, labels, counts)
    rate, threshold = eer_point(thresholds, fnr, fpr)
    dcf, dcf_threshold, dcf_fnr, dcf_fpr = min_dcf_point(thresholds, fnr, fpr, p_target)
    n_target, n_nontarget = count_trials(labels, counts)
    # A rate of zero lies at infinity; the axes end at half a trial.
    low = max(0.5 / n_nontarget, 1e-6), max(0.5 / n_target, 1e-6)
    limits = [
        (min(floor, 0.01) * 0.8, max(0.5, 1.3 * rate, 1.3 * point))
        for floor, point in zip(low, (dcf_fpr, dcf_fnr), strict=True)
    ]
    limits = [(floor, min(top, 0.995)) for floor, top in limits]

    fpr, fnr = np.clip(fpr, low[0], 1 - 1e-6), np.clip(fnr, low[1], 1 - 1e-6)
    # The logit has nearly the shape of the normal deviate and is quick for millions of points.
    shown = _shown(np.log(fpr / (1 - fpr)), np.log(fnr / (1 - fnr)))
    figure, axes = new_figure(title, (7, 6.4))
    axes.plot(
        _normal_deviate(fpr[shown]),
        _normal_deviate(fnr[shown]),
        color=CURVE_COLOUR,
        linewidth=2,
        label=_trials_label(n_target, n_nontarget),
    )
    axes.plot([-6, 6], [-6, 6], color="0.6", linewidth=0.8, linestyle="--")
    eer_x, eer_y = np.maximum(low, rate)
    axes.plot(
        _normal_deviate([eer_x]),
        _normal_deviate([eer_y]),
        "o",
        color=MARK_COLOUR,
        markersize=9,
        markeredgecolor="black",
        label=f"EER {100 * rate:.2f} % at threshold {threshold:.4f}",
    )
    if math.isfinite(dcf_threshold):
        dcf_x, dcf_y = max(dcf_fpr, low[0]), max(dcf_fnr, low[1])
        axes.plot(
            _normal_deviate([dcf_x]),
            _normal_deviate([dcf_y]),
            "D",
            color="white",
            markersize=8,
            markeredgecolor="black",
            label=f"minDCF({p_target:g}) {dcf:.3f} at threshold {dcf_threshold:.4f}",
        )
    for axis, (bottom, top), name in (
        (axes.xaxis, limits[0], "False acceptance rate FPR (%)"),
        (axes.yaxis, limits[1], "False rejection rate FNR (%)"),
    ):
        ticks = [percent for percent in DET_TICKS_PERCENT if bottom <= percent / 100 <= top]
        axis.set_ticks(_normal_deviate(np.array(ticks) / 100), labels=[f"{tick:g}" for tick in ticks])
        axis.set_label_text(name)
    axes.set_xlim(*_normal_deviate(np.array(limits[0])))
    axes.set_ylim(*_normal_deviate(np.array(limits[1])))
    axes.legend(loc="upper right")
    save_figure(figure, path)


def save_roc(
    path: str | Path,
    scores: ArrayLike,
    labels: ArrayLike,
    counts: ArrayLike | None = None,
    title: str = "Receiver operating characteristic (ROC)",
) -> None:
    """Share of accepted targets over FPR, with the area under the curve and the EER point."""
    thresholds, fnr, fpr = error_rates(scores, labels, counts)
    rate, threshold = eer_point(thresholds, fnr, fpr)
    fpr, accepted = np.append(1.0, fpr), np.append(1.0, 1 - fnr)  # accepting everything belongs to the curve
    area = float(np.sum((fpr[:-1] - fpr[1:]) * (accepted[:-1] + accepted[1:]) / 2))
    shown = _shown(fpr, accepted)
    figure, axes = new_figure(title, (7, 6.4))
    label = f"{_trials_label(*count_trials(labels, counts))}\narea under the curve {area:.4f}"
    axes.plot(100 * fpr[shown], 100 * accepted[shown], color=CURVE_COLOUR, linewidth=2, label=label)
    axes.plot([0, 100], [0, 100], color="0.6", linewidth=0.8, linestyle="--", label="chance")
    axes.plot(
        100 * rate,
        100 * (1 - rate),
        "o",
        color=MARK_COLOUR,
        markersize=9,
        markeredgecolor="black",
        label=f"EER {100 * rate:.2f} % at threshold {threshold:.4f}",
    )
    axes.set(
        xlim=(-1, 101),
        ylim=(-1, 101),
        xlabel="False acceptance rate FPR (%)",
        ylabel="True acceptance rate 1 − FNR (%)",
    )
    axes.legend(loc="lower right")
    save_figure(figure, path)


def save_score_histogram(
    path: str | Path,
    scores: ArrayLike,
    labels: ArrayLike,
    counts: ArrayLike | None = None,
    threshold: float | None = None,
    title: str = "Distribution of the scores",
) -> None:
    """Histograms of target and non-target scores, each in per cent of its kind, with the threshold (default: EER's)."""
    rate, eer_threshold = eer_point(*error_rates(scores, labels, counts))
    score, target, count = check_trials(scores, labels, counts)
    edges = np.histogram_bin_edges(score, bins=100)
    figure, axes = new_figure(title, (8, 5))
    for kind, name, colour in ((False, "non-target", NONTARGET_COLOUR), (True, "target", TARGET_COLOUR)):
        chosen = target == kind
        heights, _ = np.histogram(score[chosen], edges, weights=None if count is None else count[chosen])
        total = int(heights.sum())
        axes.stairs(100 * heights / total, edges, fill=True, color=colour, alpha=0.45, label=f"{total:,} {name} trials")
        axes.stairs(100 * heights / total, edges, color=colour, linewidth=1.2)
    if threshold is None:
        threshold, name = eer_threshold, f"threshold {eer_threshold:.4f} (EER {100 * rate:.2f} %)"
    else:
        name = f"threshold {threshold:.4f} (EER {100 * rate:.2f} % at {eer_threshold:.4f})"
    axes.axvline(threshold, color="black", linestyle="--", linewidth=1.5, label=name)
    axes.set(xlabel="Score", ylabel="Trials of the kind (% per bar)")
    axes.set_ylim(bottom=0)
    axes.legend(loc="best")
    save_figure(figure, path)


def _normal_deviate(rates: ArrayLike) -> NDArray[np.float64]:
    """Inverse of the normal distribution function of rates [n]; 0 and 1, which lie at infinity, become ±5.2."""
    inverse = statistics.NormalDist().inv_cdf
    return np.array([inverse(rate) for rate in np.clip(rates, 1e-7, 1 - 1e-7).tolist()])


def _shown(x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.intp]:
    """Indexes of at most MOST_POINTS + 2 points of a monotone curve, evenly spaced along it as it is drawn."""
    if len(x) <= MOST_POINTS:
        return np.arange(len(x))
    along = np.append(0.0, np.cumsum(np.abs(np.diff(x)) / np.ptp(x) + np.abs(np.diff(y)) / np.ptp(y)))
    chosen = np.searchsorted(along, np.linspace(0, along[-1], MOST_POINTS))
    return np.unique(np.concatenate([[0], chosen.clip(0, len(x) - 1), [len(x) - 1]]))


def _trials_label(n_target: int, n_nontarget: int) -> str:
    return f"{n_target:,} target, {n_nontarget:,} non-target trials"
