"""The stages of a run: the training, and large-margin fine-tuning where the configuration asks for it."""

from dataclasses import dataclass
from pathlib import Path

from mvector.config import Config
from mvector.config.schema import WARMUP_EXPONENTIAL
from mvector.training.checkpoint import AVERAGE, BEST

LARGE_MARGIN = "large_margin"


@dataclass(frozen=True)
class Stage:
    """One stage with its own plain configuration, its folders, and the model directory whose weights it starts from."""

    config: Config
    folder: Path
    log_folder: Path
    pretrained_model: Path | None = None


def stages_of(config: Config, folder: Path, log_folder: Path, pretrained_model: Path | None) -> list[Stage]:
    """The stages in their order, the first in `folder`, the second in its subfolder `large_margin`."""
    first = Stage(config, folder, log_folder, pretrained_model)
    if config.large_margin_conf is None:
        return [first]
    start = folder / (AVERAGE if config.train_conf.average_epochs else BEST)
    return [first, Stage(large_margin_config(config), folder / LARGE_MARGIN, log_folder / LARGE_MARGIN, start)]


def large_margin_config(config: Config) -> Config:
    """The configuration of the second stage: longer crops, a larger margin from the start, no other speeds, a small
    learning rate that falls as a power; and neither a frozen backbone nor averages."""
    settings = config.large_margin_conf
    assert settings is not None
    stage = config.model_copy(deep=True)
    stage.large_margin_conf = None
    stage.dataset_conf.dataset.max_duration = settings.max_duration
    stage.dataset_conf.sampler.batch_size = settings.batch_size or stage.dataset_conf.sampler.batch_size
    stage.loss_conf.loss_args = {**stage.loss_conf.loss_args, "margin": settings.margin}
    stage.loss_conf.use_margin_scheduler = False
    stage.loss_conf.margin_scheduler_args = {}
    if stage.augmentation is not None:
        stage.augmentation.speed = None
    stage.optimizer_conf.scheduler = WARMUP_EXPONENTIAL
    stage.optimizer_conf.scheduler_args = {
        "min_lr": settings.min_lr,
        "max_lr": settings.max_lr,
        "warmup_epoch": 0,
        "fix_epoch": settings.epochs,
    }
    stage.optimizer_conf.backbone_lr_factor = 1.0
    stage.train_conf.max_epoch = settings.epochs
    stage.train_conf.freeze_backbone_epochs = 0
    stage.train_conf.average_epochs = 0
    stage.train_conf.ema_decay = None
    return stage
