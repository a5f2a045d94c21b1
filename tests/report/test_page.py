"""The report's page and files: whole, safe, readable in both schemes and languages, and right."""

import ast
import csv
import json
import math
import re
import string
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import mvector.report
from mvector.errors import MVectorError
from mvector.metrics.detection import error_rates
from mvector.metrics.summary import detection_metrics
from mvector.report import Report, condition_rows, duration_column, worst_cases, write_report
from mvector.report.conditions import ConditionRow
from mvector.report.markup import element, escaped
from mvector.report.metadata import Column
from mvector.report.operating_points import ErrorCurve, operating_points
from mvector.report.style import CSS
from mvector.report.svg import linear_axis
from mvector.report.tables import percent
from mvector.report.words import CHINESE, METHOD, Words

VOID = {"meta", "br", "hr"}
ALLOWED = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "header",
        "section",
        "footer",
        "h1",
        "h2",
        "h3",
        "p",
        "ul",
        "li",
    ),
    *("strong", "span", "dl", "div", "dt", "dd", "figure", "figcaption", "svg", "path", "circle", "text"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}


class Page(HTMLParser):
    """The elements of a page, its texts, and whether every element is closed in its turn."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    def all(self, tag, **attributes):
        return [a for t, a in self.elements if t == tag and all(a.get(k) == v for k, v in attributes.items())]


@pytest.fixture(scope="module")
def report(make_trials, hostile_name):
    trials, scored = make_trials()
    llrs = 3 * scored.scores - 4.5
    speakers = trials.enroll_speakers[scored.enroll], trials.test_speakers[scored.test]
    result = detection_metrics(scored.scores, scored.labels, None, llrs, *speakers, threshold=1.6).as_dict()
    length = len(trials.utterances)
    columns = [
        duration_column(np.linspace(1, 9, length)),
        Column(hostile_name, texts=tuple(("a", hostile_name)[n % 2] for n in range(length))),
    ]
    return Report(
        name=f"run {hostile_name}",
        result={**result, "identification": {"top_1": 0.9, hostile_name: hostile_name}},
        scored=scored,
        trials=trials,
        llrs=llrs,
        threshold=1.6,
        conditions=condition_rows(scored, trials, columns, 1.6),
        worst=worst_cases(scored, trials, 1.6),
        model={hostile_name: hostile_name, "args": {"channels": [512] * 30}},
        data={"list": hostile_name, "missing": None},
        warnings=[f"Leakage: {hostile_name}"],
    )


@pytest.fixture(scope="module")
def written(report, tmp_path_factory):
    return write_report(tmp_path_factory.mktemp("report"), report)


@pytest.fixture(scope="module")
def page(written):
    return Page(written.read_text(encoding="utf-8"))


# ---------------------------------------------------------------- one file that is safe to open


def test_a_hostile_name_is_text_everywhere(page, hostile_name):
    assert page.all("script") == []
    assert sum(text.count(hostile_name) for text in page.texts) >= 8
    for _, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes)
    tags = {tag for tag, _ in page.elements}
    assert tags <= ALLOWED


def test_the_page_loads_and_runs_nothing(written, page):
    text = written.read_text(encoding="utf-8")
    assert not re.search(r"(https?:|//|url\(|@import|javascript:|src=|href=)", text.replace("<!DOCTYPE html>", ""))
    (policy,) = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy["content"].startswith("default-src 'none'")
    assert page.all("meta", name="viewport")


def test_text_that_html_cannot_hold_is_replaced():
    assert escaped("a\x00b\x1b\udcff\u202egnp.\u2066") == "a\ufffdb\ufffd\ufffd\ufffdgnp.\ufffd"
    assert element("p", 'x"', title="<\"'>") == '<p title="&lt;&quot;&#x27;&gt;">x&quot;</p>'


def test_pictures_are_told_to_those_who_do_not_see_them(page):
    plots = page.all("svg", **{"class": "plot"})
    assert len(plots) == 4
    assert all(plot["role"] == "img" and len(plot["aria-label"]) > 20 for plot in plots)
    assert len(page.all("figcaption")) == 4
    others = [a for a in page.all("svg") if a.get("class") in ("swatch", "bar")]
    assert all(a["aria-hidden"] == "true" for a in others)


# ---------------------------------------------------------------- what it says


def test_the_numbers_stand_on_the_page(report, page):
    text = " ".join(page.texts)
    result = report.result
    assert percent(result["eer"]) in page.texts
    low, high = result["intervals_95"]["eer"]
    assert f"[{100 * low:.2f}, {100 * high:.2f}]" in page.texts
    assert f"{result['min_dcf']['0.01']:.4f}" in text
    assert f"{result['cllr']:.4f}" in page.texts
    for title in ("Curves", "Operating points", "Conditions", "Worst cases", "Model", "Data"):
        assert title in page.texts
    assert "args.channels" in page.texts
    assert "missing" not in page.texts


def test_what_cannot_be_measured_has_no_number(report, page):
    """9,936 non-target trials are too few for FAR 0.1 % (30,000), 0.01 % and p_target 0.001."""
    assert report.result["non_targets"] == 9936
    text = " ".join(page.texts)
    for needed in ("30,000", "300,000", "29,970"):
        assert text.count(f"not measurable: needs {needed} non-target trials") >= 2  # headline and table
    points = operating_points(ErrorCurve.of(report.scored.scores, report.scored.labels), report.result, 1.6)
    unmeasurable = [(p.kind, p.parameter) for p in points if not p.measurable]
    assert unmeasurable == [("far", 0.001), ("far", 0.0001), ("min_dcf", 0.001)]
    assert all(p.threshold is p.far is p.frr is p.cost is None for p in points if not p.measurable)


def test_operating_points_are_those_of_the_trials(report):
    scores, labels = report.scored.scores, report.scored.labels
    for point in operating_points(ErrorCurve.of(scores, labels), report.result, 1.6):
        if point.measurable:
            assert point.far == np.mean(scores[~labels] > point.threshold)
            assert point.frr == np.mean(scores[labels] <= point.threshold)
    assert ErrorCurve.of(scores, labels).at(-math.inf) == (1.0, 0.0)
    assert ErrorCurve.of(scores, labels).at(math.inf) == (0.0, 1.0)


def test_the_curve_passes_where_it_should(report, page):
    """The EER's mark on the DET stands where SciPy's normal deviate puts it between two ticks of the axis."""
    scipy_stats = pytest.importorskip("scipy.stats")
    start = page.elements.index(("svg", page.all("svg", **{"class": "plot"})[0]))
    end = [tag for tag, _ in page.elements].index("figcaption", start)
    drawn = page.elements[start:end]
    circle = next(a for t, a in drawn if t == "circle")
    ticks = [float(a["x"]) for t, a in drawn if t == "text" and a["class"] == "tick middle"]
    title = page.texts.index("Detection error trade-off (DET)")
    where = [float(text) for text in page.texts[title + 1 : title + 1 + len(ticks)]]
    one, ten = ticks[where.index(1)], ticks[where.index(10)]
    deviate = scipy_stats.norm.ppf
    far = np.mean(report.scored.scores[~report.scored.labels] > report.result["threshold"])
    expected = one + (ten - one) * (deviate(far) - deviate(0.01)) / (deviate(0.1) - deviate(0.01))
    assert float(circle["cx"]) == pytest.approx(expected, abs=0.2)


def test_a_legend_has_nothing_that_is_not_drawn(page):
    """The colours and dashes of each legend are those of lines, areas and marks in its picture."""
    figures: list[tuple[set[str], set[str]]] = []
    inside_legend = False
    for tag, attributes in page.elements:
        class_ = attributes.get("class", "")
        if tag == "figure":
            figures.append((set(), set()))
        elif tag == "ul":
            inside_legend = class_ == "legend"
        elif class_ == "plot":
            inside_legend = False
        elif figures and tag in ("path", "circle") and class_ not in ("grid", "frame", "track", "fill", "whisker"):
            figures[-1][inside_legend].add(class_)
    assert len(figures) == 4
    for drawn, explained in figures:
        assert explained <= drawn
        assert len(explained) >= 2


def test_few_speakers_and_unknown_speakers_are_warned_of(report, tmp_path):
    few = {**report.result, "interval_too_narrow": True, "speakers": 7}
    text = write_report(tmp_path, Report("x", few, report.scored, report.trials)).read_text(encoding="utf-8")
    assert "Only 7 speakers: with fewer than 20" in text
    unknown = {**report.result, "intervals_95": None, "speakers": None, "interval_too_narrow": None}
    text = write_report(tmp_path, Report("x", unknown, report.scored, report.trials)).read_text(encoding="utf-8")
    assert "There are no confidence intervals" in text
    assert "In brackets" not in text


def test_scores_in_bins(tmp_path, trials_and_scores):
    scores, labels = np.array([-1.0, 0.0, 1.0, -1.0, 0.0, 1.0]), np.array([True] * 3 + [False] * 3)
    counts = np.array([1, 10, 10**6, 10**9, 10**6, 10**5])
    binned = SimpleNamespace(scores=scores, labels=labels, counts=counts, left_out=3, enroll=None, test=None)
    result = detection_metrics(scores, labels, counts).as_dict()
    path = write_report(tmp_path, Report("all pairs", result, binned, trials_and_scores[0], threshold=0.5))
    assert "are counted in bins" in path.read_text(encoding="utf-8")
    points = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["operating_points"]
    assert points[-1]["far"] == 10**5 / (10**9 + 10**6 + 10**5)


@pytest.mark.parametrize("kind", ["perfect", "useless"])
def test_systems_that_never_or_always_err(make_trials, tmp_path, kind):
    trials, scored = make_trials()
    scored.scores[:] = scored.labels if kind == "perfect" else 0.25
    speakers = trials.enroll_speakers[scored.enroll], trials.test_speakers[scored.test]
    result = detection_metrics(scored.scores, scored.labels, None, scored.scores, *speakers).as_dict()
    column = Column("c", texts=("x",) * len(trials.utterances))
    rows, worst = condition_rows(scored, trials, [column], 0.5), worst_cases(scored, trials, 0.5)
    path = write_report(tmp_path, Report(kind, result, scored, trials, scored.scores, 0.5, rows, worst))
    text = path.read_text(encoding="utf-8")
    Page(text)
    assert "nan" not in text
    assert ("0.00 %" if kind == "perfect" else "50.0 %") in text
    assert len(worst.false_accepts) == 10


def test_too_few_trials_for_a_dot_are_no_picture_of_reliability(tmp_path, trials_and_scores):
    scores, labels = np.linspace(-3, 3, 40), np.arange(40) % 2 == 0
    scored = SimpleNamespace(scores=scores, labels=labels, counts=None, left_out=0, enroll=None, test=None)
    result = detection_metrics(scores, labels, None, scores).as_dict()
    path = write_report(tmp_path, Report("few", result, scored, trials_and_scores[0], scores))
    assert "Reliability" not in path.read_text(encoding="utf-8")


def test_a_condition_without_trials_enough_says_so(report, tmp_path):
    rows = [
        ConditionRow("c", "v1", 10, 500, 40),
        ConditionRow("c", "v2", 0, 500, 40),
        ConditionRow("c", "v3", 50, 50, 3),
    ]
    page = Page(
        write_report(tmp_path, Report("x", report.result, report.scored, report.trials, conditions=rows)).read_text(
            "utf-8"
        )
    )
    for reason in ("too few trials: needs 30 of each kind", "no target trials", "too few people: needs 5"):
        assert reason in page.texts


def test_a_folder_that_cannot_be_written(report, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(MVectorError, match="the report cannot be written"):
        write_report(tmp_path / "file", report)


# ---------------------------------------------------------------- the files beside it


def read_csv(path):
    with open(path, encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_csv_files(report, written, hostile_name):
    folder = written.parent
    det = read_csv(folder / "det.csv")
    thresholds, frr, far = error_rates(report.scored.scores, report.scored.labels)
    known = set(zip(thresholds.tolist(), far.tolist(), frr.tolist(), strict=True))
    assert {(float(r["threshold"]), float(r["far"]), float(r["frr"])) for r in det} <= known
    assert 1000 < len(det) <= 4002
    points = read_csv(folder / "thresholds.csv")
    assert [p["operating_point"] for p in points] == ["eer", *["far"] * 3, *["min_dcf"] * 3, "stored"]
    assert (points[2]["measurable"], points[2]["trials_needed"], points[2]["frr"]) == ("False", "30000", "")
    assert {row["condition"] for row in read_csv(folder / "conditions.csv")} == {"duration", hostile_name}
    pairs = read_csv(folder / "worst_pairs.csv")
    assert [float(p["score"]) for p in pairs] == [
        p.score for p in report.worst.false_accepts + report.worst.false_rejects
    ]
    assert {row["kind"] for row in read_csv(folder / "worst_speakers.csv")} == {"goat", "lamb"}


def test_json_is_strict_and_whole(report, written):
    def refuse(constant):
        raise AssertionError(constant)

    stored = json.loads((written.parent / "report.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert stored["result"]["eer"] == report.result["eer"]
    assert stored["conditions"][0]["metrics"]["eer"] == report.conditions[0].metrics.eer
    assert stored["worst_cases"]["false_accepts"][0]["test_file"] == report.worst.false_accepts[0].test_file
    assert stored["warnings"] == report.warnings


# ---------------------------------------------------------------- languages and colours


def said():
    """Every text that the package says, from its source."""
    texts = set(METHOD) | set(METHOD.values())
    for file in Path(mvector.report.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "say":
                if isinstance(node.args[0], ast.Constant):
                    texts.add(node.args[0].value)
                else:
                    assert ast.unparse(node) in ("say(name)", "say(text)"), ast.unparse(node)  # METHOD's
    return texts


def test_every_text_has_a_chinese_form_and_none_is_stale():
    conditions = {"duration", "snr", "gender", "age", "same", "different"}
    assert set(CHINESE) == said() | conditions
    for english, chinese in CHINESE.items():
        names = [
            sorted(name for _, name, _, _ in string.Formatter().parse(text) if name) for text in (english, chinese)
        ]
        assert names[0] == names[1], english
        assert re.search("[\u4e00-\u9fff]", chinese), english


def test_a_chinese_page_has_no_english_sentence(report, tmp_path):
    chinese = {**report.__dict__, "language": "zh", "name": "模型", "warnings": [], "model": {}, "data": {}}
    page = Page(write_report(tmp_path, Report(**chinese)).read_text(encoding="utf-8"))
    assert page.all("html", lang="zh-CN")
    for text in page.texts:
        assert not re.search(r"\b(the|of|trials|needs|at|threshold|speakers|rate)\b", text), text
    assert Words("zh").known("their own word") == "their own word"


def luminance(colour):
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    red, green, blue = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_colours_are_seen_in_both_schemes():
    """WCAG contrast: 4.5 for text, 3 for what is drawn, on the page and on the cards."""
    schemes = [
        {name: value if len(value) == 7 else "#" + "".join(2 * c for c in value[1:]) for name, value in found}
        for found in (re.findall(r"--([\w-]+): (#\w+)", part) for part in CSS.split("@media screen"))
    ]
    assert len(schemes) == 2
    assert set(schemes[0]) == set(schemes[1])
    for colours in schemes:
        for name in set(colours) - {"page", "card", "rule", "warn"}:
            for ground in ("page", "card"):
                light, dark = sorted((luminance(colours[name]), luminance(colours[ground])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= (4.5 if name in ("text", "muted") else 3), (name, ground)


# ---------------------------------------------------------------- small parts


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(0, "0.00 %"), (1, "100 %"), (0.123456, "12.3 %"), (0.0099999, "1.00 %"), (0.000123, "0.0123 %"), (0.5, "50.0 %")],
)
def test_per_cents_have_three_digits(rate, expected):
    assert percent(rate) == expected


def test_ticks_are_round_numbers():
    assert [text for _, text in linear_axis(-0.31, 0.92, "x").ticks] == ["-0.2", "0.0", "0.2", "0.4", "0.6", "0.8"]
    assert [text for _, text in linear_axis(0, 23, "x").ticks] == ["0", "5", "10", "15", "20"]
    assert len(linear_axis(2.0, 2.0, "x").ticks) > 1  # all scores equal
