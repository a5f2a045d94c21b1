"""`tools/make_results.py`: the table of some models on some test lists, written into a document by one command."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mvector.cli import add_device_arguments, translate
from mvector.errors import ConfigError, MVectorError

if TYPE_CHECKING:
    from mvector.metrics.summary import DetectionMetrics

BEGIN, END = "<!-- made by tools/make_results.py: begin -->", "<!-- made by tools/make_results.py: end -->"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=translate("Evaluate models on test lists and write the table of the results into a document.")
    )
    parser.add_argument(
        "--models", nargs="+", required=True, metavar="NAME=DIR", help=translate("model directories and their names")
    )
    parser.add_argument(
        "--lists", nargs="+", required=True, metavar="NAME=LIST", help=translate("test lists and their names")
    )
    parser.add_argument(
        "--scores", nargs="+", default=["cosine", "as-norm"], help=translate("ways of scoring, as eval.py takes them")
    )
    parser.add_argument(
        "--training_list",
        default=None,
        help=translate("data list for the cohort of models that do not name one of their own"),
    )
    parser.add_argument(
        "--document", default="docs/results.md", help=translate("Markdown file with the two marks to write between")
    )
    add_device_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = build_parser().parse_args(argv)
    models, lists = _named(arguments.models), _named(arguments.lists)
    document = Path(arguments.document)
    before, after = _around_the_table(document)

    rows = []
    for name, folder in models.items():
        for method, cells, size in _evaluated(arguments, folder, list(lists.values())):
            found = ", ".join(f"{column} {_cell(metrics)}" for column, metrics in zip(lists, cells, strict=True))
            print(f"{name}, {method}: {found}")
            rows.append((name, size, method, *map(_cell, cells), *(f"{m.min_dcf['0.01']:.3f}" if m.min_dcf["0.01"] is
                         not None else "–" for m in cells)))  # fmt: skip
    heads = [
        "model",
        "parameters",
        "score",
        *(f"{name}: EER" for name in lists),
        *(f"{name}: minDCF(0.01)" for name in lists),
    ]
    lines = [_row(heads), _row(["---"] * len(heads)), *map(_row, rows)]
    from mvector.model_directory import write_text

    write_text(document, "\n".join([before + BEGIN, "", *lines, "", END + after]))
    print(translate("results saved in {path}").format(path=document))


def _evaluated(
    arguments: argparse.Namespace, folder: str, lists: Sequence[str]
) -> "list[tuple[str, list[DetectionMetrics], str]]":
    """(score, metrics of each list, number of parameters) for each way of scoring; every recording is embedded once."""
    from mvector.data.trials import load_trials
    from mvector.device import choose_device
    from mvector.embeddings import embed_utterances
    from mvector.evaluation import require_usable, training_cohort
    from mvector.fingerprint import model_fingerprint
    from mvector.metrics.summary import detection_metrics
    from mvector.model_directory import load_model
    from mvector.scoring.scorer import Scorer
    from mvector.training.summary import count_parameters

    model = load_model(folder, choose_device(arguments.device, arguments.use_gpu))
    fingerprint = model_fingerprint(model.path, model.config)
    if arguments.training_list is not None and model.config.dataset_conf.train_list is None:
        model.config.dataset_conf.train_list = arguments.training_list
    cohort = None
    if any(method != "cosine" for method in arguments.scores):
        cohort = training_cohort(model.path, model.embedder, model.config, fingerprint)
    known = []
    for path in lists:
        trials = load_trials(None, path)
        embeddings = embed_utterances(model.embedder, model.config, trials.utterances, Path(path).stem, fingerprint)
        require_usable(embeddings)
        known.append((trials, embeddings.embeddings))
    results = []
    for method in arguments.scores:
        scorer = Scorer(method, cohort=cohort)
        cells = []
        for trials, vectors in known:
            scored = scorer.score(vectors, trials)
            cells.append(
                detection_metrics(
                    scored.scores, scored.labels, scored.counts, None, scored.enroll_speakers, scored.test_speakers
                )
            )
        results.append((method, cells, f"{count_parameters(model.embedder):,}"))
    return results


def _cell(metrics: "DetectionMetrics") -> str:
    text = f"{100 * metrics.eer:.2f} %"
    if metrics.intervals_95 is not None:
        low, high = (100 * bound for bound in metrics.intervals_95["eer"])
        text += f" [{low:.2f}, {high:.2f}]"
    return text


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _named(pairs: Sequence[str]) -> dict[str, str]:
    found = dict(pair.partition("=")[::2] for pair in pairs)
    if len(found) < len(pairs) or not all(found) or not all(found.values()):
        raise ConfigError(f"expected different names as NAME=PATH, found {' '.join(pairs)}")
    return found


def _around_the_table(document: Path) -> tuple[str, str]:
    """What stands before and after the two marks of the document."""
    try:
        text = document.read_text(encoding="utf-8")
    except OSError as error:
        raise MVectorError(f"{document}: cannot be read ({error.strerror})") from error
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise MVectorError(f"{document}: the marks that the table stands between are missing: {BEGIN} and {END}")
    return before, after
