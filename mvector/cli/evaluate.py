"""`eval.py`, `mvector eval`: EER, its threshold and minDCF of a model on a configuration's test lists."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mvector.cli import add_device_arguments, add_set_argument, translate


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=translate("Evaluate a model on test trials."))
    parser.add_argument(
        "--resume_model",
        "--model_path",
        dest="model_path",
        default="models/EcapaTdnn_Fbank/best_model/",
        help=translate("model directory"),
    )
    parser.add_argument(
        "--configs", default=None, help=translate("take the test lists from this file, not from the model's own config")
    )
    parser.add_argument("--save_image_path", default=None, help=translate("folder for DET, ROC and score pictures"))
    parser.add_argument("--save_json", default=None, help=translate("file for the results (default: in the model)"))
    add_device_arguments(parser)
    add_set_argument(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = build_parser().parse_args(argv)
    from mvector.config import load_config
    from mvector.data.trials import load_trials
    from mvector.device import choose_device
    from mvector.evaluation import evaluate_trials, rates_at
    from mvector.model_directory import load_model, write_text

    model = load_model(arguments.model_path, choose_device(arguments.device, arguments.use_gpu), arguments.overrides)
    lists = load_config(arguments.configs or model.path / "config.yml", overrides=arguments.overrides).dataset_conf
    trials = load_trials(lists.enroll_list, lists.trials_list, lists.enroll_map, lists.data_root)
    name = str(lists.trials_list or lists.enroll_list)
    result, scored = evaluate_trials(model.embedder, model.config, trials, translate("test"))
    print(f"{name}: {result.line()}")
    report: dict[str, Any] = {"list": name, **result.as_dict()}
    if model.threshold is not None:
        rates = rates_at(scored, model.threshold)
        report["at_stored_threshold"] = rates
        print(
            translate("at the stored threshold {threshold:.4f}: FRR {frr:.3f} %, FAR {far:.3f} %").format(
                threshold=model.threshold, frr=100 * rates["frr"], far=100 * rates["far"]
            )
        )
    if _is_development_list(model.metrics, name):
        report["is_development_list"] = True
        print(translate("This list chose the model's epoch and threshold: these figures are not a test result."))
    if "synthetic" in model.metrics:
        report["synthetic"] = model.metrics["synthetic"]
        print(translate(model.metrics["synthetic"]))
    target = Path(arguments.save_json) if arguments.save_json else model.path / f"eval_{Path(name).stem}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    print(translate("results saved in {path}").format(path=target))
    if arguments.save_image_path is not None:
        from mvector.metrics.plots import save_evaluation_plots

        save_evaluation_plots(arguments.save_image_path, scored)
        print(translate("pictures saved in {path}").format(path=arguments.save_image_path))


def _is_development_list(metrics: dict[str, Any], name: str) -> bool:
    used = metrics.get("development", {}).get("list")
    return used is not None and Path(used).resolve() == Path(name).resolve()
