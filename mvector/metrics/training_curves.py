"""The picture of a training run: loss and accuracy, learning rate and margin, and below them EER and minDCF."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mvector.errors import MVectorError
from mvector.metrics.figures import CURVE_COLOUR, MARK_COLOUR, NONTARGET_COLOUR, TARGET_COLOUR, new_figure, save_figure

Record = Mapping[str, Any]
# With more points than this the raw line is a band of noise, and a running mean is drawn over it.
SMOOTHED_OVER = 50


@dataclass(frozen=True)
class Curve:
    key: str
    label: str  # of the axis, with its unit
    colour: str
    scale: float = 1.0


PANELS = (
    (Curve("loss", "Loss", NONTARGET_COLOUR), Curve("accuracy", "Accuracy (%)", TARGET_COLOUR, 100.0)),
    (Curve("learning_rate", "Learning rate", CURVE_COLOUR), Curve("margin", "Margin", MARK_COLOUR)),
    (Curve("eer", "EER (%)", CURVE_COLOUR, 100.0), Curve("min_dcf", "minDCF(0.01)", MARK_COLOUR)),
)


def save_training_curves(path: str | Path, records: Iterable[Record], title: str = "Training") -> None:
    """Draw the records of a `metrics.jsonl`.

    A record is a mapping with `step` (or else `epoch`) and any of loss, accuracy, learning_rate, margin, eer, min_dcf;
    accuracy and EER are fractions. Curves and panels without a value are not drawn; nothing at all is an MVectorError.
    """
    records = list(records)
    axis = "step" if any("step" in record for record in records) else "epoch"
    panels = [[(curve, *_points(records, axis, curve)) for curve in panel] for panel in PANELS]
    panels = [drawn for panel in panels if (drawn := [points for points in panel if len(points[1])])]
    if not panels:
        raise MVectorError(f"{path}: there are no training records to draw yet.")
    figure, rows = new_figure(title, (9, 0.6 + 2.9 * len(panels)), rows=len(panels))
    for axes, panel in zip(rows, panels, strict=True):
        lines = []
        for side, (curve, x, y) in enumerate(panel):
            drawn_on = axes.twinx() if side else axes
            lines += _draw(drawn_on, curve, x, y, axis, records)
            drawn_on.set_ylabel(curve.label, color=curve.colour)
            drawn_on.tick_params(axis="y", labelcolor=curve.colour)
        # Lines of both axes stand in one legend, above the panel where it hides no curve.
        axes.legend(handles=lines, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(lines), frameon=False)
    rows[-1].set_xlabel(axis.capitalize())
    save_figure(figure, path)


def _points(records: Sequence[Record], axis: str, curve: Curve) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    pairs = [(r[axis], r[curve.key]) for r in records if r.get(axis) is not None and r.get(curve.key) is not None]
    points = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    points = points[np.isfinite(points).all(axis=1)]
    return points[:, 0], curve.scale * points[:, 1]


def _draw(
    axes: Any, curve: Curve, x: NDArray[np.float64], y: NDArray[np.float64], axis: str, records: Sequence[Record]
) -> list[Any]:
    name = curve.label.removesuffix(" (%)")
    if curve.key in ("eer", "min_dcf"):
        best = int(np.argmin(y))
        value = f"{y[best]:.2f} %" if curve.key == "eer" else f"{y[best]:.3f}"
        epochs = {r[axis]: r["epoch"] for r in records if r.get(curve.key) is not None and r.get("epoch") is not None}
        where = f"epoch {epochs[x[best]]}" if x[best] in epochs else f"{axis} {x[best]:g}"
        marker = "o" if curve.key == "eer" else "D"
        label = f"{name} (best {value}, {where})"
        return axes.plot(x, y, color=curve.colour, marker=marker, markersize=4, linewidth=1.5, label=label)
    if curve.key in ("loss", "accuracy") and len(x) > SMOOTHED_OVER:
        axes.plot(x, y, color=curve.colour, linewidth=0.7, alpha=0.3)
        half_width = len(x) // SMOOTHED_OVER + 1
        total = np.cumsum(np.concatenate([[0.0], y]))
        ends = np.minimum(len(y), np.arange(len(y)) + half_width + 1)
        starts = np.maximum(0, np.arange(len(y)) - half_width)
        y = (total[ends] - total[starts]) / (ends - starts)
        name += ", running mean"
    marker = "." if len(x) <= 20 else ""  # a single point has no line
    return axes.plot(x, y, color=curve.colour, linewidth=1.6, marker=marker, label=name)
