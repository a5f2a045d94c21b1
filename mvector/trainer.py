"""A training run: MVectorTrainer(configs).train(), readable from top to bottom."""

import json
import logging
import os
import platform
import signal
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

import mvector
from mvector.audio import audio_info
from mvector.audio.augmentation import Noise, RoomAndChannel, Volume
from mvector.config import Config, load_config
from mvector.data.dataset import Augmentation, CropSettings, TrainingDataset, collate
from mvector.data.corpora.demo import ensure_demo_corpus, synthetic_statement
from mvector.data.lists import Utterance, read_data_list, speaker_classes
from mvector.data.samplers import EpochBatches, PKBatches, crops_per_utterance
from mvector.data.trials import Trials, load_trials
from mvector.device import choose_device
from mvector.embedder import SpeakerEmbedder
from mvector.errors import ConfigError, ModelError, MVectorError
from mvector.evaluation import Evaluation, evaluate_trials
from mvector.features.spec_augment import SpecAugment
from mvector.losses import MarginScheduler, SpeakerClassifier
from mvector.model_directory import (
    CLASSIFIER,
    SPEAKERS,
    WEIGHTS,
    load_weights,
    recover,
    replace_directory,
    save_model,
    write_text,
)
from mvector.registry import LOSSES
from mvector.training.checkpoint import STATE, load_state, save_state
from mvector.training.optimisation import build_optimizer, build_scheduler
from mvector.training.summary import count_parameters, layer_summary
from mvector.training.tracking import Tracker

logger = logging.getLogger("mvector")

DEMO_FOLDER = Path("dataset/demo")  # lists in here are those of the synthetic corpus, made at their first use


class Interrupted(Exception):
    """The run was asked to stop (Ctrl-C, SIGTERM); its state is saved in `folder`."""

    def __init__(self, folder: Path):
        super().__init__(f"training stopped and saved in {folder}")
        self.folder = folder


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
        self._stop = False

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
        resume_from = self._find_resume(resume_model)
        log_file = self._open_log(append=resume_from is not None)
        try:
            self._prepare_data()
            self._build(resume_from)
            if resume_from is not None:
                self._restore(resume_from)
            elif pretrained_model is not None:
                self._start_from(Path(pretrained_model))
            self.tracker = Tracker(self.log_folder, resume_step=self.step)
            self._describe()
            self._run(do_eval)
        finally:
            logger.removeHandler(log_file)
            log_file.close()
            if hasattr(self, "tracker"):
                self.tracker.close()
        return self.best_metrics or self.last_metrics

    def _run(self, do_eval: bool) -> None:
        with _stop_signals(self):
            while self.epoch < self.config.train_conf.max_epoch:
                self._train_epoch()
                self.epoch, self.first_batch = self.epoch + 1, 0
                self._reset_totals()
                if do_eval and self.dev_trials is not None and self._evaluation_is_due():
                    self._evaluate_epoch()
                self._save_last()
                self._draw_curves()
        if self.dev_trials is None or not do_eval:
            logger.warning("no evaluation: best_model is the last epoch's, and it has no threshold")
            self._save_best()
        if self.skipped:
            write_text(self.folder / "skipped.tsv", "".join(f"{p}\t{r}\n" for p, r in sorted(self.skipped.items())))
            logger.warning(
                "%d recordings could not be used; see %s", len(self.skipped), self.folder / "skipped.tsv"
            )

    def _train_epoch(self) -> None:
        """One pass over the training list, from `first_batch` on."""
        train_conf = self.config.train_conf
        self.network.train()
        self.batches.epoch, self.batches.first_batch = self.epoch, self.first_batch
        started, done_here = time.perf_counter(), 0
        progress = tqdm(
            total=len(self.batches), initial=self.first_batch, desc=f"epoch {self.epoch + 1}", unit="batch", disable=None
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
                if self._stop:
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
        from mvector.model_directory import load_model

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
        result, _ = evaluate_trials(self.embedder, self.config, self.dev_trials, "development")
        logger.info("epoch %d: %s: %s", self.epoch, self.dev_name, result.line())
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
                    "list": self.dev_list,
                    "target_trials": result.targets,
                    "non_target_trials": result.non_targets,
                    "recordings": result.utterances,
                    "left_out": len(result.left_out),
                },
            }
            if self.dev_is_test:
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
        config = self.config
        data = config.dataset_conf
        if data.train_list is None:
            raise ConfigError("dataset_conf.train_list is not set; `python create_data.py --help` shows how to make one")
        if Path(data.train_list).parent == DEMO_FOLDER:
            ensure_demo_corpus(DEMO_FOLDER)
        utterances = read_data_list(data.train_list, data.data_root)
        self.synthetic = synthetic_statement(data.train_list)
        self.speakers = list(speaker_classes(utterances))
        stated = config.model_conf.classifier.num_speakers
        if stated is not None and stated != len(self.speakers):
            logger.info(
                "num_speakers: the configuration says %d, the list has %d; the list wins", stated, len(self.speakers)
            )
        config.model_conf.classifier.num_speakers = len(self.speakers)
        self._load_dev_trials()
        self.utterances = utterances

    def _load_dev_trials(self) -> None:
        data = self.config.dataset_conf
        enroll, trials = data.dev_enroll_list, data.dev_trials_list
        self.dev_is_test = False
        enroll_map = None
        if enroll is None and trials is None:
            enroll, trials, enroll_map = data.enroll_list, data.trials_list, data.enroll_map
            self.dev_is_test = trials is not None or enroll is not None
            if self.dev_is_test:
                logger.warning(
                    "no development list (dataset_conf.dev_trials_list): the best epoch and the threshold are chosen "
                    "on %s, so figures on that list are not test results",
                    trials or enroll,
                )
        self.dev_list = str(trials or enroll) if trials or enroll else None
        self.dev_name = "test list used for development" if self.dev_is_test else "development"
        self.dev_trials: Trials | None = None
        if self.dev_list is not None:
            self.dev_trials = load_trials(enroll, trials, enroll_map, data.data_root)

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
        self.features_in_workers = self.device.type == "cpu"
        self.dataset = self._build_dataset()
        self.batches = self._build_batches()
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
        self.loader = self._build_loader()
        self.epoch, self.first_batch, self.step = 0, 0, 0
        self._reset_totals()
        self.best_eer, self.best_metrics, self.last_metrics = float("inf"), {}, self._metrics(None)
        self.skipped: dict[str, str] = {}
        self.saved_at = time.monotonic()

    def _build_dataset(self) -> TrainingDataset:
        data, augmentation = self.config.dataset_conf, self.config.augmentation
        crop = CropSettings(
            duration_s=data.dataset.max_duration,
            min_duration_s=data.dataset.min_duration,
            sample_rate_hz=data.dataset.sample_rate,
            target_db=data.dataset.target_dB if data.dataset.use_dB_normalization else None,
        )
        augment = Augmentation() if augmentation is None else build_augmentation(augmentation, crop.sample_rate_hz)
        self.spec_augment = augment.spec_augment
        return TrainingDataset(
            self.utterances,
            self.classes,
            crop,
            augment,
            self.config.train_conf.seed,
            self.embedder.featurizer if self.features_in_workers else None,
        )

    def _build_batches(self) -> EpochBatches | PKBatches:
        data, seed = self.config.dataset_conf, self.config.train_conf.seed
        if data.is_use_pksampler or self.config.loss_conf.loss == "TripletAngularMarginLoss":
            return PKBatches(self.dataset.labels.tolist(), data.sampler.batch_size, data.sample_per_id, seed)
        seconds_per_crop = data.sampler.seconds_per_crop
        durations = _durations_s(self.utterances) if seconds_per_crop is not None else np.zeros(len(self.utterances))
        crops = crops_per_utterance(durations, seconds_per_crop)
        return EpochBatches(crops, data.sampler.batch_size, data.sampler.drop_last, seed)

    def _build_loader(self) -> DataLoader:
        workers = self.config.dataset_conf.dataLoader.num_workers
        return DataLoader(
            self.dataset,
            batch_sampler=self.batches,
            num_workers=workers,
            collate_fn=collate,
            worker_init_fn=_ignore_interrupts,
            persistent_workers=workers > 0,
            pin_memory=self.device.type == "cuda",
            prefetch_factor=4 if workers else None,
        )

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

    def _start_from(self, folder: Path) -> None:
        """Fine-tune: take the backbone, and the classifier rows of the speakers that both know, by name."""
        if not (folder / WEIGHTS).is_file():
            raise ModelError(f"pretrained_model: {folder} has no {WEIGHTS}; give a model directory")
        load_weights(self.embedder.backbone, folder / WEIGHTS)
        known = self._copy_classifier_rows(folder)
        logger.info(
            "starting from %s: backbone, and %d of %d speakers of the classifier", folder, known, len(self.speakers)
        )

    def _copy_classifier_rows(self, folder: Path) -> int:
        from safetensors.torch import load_file

        if not (folder / CLASSIFIER).is_file() or not (folder / SPEAKERS).is_file():
            return 0
        names = (folder / SPEAKERS).read_text(encoding="utf-8").splitlines()
        rows = {name: row for row, name in enumerate(names)}
        pairs = [(self.classes[name], row) for name, row in rows.items() if name in self.classes]
        if not pairs:
            return 0
        own, theirs = self.classifier.state_dict(), load_file(folder / CLASSIFIER)
        for key, tensor in own.items():
            source = theirs.get(key)
            if source is None or source.shape[1:] != tensor.shape[1:]:
                return 0
            per_class = tensor.dim() > 0 and len(tensor) % len(self.speakers) == 0 and len(source) % len(names) == 0
            if per_class and key.rpartition(".")[2] in ("weight", "bias") and "blocks" not in key:
                for new, old in pairs:  # a speaker's first class: speed classes are learned anew
                    tensor[new] = source[old]
            elif source.shape == tensor.shape:
                tensor.copy_(source)
        self.classifier.load_state_dict(own)
        return len(pairs)

    def _describe(self) -> None:
        logger.info("configuration:\n%s", self.config.describe())
        frames = torch.zeros(1, round(self.config.dataset_conf.dataset.max_duration * 16000), device=self.device)
        features, _ = self.embedder.featurizer(frames)
        logger.info("network:\n%s", layer_summary(self.embedder.backbone, features))
        logger.info(
            "%d utterances of %d speakers (%d classes), %d batches of %d an epoch, %d development trials, on %s",
            len(self.dataset),
            len(self.speakers),
            self.dataset.num_classes,
            len(self.batches),
            self.config.dataset_conf.sampler.batch_size,
            0 if self.dev_trials is None or self.dev_trials.labels is None else len(self.dev_trials.labels),
            self.device,
        )
        if self.synthetic:
            logger.warning("%s", self.synthetic)

    def _reset_totals(self) -> None:
        zero = torch.zeros((), device=self.device)
        self.totals: dict[str, Any] = {"loss": zero, "correct": zero, "examples": 0}

    def _open_log(self, append: bool) -> logging.Handler:
        self.log_folder.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(self.log_folder / "train.log", mode="a" if append else "w", encoding="utf-8")
        handler.setFormatter(logging.Formatter("[%(asctime)s %(levelname)s] %(message)s"))
        logger.addHandler(handler)
        return handler

    def _draw_curves(self) -> None:
        try:
            from mvector.metrics.plots import save_training_curves

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
            "scheduler": {k: v for k, v in self.scheduler.state_dict().items() if k != "lr_lambdas"},
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
        file = folder / SPEAKERS
        names = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        if set(names) != set(self.speakers):
            raise ModelError(
                f"{folder} was trained with {len(names)} speakers; the data list now has {len(self.speakers)}, and they "
                "are not the same. Restore the list, or start a new run from these weights with --pretrained_model."
            )
        return names

    def _find_resume(self, resume_model: str | os.PathLike | None) -> Path | None:
        """The folder to go on from: the one asked for, or an unfinished run of this configuration; a finished run or
        another configuration's is moved aside, never overwritten."""
        last = self.folder / "last_model"
        if resume_model is not None:
            folder = Path(resume_model)
            recover(folder)
            if not (folder / STATE).is_file():
                load_state(folder)  # raises with the reason
            return folder
        recover(last)
        if not (last / STATE).is_file():
            return None
        state = load_state(last)
        same = load_config(last / "config.yml").to_yaml() == self._comparable_config()
        if same and state["epoch"] < self.config.train_conf.max_epoch:
            logger.info("an unfinished run of this configuration is in %s", last)
            return last
        number = 1
        while (aside := self.folder.with_name(f"{self.folder.name}.previous-{number}")).exists():
            number += 1
        os.replace(self.folder, aside)
        logger.info("the earlier run in %s is kept as %s", self.folder, aside)
        return None

    def _comparable_config(self) -> str:
        """The configuration as the saved one is: with the number of speakers filled in from the list."""
        copy = self.config.model_copy(deep=True)
        data = copy.dataset_conf
        if Path(data.train_list).is_file():
            utterances: list[Utterance] = read_data_list(data.train_list, data.data_root)
            copy.model_conf.classifier.num_speakers = len(speaker_classes(utterances))
        return copy.to_yaml()


def build_augmentation(conf: Any, sample_rate_hz: int) -> Augmentation:
    """The augmentation that a configuration's `augmentation` section describes."""
    room = None
    reverb_prob = conf.reverb.prob if conf.reverb else 0.0
    channel_prob = conf.channel.prob if conf.channel else 0.0
    if reverb_prob > 0 or channel_prob > 0:
        channel = {} if conf.channel is None else {
            "min_bandwidth_hz": conf.channel.min_bandwidth_Hz,
            "max_bandwidth_hz": conf.channel.max_bandwidth_Hz,
            "max_low_cut_hz": conf.channel.max_low_cut_Hz,
            "max_tilt_db": conf.channel.max_tilt_dB,
        }  # fmt: skip
        room = RoomAndChannel(
            sample_rate_hz, conf.reverb.reverb_dir if conf.reverb else None, reverb_prob, channel_prob, **channel
        )
    noise = volume = spec_augment = None
    if conf.noise and conf.noise.prob > 0:
        noise = Noise(conf.noise.noise_dir, conf.noise.min_snr_dB, conf.noise.max_snr_dB, sample_rate_hz)
    if conf.volume and conf.volume.prob > 0:
        volume = Volume(conf.volume.min_gain_dBFS, conf.volume.max_gain_dBFS)
    if conf.spec_aug and conf.spec_aug.prob > 0:
        spec_augment = SpecAugment(**conf.spec_aug.model_dump())
    return Augmentation(
        speed_prob=conf.speed.prob if conf.speed else 0.0,
        speed_classes=bool(conf.speed and conf.speed.prob > 0 and conf.speed.speed_perturb_3_class),
        room_and_channel=room,
        noise=noise,
        noise_prob=conf.noise.prob if conf.noise else 0.0,
        volume=volume,
        volume_prob=conf.volume.prob if conf.volume else 0.0,
        spec_augment=spec_augment,
    )


def _durations_s(utterances: Sequence[Utterance]) -> np.ndarray:
    """Length of each utterance from its header; 0 for one that cannot be read (training counts and skips it)."""
    durations = np.zeros(len(utterances))
    for index, utterance in enumerate(tqdm(utterances, desc="reading lengths", unit="utt", disable=None, leave=False)):
        if utterance.end_s is not None:
            durations[index] = utterance.end_s - (utterance.start_s or 0.0)
            continue
        try:
            durations[index] = audio_info(utterance.path).duration_s - (utterance.start_s or 0.0)
        except MVectorError:
            continue
    return durations


def _ignore_interrupts(_: int) -> None:
    """Workers leave Ctrl-C to the trainer, which saves first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _stop_signals:  # noqa: N801  (reads as a statement: with _stop_signals(trainer))
    """While training, Ctrl-C and SIGTERM ask for a save and a stop after the present step; a second Ctrl-C is one."""

    def __init__(self, trainer: MVectorTrainer):
        self.trainer = trainer
        self.previous: dict[int, Any] = {}

    def __enter__(self) -> None:
        self.trainer._stop = False
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.previous[number] = signal.signal(number, self._ask)

    def _ask(self, number: int, frame: object) -> None:
        if self.trainer._stop:
            raise KeyboardInterrupt
        self.trainer._stop = True
        logger.info("stopping after this step; press Ctrl-C again to stop at once without saving")

    def __exit__(self, *_: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
