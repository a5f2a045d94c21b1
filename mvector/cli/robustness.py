"""`tools/robustness.py`: how error rates change when recordings get short, noisy, narrow, quiet or compressed."""

import argparse
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mvector.cli import add_device_arguments, add_model_argument, add_set_argument, translate

if TYPE_CHECKING:
    from mvector.robustness import Outcome


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=translate("Measure a model on test trials whose recordings are changed for the worse.")
    )
    add_model_argument(parser)
    parser.add_argument(
        "--list",
        nargs="+",
        default=None,
        metavar="LIST",
        help=translate("trial lists (default: the test list of the model's configuration)"),
    )
    parser.add_argument(
        "--noise_dir", default=None, help=translate("folder with recordings of noise (default: pink noise)")
    )
    parser.add_argument(
        "--output", default="output/robustness", help=translate("folder for the table, the picture and the JSON file")
    )
    add_device_arguments(parser, exported=True)
    add_set_argument(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = build_parser().parse_args(argv)
    from mvector.data.trials import load_trials
    from mvector.errors import ConfigError
    from mvector.model_directory import write_text
    from mvector.opening import STARTER_MODEL, open_model
    from mvector.robustness import conditions, measure, read_noises

    model = open_model(arguments.model_path or STARTER_MODEL, arguments.device, arguments.use_gpu, arguments.overrides)
    data = model.config.dataset_conf
    lists = arguments.list or [path for path in (data.trials_list,) if path is not None]
    if not lists:
        raise ConfigError("the model's configuration names no test list: give trial lists with --list.")
    noises = [] if arguments.noise_dir is None else read_noises(arguments.noise_dir, data.dataset.sample_rate)
    chosen, folder = conditions(noises), Path(arguments.output)
    found: dict[str, list[Outcome]] = {}
    for path in lists:
        trials = load_trials(None, path, None, data.data_root)
        name = Path(path).stem.removeprefix("trials_")
        found[name] = measure(model.embedder, model.config, trials, model.threshold, chosen, name)
    table = table_of(found)
    print(table)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "robustness.md", table)
    result = {name: [dataclasses.asdict(outcome) for outcome in outcomes] for name, outcomes in found.items()}
    write_text(folder / "robustness.json", json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    title = translate("Robustness of {model}").format(model=arguments.model_path or STARTER_MODEL.name)
    save_picture(folder / "robustness.png", found, title)
    print(translate("table, picture and figures saved in {folder}").format(folder=folder))


def table_of(found: "Mapping[str, Sequence[Outcome]]") -> str:
    """A Markdown table: a line for each condition, three columns for each list."""
    heads = [translate("condition")]
    for name in found:
        heads += [f"{name}: EER", f"{name}: FRR", f"{name}: FAR"]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for outcomes in zip(*found.values(), strict=True):
        cells = [translate(outcomes[0].condition)]
        for outcome in outcomes:
            rate = f"{100 * outcome.eer:.2f} %"
            if outcome.eer_interval_95 is not None:
                rate += " [{:.2f}, {:.2f}]".format(*(100 * bound for bound in outcome.eer_interval_95))
            cells += [rate, *("–" if value is None else f"{100 * value:.2f} %" for value in (outcome.frr, outcome.far))]
        lines.append(cells)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def save_picture(path: Path, found: "Mapping[str, Sequence[Outcome]]", title: str) -> None:
    """EER with its interval for each condition, a colour for each list."""
    from mvector.metrics.figures import (
        CURVE_COLOUR,
        MARK_COLOUR,
        NONTARGET_COLOUR,
        TARGET_COLOUR,
        new_figure,
        save_figure,
    )

    colours = (CURVE_COLOUR, MARK_COLOUR, TARGET_COLOUR, NONTARGET_COLOUR)
    names = [outcome.condition for outcome in next(iter(found.values()))]
    figure, axes = new_figure(title, (9, 1.5 + 0.42 * len(names)))
    for number, (name, outcomes) in enumerate(found.items()):
        shift = 0.16 * (number - (len(found) - 1) / 2)
        colour = colours[number % len(colours)]
        for place, outcome in enumerate(outcomes):
            if outcome.eer_interval_95 is not None:
                low, high = (100 * bound for bound in outcome.eer_interval_95)
                axes.plot([low, high], [place + shift] * 2, color=colour, linewidth=2, alpha=0.6)
        rates = [100 * outcome.eer for outcome in outcomes]
        axes.plot(rates, [place + shift for place in range(len(names))], "o", color=colour, label=name)
        axes.axvline(rates[0], color=colour, linewidth=0.8, linestyle="--")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel("EER (%), 95 % interval over speakers")
    axes.legend(loc="upper right", frameon=True)
    save_figure(figure, path)
