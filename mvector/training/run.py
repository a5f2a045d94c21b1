"""The state of a training run: what it reads, what it trains, how far it is, and all of that on disk."""

import json
import logging
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import mvector
from mvector.config import Config
from mvector.data.corpora.demo import synthetic_statement
from mvector.data.lists import speaker_classes
from mvector.embedder import SpeakerEmbedder
from mvector.errors import ConfigError, ModelError, MVectorError
from mvector.evaluation import Evaluation
from mvector.losses import MarginScheduler, SpeakerClassifier
from mvector.model_directory import build_embedder, read_speakers, replace_directory, save_model, write_text
from mvector.registry import LOSSES
from mvector.training.checkpoint import load_state, save_state
from mvector.training.optimisation import build_optimizer, build_scheduler
from mvector.training.preparation import (
    build_batches,
    build_dataset,
    build_loader,
    features_in_workers,
    read_development,
    read_training_list,
)
from mvector.training.summary import count_parameters

logger = logging.getLogger("mvector")


class TrainingRun:
    """Everything that one run consists of, built from a configuration.

    epoch and first_batch say where it is (both count from 0: the next batch is `first_batch` of `epoch`), step how many
    batches it has seen. `totals` sums loss, right answers and examples over the present epoch.
    """

    def __init__(
        self,
        config: Config,
        device: torch.device,
        folder: Path,
        resume_from: Path | None = None,
        do_eval: bool = True,
        pretrained_model: str | None = None,
    ):
        self.config, self.device, self.folder, self.pretrained_model = config, device, folder, pretrained_model
        torch.manual_seed(config.train_conf.seed)
        utterances = read_training_list(config)
        self.speakers = list(speaker_classes(utterances))
        if resume_from is not None:
            self.speakers = self._resumed_speakers(resume_from)
        self._count_speakers()
        self.classes = {speaker: number for number, speaker in enumerate(self.speakers)}
        self.development = read_development(config) if do_eval else None
        self.synthetic = synthetic_statement(config.dataset_conf.train_list)

        self.embedder = (
            SpeakerEmbedder.from_config(config) if resume_from is None else build_embedder(config, resume_from)
        )
        self._check_sample_rate()
        learned = self.embedder.featurizer.trainable  # None for features that are only computed
        self.features_in_workers = learned is None and features_in_workers(device)
        featurizer = self.embedder.featurizer if self.features_in_workers else None
        self.dataset = build_dataset(config, utterances, self.classes, featurizer)
        self.batches = build_batches(config, utterances, self.dataset)
        self.loader = build_loader(config, self.dataset, self.batches, device)

        self.loss: Any = LOSSES.build(config.loss_conf.loss, config.loss_conf.loss_args).to(device)
        self._check_loss()
        self.classifier = self._build_classifier() if getattr(self.loss, "trains_classifier", True) else None
        self.embedder.to(device)
        self.network = nn.ModuleDict({"backbone": self.embedder.backbone})
        if self.classifier is not None:
            self.network["classifier"] = self.classifier
        if learned is not None:
            self.network["frontend"] = learned
        self.network.to(device)
        # The compiled callable shares the backbone's parameters; what is saved is always the backbone itself.
        self.forward_backbone: Callable[[Tensor], Tensor] = self.embedder.backbone
        if config.train_conf.use_compile:
            self.forward_backbone = torch.compile(self.embedder.backbone)
        self.margin_scheduler = self._build_margin_scheduler()
        self.optimizer = build_optimizer(config, [self.network, self.loss])
        self.scheduler, self.step_every_batch = build_scheduler(config, self.optimizer, len(self.batches))
        self.amp_dtype: torch.dtype = getattr(torch, config.train_conf.amp_dtype)
        scaled = config.train_conf.enable_amp and self.amp_dtype is torch.float16 and device.type == "cuda"
        self.scaler = torch.amp.GradScaler(device.type, enabled=scaled)

        self.epoch = self.first_batch = self.step = 0
        self.totals: dict[str, Any] = {}
        self.reset_totals()
        self.best_eer = float("inf")
        self.best_metrics: dict[str, Any] = {}
        self.last_metrics = self.metrics(None)
        self.skipped: dict[str, str] = {}
        self.saved_at = time.monotonic()
        if resume_from is not None:
            self._restore(resume_from)

    @property
    def finished(self) -> bool:
        return self.epoch >= self.config.train_conf.max_epoch

    def loss_and_right_answers(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Loss of a batch's embeddings [B, E] and how many of the B it recognised, both scalars.

        Recognised means that the right speaker's logit is the highest; where the loss trains no classifier, its
        own share of right comparisons within the batch counts.
        """
        if self.classifier is None:
            share = self.loss.accuracy(embeddings.detach(), labels)
            return self.loss(None, labels, embeddings), share * len(labels)
        with self.autocast():
            logits = self.classifier(embeddings)  # [B, S · K]
        more = (embeddings,) if getattr(self.loss, "needs_embeddings", False) else ()
        right = logits.detach().argmax(dim=1) // self.config.model_conf.classifier.K == labels
        return self.loss(logits, labels, *more), right.sum()

    def autocast(self) -> torch.autocast:
        """The precision that forward passes of the training run in."""
        return torch.autocast(self.device.type, self.amp_dtype, enabled=self.config.train_conf.enable_amp)

    def reset_totals(self) -> None:
        zero = torch.zeros((), device=self.device)
        self.totals = {"loss": zero, "correct": zero, "examples": 0}

    def metrics(self, result: Evaluation | None) -> dict[str, Any]:
        """What metrics.json says of the network as it is now."""
        metrics: dict[str, Any] = {"epoch": self.epoch, "step": self.step}
        if result is not None and self.development is not None:
            calibration = None if result.calibration is None else result.calibration.as_dict()
            metrics |= {
                "eer": result.eer,
                "threshold": result.threshold,
                "threshold_chosen": "at the equal error rate of the development trials",
                "calibration": calibration,
                "min_dcf": result.min_dcf,
                "min_dcf_p_target": 0.01,
                "development": {
                    "list": self.development.list_path,
                    "threshold": result.threshold,
                    "calibration": calibration,
                    "is_the_configured_test_list": self.development.is_test_list,
                    "target_trials": result.targets,
                    "non_target_trials": result.non_targets,
                    "recordings": result.utterances,
                    "speakers": result.speakers,
                    "intervals_95": result.intervals_95,
                    "left_out": len(result.left_out),
                },
            }
        if self.synthetic:
            metrics["synthetic"] = self.synthetic
        return metrics | {
            "parameters": count_parameters(self.embedder),
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

    def check_loss_is_finite(self) -> None:
        """Raise MVectorError when the epoch's loss is not finite: such weights must not replace good ones."""
        loss = float(self.totals["loss"])
        if np.isfinite(loss):
            return
        last = self.folder / "last_model"
        saved = f" The last good state is in {last}." if last.exists() else ""
        raise MVectorError(
            f"the loss is {loss} at step {self.step} (epoch {self.epoch + 1}). Lower the learning rate, set "
            f"train_conf.clip_grad_norm, or set train_conf.enable_amp to False.{saved}"
        )

    def save_best(self) -> None:
        """best_model: the weights as they are, with the best metrics."""
        metrics = self.best_metrics or self.metrics(None)
        replace_directory(
            self.folder / "best_model",
            lambda folder: save_model(folder, self.embedder, self.config, metrics, self.speakers, self.classifier),
        )

    def save_last(self) -> None:
        """last_model: the weights, and everything that the run needs to go on as if it had never stopped."""

        def fill(folder: Path) -> None:
            save_model(folder, self.embedder, self.config, self.last_metrics, self.speakers, self.classifier)
            save_state(folder, self._state())

        self.check_loss_is_finite()
        replace_directory(self.folder / "last_model", fill)
        if self.skipped:
            report = "".join(f"{path}\t{reason}\n" for path, reason in sorted(self.skipped.items()))
            write_text(self.folder / "skipped.tsv", report)
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
            "pretrained_model": self.pretrained_model,
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
        if state["scaler"]:  # empty when it was switched off
            self.scaler.load_state_dict(state["scaler"])
        self.pretrained_model = state["pretrained_model"]
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
                f"{folder} was trained with {len(names)} speakers; the data list now has {len(self.speakers)}, "
                "and they are not the same. Restore the list, or start a new run from these weights with "
                "--pretrained_model."
            )
        return names

    def _count_speakers(self) -> None:
        classifier = self.config.model_conf.classifier
        if classifier.num_speakers not in (None, len(self.speakers)):
            logger.info(
                "num_speakers: the configuration says %d, the list has %d; the list wins",
                classifier.num_speakers,
                len(self.speakers),
            )
        classifier.num_speakers = len(self.speakers)

    def _build_classifier(self) -> SpeakerClassifier:
        classifier = self.config.model_conf.classifier
        return SpeakerClassifier(
            self.embedder.backbone.embd_dim,
            self.dataset.num_classes,
            classifier_type=classifier.classifier_type,
            num_blocks=classifier.num_blocks,
            inter_dim=classifier.inter_dim,
            K=classifier.K,
        )

    def _check_loss(self) -> None:
        """Refuse a loss and a classifier that do not fit each other."""
        loss, classifier = self.config.loss_conf.loss, self.config.model_conf.classifier
        if getattr(self.loss, "needs_cosines", False) and classifier.classifier_type == "Linear":
            raise ConfigError(
                f"loss_conf.loss {loss} has a margin between angles and needs cosines: set "
                "model_conf.classifier.classifier_type to Cosine, or the loss to CELoss"
            )
        if (vectors := getattr(self.loss, "K", 1)) != classifier.K:
            raise ConfigError(
                f"model_conf.classifier.K is {classifier.K}, but {loss} takes {vectors} of a speaker's vectors: "
                f"set K to {vectors}"
            )
        if loss in ("CELoss", "TripletAngularMarginLoss") and classifier.classifier_type == "Cosine":
            logger.warning(
                "%s on cosines hardly learns: they lie between -1 and 1. Set model_conf.classifier.classifier_type "
                "to Linear",
                loss,
            )
        if getattr(self.loss, "needs_pk_batches", False) and self.dataset.augmentation.speed_classes:
            logger.warning(
                "%s compares a speaker's utterances in a batch, but those of another speed count as another speaker's. "
                "Set augmentation.speed.speed_perturb_3_class to False to compare all of them",
                loss,
            )

    def _check_sample_rate(self) -> None:
        stated, of_feature = self.config.dataset_conf.dataset.sample_rate, self.embedder.featurizer.sample_rate_hz
        if stated != of_feature:
            raise ConfigError(
                f"dataset_conf.dataset.sample_rate is {stated}, but the feature works at {of_feature} "
                "(preprocess_conf.method_args); make them equal"
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
