"""The loss, the classifier and the margin's course that a configuration describes, and whether they fit each other."""

import logging
from typing import Any

from mvector.config import Config
from mvector.embedder import SpeakerEmbedder
from mvector.errors import ConfigError
from mvector.losses import MarginScheduler, SpeakerClassifier
from mvector.losses.partial_fc import PartialFC
from mvector.registry import LOSSES

logger = logging.getLogger("mvector")


def build_loss(config: Config, speed_classes: bool) -> Any:
    """The loss by name; ConfigError where the classifier or the batches do not fit it.

    `speed_classes` says whether a speaker at another speed counts as another one.
    """
    name, classifier = config.loss_conf.loss, config.model_conf.classifier
    loss: Any = LOSSES.build(name, config.loss_conf.loss_args)
    if getattr(loss, "needs_cosines", False) and classifier.classifier_type == "Linear":
        raise ConfigError(
            f"loss_conf.loss {name} has a margin between angles and needs cosines: set "
            "model_conf.classifier.classifier_type to Cosine, or the loss to CELoss"
        )
    if (vectors := getattr(loss, "K", 1)) != classifier.K:
        raise ConfigError(
            f"model_conf.classifier.K is {classifier.K}, but {name} takes {vectors} of a speaker's vectors: "
            f"set K to {vectors}"
        )
    if name in ("CELoss", "TripletAngularMarginLoss") and classifier.classifier_type == "Cosine":
        logger.warning(
            "%s on cosines hardly learns: they lie between -1 and 1. Set model_conf.classifier.classifier_type "
            "to Linear",
            name,
        )
    if getattr(loss, "needs_pk_batches", False) and speed_classes:
        logger.warning(
            "%s compares a speaker's utterances in a batch, but those of another speed count as another speaker's. "
            "Set augmentation.speed.speed_perturb_3_class to False to compare all of them",
            name,
        )
    return loss


def build_classifier(config: Config, loss: Any, embd_dim: int, num_classes: int) -> SpeakerClassifier | PartialFC:
    """The classifier above embeddings of `embd_dim` numbers; the sharded one where the configuration asks for it."""
    classifier = config.model_conf.classifier
    if classifier.sharded or classifier.sample_rate < 1:
        _check_partial_fc(config, loss)
        return PartialFC(embd_dim, num_classes, classifier.sample_rate, config.train_conf.seed)
    return SpeakerClassifier(
        embd_dim,
        num_classes,
        classifier_type=classifier.classifier_type,
        num_blocks=classifier.num_blocks,
        inter_dim=classifier.inter_dim,
        K=classifier.K,
    )


def _check_partial_fc(config: Config, loss: Any) -> None:
    """Raise ConfigError where a loss or a classifier cannot be split by speakers."""
    classifier = config.model_conf.classifier
    needed = "a classifier that is sharded or samples speakers (model_conf.classifier.sharded, sample_rate)"
    if not hasattr(loss, "margined") or getattr(loss, "label_smoothing", 0.0) > 0:
        raise ConfigError(
            f"{needed} works with AAMLoss and AMLoss without label_smoothing: change loss_conf, or leave them out"
        )
    if classifier.classifier_type != "Cosine" or classifier.num_blocks:
        raise ConfigError(
            f"{needed} is one of cosines alone: set model_conf.classifier.classifier_type to Cosine and num_blocks to 0"
        )


def build_margin_scheduler(config: Config, loss: Any, steps_per_epoch: int) -> MarginScheduler | None:
    """The margin's course over `max_epoch` epochs of `steps_per_epoch` batches; None where it stands still."""
    loss_conf, epochs = config.loss_conf, config.train_conf.max_epoch
    if not loss_conf.use_margin_scheduler:
        return None
    arguments = {
        "increase_start_epoch": int(0.3 * epochs),
        "fix_epoch": int(0.7 * epochs),
        "final_margin": loss_conf.loss_args.get("margin", 0.3),
    } | loss_conf.margin_scheduler_args
    return MarginScheduler(loss, steps_per_epoch=steps_per_epoch, **arguments)


def count_speakers(config: Config, speakers: int) -> None:
    """Put the number of speakers in the list into the configuration; one that was typed in there loses."""
    classifier = config.model_conf.classifier
    if classifier.num_speakers not in (None, speakers):
        logger.info(
            "num_speakers: the configuration says %d, the list has %d; the list wins",
            classifier.num_speakers,
            speakers,
        )
    classifier.num_speakers = speakers


def check_sample_rate(config: Config, embedder: SpeakerEmbedder) -> None:
    stated, of_feature = config.dataset_conf.dataset.sample_rate, embedder.featurizer.sample_rate_hz
    if stated != of_feature:
        raise ConfigError(
            f"dataset_conf.dataset.sample_rate is {stated}, but the feature works at {of_feature} "
            "(preprocess_conf.method_args); make them equal"
        )
