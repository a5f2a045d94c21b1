"""`tools/compare_runs.py`: runs side by side, and whether they differ by more than chance."""

import argparse
from collections.abc import Sequence

from mvector.cli import translate
from mvector.cli.language import is_chinese
from mvector.errors import ConfigError


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=translate("Compare evaluations of the same test list."))
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help=translate(
            "a folder that eval.py --report wrote, or a text file of 'enroll test score target|nontarget'; every run "
            "is compared with the first"
        ),
    )
    parser.add_argument("--output", default="comparison", help=translate("folder for the page and the JSON file"))
    parser.add_argument(
        "--metrics",
        nargs="+",
        default=None,
        help=translate("error metrics by name, such as eer min_dcf_0.01 min_dcf_0.05 frr_at_far_0.001 min_cllr"),
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = build_parser().parse_args(argv)
    if len(arguments.runs) < 2 or len(set(arguments.runs)) < len(arguments.runs):
        raise ConfigError("give at least two different runs to compare, each a report folder or a score file.")
    from mvector.report.comparison import ERROR_METRICS, METRICS, compare
    from mvector.report.comparison_page import comparison_lines, write_comparison
    from mvector.report.stored_scores import load_scores
    from mvector.report.words import Words

    for metric in arguments.metrics or ():
        if not metric.startswith(ERROR_METRICS):
            raise ConfigError(f"{metric} is not an error metric; there are: {', '.join(METRICS)}, min_cllr.")
    language = "zh" if is_chinese() else "en"
    comparison = compare([(run, load_scores(run)) for run in arguments.runs], arguments.metrics or METRICS)
    print("\n".join(comparison_lines(comparison, Words(language))))
    page = write_comparison(arguments.output, comparison, language)
    print(translate("comparison written to {path}").format(path=page))
