"""The charts of a report: DET, score distributions, error rates against the threshold, reliability of the LLRs.

Colours mean what they mean in `mvector.metrics.figures`: green targets, red non-targets, blue the curve, orange marks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mvector.metrics.detection import check_trials
from mvector.metrics.plots import DET_TICKS_PERCENT, _normal_deviate, _shown
from mvector.report.markup import Markup, element
from mvector.report.operating_points import ErrorCurve, OperatingPoint
from mvector.report.svg import Axis, Plot, linear_axis, mark
from mvector.report.words import Words

BARS = 80
RELIABILITY_BINS = 10
MOST_DET_TICKS = 14
# A dot of fewer trials than this would jump about by itself.
FEWEST_IN_A_DOT = 30
# In the order in which one hides another.
MARK_SHAPES = {"stored": "triangle", "eer": "circle", "min_dcf": "diamond", "far": "square"}
MARK_COLOURS = {"eer": "mark", "min_dcf": "plain", "far": "plain", "stored": "mark"}


@dataclass(frozen=True)
class Entry:
    """A line of a legend: 'line', 'dashed', 'area' or the shape of a mark, in a colour."""

    shape: str
    colour: str
    text: str


@dataclass(frozen=True)
class Chart:
    title: str
    picture: Markup
    legend: Sequence[Entry]
    note: str = ""

    def markup(self) -> Markup:
        return element(
            "figure",
            element("figcaption", self.title),
            self.picture,
            element("ul", [element("li", _swatch(e), element("span", e.text)) for e in self.legend], class_="legend"),
            element("p", self.note, class_="note") if self.note else None,
        )


def det_chart(
    curves: Sequence[tuple[str, ErrorCurve]],
    points: Sequence[OperatingPoint],
    say: Words,
    eer_interval: Sequence[float] | None = None,
) -> Chart:
    """FRR over FAR on normal-deviate axes (Martin 1997) of one run with its operating points, or of several runs."""
    # A rate of zero lies at infinity; the axes end at half a trial.
    floors = [
        max(1e-6, min(0.5 / count for count in counts))
        for counts in ([c.non_targets for _, c in curves], [c.targets for _, c in curves])
    ]
    known = [(point.far, point.frr) for point in points if point.far is not None and point.frr is not None]
    tops = [min(0.995, max(0.5, *(1.3 * rate[side] for rate in known))) if known else 0.5 for side in (0, 1)]
    x, y = (
        _det_axis(min(floor, 0.01) * 0.8, top, name)
        for floor, top, name in zip(
            floors, tops, (say("false acceptance rate FAR (%)"), say("false rejection rate FRR (%)")), strict=True
        )
    )
    plot = Plot(x, y, say("DET curve: false rejection rate over false acceptance rate"))
    plot.line([-6, 6], [-6, 6], "faint", dashed=True)
    legend = []
    for number, (name, curve) in enumerate(curves):
        colour = "curve" if len(curves) == 1 else f"series-{number % 6 + 1}"
        far, frr = np.clip(curve.far, floors[0], 1 - 1e-6), np.clip(curve.frr, floors[1], 1 - 1e-6)
        shown = _shown(np.log(far / (1 - far)), np.log(frr / (1 - frr)))
        plot.line(_normal_deviate(far[shown]), _normal_deviate(frr[shown]), colour, dashed=number >= 6)
        legend.append(Entry("dashed" if number >= 6 else "line", colour, name))
    if eer_interval is not None:
        along = _normal_deviate(np.clip(eer_interval, min(floors), 0.99))
        plot.line(along, along, "interval")
        legend.append(Entry("line", "interval", say("95 % interval of the EER")))
    for point in sorted(points, key=lambda point: list(MARK_SHAPES).index(point.kind), reverse=True):
        if point.far is None or point.frr is None or point.threshold == -math.inf:
            continue
        left, up = _normal_deviate(np.maximum(floors, [point.far, point.frr]))
        plot.point(float(left), float(up), MARK_COLOURS[point.kind], MARK_SHAPES[point.kind])
    kinds = {point.kind for point in points if point.measurable}
    legend += [
        Entry(MARK_SHAPES[kind], MARK_COLOURS[kind], name)
        for kind, name in (
            ("eer", "EER"),
            ("far", say("at the FARs of the table")),
            ("min_dcf", say("minDCF points")),
            ("stored", say("stored threshold")),
        )
        if kind in kinds
    ]
    return Chart(say("Detection error trade-off (DET)"), plot.markup(), legend)


def distribution_chart(
    scores: ArrayLike, labels: ArrayLike, counts: ArrayLike | None, points: Sequence[OperatingPoint], say: Words
) -> Chart:
    """Histograms of target and non-target scores, each in per cent of its kind, with the thresholds."""
    score, target, count = check_trials(scores, labels, counts)
    edges = np.histogram_bin_edges(score, bins=BARS)
    bars = []
    for kind, colour in ((False, "nontarget"), (True, "target")):
        chosen = target == kind
        heights, _ = np.histogram(score[chosen], edges, weights=None if count is None else count[chosen])
        bars.append((colour, 100 * heights / heights.sum()))
    top = 1.08 * max(float(heights.max()) for _, heights in bars)
    plot = Plot(
        linear_axis(float(edges[0]), float(edges[-1]), say("score")),
        linear_axis(0, top, say("trials of the kind (% per bar)")),
        say("histograms of the scores of target and non-target trials"),
    )
    for colour, heights in bars:
        plot.area(edges, heights, colour)
    legend = [Entry("area", "target", say("target trials")), Entry("area", "nontarget", say("non-target trials"))]
    legend += _draw_thresholds(plot, points, say)
    return Chart(say("Distribution of the scores"), plot.markup(), legend)


def threshold_chart(curve: ErrorCurve, points: Sequence[OperatingPoint], say: Words) -> Chart:
    """FAR and FRR over the threshold, rates on a logarithmic axis; dashed where fewer than 30 errors stand behind."""
    lowest = min(0.1, 0.5 / max(curve.targets, curve.non_targets))
    decades = range(0, math.floor(math.log10(lowest)) - 1, -1)
    label = say("error rate (%), logarithmic")
    y = Axis(math.log10(lowest), 0.05, [(d, f"{100 * 10.0**d:g}") for d in decades if d >= math.log10(lowest)], label)
    x = linear_axis(float(curve.thresholds[0]), float(curve.thresholds[-1]), say("threshold"))
    plot = Plot(x, y, say("false acceptance and false rejection rate against the threshold"))
    for rate, total, colour in ((curve.far, curve.non_targets, "nontarget"), (curve.frr, curve.targets, "target")):
        height = np.log10(np.maximum(rate, lowest))
        shown = _shown(curve.thresholds.astype(np.float64), height)
        few = rate[shown] * total < 30
        for dashed in (False, True):
            part = shown[few == dashed]
            if len(part):
                plot.line(curve.thresholds[part], height[part], colour, dashed)
    legend = [
        Entry("line", "nontarget", say("false acceptance rate FAR")),
        Entry("line", "target", say("false rejection rate FRR")),
    ]
    legend += _draw_thresholds(plot, points, say)
    return Chart(
        say("Error rates against the threshold"), plot.markup(), legend, say("Dashed curve: fewer than 30 errors.")
    )


def reliability_chart(llrs: ArrayLike, labels: ArrayLike, counts: ArrayLike | None, say: Words) -> Chart | None:
    """What share of the trials were targets where the LLR said p, both kinds weighted to be equally frequent.

    None where no dot would have trials enough.
    """
    llr, target, count = check_trials(llrs, labels, counts)
    weight = np.ones(len(llr)) if count is None else count.astype(np.float64)
    said = 1 / (1 + np.exp(-np.clip(llr.astype(np.float64), -50, 50)))
    share = weight / np.where(target, weight[target].sum(), weight[~target].sum())
    bins = np.minimum((said * RELIABILITY_BINS).astype(np.int64), RELIABILITY_BINS - 1)

    def total(of: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(bins, of, RELIABILITY_BINS).astype(np.float64)

    enough = total(weight) >= FEWEST_IN_A_DOT
    if not enough.any():
        return None
    mass = np.where(enough, total(share), 1.0)
    expected, observed = (total(share * said) / mass)[enough], (total(share * target) / mass)[enough]
    x, y = (
        Axis(-0.02, 1.02, [(tick / 5, f"{tick / 5:.1f}") for tick in range(6)], name)
        for name in (say("probability stated (prior 0.5)"), say("share of targets found"))
    )
    plot = Plot(x, y, say("reliability: share of targets found over probability stated"))
    plot.line([0, 1], [0, 1], "faint", dashed=True)
    plot.line(expected, observed, "curve")
    for left, up in zip(expected.tolist(), observed.tolist(), strict=True):
        plot.point(left, up, "mark")
    legend = [
        Entry("circle", "mark", say("trials whose stated probability is about this")),
        Entry("dashed", "faint", say("perfectly calibrated")),
    ]
    note = say("Under the diagonal the scores promise too much, above it too little; dots have at least 30 trials.")
    return Chart(say("Reliability"), plot.markup(), legend, note)


def _draw_thresholds(plot: Plot, points: Sequence[OperatingPoint], say: Words) -> list[Entry]:
    """The EER's threshold and the stored one as vertical lines."""
    entries = []
    for kind, colour, name in (
        ("eer", "plain", say("threshold of the EER")),
        ("stored", "mark", say("stored threshold")),
    ):
        for point in points:
            if point.kind == kind and point.threshold is not None:
                plot.vertical(point.threshold, colour, dashed=kind == "eer")
                shape = "dashed" if kind == "eer" else "line"
                entries.append(Entry(shape, colour, f"{name}: {point.threshold:.4f}"))
    return entries


def _det_axis(low: float, high: float, label: str) -> Axis:
    ends = _normal_deviate([low, high]).tolist()
    closest = (ends[1] - ends[0]) / MOST_DET_TICKS
    ticks: list[tuple[float, str]] = []
    # Powers of ten first; the others where there is room for their text.
    for percent in sorted(DET_TICKS_PERCENT, key=lambda percent: math.log10(percent) % 1 > 1e-9):
        place = float(_normal_deviate([percent / 100])[0])
        if ends[0] <= place <= ends[1] and all(abs(place - other) >= closest for other, _ in ticks):
            ticks.append((place, f"{percent:g}"))
    return Axis(ends[0], ends[1], sorted(ticks), label)


def _swatch(entry: Entry) -> Markup:
    if entry.shape in ("line", "dashed"):
        drawn = element(
            "path", d="M1,7H25", class_=f"line {entry.colour}{' dashed' if entry.shape == 'dashed' else ''}"
        )
    elif entry.shape == "area":
        drawn = element("path", d="M1,2H25V12H1z", class_=f"area {entry.colour}")
    else:
        drawn = mark(13, 7, entry.colour, entry.shape)
    return element("svg", drawn, viewBox="0 0 26 14", class_="swatch", aria_hidden="true")
