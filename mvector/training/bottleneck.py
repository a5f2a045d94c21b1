"""What limits the speed of a training: loading, features or the network, each timed alone and then all together."""

import itertools
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from mvector.features.base import FrameFeature
from mvector.trainer import MVectorTrainer
from mvector.training.precision import computes
from mvector.training.preparation import end_workers, read_batches
from mvector.training.progress import Pace
from mvector.training.run import TrainingRun
from mvector.training.step import learn

STALL = 0.05  # the share of its time that a device may wait for data before loading counts as the limit
LARGE_SHARE = 0.4  # of the work on an utterance, from which on the features are named as the reason


@dataclass(frozen=True)
class Speeds:
    """Utterances per second of the parts, `stall` (0 to 1) of the whole, and the circumstances."""

    loading: float  # with features, where the loader computes them
    features: float  # of one core or of the device, wherever they are computed; infinite when read from a file
    network: float  # forward, backward, optimiser; with the features, where the device computes them
    together: float
    stall: float
    features_in_loader: bool
    workers: int
    cores: int
    device: str
    dtype: str
    can_use_16_bits: bool
    is_compiled: bool

    @property
    def feature_share(self) -> float:
        """The share that the features have in the work of the processes, or of the device, that computes them."""
        whole = self.loading / max(1, self.workers) if self.features_in_loader else self.network
        return min(1.0, whole / self.features)


def measure(trainer: MVectorTrainer, run: TrainingRun, batches: int) -> Speeds:
    """Time every part on `batches` batches. The weights of `run` change: it is not to be saved."""
    try:
        run.train_mode()
        run.scheduled_by_step = False  # a schedule may end with the configured number of steps
        source = _batches(run)
        workers = run.config.dataset_conf.dataLoader.num_workers
        example = next(source)
        size = len(example["labels"])
        for _ in range(4 * workers):  # what the processes have made while nobody waited says nothing of their speed
            next(source)
        loading = _rate(size * batches, lambda: [next(source) for _ in range(batches)])

        def steps() -> None:
            for number in range(batches):
                _step(trainer, run, example, number)
            _wait(run.device)

        steps()  # the first ones also make the optimiser's state, and compile
        network = _rate(size * batches, steps)
        pace = Pace(run.device)
        for number, batch in enumerate(itertools.islice(pace.batches(source), batches)):
            _step(trainer, run, batch, number)
            pace.examples += len(batch["labels"])
        _wait(run.device)
        return Speeds(
            loading,
            _feature_rate(run, size, batches),
            network,
            pace.utterances_per_s(),
            pace.stall(),
            run.features_in_workers,
            workers,
            os.cpu_count() or 1,
            run.device.type,
            str(run.dtype).removeprefix("torch."),
            computes(torch.bfloat16, run.device),
            run.config.train_conf.use_compile,
        )
    finally:
        end_workers(run.loader)


def limit(speeds: Speeds) -> str:
    """'loading', 'features' or 'network'."""
    waits = speeds.stall > STALL
    if waits and not speeds.features_in_loader:
        return "loading"
    if waits or (not speeds.features_in_loader and speeds.feature_share > LARGE_SHARE):
        return "features" if speeds.feature_share > LARGE_SHARE else "loading"
    return "network"


def advice(speeds: Speeds) -> list[str]:
    """What to change, most useful first: sentences for the user."""
    found = limit(speeds)
    if found == "network":
        return _for_network(speeds)
    more = "raise dataset_conf.dataLoader.num_workers: there are more cores than processes that load."
    sentences = [more] if speeds.workers < speeds.cores else []
    if found == "features" and speeds.features_in_loader:
        sentences.append(
            "compute the features once with tools/extract_features.py and set dataset_conf.train_features, if you "
            "train without augmentation of the sound."
        )
    elif found == "features":
        return ["lower dataset_conf.dataset.max_duration, or take a cheaper feature: the device computes it itself."]
    else:
        sentences.append(
            "keep the recordings as 16-bit WAV or FLAC at the model's rate on a local disk, or in shards made with "
            "tools/make_shards.py, and lower the probabilities in the augmentation file."
        )
    return sentences


def _for_network(speeds: Speeds) -> list[str]:
    sentences = []
    if speeds.dtype == "float32" and speeds.can_use_16_bits:
        sentences.append("set train_conf.enable_amp to auto or True: this device computes bfloat16.")
    if speeds.device == "cuda" and not speeds.is_compiled:
        sentences.append("set train_conf.use_compile to True.")
    if speeds.device == "cuda":
        sentences.append("raise dataset_conf.sampler.batch_size (and the learning rate with it) until memory is full.")
    else:
        sentences.append(
            "train on a GPU, or with a smaller backbone or shorter crops (dataset_conf.dataset.max_duration)."
        )
    return sentences


def _batches(run: TrainingRun) -> Iterator[dict[str, Any]]:
    """The loader's batches, epoch after epoch."""
    for epoch in itertools.count():
        run.batches.epoch, run.batches.first_batch = epoch, 0
        yield from read_batches(run.loader)


def _step(trainer: MVectorTrainer, run: TrainingRun, batch: dict[str, Any], number: int) -> None:
    """One batch's part of a step; the run's own counters stand where they make an optimiser's step due in time."""
    run.first_batch = number % min(run.config.train_conf.accumulate_grad_batches, len(run.batches))
    loss, _ = trainer.compute_loss(run, batch)
    learn(run, loss)


def _feature_rate(run: TrainingRun, size: int, batches: int) -> float:
    """Utterances per second of the featurizer alone, on noise: one at a time on one core, or batches on the device."""
    if run.config.dataset_conf.train_features is not None:
        return float("inf")
    alone = run.features_in_workers
    sound = 0.1 * torch.randn(1 if alone else size, run.dataset.crop.samples, device=run.device)
    threads = torch.get_num_threads()
    try:
        if alone:
            torch.set_num_threads(1)
        with torch.inference_mode(isinstance(run.embedder.featurizer.feature, FrameFeature)), run.autocast():
            run.embedder.featurizer(sound)

            def all_batches() -> None:
                for _ in range(batches * (size if alone else 1)):
                    run.embedder.featurizer(sound)
                _wait(run.device)

            return _rate(batches * size, all_batches)
    finally:
        torch.set_num_threads(threads)


def _rate(utterances: int, work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return utterances / (time.perf_counter() - started)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
