"""A comparison of runs as a page and as lines of text."""

import json
from collections.abc import Sequence
from pathlib import Path

from mvector.errors import MVectorError
from mvector.metrics.confidence import FEWEST_SPEAKERS
from mvector.report.charts import det_chart
from mvector.report.comparison import Comparison, Difference
from mvector.report.files import finite
from mvector.report.markup import Markup, element
from mvector.report.operating_points import ErrorCurve
from mvector.report.style import document
from mvector.report.tables import not_measurable, percent, table
from mvector.report.words import Words


def write_comparison(folder: str | Path, comparison: Comparison, language: str = "en") -> Path:
    """Write comparison.html and comparison.json into `folder` (made if need be); returns the path of the page."""
    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
        page = comparison_page(comparison, Words(language), language)
        (target / "comparison.html").write_text(page, encoding="utf-8", newline="\n")
        text = json.dumps(finite(comparison.as_dict()), indent=2, ensure_ascii=False, allow_nan=False)
        (target / "comparison.json").write_text(text + "\n", encoding="utf-8", newline="\n")
    except OSError as error:
        raise MVectorError(f"{target}: the comparison cannot be written ({error.strerror}).") from error
    return target / "comparison.html"


def comparison_page(comparison: Comparison, say: Words, language: str) -> Markup:
    curves = [
        (name, ErrorCurve.of(scores, comparison.labels))
        for name, scores in zip(comparison.runs, comparison.scores, strict=True)
    ]
    title = say("Comparison of runs")
    notes = notes_of(comparison, say)
    method = say(
        "Each run is compared with the first by a paired bootstrap: speakers are drawn with replacement, and both runs "
        "are measured on the same drawn speakers. A difference counts as larger than chance when its 95 % interval "
        "leaves out zero and its p-value, corrected for the number of runs (Holm 1979), is below 0.05."
    )
    return document(
        title,
        language,
        element("header", element("h1", title), element("p", _trials_line(comparison, say), class_="muted")),
        element("section", element("ul", [element("li", note) for note in notes]), class_="warnings", role="note")
        if notes
        else None,
        element("section", element("h2", say("Runs")), _value_table(comparison, say)),
        element(
            "section",
            element("h2", say("Differences from the first run")),
            _difference_table(comparison, say),
            element("p", method, class_="note"),
        ),
        element("section", element("h2", say("Curves")), det_chart(curves, [], say).markup()),
    )


def comparison_lines(comparison: Comparison, say: Words) -> list[str]:
    """What a terminal shows: the trials, each run's metrics, each difference with its verdict."""
    lines = [_trials_line(comparison, say), *notes_of(comparison, say), ""]
    for number, run in enumerate(comparison.runs):
        told = [f"{_name(metric)} {_value(metric, values[number])}" for metric, values in comparison.values.items()]
        lines.append(f"{run}: {', '.join(told)}")
    lines += [f"{_name(metric)} {not_measurable(n, say)}" for metric, n in comparison.not_measurable.items()]
    lines += ["", f"{say('Differences from the first run')}:"]
    for metric, differences in comparison.differences.items():
        for d in differences:
            change, p_value, verdict = _difference_cells(metric, d, say)
            lines.append(f"{d.run}: {_name(metric)} {change}, {say('p-value')} {p_value}: {verdict}")
    return lines


def notes_of(comparison: Comparison, say: Words) -> list[str]:
    """What a reader must know first: trials that were left out, too few speakers."""
    notes = []
    shared = comparison.targets + comparison.non_targets
    if set(comparison.given) != {shared}:
        notes.append(say("The runs did not score the same trials: only those that all of them scored are compared."))
        notes += [
            say("{run}: {n} of its {given} trials", run=run, n=f"{shared:,}", given=f"{given:,}")
            for run, given in zip(comparison.runs, comparison.given, strict=True)
        ]
    if comparison.people < FEWEST_SPEAKERS:
        notes.append(
            say("Only {n} speakers: with fewer than {fewest} no difference can be certified.",
                n=comparison.people, fewest=FEWEST_SPEAKERS)
        )  # fmt: skip
    return notes


def _trials_line(comparison: Comparison, say: Words) -> str:
    return say(
        "On the {n} trials that all runs scored ({targets} target, {others} non-target, {people} speakers).",
        n=f"{comparison.targets + comparison.non_targets:,}",
        targets=f"{comparison.targets:,}",
        others=f"{comparison.non_targets:,}",
        people=f"{comparison.people:,}",
    )


def _value_table(comparison: Comparison, say: Words) -> Markup:
    metrics = [*comparison.values, *comparison.not_measurable]
    rows = [
        [
            run,
            *(_value(metric, values[number]) for metric, values in comparison.values.items()),
            *(not_measurable(needed, say) for needed in comparison.not_measurable.values()),
            f"{comparison.given[number]:,}",
        ]
        for number, run in enumerate(comparison.runs)
    ]
    heads = [say("run"), *(_name(metric) for metric in metrics), say("trials")]
    return table(heads, rows, "stack", right=range(1, len(heads)))


def _difference_table(comparison: Comparison, say: Words) -> Markup:
    rows: list[Sequence[object]] = []
    for metric, differences in comparison.differences.items():
        for d in differences:
            change, p_value, told = _difference_cells(metric, d, say)
            better = "target" if d.measured.difference < 0 else "nontarget"
            verdict = element("span", told, class_=f"tag {better}" if d.larger_than_chance else "tag muted")
            rows.append((d.run, _name(metric), change, p_value, verdict))
    heads = [say("run"), say("metric"), say("difference [95 % interval]"), say("p-value"), say("verdict")]
    return table(heads, rows, "stack")


def _difference_cells(metric: str, d: Difference, say: Words) -> tuple[str, str, str]:
    numbers = (d.measured.difference, d.measured.low, d.measured.high)
    if _is_rate(metric):
        difference, low, high = (f"{100 * number:+.2f}" for number in numbers)
        change = say("{difference} percentage points [{low}, {high}]", difference=difference, low=low, high=high)
    else:
        difference, low, high = (f"{number:+.4f}" for number in numbers)
        change = f"{difference} [{low}, {high}]"
    if d.measured.interval_too_narrow:
        told = say("too few speakers to tell")
    elif not d.larger_than_chance:
        told = say("may be chance")
    elif d.measured.difference < 0:
        told = say("larger than chance, better")
    else:
        told = say("larger than chance, worse")
    return change, f"{d.p_value:.3f}", told


def _value(metric: str, value: float) -> str:
    return percent(value) if _is_rate(metric) else f"{value:.4f}"


def _is_rate(metric: str) -> bool:
    return metric == "eer" or metric.startswith("frr_at_far")


def _name(metric: str) -> str:
    """'min_dcf_0.01' as people write it: minDCF(0.01)."""
    name, _, point = metric.rpartition("_")
    if name == "min_dcf":
        return f"minDCF({point})"
    if name == "frr_at_far":
        return f"FRR@FAR {100 * float(point):g} %"
    return {"eer": "EER", "min_cllr": "min Cllr"}.get(metric, metric)
