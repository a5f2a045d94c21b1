"""A training run: what it reads, what it trains and how far it is."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mvector.config import Config
from mvector.data.corpora.demo import synthetic_statement
from mvector.data.lists import speaker_classes
from mvector.embedder import SpeakerEmbedder
from mvector.errors import ModelError, MVectorError
from mvector.evaluation import Evaluation
from mvector.losses import SpeakerClassifier
from mvector.losses.partial_fc import PartialFC
from mvector.model_directory import build_embedder, read_speakers
from mvector.training.averaging import ExponentialAverage
from mvector.training.checkpoint import load_state, save_best_model, save_last_model
from mvector.training.distillation import Teacher
from mvector.training.model_metrics import model_metrics
from mvector.training.optimisation import build_optimizer, build_scheduler
from mvector.training.parts import (
    build_classifier,
    build_loss,
    build_margin_scheduler,
    check_sample_rate,
    count_speakers,
)
from mvector.training.precision import name_of, training_dtype
from mvector.training.preparation import (
    build_batches,
    build_dataset,
    build_loader,
    device_augmentation,
    features_in_workers,
    read_development,
    read_training_list,
)
from mvector.training.ranks import all_sum, first_of_machine_first, gather_rows, rank, world_size
from mvector.training.run_state import data_digest, restore, seed_of_rank, state_of, whole_batch_size
from mvector.training.sync_batch_norm import leave_out_of_graphs, synchronise_batch_norm

logger = logging.getLogger("mvector")

SUMMED = ("loss", "correct", "examples")  # the totals of which every process has its part


class TrainingRun:
    """Everything that one run consists of, built from a configuration.

    epoch and first_batch say where it is (both count from 0: the next batch is `first_batch` of `epoch`), step how many
    batches it has seen. `totals` sums loss, right answers and examples over the present epoch, and the norms of the
    gradients and the optimiser's steps.

    `network` holds all modules that are trained (backbone, classifier, a learned front end); `trunk` is it without the
    classifier. `model` is what is evaluated and stored: the embedder, or the moving average of its weights.
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
        with first_of_machine_first():  # it may have to make the synthetic corpus
            utterances = read_training_list(config)
        self.data_digest = data_digest(utterances)
        self.speakers = list(speaker_classes(utterances))
        if resume_from is not None:
            self.speakers = self._resumed_speakers(resume_from)
        state = None if resume_from is None else load_state(resume_from)
        count_speakers(config, len(self.speakers))
        self.classes = {speaker: number for number, speaker in enumerate(self.speakers)}
        self.development = read_development(config) if do_eval else None
        self.synthetic = synthetic_statement(config.dataset_conf.train_list)

        self.embedder = (
            SpeakerEmbedder.from_config(config) if resume_from is None else build_embedder(config, resume_from)
        )
        check_sample_rate(config, self.embedder)
        learned = self.embedder.featurizer.trainable  # None for features that are only computed
        ahead = config.dataset_conf.train_features is not None
        self.features_in_workers = learned is None and (ahead or features_in_workers(device))
        featurizer = self.embedder.featurizer if self.features_in_workers else None
        self.dataset = build_dataset(config, utterances, self.classes, featurizer, device)
        self.batches = build_batches(config, utterances, self.dataset, whole_batch_size(config, state))
        self.loader = build_loader(config, self.dataset, self.batches, device)
        self.augment = device_augmentation(self.dataset, device)  # None: the workers have done it

        self.loss: Any = build_loss(config, self.dataset.augmentation.speed_classes).to(device)
        self.classifier: SpeakerClassifier | PartialFC | None = None
        if getattr(self.loss, "trains_classifier", True):
            size, classes = self.embedder.backbone.embd_dim, self.dataset.num_classes
            self.classifier = build_classifier(config, self.loss, size, classes)
        self.teacher = Teacher.from_config(config, utterances, self.embedder.backbone.embd_dim)
        self.embedder.to(device)
        self.trunk = nn.ModuleDict({"backbone": self.embedder.backbone})
        if learned is not None:
            self.trunk["frontend"] = learned
        self.network = nn.ModuleDict(dict(self.trunk.items()))
        if self.classifier is not None:
            self.network["classifier"] = self.classifier
        self.network.to(device)
        if device.type == "cuda" and any(isinstance(module, nn.Conv2d) for module in self.network.modules()):
            # For a GPU's convolutions over time and frequency. On a CPU the networks decide for themselves
            # (`mvector.models.layers.channels_last`). mypy knows no overload for it.
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if config.train_conf.sync_batch_norm and world_size() > 1:
            synchronise_batch_norm(self.network)
        # The compiled callable shares the backbone's parameters; what is saved is always the backbone itself.
        self.forward_backbone: Callable[[Tensor], Tensor] = self.embedder.backbone
        if config.train_conf.use_compile:
            leave_out_of_graphs()
            self.forward_backbone = torch.compile(self.embedder.backbone)
        self.dtype = training_dtype(config, device)
        self.average = (
            ExponentialAverage(self.embedder, config.train_conf.ema_decay) if config.train_conf.ema_decay else None
        )
        self.margin_scheduler = build_margin_scheduler(config, self.loss, len(self.batches))
        others = [self.loss] if self.classifier is None else [self.classifier, self.loss]
        scaled = self.dtype is torch.float16
        self.optimizer = build_optimizer(config, others, slower=[self.trunk], scaled=scaled)
        self.trained = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        self.scheduler, self.scheduled_by_step = build_scheduler(config, self.optimizer, self.optimizer_steps_per_epoch)
        self.scaler = torch.amp.GradScaler(device.type, enabled=scaled)

        self.epoch = self.first_batch = self.step = 0
        self.totals: dict[str, Any] = {}
        self.reset_totals()
        self.best_eer = float("inf")
        self.best_metrics: dict[str, Any] = {}
        self.last_metrics = self.metrics(None)
        self.skipped: dict[str, str] = {}
        self.saved_at = time.monotonic()
        if rank() > 0:  # the weights are the same everywhere; what dropout draws is not
            torch.manual_seed(seed_of_rank(config.train_conf.seed, rank()))
        if resume_from is not None and state is not None:
            restore(self, resume_from, state)

    @property
    def finished(self) -> bool:
        return self.epoch >= self.config.train_conf.max_epoch

    @property
    def model(self) -> SpeakerEmbedder:
        """What is evaluated and stored: the embedder, or the moving average of its weights where there is one."""
        return self.embedder if self.average is None else self.average.module

    @property
    def backbone_is_frozen(self) -> bool:
        return self.epoch < self.config.train_conf.freeze_backbone_epochs

    @property
    def optimizer_steps_per_epoch(self) -> int:
        return -(-len(self.batches) // self.config.train_conf.accumulate_grad_batches)

    @property
    def batches_of_step(self) -> int:
        """How many batches make the optimiser's step that the next batch belongs to; fewer at the end of an epoch."""
        several = self.config.train_conf.accumulate_grad_batches
        return min(several, len(self.batches) - self.first_batch // several * several)

    @property
    def between_steps(self) -> bool:
        """Whether no gradients of a part of a step are waiting: only then the run can be saved."""
        done = self.first_batch
        return done % self.config.train_conf.accumulate_grad_batches == 0 or done == len(self.batches)

    def train_mode(self) -> None:
        """All of the network in training mode; a frozen trunk in evaluation mode, so that its batch statistics stay."""
        self.network.train()
        if self.backbone_is_frozen:
            self.trunk.eval()

    def loss_and_right_answers(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss over a batch's embeddings [B, E] and how many of the B it recognised, both scalars.

        Recognised means that the right speaker's logit is the highest; where the loss trains no classifier, its
        own share of right comparisons within the batch counts.
        """
        if isinstance(self.classifier, PartialFC):
            return self.classifier(embeddings, labels, self.loss, self.step)
        own = len(labels)
        if getattr(self.loss, "needs_pk_batches", False):  # it compares with the utterances of all processes
            embeddings, labels = gather_rows(embeddings), gather_rows(labels)
        if self.classifier is None:
            share = self.loss.accuracy(embeddings.detach(), labels)
            return self.loss(None, labels, embeddings), share * own
        with self.autocast():
            logits = self.classifier(embeddings)  # [B, S · K]
        more = (embeddings,) if getattr(self.loss, "needs_embeddings", False) else ()
        right = logits.detach().argmax(dim=1) // self.config.model_conf.classifier.K == labels
        return self.loss(logits, labels, *more), right.sum() * (own / len(labels))

    def autocast(self) -> torch.autocast:
        """The precision that forward passes of the training run in."""
        enabled = self.dtype is not torch.float32
        return torch.autocast(self.device.type, self.dtype if enabled else torch.bfloat16, enabled=enabled)

    def reset_totals(self) -> None:
        zero = torch.zeros((), device=self.device)
        self.totals = {"loss": zero, "correct": zero, "examples": 0, "gradient_norm": zero, "optimizer_steps": 0}

    def whole_totals(self) -> dict[str, float]:
        """The totals over all processes, on each of them."""
        totals = {name: float(value) for name, value in self.totals.items()}
        summed = all_sum(torch.tensor([totals[name] for name in SUMMED], dtype=torch.float64)).tolist()
        return totals | dict(zip(SUMMED, summed, strict=True))

    def mean_gradient_norm(self) -> float:
        """Mean over the epoch so far of the gradient's 2-norm before clipping."""
        return float(self.totals["gradient_norm"]) / max(1, self.totals["optimizer_steps"])

    def metrics(self, result: Evaluation | None) -> dict[str, Any]:
        """What metrics.json says of the network as it is now."""
        return model_metrics(self, result)

    def check_loss_is_finite(self) -> None:
        """Raise MVectorError when the epoch's loss or gradients are not finite: such weights must not replace good
        ones."""
        totals = self.whole_totals()
        loss, gradient = totals["loss"], totals["gradient_norm"]
        if loss - loss == 0 and gradient - gradient == 0:
            return
        last = self.folder / "last_model"
        saved = f" The last good state is in {last}." if last.exists() else ""
        raise MVectorError(
            f"the loss is {loss} and the gradient {gradient} at step {self.step} (epoch {self.epoch + 1}), in "
            f"{name_of(self.dtype)}. Lower the learning rate, set train_conf.clip_grad_norm, or set "
            f"train_conf.enable_amp to False.{saved}"
        )

    def save_best(self) -> None:
        """best_model: the weights as they are, with the best metrics."""
        save_best_model(self)

    def save_last(self) -> None:
        """last_model: the weights, and everything that the run needs to go on as if it had never stopped."""
        self.check_loss_is_finite()
        save_last_model(self, state_of(self))
        self.saved_at = time.monotonic()

    def _resumed_speakers(self, folder: Path) -> list[str]:
        names = read_speakers(folder)
        if set(names) != set(self.speakers):
            raise ModelError(
                f"{folder} was trained with {len(names)} speakers; the data list now has {len(self.speakers)}, "
                "and they are not the same. Restore the list, give this run a folder of its own with "
                "--save_model_path, or start it from these weights with --pretrained_model."
            )
        return names
