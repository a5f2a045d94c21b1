"""Training: MVectorTrainer(configs).train(), readable from top to bottom."""

import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from mvector.config import Config, load_config
from mvector.data.trials import load_trials
from mvector.device import choose_device
from mvector.embedder import SpeakerEmbedder
from mvector.errors import ConfigError, ModelError
from mvector.evaluation import Evaluation, evaluate_trials
from mvector.model_directory import load_frontend, load_model
from mvector.training.advice import with_advice
from mvector.training.averaging import averaged_model, keep_epoch
from mvector.training.checkpoint import save_average_model, write_or_explain
from mvector.training.finetune import check_start, start_from
from mvector.training.log_file import log_file
from mvector.training.preparation import Development, end_workers, read_batches
from mvector.training.progress import Pace, describe, draw_curves, report
from mvector.training.ranks import (
    agreed,
    device_of_rank,
    first_tells_all,
    is_first,
    joined,
    total,
    wait_for_all,
)
from mvector.training.run import TrainingRun
from mvector.training.run_folder import find_start, make_room
from mvector.training.samples import write_samples
from mvector.training.shared_evaluation import evaluate_together
from mvector.training.stages import Stage, stages_of
from mvector.training.step import add_to_totals, embed, end_epoch_of_scheduler, learn
from mvector.training.stopping import Interrupted, StopRequest
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

    A trainer of your own is a subclass that overrides one of these; what it does not touch (resuming, checkpoints,
    evaluation, several stages) goes on working:

    build_run(…)                      another TrainingRun: own data, network or optimiser
    compute_loss(run, batch)          mean loss and number of right answers of a batch
    evaluate_model(run, model, …)     its figures, which choose the best epoch (`eer`: lower is better)
    end_epoch(run)                    called after every epoch, before its checkpoint; state of your own belongs into
                                      modules of run.network, which are saved and restored

        class WithCentreLoss(MVectorTrainer):
            def compute_loss(self, run, batch):
                loss, correct = super().compute_loss(run, batch)
                return loss + 1e-3 * run.classifier.weight.square().mean(), correct

    Draw random numbers from torch only, and only from the generator that is restored (the default one), or a resumed
    run does not end with the same weights.
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
        self.device = device_of_rank(choose_device(device, use_gpu))
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
        save_samples: int = 0,
    ) -> TrainingRun | None:
        """Train to the last epoch; the run that is returned knows its folder, its metrics and its development trials.

        save_model_path   models/ → models/EcapaTdnn_Fbank/best_model/ and last_model/
        log_dir           log/ → log/EcapaTdnn_Fbank/: scalars for a viewer, metrics.jsonl, train.log, curves.png
        resume_model      a last_model folder to go on from, or 'auto': the newest complete checkpoint of this kind of
                          model in save_model_path, a new run where there is none. Without it an unfinished run of the
                          same configuration in save_model_path is gone on with
        pretrained_model  a model directory whose weights to start from; speakers are matched by name
        save_samples      how many augmented examples to write first, as wav files with their labels in
                          log/EcapaTdnn_Fbank/samples/

        With `large_margin_conf` a second stage follows, and its run is returned. None where 'auto' finds that all is
        done already. Several processes that torchrun started train together: dataset_conf.sampler.batch_size is that of
        each, and the first one logs and writes. Raises Interrupted after Ctrl-C or SIGTERM, when everything is saved;
        MVectorError for a user's mistakes and for a full disk.
        """
        if max_epoch is not None:
            self.config.train_conf.max_epoch = max_epoch
        pretrained = None if pretrained_model is None else Path(pretrained_model)
        stages = stages_of(self.config, Path(save_model_path) / self.name, Path(log_dir) / self.name, pretrained)
        start = None if pretrained_model is None else os.fspath(pretrained_model)
        resume = None if resume_model is None else Path(resume_model)
        with joined(self.device):
            begin = first_tells_all(lambda: find_start(stages, resume, start))
            if begin.stage is None:
                logger.info("the run in %s is complete", stages[-1].folder)
                return None
            run = self._train_stage(stages[begin.stage], begin.checkpoint, do_eval, save_samples)
            for stage in stages[begin.stage + 1 :]:
                run = self._train_stage(stage, None, do_eval)
        return run

    def _train_stage(self, stage: Stage, resume_from: Path | None, do_eval: bool, samples: int = 0) -> TrainingRun:
        """One stage from its first step, or from the checkpoint `resume_from`, to its last epoch."""
        with log_file() as open_log:
            run = self.build_run(stage, resume_from, do_eval)
            wait_for_all()
            # Only now, when everything has proved to fit; and the pretrained model may lie in the folder.
            if is_first():
                make_room(stage.folder, stage.log_folder, resume_from)
                open_log(stage.log_folder)
                if samples:
                    write_samples(run, stage.log_folder / "samples", samples)
            self.embedder = run.model
            tracker = self._open_tracker(stage, run) if is_first() else None
            try:
                with with_advice(run.config, run.device):
                    describe(run)
                    if resume_from is None:
                        run.save_last()  # a folder that cannot be written shows now, not after the first minutes
                    self._train_epochs(run, tracker)
            finally:
                if tracker is not None:
                    tracker.close()
                end_workers(run.loader)
        return run

    def _open_tracker(self, stage: Stage, run: TrainingRun) -> Tracker:
        return Tracker(
            stage.log_folder,
            resume_step=run.step,
            # Saved before the evaluation that ends an epoch, a run does that evaluation again.
            evaluates_again=run.first_batch > 0,
            viewer=run.config.train_conf.tracker,
        )

    def build_run(self, stage: Stage, resume_from: Path | None, do_eval: bool) -> TrainingRun:
        """The run of a stage: data, network, optimiser, and the weights that it starts from or goes on with."""
        start = None if stage.pretrained_model is None else os.fspath(stage.pretrained_model)
        if resume_from is None:
            check_start(stage)
        run = TrainingRun(stage.config, self.device, stage.folder, resume_from, do_eval, start)
        if resume_from is None and stage.pretrained_model is not None:
            start_from(stage.pretrained_model, run.embedder.backbone, run.classifier, run.classes)
            load_frontend(run.embedder, stage.pretrained_model)
            if run.average is not None:
                run.average.module.load_state_dict(run.embedder.state_dict())
        return run

    def _train_epochs(self, run: TrainingRun, tracker: Tracker | None) -> None:
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
                    self._choose_best(run, tracker, run.development)
                elif not run.best_metrics:
                    run.save_best()
                self._average(run)
                self.end_epoch(run)
                run.save_last()  # after best_model: killed in between, the epoch's end is done again
                if tracker is not None:
                    draw_curves(tracker)
                (stopping,) = agreed(stop.asked)
                if stopping and not run.finished:
                    wait_for_all()
                    raise Interrupted(run.folder / "last_model")
        if run.skipped:
            logger.warning("%d recordings could not be used; see %s", len(run.skipped), run.folder / "skipped.tsv")

    def _train_epoch(self, run: TrainingRun, tracker: Tracker | None, stop: StopRequest) -> None:
        """One pass over the training list, from `run.first_batch` on."""
        train_conf = run.config.train_conf
        run.train_mode()
        run.batches.epoch, run.batches.first_batch = run.epoch, run.first_batch
        pace = Pace(run.device)
        with tqdm(
            total=len(run.batches),
            initial=run.first_batch,
            desc=f"epoch {run.epoch + 1}",
            unit="batch",
            disable=None if is_first() else True,
        ) as progress:
            for batch in pace.batches(read_batches(run.loader)):
                if run.margin_scheduler is not None:
                    run.margin_scheduler.step(run.step)
                loss, correct = self.compute_loss(run, batch)
                examples = len(batch["labels"])
                of_all = total(examples)
                learn(run, loss, examples / of_all)
                add_to_totals(run, loss, correct, examples)
                run.skipped.update(batch["skipped"])
                pace.examples += of_all
                progress.update()
                if run.first_batch == len(run.batches):
                    end_epoch_of_scheduler(run)
                if run.step % train_conf.log_interval == 0 or run.first_batch == len(run.batches):
                    report(run, tracker, pace, progress)
                if not run.between_steps:
                    continue
                due = is_first() and time.monotonic() - run.saved_at > 60 * train_conf.save_every_minutes
                stopping, due = agreed(stop.asked, due)
                if stopping or due:
                    run.save_last()
                if stopping:
                    wait_for_all()  # whoever ends first would have torchrun end the one that still writes
                    raise Interrupted(run.folder / "last_model")

    def compute_loss(self, run: TrainingRun, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Mean loss of a batch and how many of its utterances were recognised, both scalars on the run's device.

        `batch` has sound [B, T] or [B, F, D], labels [B] (class numbers), utterances [B] (rows of the training list),
        speed_classes [B], and skipped (recordings that were replaced).
        """
        labels, embeddings = batch["labels"].to(run.device, non_blocking=True), embed(run, batch)
        loss, correct = run.loss_and_right_answers(embeddings, labels)
        if run.teacher is not None:
            loss = loss + run.teacher.loss(embeddings, batch["utterances"], batch["speed_classes"])
        return loss, correct

    def evaluate_model(self, run: TrainingRun, model: SpeakerEmbedder, development: Development) -> Evaluation:
        """The model's figures on the development trials, in float32; of several processes each embeds its part, and
        all get the same answer."""
        return evaluate_together(model, run.config, development.trials, "development")

    def end_epoch(self, run: TrainingRun) -> None:
        """For subclasses: called when an epoch is trained, evaluated and counted, before its checkpoint is written."""

    def _choose_best(self, run: TrainingRun, tracker: Tracker | None, development: Development) -> None:
        """Evaluate the epoch; best_model is the one with the lowest EER so far."""
        result = self.evaluate_model(run, run.model, development)
        kind = "test list, used for development" if development.is_test_list else "development"
        logger.info("epoch %d, %s: %s", run.epoch, kind, result.line())
        if tracker is not None:
            figures = {"Test/eer": result.eer, "Test/min_dcf": result.min_dcf, "Test/threshold": result.threshold}
            if result.intervals_95 is not None:
                figures["Test/eer_low"], figures["Test/eer_high"] = result.intervals_95["eer"]
            tracker.record(run.step, epoch=run.epoch, **figures)
        run.last_metrics = run.metrics(result)
        if result.eer <= run.best_eer:
            run.best_eer, run.best_metrics = result.eer, run.last_metrics
            run.save_best()

    def _average(self, run: TrainingRun) -> None:
        """Keep the epoch's weights where they are to be averaged; after the last epoch write average_model."""
        keep = run.config.train_conf.average_epochs
        if keep == 0 or run.epoch <= run.config.train_conf.max_epoch - keep:
            return
        if is_first():
            write_or_explain(run, lambda: keep_epoch(run, keep))
        wait_for_all()
        if not run.finished:
            return
        model = averaged_model(run)
        result = None if run.development is None else self.evaluate_model(run, model, run.development)
        if result is not None:
            logger.info("average_model: %s", result.line())
        save_average_model(run, model, run.metrics(result))

    def _evaluation_is_due(self, run: TrainingRun) -> bool:
        """Whether the epoch that has just been trained is to be evaluated."""
        train_conf = run.config.train_conf
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
