"""Training: MVectorTrainer(configs).train(), readable from top to bottom."""

import contextlib
import logging
import logging.handlers
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from mvector.config import Config, load_config
from mvector.data.trials import load_trials
from mvector.device import choose_device
from mvector.embedder import SpeakerEmbedder
from mvector.errors import ConfigError, ModelError, MVectorError
from mvector.evaluation import evaluate_trials
from mvector.model_directory import load_frontend, load_model
from mvector.training.checkpoint import find_run, set_aside
from mvector.training.finetune import start_from
from mvector.training.preparation import Development, end_workers, read_batches
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
    overwrites             'a.b=c' texts that override keys of the configuration, a list or joined by commas
    device                 'auto', 'cpu', 'cuda[:n]' or 'mps'
    log_level              least level of the messages of the logger 'mvector'
    """

    def __init__(
        self,
        configs: str | os.PathLike[str] | Config,
        use_gpu: bool | None = None,
        data_augment_configs: str | os.PathLike[str] | None = None,
        num_speakers: int | None = None,
        overwrites: str | Sequence[str] = (),
        device: str = "auto",
        log_level: str = "info",
    ):
        logger.setLevel(log_level.upper())
        if isinstance(configs, Config):
            if overwrites or data_augment_configs is not None:
                raise ConfigError(
                    "a loaded Config takes no overwrites or data_augment_configs: give them to load_config"
                )
            self.config = configs
        else:
            self.config = load_config(configs, overrides=overwrites, augmentation=data_augment_configs)
        if num_speakers is not None:
            self.config.model_conf.classifier.num_speakers = num_speakers
        self.device = choose_device(device, use_gpu)
        self.embedder: SpeakerEmbedder | None = None  # the trained or loaded model, for evaluate()
        feature = self.config.preprocess_conf.feature_method
        if self.config.preprocess_conf.use_hf_model:
            feature = Path(feature).name
        name = f"{self.config.model_conf.model.rpartition('.')[2]}_{feature}"
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
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ConfigError(
                "started by torchrun with several processes, which this version does not train with: they would write "
                "over each other's files. Run `python train.py …` once."
            )
        if max_epoch is not None:
            self.config.train_conf.max_epoch = max_epoch
        folder, log_folder = Path(save_model_path) / self.name, Path(log_dir) / self.name
        start = None if pretrained_model is None else os.fspath(pretrained_model)
        resume_from = find_run(folder, self.config, None if resume_model is None else Path(resume_model), start)
        with _log_file() as open_log:
            run = TrainingRun(self.config, self.device, folder, resume_from, do_eval, start)
            if resume_from is None and start is not None:
                start_from(Path(start), run.embedder.backbone, run.classifier, run.classes)
                load_frontend(run.embedder, Path(start))
            # Only now, when everything has proved to fit; and the pretrained model may lie in the folder.
            _make_room(folder, log_folder, resume_from)
            open_log(log_folder)
            self.embedder = run.embedder
            # Saved before the evaluation that ends an epoch, a run does that evaluation again.
            tracker = Tracker(log_folder, resume_step=run.step, evaluates_again=run.first_batch > 0)
            try:
                _describe(run)
                self._train(run, tracker)
            except torch.OutOfMemoryError as error:
                raise MVectorError(
                    f"{run.device} is out of memory. Lower dataset_conf.sampler.batch_size (and the learning rate with "
                    "it) or dataset_conf.dataset.max_duration, or set train_conf.enable_amp to True."
                ) from error
            finally:
                tracker.close()
                end_workers(run.loader)
        return run

    def _train(self, run: TrainingRun, tracker: Tracker) -> None:
        if run.development is None:
            logger.warning("no evaluation: best_model is the last epoch's, and it has no threshold")
        with StopRequest() as stop:
            while not run.finished:
                self._train_epoch(run, tracker, stop)
                due = run.development is not None and self._evaluation_is_due(run)
                if due:
                    run.save_last()  # an evaluation may take long: what it follows is safe
                run.epoch, run.first_batch = run.epoch + 1, 0
                run.reset_totals()
                if due and run.development is not None:
                    self._evaluate_epoch(run, tracker, run.development)
                elif not run.best_metrics:
                    run.save_best()
                run.save_last()  # after best_model: killed in between, the epoch's end is done again
                _draw_curves(tracker)
                if stop.asked and not run.finished:
                    raise Interrupted(run.folder / "last_model")
        if run.skipped:
            logger.warning("%d recordings could not be used; see %s", len(run.skipped), run.folder / "skipped.tsv")

    def _train_epoch(self, run: TrainingRun, tracker: Tracker, stop: StopRequest) -> None:
        """One pass over the training list, from `run.first_batch` on."""
        train_conf = self.config.train_conf
        run.network.train()
        run.batches.epoch, run.batches.first_batch = run.epoch, run.first_batch
        started, done_here = time.perf_counter(), 0
        with tqdm(
            total=len(run.batches), initial=run.first_batch, desc=f"epoch {run.epoch + 1}", unit="batch", disable=None
        ) as progress:
            for batch in read_batches(run.loader):
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
                if not run.step_every_batch and run.first_batch == len(run.batches):
                    _step_epoch_scheduler(run)
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
            with run.autocast():  # for a learned feature; the others are computed in float32 all the same
                sound, _ = run.embedder.featurizer(sound)  # [B, T] -> [B, F, D]
            spec_augment = run.dataset.augmentation.spec_augment
            if spec_augment is not None:
                sound = spec_augment(sound, batch["draws"].to(run.device, non_blocking=True))
        if run.margin_scheduler is not None:
            run.margin_scheduler.step(run.step)
        with run.autocast():
            embeddings = run.forward_backbone(sound)  # [B, E]
        loss, correct = run.loss_and_right_answers(embeddings, labels)
        run.optimizer.zero_grad(set_to_none=True)
        run.scaler.scale(loss).backward()
        if self.config.train_conf.clip_grad_norm is not None:
            run.scaler.unscale_(run.optimizer)
            trained = [*run.network.parameters(), *run.loss.parameters()]
            nn.utils.clip_grad_norm_(trained, self.config.train_conf.clip_grad_norm)
        run.scaler.step(run.optimizer)
        run.scaler.update()
        if run.step_every_batch:
            run.scheduler.step()
        return loss.detach(), correct

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
        """Whether the epoch that has just been trained is to be evaluated."""
        train_conf = self.config.train_conf
        return run.epoch + 1 == train_conf.max_epoch or (run.epoch + 1) % train_conf.eval_interval == 0

    def evaluate(
        self, resume_model: str | os.PathLike[str] | None = None, save_image_path: str | os.PathLike[str] | None = None
    ) -> tuple[float, float, float]:
        """(EER, minDCF(0.01), threshold) on the configuration's test lists; see :mod:`mvector.cli.evaluate`."""
        config = self.config
        if resume_model is not None:
            model = load_model(resume_model, self.device)
            self.embedder, config = model.embedder, model.config  # its own rate and level; the lists are ours
        if self.embedder is None:
            raise ModelError("nothing to evaluate: give resume_model, or train first")
        data = self.config.dataset_conf
        trials = load_trials(data.enroll_list, data.trials_list, data.enroll_map, data.data_root)
        result, scored = evaluate_trials(self.embedder, config, trials, "test")
        if save_image_path is not None:
            from mvector.metrics.plots import save_evaluation_plots

            save_evaluation_plots(Path(save_image_path), scored)
        return result.eer, result.min_dcf, result.threshold


def _describe(run: TrainingRun) -> None:
    """The resolved configuration, the network layer by layer, and how much there is to do."""
    logger.info("configuration:\n%s", run.config.describe())
    featurizer = run.embedder.featurizer.eval()  # dropout of a learned feature would shift what a resumed run draws
    with torch.no_grad():
        features, _ = featurizer(torch.zeros(1, run.dataset.crop.samples, device=run.device))
    featurizer.train()
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
    run.check_loss_is_finite()
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


def _make_room(folder: Path, log_folder: Path, resume_from: Path | None) -> None:
    """Keep what an earlier run left in the two folders; carry over the best model of a run that goes on elsewhere."""
    if resume_from is None:
        set_aside(folder)
        set_aside(log_folder)
    elif resume_from.resolve().parent != folder.resolve():
        set_aside(folder)
        best = resume_from.parent / "best_model"
        if best.is_dir():
            shutil.copytree(best, folder / "best_model")


@contextlib.contextmanager
def _log_file() -> Iterator[Callable[[Path], None]]:
    """What is logged meanwhile, from INFO on, whatever the importer shows, goes into folder/train.log as soon as the
    function that is yielded was called with the folder; what was logged before goes there too."""
    buffer = logging.handlers.MemoryHandler(capacity=10**6, flushLevel=logging.CRITICAL + 1, flushOnClose=False)
    handlers: list[logging.Handler] = [buffer]

    def open_log(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(folder / "train.log", encoding="utf-8")
        file.setFormatter(logging.Formatter("[%(asctime)s %(levelname)s] %(message)s"))
        handlers.append(file)
        buffer.setTarget(file)
        buffer.flush()
        logger.removeHandler(buffer)
        logger.addHandler(file)

    level = logger.level
    if not logger.isEnabledFor(logging.INFO):
        logger.setLevel(logging.INFO)
    logger.addHandler(buffer)
    try:
        yield open_log
    finally:
        logger.setLevel(level)
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()
