"""The report of an evaluation as one page that can be sent to anybody, and as files that programs read."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mvector import __version__
from mvector.errors import MVectorError
from mvector.metrics.confidence import FEWEST_SPEAKERS
from mvector.report.charts import det_chart, distribution_chart, reliability_chart, threshold_chart
from mvector.report.conditions import ConditionRow, ScoredTrials
from mvector.report.files import finite, write_csv_files
from mvector.report.markup import Markup, element, joined
from mvector.report.operating_points import ErrorCurve, OperatingPoint, operating_points
from mvector.report.stored_scores import save_scores
from mvector.report.style import document
from mvector.report.tables import (
    condition_table,
    fact_table,
    interval_text,
    not_measurable,
    operating_point_table,
    percent,
    percent_interval,
    table,
    worst_case_tables,
)
from mvector.report.words import METHOD, Words
from mvector.report.worst_cases import NamedTrials, WorstCases

# What of the result has a place of its own on the page; anything else an evaluation adds is listed as it is.
TOLD = frozenset({
    "eer", "threshold", "min_dcf", "min_dcf_threshold", "act_dcf", "cllr", "min_cllr", "frr_at_far", "roc_auc",
    "average_precision", "accuracy", "accuracy_threshold", "targets", "non_targets", "speakers", "intervals_95",
    "interval_too_narrow", "not_measurable",
})  # fmt: skip


@dataclass(frozen=True)
class Report:
    """What a report tells.

    name        of the evaluation, such as the model and the test list
    result      `DetectionMetrics.as_dict()`, and whatever else the evaluation has to say
    scored      the trials' scores; trials: what they compare
    llrs        [n] calibrated natural-log likelihood ratios of the same trials
    threshold   the stored one, if the model has any
    model, data facts, names to values; mappings inside are laid out with dots
    warnings    finished sentences in the page's language: leakage, synthetic voices, a list that chose the threshold
    language    'en' or 'zh'
    """

    name: str
    result: Mapping[str, Any]
    scored: ScoredTrials
    trials: NamedTrials
    llrs: ArrayLike | None = None
    threshold: float | None = None
    conditions: Sequence[ConditionRow] = ()
    worst: WorstCases | None = None
    model: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    language: str = "en"


def write_report(folder: str | Path, report: Report) -> Path:
    """Write report.html (one file, nothing beside it is needed), report.json, CSV files and scores.npz into `folder`.

    The folder is made if need be; files of an earlier report are replaced. Returns the path of report.html.
    """
    target = Path(folder)
    curve = ErrorCurve.of(report.scored.scores, report.scored.labels, report.scored.counts)
    points = operating_points(curve, report.result, report.threshold)
    try:
        target.mkdir(parents=True, exist_ok=True)
        page = report_page(report, curve, points)
        (target / "report.html").write_text(page, encoding="utf-8", newline="\n")
        text = json.dumps(finite(_as_dict(report, points)), indent=2, ensure_ascii=False, allow_nan=False)
        (target / "report.json").write_text(text + "\n", encoding="utf-8", newline="\n")
        write_csv_files(target, curve, points, report.conditions, report.worst)
        save_scores(target / "scores.npz", report.scored, report.trials)
    except OSError as error:
        raise MVectorError(f"{target}: the report cannot be written ({error.strerror}).") from error
    return target / "report.html"


def report_page(report: Report, curve: ErrorCurve, points: Sequence[OperatingPoint]) -> Markup:
    """The page as HTML."""
    say, scored, result = Words(report.language), report.scored, report.result
    intervals = result.get("intervals_95") or {}
    charts = [
        det_chart([(say("FRR over FAR"), curve)], points, say, intervals.get("eer")),
        distribution_chart(scored.scores, scored.labels, scored.counts, points, say),
        threshold_chart(curve, points, say),
    ]
    reliability = None
    if report.llrs is not None:
        reliability = reliability_chart(report.llrs, scored.labels, scored.counts, say)
    if reliability:
        charts.append(reliability)
    written = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %z")
    body: list[object] = [
        element("header", element("h1", report.name),
                element("p", f"{say('Speaker verification report')} · {written}", class_="muted")),
        _warnings(report, say),
        _headline(result, say),
        _section(say("Curves"), element("div", [chart.markup() for chart in charts], class_="charts")),
        _section(
            say("Operating points"),
            operating_point_table(points, curve, result, say),
            element("p", say("A trial is accepted when its score is above the threshold. A count instead of a rate: "
                             "fewer than 30 errors."), class_="note"),
        ),
        _section(say("Other metrics"), _other_metrics(result, say)),
        _section(say("Conditions"), *_conditions(report, say)),
        _section(say("Worst cases"), *_worst(report, say)),
    ]  # fmt: skip
    for title, facts in ((say("Model"), report.model), (say("Data"), report.data)):
        if facts:
            body.append(_section(title, fact_table(facts)))
    shown = _methods(report, reliability is not None)
    method = [[element("dt", say(name)), element("dd", say(text))] for name, text in METHOD.items() if name in shown]
    body.append(_section(say("How each number was computed"), element("dl", method, class_="method")))
    files = say("Beside this page: report.json (everything), conditions.csv, worst_pairs.csv, worst_speakers.csv, "
                "det.csv, thresholds.csv, and scores.npz for tools/compare_runs.py.")  # fmt: skip
    body.append(
        element("footer", element("p", files, class_="note"), element("p", f"mvector {__version__}", class_="note"))
    )
    return document(report.name, report.language, *body)


def _section(title: str, *content: object) -> Markup:
    return element("section", element("h2", title), *content)


def _warnings(report: Report, say: Words) -> Markup | None:
    found = list(report.warnings)
    if report.result.get("interval_too_narrow"):
        found.append(
            say("Only {n} speakers: with fewer than {fewest} the true confidence intervals are wider than those shown.",
                n=report.result["speakers"], fewest=FEWEST_SPEAKERS)
        )  # fmt: skip
    elif not report.result.get("intervals_95"):
        found.append(say("There are no confidence intervals: it is not known which speaker each trial belongs to, or "
                         "there are too few speakers."))  # fmt: skip
    if not found:
        return None
    items = element("ul", [element("li", text) for text in found])
    return element("section", element("strong", say("Warnings")), items, class_="warnings", role="note")


def _headline(result: Mapping[str, Any], say: Words) -> Markup:
    intervals = result.get("intervals_95") or {}
    cards = [("EER", percent(result["eer"]), percent_interval(intervals.get("eer")))]
    for p_target, cost in result["min_dcf"].items():
        name = f"min_dcf_{p_target}"
        if cost is None:
            needed = result["not_measurable"][name]
            cards.append((f"minDCF({p_target})", "", not_measurable(needed, say)))
        else:
            cards.append((f"minDCF({p_target})", f"{cost:.4f}", interval_text(intervals.get(name))))
    for point in result["frr_at_far"]:
        title = say("FRR at FAR {far}", far=f"{100 * point['far']:g} %")
        if point["measurable"]:
            around = percent_interval(intervals.get(f"frr_at_far_{point['far']:g}"))
            cards.append((title, percent(point["frr"]), around))
        else:
            cards.append((title, "", not_measurable(point["trials_needed"], say)))
    if result.get("cllr") is not None:
        cards.append(("Cllr", say("{value} bits", value=f"{result['cllr']:.3f}"), interval_text(intervals.get("cllr"))))
    counts = say("{targets} target, {others} non-target trials", targets=f"{result['targets']:,}",
                 others=f"{result['non_targets']:,}")  # fmt: skip
    speakers = result.get("speakers")
    cards.append((say("Speakers"), say("unknown") if speakers is None else f"{speakers:,}", counts))
    return joined(
        element("dl", [element("div", element("dt", title), element("dd", value) if value else None,
                               element("dd", note, class_=None if value else "none") if note else None)
                       for title, value, note in cards], class_="cards"),
        element("p", say("In brackets: 95 % confidence intervals from drawing the speakers anew."), class_="note")
        if intervals else None,
    )  # fmt: skip


def _other_metrics(result: Mapping[str, Any], say: Words) -> Markup:
    intervals = result.get("intervals_95") or {}
    rows: list[tuple[str, str, str]] = []
    for p_target, cost in (result.get("act_dcf") or {}).items():
        name = f"act_dcf_{p_target}"
        value = not_measurable(result["not_measurable"][name], say) if cost is None else f"{cost:.4f}"
        rows.append((f"actDCF({p_target})", value, interval_text(intervals.get(name), 4)))
    for name, title in (("cllr", say("Cllr (bits)")), ("min_cllr", say("min Cllr (bits)"))):
        if result.get(name) is not None:
            rows.append((title, f"{result[name]:.4f}", interval_text(intervals.get(name), 4)))
    if result.get("cllr") is not None:
        lost = result["cllr"] - result["min_cllr"]
        rows.append((say("calibration loss, Cllr − min Cllr (bits)"), f"{lost:.4f}", ""))
    for name, title in (
        ("roc_auc", say("area under the ROC curve")),
        ("average_precision", say("average precision (precision-recall area)")),
    ):
        rows.append((title, f"{result[name]:.5f}", interval_text(intervals.get(name), 5)))
    title = say("accuracy at threshold {threshold}", threshold=f"{result['accuracy_threshold']:.4f}")
    rows.append((title, percent(result["accuracy"]), percent_interval(intervals.get("accuracy"))))
    added = {key: value for key, value in result.items() if key not in TOLD}
    return joined(
        table([say("metric"), say("value"), say("95 % interval")], rows, right=(1, 2)),
        [element("h3", say("Also found")), fact_table(added)] if added else None,
    )


def _conditions(report: Report, say: Words) -> list[object]:
    if report.conditions:
        return [condition_table(report.conditions, say)]
    if report.scored.counts is not None:
        return [element("p", say("So many trials are counted in bins of scores, not kept one by one; conditions and "
                                 "worst cases need a smaller list."))]  # fmt: skip
    return [element("p", say("None were given. A metadata file (path or speaker in the first column) adds gender, age, "
                             "recording or whatever it holds."))]  # fmt: skip


def _worst(report: Report, say: Words) -> list[object]:
    if report.worst is None:
        return [element("p", say("They were not looked for."))]
    told = say("Errors at threshold {threshold}; go and listen.", threshold=f"{report.worst.threshold:.4f}")
    return [element("p", told, class_="note"), worst_case_tables(report.worst, say)]


def _methods(report: Report, reliability: bool) -> set[str]:
    """Which of the explanations concern this report; `reliability`: it has that picture."""
    shown = {"EER", "minDCF", "FRR at a FAR", "min Cllr", "Areas", "Interval"}
    if report.llrs is not None:
        shown |= {"actDCF", "Cllr"}
    if reliability:
        shown.add("Reliability")
    if report.conditions:
        shown.add("Conditions")
    if report.worst is not None:
        shown.add("Worst cases")
    return shown


def _as_dict(report: Report, points: Sequence[OperatingPoint]) -> dict[str, Any]:
    return {
        "name": report.name,
        "mvector": __version__,
        "result": dict(report.result),
        "threshold": report.threshold,
        "operating_points": [asdict(point) for point in points],
        "conditions": [
            {**asdict(row), "metrics": None if row.metrics is None else row.metrics.as_dict()}
            for row in report.conditions
        ],
        "worst_cases": None if report.worst is None else asdict(report.worst),
        "model": dict(report.model),
        "data": dict(report.data),
        "warnings": list(report.warnings),
        "left_out": int(np.asarray(getattr(report.scored, "left_out", 0))),
    }
