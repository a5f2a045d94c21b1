"""A training run: MVectorTrainer(configs).train(), readable from top to bottom."""

import contextlib
import json
import logging
import os
import platform
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

import mvector
from mvector.config import Config, load_config
from mvector.data.corpora.demo import synthetic_statement
from mvector.data.lists import speaker_classes
from mvector.data.trials import load_trials
from mvector.device import choose_device
from mvector.embedder import SpeakerEmbedder
from mvector.errors import ConfigError, ModelError, MVectorError
from mvector.evaluation import Evaluation, evaluate_trials
from mvector.losses import MarginScheduler, SpeakerClassifier
from mvector.model_directory import load_model, read_speakers, replace_directory, save_model, write_text
from mvector.registry import LOSSES
from mvector.training.checkpoint import find_run, load_state, save_state
from mvector.training.finetune import start_from
from mvector.training.optimisation import build_optimizer, build_scheduler
from mvector.training.preparation import (
    build_batches,
    build_dataset,
    build_loader,
    end_workers,
    read_development,
    read_training_list,
)
from mvector.training.stopping import Interrupted, StopRequest
from mvector.training.summary import count_parameters, layer_summary
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
        configs: str | os.PathLike | Config,
        use_gpu: bool | None = None,
        data_augment_configs: str | os.PathLike | None = None,
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
        self.embedder: SpeakerEmbedder | None = None

    # ------------------------------------------------------------------ training

    def train(
        self,
        save_model_path: str | os.PathLike = "models/",
        log_dir: str | os.PathLike = "log/",
        max_epoch: int | None = None,
        resume_model: str | os.PathLike | None = None,
        pretrained_model: str | os.PathLike | None = None,
        do_eval: bool = True,
    ) -> dict[str, Any]:
        """Train to the last epoch; returns the metrics of the best model.

        save_model_path   models/ → models/EcapaTdnn_Fbank/best_model/ and last_model/
        log_dir           log/ → log/EcapaTdnn_Fbank/: scalars for VisualDL, metrics.jsonl, train.log, curves.png
        resume_model      a last_model folder to go on from; without it an unfinished run of the same configuration
                          in save_model_path is gone on with
        pretrained_model  a model directory whose weights to start from; speakers are matched by name
        """
        if max_epoch is not None:
            self.config.train_conf.max_epoch = max_epoch
        name = f"{self.config.model_conf.model.rpartition('.')[2]}_{self.config.preprocess_conf.feature_method}"
        self.folder, self.log_folder = Path(save_model_path) / name, Path(log_dir) / name
        self._prepare_data()
        resume_from = find_run(self.folder, self.config, None if resume_model is None else Path(resume_model))
        with _log_file(self.log_folder, append=resume_from is not None):
            self._build(resume_from)
            if resume_from is not None:
                self._restore(resume_from)
            elif pretrained_model is not None:
                start_from(Path(pretrained_model), self.embedder.backbone, self.classifier, self.classes)
            self.tracker = Tracker(self.log_folder, resume_step=self.step)
            try:
                self._describe()
                self._run(do_eval)
            finally:
                self.tracker.close()
                end_workers(self.loader)
        return self.best_metrics or self.last_metrics

    def _run(self, do_eval: bool) -> None:
        with StopRequest() as stop:
            while self.epoch < self.config.train_conf.max_epoch:
                self._train_epoch(stop)
                self.epoch, self.first_batch = self.epoch + 1, 0
                self._reset_totals()
                if do_eval and self.development is not None and self._evaluation_is_due():
                    self._evaluate_epoch()
                self._save_last()
                self._draw_curves()
        if self.development is None or not do_eval:
            logger.warning("no evaluation: best_model is the last epoch's, and it has no threshold")
            self._save_best()
        if self.skipped:
            write_text(self.folder / "skipped.tsv", "".join(f"{p}\t{r}\n" for p, r in sorted(self.skipped.items())))
            logger.warning("%d recordings could not be used; see %s", len(self.skipped), self.folder / "skipped.tsv")

    def _train_epoch(self, stop: StopRequest) -> None:
        """One pass over the training list, from `first_batch` on."""
        train_conf = self.config.train_conf
        self.network.train()
        self.batches.epoch, self.batches.first_batch = self.epoch, self.first_batch
        started, done_here = time.perf_counter(), 0
        progress = tqdm(
            total=len(self.batches),
            initial=self.first_batch,
            desc=f"epoch {self.epoch + 1}",
            unit="batch",
            disable=None,
        )
        with progress:
            for batch in self.loader:
                loss, correct = self._step(batch)
                self.step += 1
                self.first_batch += 1
                examples = len(batch["labels"])
                done_here += examples
                self.totals = {
                    "loss": self.totals["loss"] + loss * examples,
                    "correct": self.totals["correct"] + correct,
                    "examples": self.totals["examples"] + examples,
                }
                self.skipped.update(batch["skipped"])
                progress.update()
                if self.step % train_conf.log_interval == 0 or self.first_batch == len(self.batches):
                    self._report(done_here / (time.perf_counter() - started), progress)
                if stop.asked:
                    self._save_last()
                    raise Interrupted(self.folder / "last_model")
                if time.monotonic() - self.saved_at > 60 * train_conf.save_interval_minutes:
                    self._save_last()

    def _step(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """One optimiser step; returns loss and number of right answers, left on the device."""
        labels = batch["labels"].to(self.device, non_blocking=True)
        sound = batch["sound"].to(self.device, non_blocking=True)
        if not self.features_in_workers:
            sound, _ = self.embedder.featurizer(sound)  # [B, T] -> [B, F, D]
            if self.spec_augment is not None:
                sound = self.spec_augment(sound, batch["draws"].to(self.device, non_blocking=True))
        if self.margin_scheduler is not None:
            self.margin_scheduler.step(self.step)
        with torch.autocast(self.device.type, self.amp_dtype, enabled=self.config.train_conf.enable_amp):
            embeddings = self.forward_backbone(sound)  # [B, E]
            logits = self.classifier(embeddings)  # [B, S]
        loss = self.loss(logits, labels)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        if self.config.train_conf.clip_grad_norm is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.config.train_conf.clip_grad_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.step_every_batch:
            self.scheduler.step()
        elif self.first_batch + 1 == len(self.batches):
            self._step_epoch_scheduler()
        with torch.no_grad():
            correct = (logits.argmax(dim=1) == labels).sum()
        return loss.detach(), correct

    def _step_epoch_scheduler(self) -> None:
        if isinstance(self.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            self.scheduler.step(float(self.totals["loss"]) / max(1, self.totals["examples"]))
        else:
            self.scheduler.step()

    def _report(self, rate: float, progress: tqdm) -> None:
        examples = max(1, self.totals["examples"])
        loss, accuracy = float(self.totals["loss"]) / examples, float(self.totals["correct"]) / examples
        if not np.isfinite(loss):
            raise MVectorError(
                f"the loss is {loss} at step {self.step} (epoch {self.epoch + 1}). Lower the learning rate, set "
                f"train_conf.clip_grad_norm, or set train_conf.enable_amp to False; {self.folder / 'last_model'} holds "
                "the last good state."
            )
        learning_rate = self.optimizer.param_groups[0]["lr"]
        margin = getattr(self.loss, "margin", None)
        left = (self.config.train_conf.max_epoch * len(self.batches) - self.step) * self.batches.batch_size / rate
        scalars = {"Train/loss": loss, "Train/accuracy": accuracy, "Train/learning_rate": learning_rate}
        if margin is not None:
            scalars["Train/margin"] = margin
        self.tracker.record(self.step, epoch=self.epoch + 1, utterances_per_s=round(rate, 1), **scalars)
        progress.set_postfix_str(f"loss {loss:.3f}, acc {accuracy:.3f}")
        logger.info(
            "epoch %d/%d, batch %d/%d, loss %.4f, accuracy %.4f, margin %s, rate %.2e, %.0f utterances/s, left %s",
            self.epoch + 1,
            self.config.train_conf.max_epoch,
            self.first_batch,
            len(self.batches),
            loss,
            accuracy,
            "-" if margin is None else f"{margin:.3f}",
            learning_rate,
            rate,
            timedelta(seconds=round(left)),
        )

    # ------------------------------------------------------------------ evaluation

    def evaluate(
        self, resume_model: str | os.PathLike | None = None, save_image_path: str | os.PathLike | None = None
    ) -> tuple[float, float, float]:
        """(EER, minDCF(0.01), threshold) on the configuration's test lists; see :mod:`mvector.cli.evaluate`."""
        if resume_model is not None:
            self.embedder = load_model(resume_model, str(self.device)).embedder
        if self.embedder is None:
            raise ModelError("nothing to evaluate: give resume_model, or train first")
        data = self.config.dataset_conf
        trials = load_trials(data.enroll_list, data.trials_list, data.enroll_map, data.data_root)
        result, scored = evaluate_trials(self.embedder, self.config, trials, "test")
        if save_image_path is not None:
            from mvector.metrics.plots import save_evaluation_plots

            save_evaluation_plots(save_image_path, scored)
        return result.eer, result.min_dcf, result.threshold

    def _evaluate_epoch(self) -> None:
        result, _ = evaluate_trials(self.embedder, self.config, self.development.trials, "development")
        kind = "test list, used for development" if self.development.is_test_list else "development"
        logger.info("epoch %d, %s: %s", self.epoch, kind, result.line())
        self.tracker.record(
            self.step,
            epoch=self.epoch,
            **{"Test/eer": result.eer, "Test/min_dcf": result.min_dcf, "Test/threshold": result.threshold},
        )
        self.last_metrics = self._metrics(result)
        if result.eer <= self.best_eer:
            self.best_eer, self.best_metrics = result.eer, self.last_metrics
            self._save_best()

    def _evaluation_is_due(self) -> bool:
        train_conf = self.config.train_conf
        return self.epoch % train_conf.eval_interval == 0 or self.epoch == train_conf.max_epoch

    def _metrics(self, result: Evaluation | None) -> dict[str, Any]:
        metrics: dict[str, Any] = {"epoch": self.epoch, "step": self.step}
        if result is not None:
            metrics |= {
                "eer": result.eer,
                "threshold": result.threshold,
                "threshold_chosen": "at the equal error rate of the development trials",
                "min_dcf": result.min_dcf,
                "min_dcf_p_target": 0.01,
                "development": {
                    "list": self.development.list_path,
                    "target_trials": result.targets,
                    "non_target_trials": result.non_targets,
                    "recordings": result.utterances,
                    "speakers": result.speakers,
                    "intervals_95": result.intervals_95,
                    "left_out": len(result.left_out),
                },
            }
            if self.development.is_test_list:
                metrics["development"]["is_the_configured_test_list"] = True
        if self.synthetic:
            metrics["synthetic"] = self.synthetic
        return metrics | {
            "parameters": count_parameters(self.embedder.backbone),
            "training_speakers": len(self.speakers),
            "training_utterances": len(self.dataset),
            "seed": self.config.train_conf.seed,
            "versions": {
                "mvector": mvector.__version__,
                "torch": torch.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
        }

    # ------------------------------------------------------------------ preparing

    def _prepare_data(self) -> None:
        classifier = self.config.model_conf.classifier
        self.utterances = read_training_list(self.config)
        self.synthetic = synthetic_statement(self.config.dataset_conf.train_list)
        self.speakers = list(speaker_classes(self.utterances))
        if classifier.num_speakers not in (None, len(self.speakers)):
            logger.info(
                "num_speakers: the configuration says %d, the list has %d; the list wins",
                classifier.num_speakers,
                len(self.speakers),
            )
        classifier.num_speakers = len(self.speakers)
        self.development = read_development(self.config)

    def _build(self, resume_from: Path | None) -> None:
        config = self.config
        torch.manual_seed(config.train_conf.seed)
        if resume_from is not None:
            self.speakers = self._resumed_speakers(resume_from)
        self.classes = {speaker: number for number, speaker in enumerate(self.speakers)}
        self.embedder = SpeakerEmbedder.from_config(config)
        if self.embedder.featurizer.sample_rate_hz != config.dataset_conf.dataset.sample_rate:
            raise ConfigError(
                f"dataset_conf.dataset.sample_rate is {config.dataset_conf.dataset.sample_rate}, but the feature works "
                f"at {self.embedder.featurizer.sample_rate_hz} (preprocess_conf.method_args); make them equal"
            )
        # On a CPU one utterance at a time stays in cache, so workers compute the features; an accelerator does it batched.
        self.features_in_workers = self.device.type == "cpu"
        featurizer = self.embedder.featurizer if self.features_in_workers else None
        self.dataset = build_dataset(config, self.utterances, self.classes, featurizer)
        self.spec_augment = self.dataset.augmentation.spec_augment
        self.batches = build_batches(config, self.utterances, self.dataset)
        self.loader = build_loader(config, self.dataset, self.batches, self.device)
        classifier = config.model_conf.classifier
        self.classifier = SpeakerClassifier(
            self.embedder.backbone.embd_dim,
            self.dataset.num_classes,
            classifier_type=classifier.classifier_type,
            num_blocks=classifier.num_blocks,
            inter_dim=classifier.inter_dim,
            K=classifier.K,
        )
        self.network = nn.ModuleDict({"backbone": self.embedder.backbone, "classifier": self.classifier})
        self.embedder.to(self.device)
        self.network.to(self.device)
        self.loss = LOSSES.build(config.loss_conf.loss, config.loss_conf.loss_args)
        self.loss.to(self.device)
        self.margin_scheduler = self._build_margin_scheduler()
        self.optimizer = build_optimizer(config, [self.network, self.loss])
        self.scheduler, self.step_every_batch = build_scheduler(config, self.optimizer, len(self.batches))
        amp = config.train_conf.enable_amp
        self.amp_dtype = getattr(torch, config.train_conf.amp_dtype)
        self.scaler = torch.amp.GradScaler(
            self.device.type, enabled=amp and self.amp_dtype is torch.float16 and self.device.type == "cuda"
        )
        self.forward_backbone = torch.compile(self.embedder.backbone) if config.train_conf.use_compile else None
        if self.forward_backbone is None:
            self.forward_backbone = self.embedder.backbone
        self.epoch, self.first_batch, self.step = 0, 0, 0
        self._reset_totals()
        self.best_eer, self.best_metrics, self.last_metrics = float("inf"), {}, self._metrics(None)
        self.skipped: dict[str, str] = {}
        self.saved_at = time.monotonic()

    def _build_margin_scheduler(self) -> MarginScheduler | None:
        loss_conf, epochs = self.config.loss_conf, self.config.train_conf.max_epoch
        if not loss_conf.use_margin_scheduler:
            return None
        arguments = {
            "increase_start_epoch": int(0.3 * epochs),
            "fix_epoch": int(0.7 * epochs),
            "final_margin": loss_conf.loss_args.get("margin", 0.3),
        } | loss_conf.margin_scheduler_args
        return MarginScheduler(self.loss, steps_per_epoch=len(self.batches), **arguments)

    def _describe(self) -> None:
        logger.info("configuration:\n%s", self.config.describe())
        frames = torch.zeros(1, self.dataset.crop.samples, device=self.device)
        features, _ = self.embedder.featurizer(frames)
        logger.info("network:\n%s", layer_summary(self.embedder.backbone, features))
        recordings = 0 if self.development is None else len(self.development.trials.utterances)
        logger.info(
            "%d utterances of %d speakers (%d classes), %d batches of %d an epoch, %d development recordings, on %s",
            len(self.dataset),
            len(self.speakers),
            self.dataset.num_classes,
            len(self.batches),
            self.config.dataset_conf.sampler.batch_size,
            recordings,
            self.device,
        )
        if self.synthetic:
            logger.warning("%s", self.synthetic)

    def _reset_totals(self) -> None:
        zero = torch.zeros((), device=self.device)
        self.totals: dict[str, Any] = {"loss": zero, "correct": zero, "examples": 0}

    def _draw_curves(self) -> None:
        try:
            from mvector.metrics.training_curves import save_training_curves

            save_training_curves(self.log_folder / "curves.png", self.tracker.records())
        except MVectorError as error:  # matplotlib is missing: the numbers are in metrics.jsonl all the same
            logger.debug("no curves drawn: %s", error)

    # ------------------------------------------------------------------ saving and resuming

    def _save_best(self) -> None:
        metrics = self.best_metrics or self._metrics(None)
        replace_directory(
            self.folder / "best_model",
            lambda folder: save_model(folder, self.embedder, self.config, metrics, self.speakers, self.classifier),
        )

    def _save_last(self) -> None:
        """last_model: the weights, and everything that the run needs to go on as if it had never stopped."""

        def fill(folder: Path) -> None:
            save_model(folder, self.embedder, self.config, self.last_metrics, self.speakers, self.classifier)
            save_state(folder, self._state())

        replace_directory(self.folder / "last_model", fill)
        self.saved_at = time.monotonic()

    def _state(self) -> dict[str, Any]:
        rng: dict[str, Any] = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            rng["cuda"] = torch.cuda.get_rng_state(self.device)
        return {
            "epoch": self.epoch,
            "first_batch": self.first_batch,
            "step": self.step,
            "batches_per_epoch": len(self.batches),
            "totals": {name: float(value) for name, value in self.totals.items()},
            "network": self.network.state_dict(),
            "loss": self.loss.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "rng": rng,
            "best_eer": self.best_eer,
            "metrics": json.dumps({"best": self.best_metrics, "last": self.last_metrics}),
            "skipped": dict(self.skipped),
        }

    def _restore(self, folder: Path) -> None:
        state = load_state(folder)
        if state["batches_per_epoch"] != len(self.batches):
            raise ModelError(
                f"{folder} was trained with {state['batches_per_epoch']} batches an epoch, now there are "
                f"{len(self.batches)}: the data list or the batch size has changed. Restore them, or start a new run "
                "from these weights with --pretrained_model."
            )
        try:
            self.network.load_state_dict(state["network"])
            self.loss.load_state_dict(state["loss"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scheduler.load_state_dict(state["scheduler"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise ModelError(f"{folder} does not fit this configuration: {str(error).splitlines()[0]}") from error
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["rng"]["cpu"])
        if self.device.type == "cuda" and "cuda" in state["rng"]:
            torch.cuda.set_rng_state(state["rng"]["cuda"], self.device)
        self.epoch, self.first_batch, self.step = state["epoch"], state["first_batch"], state["step"]
        totals = state["totals"]
        self.totals = {
            "loss": torch.tensor(totals["loss"], device=self.device),
            "correct": torch.tensor(totals["correct"], device=self.device),
            "examples": int(totals["examples"]),
        }
        metrics = json.loads(state["metrics"])
        self.best_eer, self.best_metrics, self.last_metrics = state["best_eer"], metrics["best"], metrics["last"]
        self.skipped = dict(state["skipped"])
        logger.info("going on from %s: epoch %d, batch %d", folder, self.epoch + 1, self.first_batch)

    def _resumed_speakers(self, folder: Path) -> list[str]:
        names = read_speakers(folder)
        if set(names) != set(self.speakers):
            raise ModelError(
                f"{folder} was trained with {len(names)} speakers; the data list now has {len(self.speakers)}, and they "
                "are not the same. Restore the list, or start a new run from these weights with --pretrained_model."
            )
        return names


@contextlib.contextmanager
def _log_file(folder: Path, append: bool) -> Iterator[None]:
    """What is logged meanwhile, from INFO on, also stands in folder/train.log, whatever the importer shows."""
    folder.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(folder / "train.log", mode="a" if append else "w", encoding="utf-8")
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
