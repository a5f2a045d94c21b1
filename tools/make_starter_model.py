"""The model that the package carries: teacher, training, compensation, export, thresholds, figures.

    python tools/make_starter_model.py --teacher models/CAMPPlus_zh_en

Each step that was done is passed over, and one that was stopped goes on, so the command can be given again at any time.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # as the scripts beside it do without saying so

import numpy as np
import torch

import mvector
from mvector.calibration import rates_of
from mvector.cli import extract_embeddings, run
from mvector.data.lists import read_data_list
from mvector.data.trials import load_trials
from mvector.embeddings import embed_utterances
from mvector.errors import MVectorError
from mvector.evaluation import some_of_each_speaker
from mvector.export.onnx_files import export_onnx
from mvector.export.runtime import METRICS, MODEL, load_exported
from mvector.fingerprint import model_fingerprint
from mvector.metrics import confidence_intervals, eer
from mvector.metrics.thresholds import threshold_at_eer, threshold_at_far
from mvector.model_directory import SPEAKERS, load_model, save_model, write_text
from mvector.recognition.scale import AS_NORM, COHORT, COSINE, STORED, TOP_N, cohort_digest
from mvector.scoring import Calibration, Cohort, compensation
from mvector.scoring.scorer import Scorer
from mvector.trainer import Interrupted, MVectorTrainer
from mvector.training.distillation import trained_speeds

LISTS = Path("dataset/open_speech/lists")
CORPORA = ("an4", "arabic", "commands", "dsp", "libri", "ocean")  # what train_list joins; each has a list of its own
TESTS = ("ocean", "commands", "libri")
FAR = 0.01
LARGEST_MB = 10.0

# The second run starts from the best epoch of the first: longer crops, and two more speeds, which stand for more people
# and for smaller ones, children among them.
SECOND_RUN = (
    "dataset_conf.dataset.max_duration=3.0",
    "augmentation.speed.prob=0.8",
    "augmentation.speed.speeds=[0.9, 1.1, 0.8, 1.2]",
    "loss_conf.margin_scheduler_args.increase_start_epoch=2",
    "loss_conf.margin_scheduler_args.fix_epoch=6",
    "optimizer_conf.optimizer_args.lr=0.001",
    "optimizer_conf.scheduler_args.max_lr=0.001",
    "train_conf.max_epoch=15",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher", required=True, help="model directory of the teacher")
    parser.add_argument("--configs", default="configs/recipes/starter_model.yml")
    parser.add_argument("--save_model_path", default="models/starter/", help="folder for the run")
    parser.add_argument("--log_dir", default="log/starter/")
    parser.add_argument("--output", default="mvector/starter_model/", help="folder for the files of the package")
    arguments = parser.parse_args()

    first, second = MVectorTrainer(arguments.configs), MVectorTrainer(arguments.configs, overwrites=SECOND_RUN)
    data, distillation = first.config.dataset_conf, first.config.distillation_conf
    if distillation is None or data.train_list is None or data.dev_trials_list is None:
        raise MVectorError(f"{arguments.configs} lacks distillation_conf, a training list or development trials.")
    if first.config.model_conf.model != "EcapaTdnn":  # said before the hours of training
        raise MVectorError(f"{arguments.configs}: only the last layer of an EcapaTdnn can be compensated here.")
    for speed in trained_speeds(second.config):
        folder = Path(distillation.teacher_embeddings) / f"speed_{speed}"
        of_list = ["--model_path", arguments.teacher, "--list", data.train_list, "--speed", str(speed)]
        extract_embeddings.main([*of_list, "--output", str(folder)])
    models, logs = Path(arguments.save_model_path), Path(arguments.log_dir)
    best = [models / run / first.name / "best_model" for run in ("first", "second")]
    try:
        first.train(models / "first", logs / "first", resume_model="auto")
        second.train(models / "second", logs / "second", resume_model="auto", pretrained_model=best[0])
    except Interrupted as stop:
        print(f"Training stopped; everything is saved in {stop.folder}. Give the same command again to go on.")
        sys.exit(130)
    output, compensated = Path(arguments.output), models / "compensated"
    compensate(best[1], compensated)
    pack(compensated, data.train_list, data.dev_trials_list, output)
    size = sum(file.stat().st_size for file in output.iterdir()) / 1e6
    print(f"{output}: {size:.2f} MB")
    if size > LARGEST_MB:
        raise MVectorError(f"{output} has {size:.2f} MB, more than the {LARGEST_MB:g} MB that the package may carry.")


def compensate(best: Path, output: Path) -> None:
    """A model directory like `best` whose last layer takes out what the corpora and sessions say (`compensation`)."""
    trained = load_model(best)
    lists = {corpus: read_data_list(LISTS / f"train_{corpus}.txt") for corpus in CORPORA}
    utterances = [utterance for corpus in lists.values() for utterance in corpus]
    corpora = [corpus for corpus, found in lists.items() for _ in found]
    embeddings = embed_utterances(trained.embedder, trained.config, utterances, "compensation").embeddings
    matrix = compensation(embeddings, [utterance.speaker for utterance in utterances], corpora)
    last = trained.embedder.backbone.fc.conv
    with torch.no_grad():
        turned = torch.from_numpy(matrix).to(last.weight)
        last.weight.copy_((turned @ last.weight.flatten(1)).view_as(last.weight))
        last.bias.copy_(turned @ last.bias)
    output.mkdir(parents=True, exist_ok=True)
    # The figures of the epoch are not its own any more: `pack` measures the packed file.
    save_model(output, trained.embedder, trained.config, _of_training(trained.metrics), trained.speakers)


def _of_training(metrics: dict[str, Any]) -> dict[str, Any]:
    return {key: metrics[key] for key in ("parameters", "training_speakers", "training_utterances", "epoch")}


def pack(best: Path, train_list: str, dev_trials: str, output: Path) -> None:
    """The files of the package from a trained model directory: 8-bit ONNX, cohort, thresholds, figures."""
    output.mkdir(parents=True, exist_ok=True)
    trained = load_model(best)
    figures = _of_training(trained.metrics)
    trained.metrics = {}  # metrics.json has them: thresholds are those of the exported file itself
    for note in export_onnx(trained, output / MODEL, with_features=True, int8=True):
        print(note)
    shutil.copyfile(best / SPEAKERS, output / SPEAKERS)
    model = load_exported(output / MODEL)
    fingerprint = model_fingerprint(model.path, model.config)
    training = embed_utterances(
        model.embedder, model.config, some_of_each_speaker(read_data_list(train_list)), "cohort", fingerprint
    )
    cohort = Cohort.from_embeddings(training.embeddings, [one.speaker for one in training.utterances])
    cohort.save(output / COHORT, fingerprint)

    scorers = {method: Scorer(method, cohort=cohort) for method in (COSINE, AS_NORM)}
    chosen = {method: _thresholds(model, scorer, dev_trials) for method, scorer in scorers.items()}
    metrics: dict[str, Any] = {
        **figures,
        **chosen[COSINE],
        STORED: chosen[AS_NORM] | {"top_n": TOP_N, "cohort_sha256": cohort_digest(output / COHORT)},
        "test": {},
        "versions": {"mvector": mvector.__version__},
    }
    for name in TESTS:
        trials = load_trials(None, LISTS / f"trials_{name}.txt")
        vectors = embed_utterances(model.embedder, model.config, trials.utterances, name).embeddings
        metrics["test"][name] = {
            method: _figures(scorer.score(vectors, trials), chosen[method]) for method, scorer in scorers.items()
        }
        for method, found in metrics["test"][name].items():
            print(f"{name}, {method}: " + json.dumps(found))
    write_text(output / METRICS, json.dumps(metrics, indent=2, ensure_ascii=False) + "\n")


def _thresholds(model: Any, scorer: Scorer, dev_trials: str) -> dict[str, Any]:
    """What the development trials decide: the threshold at equal error rates, that for a FAR, and the calibration."""
    trials = load_trials(None, dev_trials)
    vectors = embed_utterances(model.embedder, model.config, trials.utterances, "development").embeddings
    scored = scorer.score(vectors, trials)
    return {
        "threshold": threshold_at_eer(scored.scores, scored.labels),
        "threshold_chosen": "at the equal error rate of the development trials",
        "threshold_at_far_1_percent": threshold_at_far(scored.scores, scored.labels, FAR),
        "calibration": Calibration.fit(scored.scores, scored.labels).as_dict(),
        "development": {"list": dev_trials, "eer": eer(scored.scores, scored.labels)[0]},
    }


def _figures(scored: Any, chosen: dict[str, Any]) -> dict[str, Any]:
    rate, _ = eer(scored.scores, scored.labels)
    interval = confidence_intervals(scored.scores, scored.labels, scored.enroll_speakers, scored.test_speakers)["eer"]
    at = {key: rates_of(scored, chosen[key]) for key in ("threshold", "threshold_at_far_1_percent")}
    return {
        "eer": rate,
        "eer_interval_95": list(np.asarray(interval, float)),
        **{
            f"{rate_name}_at_{key}": getattr(rates, rate_name)
            for key, rates in at.items()
            for rate_name in ("far", "frr")
        },
    }


if __name__ == "__main__":
    run(lambda argv: main())
