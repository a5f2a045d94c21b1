"""Training: MVectorTrainer(configs).train(), readable from top to bottom."""

import contextlib
import logging
import os
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from mvector.config import Config, load_config
from mvector.data.trials import load_trials
from mvector.device import choose_device
from mvector.embedder import SpeakerEmbedder
from mvector.errors import ModelError, MVectorError
from mvector.evaluation import evaluate_trials
from mvector.model_directory import load_model, write_text
from mvector.training.checkpoint import find_run, set_aside
from mvector.training.finetune import start_from
from mvector.training.preparation import Development, end_workers
from mvector.training.run import TrainingRun
from mvector.training.stopping import Interrupted, StopRequest
from mvector.training.summary import layer_summary
from mvector.training.tracking import Tracker

logger = logging.getLogger("mvector")

__all__ = ["Interrupted", "MVectorTrainer"]


class MVectorTrainer:
    """Trains the model that a configuration describes, and evaluates it.

    configs                path of a YAML file, or a loaded Config
    use_gpu                True, False, or None: whatever `device` says
    data_augment_configs   path of an augmentation file, or None
    num_speakers           accepted for callers of the mvector 1.1 package; the data list decides
    overwrites             'a.b=c' texts that override keys of the configuration
    device                 'auto', 'cpu', 'cuda[:n]' or 'mps'
    """

    def __init__(
        self,
        configs: str | os.PathLike[str] | Config,
        use_gpu: bool | None = None,
        data_augment_configs: str | os.PathLike[str] | None = None,
        num_speakers: int | None = None,
        overwrites: Sequence[str] = (),
        device: str = "auto",
    ):
        if isinstance(configs, Config):
            self.config = configs
        else:
            self.config = load_config(configs, overrides=overwrites, augmentation=data_augment_configs)
        if num_speakers is not None:
            self.config.model_conf.classifier.num_speakers = num_speakers
        self.device = choose_device(device, use_gpu)
        self.embedder: SpeakerEmbedder | None = None  # the trained or loaded model, for evaluate()
        name = f"{self.config.model_conf.model.rpartition('.')[2]}_{self.config.preprocess_conf.feature_method}"
        self.name = name.replace("/", "_")  # the folder of this kind of model, as in models/EcapaTdnn_Fbank

    def train(
        self,
        save_model_path: str | os.PathLike[str] = "models/",
        log_dir: str | os.PathLike[str] = "log/",
        max_epoch: int | None = None,
        resume_model: str | os.PathLike[str] | None = None,
        pretrained_model: str | os.PathLike[str] | None = None,
        do_eval: bool = True,
    ) -> TrainingRun:
        """Train to the last epoch; the run that is returned knows its folder, its metrics and its development trials.

        save_model_path   models/ → models/EcapaTdnn_Fbank/best_model/ and last_model/
        log_dir           log/ → log/EcapaTdnn_Fbank/: scalars for VisualDL, metrics.jsonl, train.log, curves.png
        resume_model      a last_model folder to go on from; without it an unfinished run of the same configuration
                          in save_model_path is gone on with
        pretrained_model  a model directory whose weights to start from; speakers are matched by name

        Raises Interrupted after Ctrl-C or SIGTERM, when everything is saved; MVectorError for a user's mistakes.
        """
        if max_epoch is not None:
            self.config.train_conf.max_epoch = max_epoch
        folder, log_folder = Path(save_model_path) / self.name, Path(log_dir) / self.name
        resume_from = find_run(folder, self.config, None if resume_model is None else Path(resume_model))
        if resume_from is None:
            set_aside(log_folder)
        with _log_file(log_folder):
            run = TrainingRun(self.config, self.device, folder, resume_from)
            if resume_from is None:
                if pretrained_model is not None:
                    start_from(Path(pretrained_model), run.embedder.backbone, run.classifier, run.classes)
                set_aside(folder)  # not before: the pretrained model may lie in there
            self.embedder = run.embedder
            tracker = Tracker(log_folder, resume_step=run.step)
            try:
                _describe(run)
                self._train(run, tracker, do_eval)
            finally:
                tracker.close()
                end_workers(run.loader)
        return run

    def _train(self, run: TrainingRun, tracker: Tracker, do_eval: bool) -> None:
        with StopRequest() as stop:
            while not run.finished:
                self._train_epoch(run, tracker, stop)
                run.epoch, run.first_batch = run.epoch + 1, 0
                run.reset_totals()
                if do_eval and run.development is not None and self._evaluation_is_due(run):
                    self._evaluate_epoch(run, tracker, run.development)
                run.save_last()
                _draw_curves(tracker)
        if run.development is None or not do_eval:
            logger.warning("no evaluation: best_model is the last epoch's, and it has no threshold")
            run.save_best()
        if run.skipped:
            report = run.folder / "skipped.tsv"
            write_text(report, "".join(f"{path}\t{reason}\n" for path, reason in sorted(run.skipped.items())))
            logger.warning("%d recordings could not be used; see %s", len(run.skipped), report)

    def _train_epoch(self, run: TrainingRun, tracker: Tracker, stop: StopRequest) -> None:
        """One pass over the training list, from `run.first_batch` on."""
        train_conf = self.config.train_conf
        run.network.train()
        run.batches.epoch, run.batches.first_batch = run.epoch, run.first_batch
        started, done_here = time.perf_counter(), 0
        with tqdm(
            total=len(run.batches), initial=run.first_batch, desc=f"epoch {run.epoch + 1}", unit="batch", disable=None
        ) as progress:
            for batch in run.loader:
                loss, correct = self._step(run, batch)
                examples = len(batch["labels"])
                run.step += 1
                run.first_batch += 1
                run.totals["loss"] = run.totals["loss"] + loss * examples
                run.totals["correct"] = run.totals["correct"] + correct
                run.totals["examples"] += examples
                run.skipped.update(batch["skipped"])
                done_here += examples
                progress.update()
                if run.step % train_conf.log_interval == 0 or run.first_batch == len(run.batches):
                    _report(run, tracker, done_here / (time.perf_counter() - started), progress)
                if stop.asked:
                    run.save_last()
                    raise Interrupted(run.folder / "last_model")
                if time.monotonic() - run.saved_at > 60 * train_conf.save_interval_minutes:
                    run.save_last()

    def _step(self, run: TrainingRun, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """One optimiser step; returns loss and number of right answers, left on the device."""
        labels = batch["labels"].to(run.device, non_blocking=True)
        sound = batch["sound"].to(run.device, non_blocking=True)
        if not run.features_in_workers:
            sound, _ = run.embedder.featurizer(sound)  # [B, T] -> [B, F, D]
            spec_augment = run.dataset.augmentation.spec_augment
            if spec_augment is not None:
                sound = spec_augment(sound, batch["draws"].to(run.device, non_blocking=True))
        if run.margin_scheduler is not None:
            run.margin_scheduler.step(run.step)
        with torch.autocast(run.device.type, run.amp_dtype, enabled=self.config.train_conf.enable_amp):
            embeddings = run.forward_backbone(sound)  # [B, E]
            logits = run.classifier(embeddings)  # [B, S]
        loss = run.loss(logits, labels)
        run.optimizer.zero_grad(set_to_none=True)
        run.scaler.scale(loss).backward()
        if self.config.train_conf.clip_grad_norm is not None:
            run.scaler.unscale_(run.optimizer)
            nn.utils.clip_grad_norm_(run.network.parameters(), self.config.train_conf.clip_grad_norm)
        run.scaler.step(run.optimizer)
        run.scaler.update()
        if run.step_every_batch:
            run.scheduler.step()
        elif run.first_batch + 1 == len(run.batches):
            _step_epoch_scheduler(run)
        return loss.detach(), (logits.detach().argmax(dim=1) == labels).sum()

    def _evaluate_epoch(self, run: TrainingRun, tracker: Tracker, development: Development) -> None:
        result, _ = evaluate_trials(run.embedder, self.config, development.trials, "development")
        kind = "test list, used for development" if development.is_test_list else "development"
        logger.info("epoch %d, %s: %s", run.epoch, kind, result.line())
        tracker.record(
            run.step,
            epoch=run.epoch,
            **{"Test/eer": result.eer, "Test/min_dcf": result.min_dcf, "Test/threshold": result.threshold},
        )
        run.last_metrics = run.metrics(result)
        if result.eer <= run.best_eer:
            run.best_eer, run.best_metrics = result.eer, run.last_metrics
            run.save_best()

    def _evaluation_is_due(self, run: TrainingRun) -> bool:
        return run.finished or run.epoch % self.config.train_conf.eval_interval == 0

    def evaluate(
        self, resume_model: str | os.PathLike[str] | None = None, save_image_path: str | os.PathLike[str] | None = None
    ) -> tuple[float, float, float]:
        """(EER, minDCF(0.01), threshold) on the configuration's test lists; see :mod:`mvector.cli.evaluate`."""
        if resume_model is not None:
            self.embedder = load_model(resume_model, self.device).embedder
        if self.embedder is None:
            raise ModelError("nothing to evaluate: give resume_model, or train first")
        data = self.config.dataset_conf
        trials = load_trials(data.enroll_list, data.trials_list, data.enroll_map, data.data_root)
        result, scored = evaluate_trials(self.embedder, self.config, trials, "test")
        if save_image_path is not None:
            from mvector.metrics.plots import save_evaluation_plots

            save_evaluation_plots(Path(save_image_path), scored)
        return result.eer, result.min_dcf, result.threshold


def _describe(run: TrainingRun) -> None:
    """The resolved configuration, the network layer by layer, and how much there is to do."""
    logger.info("configuration:\n%s", run.config.describe())
    features, _ = run.embedder.featurizer(torch.zeros(1, run.dataset.crop.samples, device=run.device))
    logger.info("network:\n%s", layer_summary(run.embedder.backbone, features))
    logger.info(
        "%d utterances of %d speakers (%d classes), %d batches of %d an epoch, %d development recordings, on %s",
        len(run.dataset),
        len(run.speakers),
        run.dataset.num_classes,
        len(run.batches),
        run.batches.batch_size,
        0 if run.development is None else len(run.development.trials.utterances),
        run.device,
    )
    if run.synthetic:
        logger.warning("%s", run.synthetic)
    if run.step:
        logger.info("going on at epoch %d, batch %d", run.epoch + 1, run.first_batch)


def _report(run: TrainingRun, tracker: Tracker, rate: float, progress: tqdm) -> None:
    """Log and record the epoch so far; `rate` in utterances per second."""
    examples = max(1, run.totals["examples"])
    loss, accuracy = float(run.totals["loss"]) / examples, float(run.totals["correct"]) / examples
    epochs = run.config.train_conf.max_epoch
    if not np.isfinite(loss):
        raise MVectorError(
            f"the loss is {loss} at step {run.step} (epoch {run.epoch + 1}). Lower the learning rate, set "
            f"train_conf.clip_grad_norm, or set train_conf.enable_amp to False; {run.folder / 'last_model'} holds the "
            "last good state."
        )
    scalars = {
        "Train/loss": loss,
        "Train/accuracy": accuracy,
        "Train/learning_rate": run.optimizer.param_groups[0]["lr"],
    }
    margin = getattr(run.loss, "margin", None)
    if margin is not None:
        scalars["Train/margin"] = margin
    tracker.record(run.step, epoch=run.epoch + 1, utterances_per_s=round(rate, 1), **scalars)
    progress.set_postfix_str(f"loss {loss:.3f}, accuracy {accuracy:.3f}")
    logger.info(
        "epoch %d/%d, batch %d/%d, loss %.4f, accuracy %.4f, margin %s, rate %.2e, %.0f utterances/s, left %s",
        run.epoch + 1,
        epochs,
        run.first_batch,
        len(run.batches),
        loss,
        accuracy,
        "-" if margin is None else f"{margin:.3f}",
        scalars["Train/learning_rate"],
        rate,
        timedelta(seconds=round((epochs * len(run.batches) - run.step) * run.batches.batch_size / rate)),
    )


def _step_epoch_scheduler(run: TrainingRun) -> None:
    if isinstance(run.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        run.scheduler.step(float(run.totals["loss"]) / max(1, run.totals["examples"]))
    else:
        run.scheduler.step()


def _draw_curves(tracker: Tracker) -> None:
    try:
        from mvector.metrics.training_curves import save_training_curves

        save_training_curves(tracker.folder / "curves.png", tracker.records())
    except MVectorError as error:  # matplotlib is missing: the numbers are in metrics.jsonl all the same
        logger.debug("no curves drawn: %s", error)


@contextlib.contextmanager
def _log_file(folder: Path) -> Iterator[None]:
    """What is logged meanwhile, from INFO on, also stands in folder/train.log, whatever the importer shows."""
    folder.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(folder / "train.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("[%(asctime)s %(levelname)s] %(message)s"))
    level = logger.level
    if not logger.isEnabledFor(logging.INFO):
        logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        handler.close()
