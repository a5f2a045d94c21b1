"""Averages of weights: a running one over the steps (EMA), and the plain one of the last epochs."""

import copy
import logging
import os
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, update_bn

from mvector.embedder import SpeakerEmbedder
from mvector.model_directory import flush_to_disk
from mvector.training.preparation import read_batches
from mvector.training.ranks import world_size
from mvector.training.step import network_input
from mvector.training.sync_batch_norm import synchronise_batch_norm

if TYPE_CHECKING:
    from mvector.training.run import TrainingRun

logger = logging.getLogger("mvector")

Tensors = tuple[Tensor, ...] | list[Tensor]
EPOCHS = "epochs"  # the folder of the kept epochs, in that of the run
BATCHES_FOR_BATCH_NORM = 200  # enough for statistics of the averaged weights to settle


class ExponentialAverage(AveragedModel):
    """Exponential moving average (EMA) of an embedder's weights and batch statistics: w ← d · w + (1 - d) · w_now.

    d is `decay`, but at most (1 + n) / (10 + n) at the n-th step: with the full decay from the start, the random
    weights of the beginning would weigh for thousands of steps.
    """

    module: SpeakerEmbedder

    def __init__(self, embedder: SpeakerEmbedder, decay: float):
        def average(averages: Tensors, present: Tensors, steps: Tensor | int) -> None:
            kept = min(decay, (1 + int(steps)) / (10 + int(steps)))
            if averages[0].is_floating_point():
                torch._foreach_lerp_(averages, present, 1 - kept)
            else:  # num_batches_tracked
                for own, other in zip(averages, present, strict=True):
                    own.copy_(other)

        super().__init__(embedder, multi_avg_fn=average, use_buffers=True)
        self.requires_grad_(False)
        self.module.eval()

    def train(self, mode: bool = True) -> "ExponentialAverage":
        """An average is never trained: it stays in evaluation mode."""
        return super().train(False)


def keep_epoch(run: "TrainingRun", keep: int) -> None:
    """Write the weights of the epoch just trained as epochs/epoch-0007.safetensors; keep the last `keep` files."""
    folder = run.folder / EPOCHS
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: tensor.detach().cpu().contiguous() for key, tensor in run.model.state_dict().items()}
    file = _file(folder, run.epoch)
    part = file.with_suffix(".part")
    save_file(state, part)
    flush_to_disk(part)
    os.replace(part, file)
    flush_to_disk(folder)
    for old in folder.glob("epoch-*"):
        if old.suffix == ".part" or old < _file(folder, run.epoch - keep + 1):
            old.unlink()


def averaged_model(run: "TrainingRun") -> SpeakerEmbedder:
    """The mean of the epochs that the run has kept, as a model of its own.

    Means of batch-norm statistics fit no network, so they are measured anew on batches of the training data. What is
    not a floating-point number is taken from the last epoch.
    """
    files = sorted((run.folder / EPOCHS).glob("epoch-*.safetensors"))
    sums: dict[str, Tensor] = {}
    for file in files:
        for key, value in load_file(file).items():
            if not value.is_floating_point():
                sums[key] = value
            else:
                sums[key] = sums[key] + value.double() if key in sums else value.double()
    model = copy.deepcopy(run.model)
    own = model.state_dict()
    mean = {k: (v / len(files)).to(own[k].dtype) if own[k].is_floating_point() else v for k, v in sums.items()}
    model.load_state_dict(mean)
    if world_size() > 1:
        synchronise_batch_norm(model)  # each process has a part of every batch: the statistics are those of the whole
    run.batches.epoch, run.batches.first_batch = run.epoch, 0  # as if another epoch began
    update_bn(islice(read_batches(run.loader), BATCHES_FOR_BATCH_NORM), _Forward(run, model))
    logger.info("average_model: the mean of the weights of %s", ", ".join(file.stem for file in files))
    return model.eval()


class _Forward(nn.Module):
    """What torch's update_bn passes batches through; it looks for the batch norms among its modules."""

    def __init__(self, run: "TrainingRun", model: SpeakerEmbedder):
        super().__init__()
        self.run, self.model = run, model

    def forward(self, batch: dict[str, Any]) -> Tensor:
        features = network_input(self.run, batch, self.model.featurizer)
        with self.run.autocast():
            return self.model.backbone(features)


def _file(folder: Path, epoch: int) -> Path:
    return folder / f"epoch-{max(0, epoch):04d}.safetensors"
