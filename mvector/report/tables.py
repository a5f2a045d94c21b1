"""The tables of a report: operating points, conditions, worst speakers and pairs, facts; how numbers are written."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mvector.metrics.detection import FEWEST_FALSE_ACCEPTS
from mvector.report.conditions import FEWEST_PEOPLE, FEWEST_TRIALS, ConditionRow
from mvector.report.markup import Markup, element, joined
from mvector.report.operating_points import ErrorCurve, OperatingPoint
from mvector.report.words import Words
from mvector.report.worst_cases import WorstCases, WorstPair, WorstSpeaker

MOST_FILES_SHOWN = 3

Interval = Sequence[float] | None


def percent(rate: float) -> str:
    """A fraction as per cent with three significant digits: 12.3 %, 0.0123 %."""
    value = float(f"{100 * rate:.3g}")  # rounded first: 0.99999 % has the digits of 1 %
    digits = 2 if value == 0 or not math.isfinite(value) else max(0, min(6, 2 - math.floor(math.log10(abs(value)))))
    return f"{value:.{digits}f} %"


def percent_interval(interval: Interval) -> str:
    return "" if interval is None else f"[{100 * interval[0]:.2f}, {100 * interval[1]:.2f}]"


def interval_text(interval: Interval, digits: int = 3) -> str:
    return "" if interval is None else f"[{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]"


def not_measurable(needed: int, say: Words) -> str:
    return say("not measurable: needs {n} non-target trials", n=f"{needed:,}")


def table(
    heads: Sequence[str], rows: Iterable[Sequence[object]], class_: str = "", right: Sequence[int] = ()
) -> Markup:
    """A table whose first column heads its rows; `right` are the columns of numbers."""
    align = ["right" if index in right else None for index in range(len(heads))]
    head = [element("th", text, scope="col", class_=a) for text, a in zip(heads, align, strict=True)]
    body = []
    for row in rows:
        first, *cells = row
        body.append(
            element(
                "tr",
                element("th", first, scope="row"),
                [
                    element("td", cell, class_=a, data_label=name)
                    for cell, a, name in zip(cells, align[1:], heads[1:], strict=True)
                ],
            )
        )
    inner = element("table", element("thead", element("tr", head)), element("tbody", body), class_=class_ or None)
    return element("div", inner, class_="scroll")


def point_name(point: OperatingPoint, say: Words) -> str:
    if point.kind == "far":
        assert point.parameter is not None
        return say("FAR at most {far}", far=f"{100 * point.parameter:g} %")
    if point.kind == "min_dcf":
        return say("minDCF, p_target {p}", p=f"{point.parameter:g}")
    return {"eer": "EER", "stored": say("stored threshold")}[point.kind]


def operating_point_table(
    points: Sequence[OperatingPoint], curve: ErrorCurve, result: Mapping[str, Any], say: Words
) -> Markup:
    intervals: Mapping[str, Sequence[float]] = result.get("intervals_95") or {}
    rows = []
    for point in points:
        name = point_name(point, say)
        if not point.measurable:
            rows.append((name, not_measurable(point.trials_needed or 0, say), "", "", ""))
            continue
        assert point.threshold is not None
        assert point.far is not None
        assert point.frr is not None
        value = ""
        if point.kind == "eer":
            value = f"EER {percent(result['eer'])} {percent_interval(intervals.get('eer'))}"
        elif point.kind == "far":
            value = f"FRR {percent(point.frr)} {percent_interval(intervals.get(f'frr_at_far_{point.parameter:g}'))}"
        elif point.cost is not None:
            value = f"minDCF {point.cost:.4f} {interval_text(intervals.get(f'min_dcf_{point.parameter:g}'), 4)}"
        threshold = say("accept all") if point.threshold == -math.inf else f"{point.threshold:.4f}"
        far, frr = (
            share_text(round(rate * total), total, say)
            for rate, total in ((point.far, curve.non_targets), (point.frr, curve.targets))
        )
        rows.append((name, value, threshold, far, frr))
    heads = [say("operating point"), say("result [95 % interval]"), say("threshold"), "FAR", "FRR"]
    return table(heads, rows, "stack", right=(2, 3, 4))


def share_text(errors: int, total: int, say: Words) -> str:
    """A rate; as a count where fewer than 30 errors stand behind it, because the rate could be quite another."""
    if total and errors >= FEWEST_FALSE_ACCEPTS:
        return percent(errors / total)
    return say("{errors} of {total}", errors=f"{errors:,}", total=f"{total:,}")


def condition_table(rows: Sequence[ConditionRow], say: Words) -> Markup:
    """One table for each condition, with a bar for the EER that is on one scale in all of them."""
    highest = max((_upper(row) for row in rows if row.metrics is not None), default=1.0)
    parts = [
        element("p", say("The bars are the EER with its 95 % interval, on one scale in all tables."), class_="note")
    ]
    for condition in dict.fromkeys(row.condition for row in rows):
        cells = [_condition_cells(row, highest, say) for row in rows if row.condition == condition]
        heads = [
            say("value"), say("EER [95 % interval]"), "", "minDCF(0.01)", say("FRR at threshold"),
            say("FAR at threshold"), say("target / non-target trials"), say("people"),
        ]  # fmt: skip
        parts += [element("h3", say.known(condition)), table(heads, cells, "stack conditions", right=(3, 4, 5, 6, 7))]
    return joined(parts)


def _condition_cells(row: ConditionRow, highest: float, say: Words) -> tuple[object, ...]:
    trials = f"{row.targets:,} / {row.non_targets:,}"
    shares = [
        "–" if errors is None or not total else share_text(errors, total, say)
        for errors, total in ((row.false_rejects, row.targets), (row.false_accepts, row.non_targets))
    ]
    value = say.known(row.value)
    if row.metrics is None:
        if not row.targets:
            reason = say("no target trials")
        elif not row.non_targets:
            reason = say("no non-target trials")
        elif row.people < FEWEST_PEOPLE:
            reason = say("too few people: needs {n}", n=FEWEST_PEOPLE)
        else:
            reason = say("too few trials: needs {n} of each kind", n=FEWEST_TRIALS)
        return value, reason, "", "–", *shares, trials, f"{row.people:,}"
    intervals = row.metrics.intervals_95 or {}
    cost = row.metrics.min_dcf["0.01"]
    return (
        value,
        f"{percent(row.metrics.eer)} {percent_interval(intervals.get('eer'))}",
        _bar(row.metrics.eer, intervals.get("eer"), highest),
        say("not measurable") if cost is None else f"{cost:.3f}",
        *shares,
        trials,
        f"{row.people:,}",
    )


def _upper(row: ConditionRow) -> float:
    assert row.metrics is not None
    # Where nobody is ever mistaken the bars still need a scale.
    return max(1e-6, row.metrics.eer, *(row.metrics.intervals_95 or {}).get("eer", ()))


def _bar(rate: float, interval: Interval, highest: float) -> Markup:
    scale = 140 / highest
    whisker = None
    if interval is not None:
        low, high = (2 + scale * bound for bound in interval)
        whisker = element("path", d=f"M{low:.1f},8H{high:.1f}M{low:.1f},4V12M{high:.1f},4V12", class_="whisker")
    return element(
        "svg",
        element("path", d="M2,3H142V13H2z", class_="track"),
        element("path", d=f"M2,3H{2 + scale * rate:.1f}V13H2z", class_="fill"),
        whisker,
        viewBox="0 0 144 16", preserveAspectRatio="none", class_="bar", aria_hidden="true",
    )  # fmt: skip


def speaker_table(speakers: Sequence[WorstSpeaker], share: str, say: Words) -> Markup:
    rows = [
        (_path(s.speaker), percent(s.rate), say("{errors} of {total}", errors=f"{s.errors:,}", total=f"{s.trials:,}"),
         _path(s.file))
        for s in speakers
    ]  # fmt: skip
    return table([say("speaker"), share, say("errors"), say("a recording")], rows, "stack", right=(1, 2))


def pair_table(pairs: Sequence[WorstPair], say: Words) -> Markup:
    rows = []
    for pair in pairs:
        if pair.is_error:
            told = say("wrongly accepted") if not pair.is_target else say("wrongly rejected")
            verdict = element("span", told, class_="tag nontarget")
        else:
            verdict = element("span", say("right"), class_="tag target")
        files = [_path(file) for file in pair.enroll_files[:MOST_FILES_SHOWN]]
        more = len(pair.enroll_files) - len(files)
        if more > 0:
            files.append(element("span", say("and {n} more", n=more), class_="muted"))
        people = [pair.enroll_speaker] if pair.is_target else [pair.enroll_speaker, pair.test_speaker]
        rows.append((f"{pair.score:.4f}", verdict, files, _path(pair.test_file), [_path(name) for name in people]))
    heads = [say("score"), say("verdict"), say("enrolled"), say("tested"), say("speakers")]
    return table(heads, rows, "stack")


def worst_case_tables(worst: WorstCases, say: Words) -> Markup:
    parts: list[object] = []
    for title, speakers, share in (
        (say("Goats: often rejected as themselves"), worst.goats, "FRR"),
        (say("Lambs: others are often accepted as them"), worst.lambs, "FAR"),
        (say("Wolves: often accepted as others"), worst.wolves, "FAR"),
    ):
        if speakers:
            parts += [element("h3", title), speaker_table(speakers, share, say)]
    if not parts:
        parts.append(element("p", say("No speaker with trials enough has an error at this threshold.")))
    for title, pairs in (
        (say("Different people with the highest scores"), worst.false_accepts),
        (say("One person with the lowest scores"), worst.false_rejects),
    ):
        parts += [element("h3", title), pair_table(pairs, say)]
    return joined(parts)


def fact_table(facts: Mapping[str, Any]) -> Markup:
    """Names and values; what is nested is named with dots, long lists are cut."""
    rows = [element("tr", element("th", key, scope="row"), element("td", value)) for key, value in flat(facts)]
    return element("table", element("tbody", rows), class_="facts")


def flat(facts: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in facts.items():
        if isinstance(value, Mapping):
            rows += flat(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)):
            shown = ", ".join(_plain(item) for item in value[:20])
            rows.append((f"{prefix}{key}", shown + (f", … ({len(value)})" if len(value) > 20 else "")))
        elif value is not None:
            rows.append((f"{prefix}{key}", _plain(value)))
    return rows


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and abs(value) >= 10_000:  # a year or an epoch has no comma
        return f"{value:,}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _path(text: str) -> Markup:
    return element("span", text, class_="path")
