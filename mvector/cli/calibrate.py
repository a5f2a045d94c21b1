"""`mvector calibrate`: the threshold of a model for a user's own microphones, from a few recordings of own people."""

import argparse
import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mvector.cli import add_device_arguments, add_set_argument, share_text, translate

if TYPE_CHECKING:
    from mvector.calibration import Recalibration, ThresholdRule
    from mvector.data.trials import Trials
    from mvector.embeddings import Embeddings
    from mvector.metrics.thresholds import RatesAtThreshold
    from mvector.opening import Model
    from mvector.scoring import TrialScores

# Rates that products ask for: the report says which of them these recordings cannot show.
ASKED_FAR = 0.001


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=translate("Choose a model's threshold anew on your own recordings, and store it with the model.")
    )
    parser.add_argument(
        "--model_path",
        default="models/EcapaTdnn_Fbank/best_model/",
        help=translate("model directory, or an exported .onnx file"),
    )
    parser.add_argument(
        "--list",
        required=True,
        help=translate("your recordings, path<TAB>speaker in every line: 5 people with 4 recordings each, or more"),
    )
    parser.add_argument(
        "--data_root", default=None, help=translate("folder that relative paths in the list start from")
    )
    parser.add_argument(
        "--score",
        choices=("cosine", "as-norm"),
        default="cosine",
        help=translate("as-norm: the threshold by which enrolled people are recognised where the model has a cohort"),
    )
    parser.add_argument(
        "--embeddings",
        default=None,
        help=translate("packed embeddings of the list (tools/extract_embeddings.py), instead of the recordings"),
    )
    rule = parser.add_mutually_exclusive_group()
    rule.add_argument(
        "--target_far",
        type=float,
        default=None,
        help=translate("keep this false acceptance rate, a fraction: 0.001 for 0.1 %%"),
    )
    rule.add_argument("--at_eer", action="store_true", help=translate("where both error rates are equal"))
    rule.add_argument(
        "--p_target",
        type=float,
        default=0.5,
        help=translate("least cost if this share of comparisons are of one person (the default rule, with 0.5)"),
    )
    parser.add_argument(
        "--c_miss", type=float, default=1.0, help=translate("cost of a false rejection, for --p_target")
    )
    parser.add_argument("--c_fa", type=float, default=1.0, help=translate("cost of a false acceptance, for --p_target"))
    add_device_arguments(parser, exported=True)
    add_set_argument(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = build_parser().parse_args(argv)
    from mvector.calibration import ThresholdRule, recalibrate, stored_calibration
    from mvector.data.trials import load_trials
    from mvector.evaluation import embed_trials, require_usable
    from mvector.fingerprint import model_fingerprint
    from mvector.metrics import nontargets_needed
    from mvector.model_directory import write_text
    from mvector.opening import metrics_file, open_model
    from mvector.recognition.scale import STORED, as_norm_settings
    from mvector.scoring import score_trials

    rule = ThresholdRule(arguments.target_far, arguments.at_eer, arguments.p_target, arguments.c_miss, arguments.c_fa)
    trials = load_trials(None, arguments.list, None, arguments.data_root)
    model = open_model(arguments.model_path, arguments.device, arguments.use_gpu, arguments.overrides)
    target = metrics_file(model)
    embeddings = embed_trials(
        model.embedder,
        model.config,
        trials,
        model_fingerprint(model.path, model.config),
        translate("embedding"),
        arguments.embeddings,
    )
    require_usable(embeddings)
    if arguments.score == "as-norm":
        found = recalibrate(
            _as_norm_scores(model, trials, embeddings), None, rule, model.metrics.get(STORED, {}).get("threshold")
        )
        stored = {STORED: _stored(found, rule, Path(arguments.list)) | as_norm_settings(model.folder)}
    else:
        development = model.metrics.get("development", {})
        # From the training's own calibration, so that calibrating twice on the same recordings changes nothing.
        previous = stored_calibration(development) or stored_calibration(model.metrics)
        found = recalibrate(score_trials(embeddings.embeddings, trials), previous, rule, model.threshold)
        stored = _stored(found, rule, Path(arguments.list))

    _tell(found, rule)
    needed = nontargets_needed(ASKED_FAR)
    if found.rates.non_targets < needed:
        print(
            translate(
                "A false acceptance rate below {least:.2g} % cannot be certified with these recordings; for "
                "{asked:g} % it takes {needed:,} non-target trials, about {speakers:,} people with as many recordings "
                "each."
            ).format(
                least=100 * found.least_far,
                asked=100 * ASKED_FAR,
                needed=needed,
                speakers=found.speakers_needed(ASKED_FAR),
            )
        )
    write_text(target, json.dumps(model.metrics | stored, indent=2, ensure_ascii=False) + "\n")
    print(translate("stored in {path}").format(path=target))


def _as_norm_scores(model: "Model", trials: "Trials", embeddings: "Embeddings") -> "TrialScores":
    """The trials scored as :mod:`mvector.recognition` scores them, with the cohort of the model's training list."""
    from mvector.evaluation import training_cohort
    from mvector.fingerprint import model_fingerprint
    from mvector.scoring.scorer import Scorer

    cohort = training_cohort(model.folder, model.embedder, model.config, model_fingerprint(model.path, model.config))
    return Scorer("as-norm", cohort=cohort).score(embeddings.embeddings, trials)


def _tell(found: "Recalibration", rule: "ThresholdRule") -> None:
    rates = found.rates
    print(
        translate("{targets:,} target and {non_targets:,} non-target trials by {speakers:,} people").format(
            targets=rates.targets, non_targets=rates.non_targets, speakers=rates.speakers
        )
    )
    if found.before is not None:
        print(translate("threshold so far {rates}").format(rates=_rates_text(found.before)))
    print(translate("new threshold {rates}, chosen {rule}").format(rates=_rates_text(rates), rule=translate(str(rule))))
    if found.held_out is not None:
        far, frr = found.held_out
        print(
            translate("on people who had no part in the choice: FRR {frr:.2f} %, FAR {far:.2f} %").format(
                frr=100 * frr, far=100 * far
            )
        )
    if rates.interval_too_narrow:
        print(translate("With fewer than 20 people the true intervals are wider than these (95 %, over people)."))


def _rates_text(rates: "RatesAtThreshold") -> str:
    def with_interval(rate: float, total: int, interval: tuple[float, float] | None) -> str:
        text = share_text(rate, total, 2)
        return text if interval is None else f"{text} [{100 * interval[0]:.2f}, {100 * interval[1]:.2f}]"

    return (
        f"{rates.threshold:.4f}: FRR {with_interval(rates.frr, rates.targets, rates.frr_interval_95)}, "
        f"FAR {with_interval(rates.far, rates.non_targets, rates.far_interval_95)}"
    )


def _stored(found: "Recalibration", rule: "ThresholdRule", list_path: Path) -> dict[str, Any]:
    """The entries of metrics.json that a calibration replaces."""
    held_out = None if found.held_out is None else {"far": found.held_out[0], "frr": found.held_out[1]}
    return {
        "threshold": found.threshold,
        "threshold_chosen": f"{rule} of own recordings",
        "calibration": found.calibration.as_dict(),
        "calibrated_on": {
            "list": str(list_path),
            "list_sha256": hashlib.sha256(list_path.read_bytes()).hexdigest(),
            "date": datetime.now().astimezone().isoformat(timespec="seconds"),
            "rates": found.rates.as_dict(),
            "rates_on_held_out_speakers": held_out,
            "least_far_shown": found.least_far,
        },
    }
