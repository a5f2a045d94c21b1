"""`eval.py`, `mvector eval`: how well a model tells speakers apart on test lists, and where it fails."""

import argparse
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mvector.cli import add_device_arguments, add_set_argument, share_text, translate
from mvector.cli.language import is_chinese

if TYPE_CHECKING:
    import numpy as np

    from mvector.config import Config
    from mvector.data.trials import Trials
    from mvector.embeddings import Embeddings
    from mvector.metrics.summary import DetectionMetrics
    from mvector.opening import Model
    from mvector.recognition.scale import Scale
    from mvector.scoring import TrialScores
    from mvector.scoring.scorer import Scorer


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=translate("Evaluate a model on test trials."))
    parser.add_argument(
        "--resume_model",
        "--model_path",
        dest="model_path",
        default="models/EcapaTdnn_Fbank/best_model/",
        help=translate("model directory, or an exported .onnx file"),
    )
    parser.add_argument(
        "--configs", default=None, help=translate("take the test lists from this file, not from the model's own config")
    )
    parser.add_argument(
        "--score",
        default="cosine",
        help=translate("cosine, centred-cosine, z-norm, t-norm, s-norm, as-norm or plda"),
    )
    parser.add_argument(
        "--top_n", type=int, default=300, help=translate("speakers of the cohort that as-norm looks at")
    )
    parser.add_argument(
        "--enrollment",
        default="mean",
        help=translate("how several utterances make one voice: mean, scores or concatenate"),
    )
    parser.add_argument(
        "--embeddings",
        default=None,
        help=translate("packed embeddings of the test (tools/extract_embeddings.py), instead of the recordings"),
    )
    parser.add_argument(
        "--training_embeddings",
        default=None,
        help=translate(
            "packed embeddings of the training list, for the cohort or PLDA, which are stored with the model"
        ),
    )
    parser.add_argument(
        "--calibration_list",
        default=None,
        help=translate("other trials, of other speakers, to calibrate the scores on (default: the stored calibration)"),
    )
    parser.add_argument(
        "--calibration_embeddings",
        default=None,
        help=translate("packed embeddings of the calibration list, instead of the recordings"),
    )
    parser.add_argument(
        "--qmf",
        action="store_true",
        help=translate("calibrate with the recordings' durations, magnitudes and cohort scores (--calibration_list)"),
    )
    parser.add_argument("--report", default=None, help=translate("folder for a report: one HTML page, JSON and CSV"))
    parser.add_argument(
        "--metadata",
        default=None,
        help=translate("CSV or TSV file with a column path or speaker and others: figures by their values (--report)"),
    )
    parser.add_argument("--save_scores", default=None, help=translate("file for the score of every trial"))
    parser.add_argument("--save_image_path", default=None, help=translate("folder for DET, ROC and score pictures"))
    parser.add_argument("--save_json", default=None, help=translate("file for the results (default: in the model)"))
    add_device_arguments(parser, exported=True)
    add_set_argument(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = build_parser().parse_args(argv)
    from mvector.calibration import rates_of
    from mvector.config import load_config
    from mvector.data.trials import load_trials
    from mvector.errors import ConfigError
    from mvector.evaluation import calibrate_scores, identify, log_likelihood_ratios
    from mvector.fingerprint import model_fingerprint
    from mvector.metrics.summary import detection_metrics
    from mvector.model_directory import write_text
    from mvector.opening import open_model
    from mvector.scoring import check_enrollment

    if arguments.qmf and arguments.calibration_list is None:
        raise ConfigError("--qmf learns from trials: give them with --calibration_list, of speakers not in the test.")
    check_enrollment(arguments.enrollment)
    started = time.perf_counter()
    model = open_model(arguments.model_path, arguments.device, arguments.use_gpu, arguments.overrides)
    lists = model.config.dataset_conf
    if arguments.configs is not None:
        lists = load_config(arguments.configs, overrides=arguments.overrides).dataset_conf
    trials = load_trials(lists.enroll_list, lists.trials_list, lists.enroll_map, lists.data_root)
    name = str(lists.trials_list or lists.enroll_list)
    fingerprint = model_fingerprint(model.path, model.config)

    scorer = _scorer(arguments, model, fingerprint)
    embeddings, scored = _score(arguments, model, fingerprint, scorer, trials, arguments.embeddings, translate("test"))
    scale = _stored_scale(model, scorer, fingerprint)
    calibration: Any = None if scale is None else scale.calibration
    threshold = None if scale is None or arguments.qmf else scale.threshold
    others = None
    if arguments.calibration_list is not None:
        others = load_trials(None, arguments.calibration_list, lists.enroll_map, lists.data_root)
        packed = arguments.calibration_embeddings
        known, judged = _score(arguments, model, fingerprint, scorer, others, packed, translate("calibration"))
        calibration = calibrate_scores(scorer, known, others, judged, arguments.qmf)
    llrs = None
    if calibration is not None:
        llrs = log_likelihood_ratios(calibration, scorer, embeddings, trials, scored)
        if arguments.qmf:  # these are the scores that the system gives
            from dataclasses import replace

            scored = replace(scored, scores=llrs)
    metrics = detection_metrics(
        scored.scores, scored.labels, scored.counts, llrs, scored.enroll_speakers, scored.test_speakers, threshold
    )

    seconds = time.perf_counter() - started
    rate, cost, *lines = map(translate, metrics.lines())
    print(f"{name} ({scorer.method}{', QMF' if arguments.qmf else ''}): {rate}; {cost}; {seconds:.1f} s")
    for line in lines:
        print(f"  {line}")
    identification = identify(scored, trials)
    for line in identification.lines() if identification is not None else ():
        print(f"  {translate(line)}")
    if scored.counts is not None:
        print(
            translate("so many scores are counted in bins: error rates and costs are exact to {bound:.1e}").format(
                bound=scored.error_bound
            )
        )
    print(
        translate("{utterances:,} recordings, {left_out:,} of them unusable").format(
            utterances=len(embeddings), left_out=len(embeddings.failed)
        )
    )
    result: dict[str, Any] = {
        "list": name,
        "score": scorer.method,
        "enrollment": scorer.enrollment,
        "quality_aware": arguments.qmf,
        **metrics.as_dict(),
        "utterances": len(embeddings),
        "left_out": len(embeddings.failed),
        "left_out_trials": scored.left_out,
        "error_bound": scored.error_bound,
        "seconds": seconds,
        "model_fingerprint": fingerprint,
    }
    if identification is not None:
        result["identification"] = identification.as_dict()
    if calibration is not None:
        result["calibration"] = calibration.as_dict()
    if threshold is not None:
        rates = rates_of(scored, threshold)
        result["at_stored_threshold"] = rates.as_dict()
        print(
            translate("at the stored threshold {threshold:.4f}: FRR {frr}, FAR {far}").format(
                threshold=threshold,
                frr=share_text(rates.frr, rates.targets, 3),
                far=share_text(rates.far, rates.non_targets, 3),
            )
        )
    warnings = _warnings(model, lists, trials, others, name, bool(arguments.report), result)
    for warning in warnings:
        print(translate(warning))
    if embeddings.failed:
        path, reason = embeddings.failed[0]
        print(translate("the first that could not be: {reason}").format(reason=f"{path}: {translate(reason)}"))

    target = Path(arguments.save_json) if arguments.save_json else model.folder / f"eval_{Path(name).stem}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    print(translate("results saved in {path}").format(path=target))
    if arguments.save_scores is not None:
        from mvector.scoring.score_file import write_scores

        write_scores(arguments.save_scores, scored, trials)
        print(translate("scores saved in {path}").format(path=arguments.save_scores))
    if arguments.save_image_path is not None:
        from mvector.metrics.plots import save_evaluation_plots

        save_evaluation_plots(arguments.save_image_path, scored)
        print(translate("pictures saved in {path}").format(path=arguments.save_image_path))
    if arguments.report is not None:
        page = _report(arguments, model, result, metrics, scored, trials, embeddings, llrs, threshold, warnings)
        print(translate("report saved in {path}").format(path=page))


def _scorer(arguments: argparse.Namespace, model: "Model", fingerprint: str) -> "Scorer":
    from mvector.evaluation import training_cohort, training_plda
    from mvector.packed_embeddings import load_embeddings
    from mvector.scoring.scorer import METHODS, Scorer

    training = None if arguments.training_embeddings is None else load_embeddings(arguments.training_embeddings)
    cohort = plda = None
    if arguments.score == "plda":
        plda = training_plda(model.folder, fingerprint, training)
    elif (arguments.score in METHODS and arguments.score != "cosine") or arguments.qmf:
        cohort = training_cohort(model.folder, model.embedder, model.config, fingerprint, training)
    return Scorer(arguments.score, arguments.enrollment, cohort, arguments.top_n, plda)


def _stored_scale(model: "Model", scorer: "Scorer", fingerprint: str) -> "Scale | None":
    """The threshold and calibration that the model has for this way of scoring."""
    from mvector.calibration import stored_calibration
    from mvector.recognition.scale import AS_NORM, COSINE, Scale, Scoring

    if scorer.method == COSINE:
        return Scale(COSINE, model.threshold, stored_calibration(model.metrics))
    if scorer.method != AS_NORM:
        return None
    stored = Scoring.of_model(model.path, model.metrics, fingerprint)
    return stored.as_norm if scorer.top_n == stored.top_n else None


def _score(
    arguments: argparse.Namespace,
    model: "Model",
    fingerprint: str,
    scorer: "Scorer",
    trials: "Trials",
    packed: str | None,
    description: str,
) -> "tuple[Embeddings, TrialScores]":
    """Embeddings of the trials' recordings, from the recordings or from `packed` ones, and the trials' scores."""
    from mvector.evaluation import embed_joined, embed_trials, require_usable

    embeddings = embed_trials(model.embedder, model.config, trials, fingerprint, description, packed)
    require_usable(embeddings)
    voices: np.ndarray | None = None
    if arguments.enrollment == "concatenate":
        voices = embed_joined(model.embedder, model.config, trials, embeddings.embeddings)
    return embeddings, scorer.score(embeddings.embeddings, trials, voices)


def _warnings(
    model: "Model",
    lists: "Any",
    trials: "Trials",
    calibration: "Trials | None",
    name: str,
    thorough: bool,
    result: dict[str, Any],
) -> list[str]:
    """What makes the figures mean less than they seem to; noted in `result` as well."""
    from mvector.data.leakage import find_leakage
    from mvector.data.lists import read_data_list

    warnings = []
    if _is_development_list(model.metrics, name):
        result["is_development_list"] = True
        warnings.append("This list chose the model's epoch and threshold: these figures are not a test result.")
    trained_on = model.config.dataset_conf.train_list
    if trained_on is not None and Path(trained_on).is_file():
        training = read_data_list(trained_on, model.config.dataset_conf.data_root)
        # Every file is looked at for a report only: a training list may have a million.
        leakage = find_leakage(training, trials.utterances, compare_content=thorough)
        result["leakage"] = {
            "speakers": len(leakage.speakers),
            "recordings": len(leakage.recordings),
            "other_parts": len(leakage.other_parts),
            "content_compared": thorough,
        }
        if leakage:
            warnings.append(leakage.sentence())
    if calibration is not None:
        shared = find_leakage(calibration.utterances, trials.utterances, compare_content=thorough)
        result["leakage_of_calibration"] = {"speakers": len(shared.speakers), "recordings": len(shared.recordings)}
        if shared.speakers or shared.recordings:
            warnings.append(
                "The calibration knows speakers or recordings of the test: calibrated figures are too good."
            )
    if "synthetic" in model.metrics:
        result["synthetic"] = model.metrics["synthetic"]
        warnings.append(model.metrics["synthetic"])
    return warnings


def _report(
    arguments: argparse.Namespace,
    model: "Model",
    result: Mapping[str, Any],
    metrics: "DetectionMetrics",
    scored: "TrialScores",
    trials: "Trials",
    embeddings: "Embeddings",
    llrs: "np.ndarray | None",
    threshold: float | None,
    warnings: Sequence[str],
) -> Path:
    import numpy as np

    from mvector.report.conditions import condition_rows
    from mvector.report.metadata import duration_column, read_metadata, snr_column
    from mvector.report.page import Report, write_report
    from mvector.report.worst_cases import worst_cases

    at = metrics.threshold if threshold is None else threshold
    columns = [duration_column(embeddings.duration_s), snr_column(embeddings.snr_db)]
    if arguments.metadata is not None:
        data_root = model.config.dataset_conf.data_root
        columns += read_metadata(arguments.metadata, trials.utterances, data_root)
    report = Report(
        name=f"{model.path} – {result['list']}",
        result=result,
        scored=scored,
        trials=trials,
        llrs=llrs,
        threshold=threshold,
        conditions=condition_rows(scored, trials, columns, at),
        worst=worst_cases(scored, trials, at),
        model=_model_facts(model.config, model.metrics, str(model.path)),
        data={
            "list": result["list"],
            "list_sha256": hashlib.sha256(Path(result["list"]).read_bytes()).hexdigest(),
            "recordings": len(embeddings),
            "unusable": len(embeddings.failed),
            "hours": round(float(np.nansum(embeddings.duration_s)) / 3600, 3),
            "speakers": metrics.speakers,
        },
        warnings=[translate(warning) for warning in warnings],
        language="zh" if is_chinese() else "en",
    )
    return write_report(arguments.report, report)


def _model_facts(config: "Config", metrics: Mapping[str, Any], path: str) -> dict[str, Any]:
    kept = ("parameters", "training_speakers", "training_utterances", "epoch", "seed", "threshold_chosen", "versions")
    return {
        "directory": path,
        "backbone": config.model_conf.model,
        "features": config.preprocess_conf.feature_method,
        "loss": config.loss_conf.loss,
        **{key: metrics[key] for key in kept if key in metrics},
    }


def _is_development_list(metrics: dict[str, Any], name: str) -> bool:
    used = metrics.get("development", {}).get("list")
    return used is not None and Path(used).resolve() == Path(name).resolve()
