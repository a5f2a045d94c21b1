"""From a configuration to what a run reads: augmentation, training examples, batches, development trials."""

import copy
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from mvector.audio import audio_info
from mvector.audio.augmentation import WaveformAugment
from mvector.config import Config
from mvector.data.corpora.demo import ensure_demo_corpus
from mvector.data.dataset import Augmentation, CropSettings, TrainingDataset, collate
from mvector.data.lists import Utterance, read_data_list
from mvector.data.loader_process import keep_freed_memory, start_loader_process
from mvector.data.packed_features import PackedFeatureDataset, load_features, require_no_augmentation_of_sound
from mvector.data.samplers import BalancedBatches, Batches, EpochBatches, PKBatches, crops_per_utterance
from mvector.data.shard_batches import ShardBatches
from mvector.data.shards import shard_numbers
from mvector.data.trials import Trials, load_trials
from mvector.errors import ConfigError, MVectorError
from mvector.features import AudioFeaturizer
from mvector.training import ranks
from mvector.training.augmentation import build_augmentation

logger = logging.getLogger("mvector")

DEMO_FOLDER = Path("dataset/demo")  # lists in here are those of the synthetic corpus, made at their first use


@dataclass(frozen=True)
class Development:
    """The trials that choose the best epoch and the threshold."""

    list_path: str
    trials: Trials
    is_test_list: bool  # the configuration names no development list, so its test list had to serve


def read_training_list(config: Config) -> list[Utterance]:
    """The utterances of dataset_conf.train_list, or those whose features are in dataset_conf.train_features; the
    synthetic corpus is made when its list is asked for."""
    data = config.dataset_conf
    if data.train_features is not None:
        return load_features(data.train_features).utterances
    if data.train_list is None:
        raise ConfigError("dataset_conf.train_list is not set; `python create_data.py --help` shows how to make one")
    if Path(data.train_list).parent == DEMO_FOLDER:
        ensure_demo_corpus(DEMO_FOLDER)
    return read_data_list(data.train_list, data.data_root)


def read_development(config: Config) -> Development | None:
    """The development trials; the test list where there are none and train_conf.choose_on_test_list allows it."""
    data = config.dataset_conf
    tests = data.trials_list or data.enroll_list
    if data.dev_enroll_list is not None or data.dev_trials_list is not None:
        name = str(data.dev_trials_list or data.dev_enroll_list)
        is_test_list = tests is not None and Path(name).resolve() == Path(tests).resolve()
        if is_test_list:
            _require_permission(config, name)
        trials = load_trials(data.dev_enroll_list, data.dev_trials_list, None, data.data_root)
        return Development(name, trials, is_test_list)
    if tests is None:
        return None
    _require_permission(config, str(tests))
    return Development(
        str(tests), load_trials(data.enroll_list, data.trials_list, data.enroll_map, data.data_root), True
    )


def _require_permission(config: Config, test_list: str) -> None:
    """Refuse to choose the epoch on the test list, which makes its figures look better than they are."""
    if not config.train_conf.choose_on_test_list:
        raise ConfigError(
            f"there is no development list apart from the test list {test_list}: a model whose epoch and threshold are "
            "chosen on the test list looks better there than it is. Name a list of other speakers in "
            "dataset_conf.dev_trials_list (create_data.py makes one), train without evaluation (--do_eval False), or "
            "allow it with --set train_conf.choose_on_test_list=True."
        )
    logger.warning(
        "the best epoch and the threshold are chosen on the test list %s, so figures on it are not test results",
        test_list,
    )


def build_dataset(
    config: Config,
    utterances: Sequence[Utterance],
    classes: dict[str, int],
    featurizer: AudioFeaturizer | None,
    device: torch.device | None = None,
) -> TrainingDataset | PackedFeatureDataset:
    """The training examples. With a `featurizer` they come as features, without as waveforms; for a `device` that
    augments itself (:func:`augments_on_device`) as what these are made of. Where dataset_conf.train_features is set
    they are features that were computed ahead, in any case.
    """
    data = config.dataset_conf.dataset
    crop = CropSettings(
        duration_s=data.max_duration,
        min_duration_s=data.min_duration,
        sample_rate_hz=data.sample_rate,
        target_db=data.target_dB if data.use_dB_normalization else None,
    )
    augmentation = Augmentation()
    if config.augmentation is not None:
        augmentation = build_augmentation(config.augmentation, data.sample_rate, config.dataset_conf.data_root)
    if config.dataset_conf.train_features is not None:
        require_no_augmentation_of_sound(config)
        packed = load_features(config.dataset_conf.train_features)
        packed.require_recipe(config)
        featurizer = featurizer or AudioFeaturizer(**config.preprocess_conf.model_dump())
        return PackedFeatureDataset(packed, classes, crop, augmentation, config.train_conf.seed, featurizer)
    on_device = featurizer is None and device is not None and augments_on_device(device)
    return TrainingDataset(utterances, classes, crop, augmentation, config.train_conf.seed, featurizer, on_device)


def build_batches(
    config: Config,
    utterances: Sequence[Utterance],
    dataset: TrainingDataset | PackedFeatureDataset,
    batch_size: int | None = None,
) -> Batches:
    """The batches of all processes (ranks), of which this one gets its share. `batch_size` is that of a whole batch;
    None: as many as the configuration says for each process."""
    data, seed = config.dataset_conf, config.train_conf.seed
    rank, count = ranks.rank(), ranks.world_size()
    batch_size, drop_last = batch_size or data.sampler.batch_size * count, data.sampler.drop_last
    if data.is_use_pksampler:
        speakers = [utterance.speaker for utterance in utterances]
        return PKBatches(speakers, batch_size, data.sample_per_id, seed, rank, count)
    if data.sampler.balance_speakers:
        speakers = [utterance.speaker for utterance in utterances]
        return BalancedBatches(speakers, batch_size, drop_last, seed, rank, count)
    seconds_per_crop = data.sampler.seconds_per_crop
    durations = np.zeros(len(utterances)) if seconds_per_crop is None else _durations_s(utterances)
    crops = crops_per_utterance(durations, seconds_per_crop)
    shards = None if data.train_features is not None else shard_numbers(utterances)
    if shards is not None:
        return ShardBatches(crops, shards, batch_size, drop_last, seed, rank, count)
    return EpochBatches(crops, batch_size, drop_last, seed, rank, count)


def build_loader(
    config: Config, dataset: TrainingDataset | PackedFeatureDataset, batches: Batches, device: torch.device
) -> DataLoader:
    workers = config.dataset_conf.dataLoader.num_workers
    keep_freed_memory(of_trainer=True)
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        # The loader seeds its workers from here; from the global generator it would shift what dropout draws.
        generator=torch.Generator().manual_seed(config.train_conf.seed),
        worker_init_fn=start_loader_process,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
        prefetch_factor=4 if workers else None,
    )


def device_augmentation(dataset: Dataset, device: torch.device) -> WaveformAugment | None:
    """What makes waveforms of a batch's materials, on the device; None where the batches hold something else. A copy:
    the dataset goes to loader processes, which have no business on the device."""
    if not isinstance(dataset, TrainingDataset) or not dataset.on_device:
        return None
    return copy.deepcopy(dataset.augment).to(device)


def augments_on_device(device: torch.device) -> bool:
    """Whether waveforms are made of their materials on the device, for a whole batch: on GPUs of CUDA and ROCm."""
    return device.type == "cuda"


def features_in_workers(device: torch.device) -> bool:
    """Whether the workers compute the features: on a CPU one utterance at a time stays in cache, while an accelerator
    computes them for the whole batch."""
    return device.type == "cpu"


def read_batches(loader: DataLoader) -> Iterator[dict[str, Any]]:
    """The loader's batches. A user's mistake that a worker met comes as the sentence it is, without the traceback that
    torch wraps it in."""
    try:
        yield from loader
    except MVectorError as error:
        text = str(error)
        if "Original Traceback" in text:
            text = text.rpartition(f"{type(error).__module__}.{type(error).__qualname__}: ")[2].strip()
        raise type(error)(text) from None


def end_workers(loader: DataLoader) -> None:
    """End the loader's processes. They ignore SIGTERM, so the interpreter's own clean-up would wait for them forever
    when an error keeps the loader's iterator alive."""
    iterator = getattr(loader, "_iterator", None)  # private, and the only handle on persistent workers
    if iterator is not None and hasattr(iterator, "_shutdown_workers"):
        iterator._shutdown_workers()


def _durations_s(utterances: Sequence[Utterance]) -> np.ndarray:
    """Length of each utterance from its header; 0 for one that cannot be read (training counts and skips it)."""
    durations = np.zeros(len(utterances))
    hidden = None if ranks.is_first() else True
    for index, utterance in enumerate(tqdm(utterances, "reading lengths", unit="utt", disable=hidden, leave=False)):
        if utterance.end_s is not None:
            durations[index] = utterance.end_s - (utterance.start_s or 0.0)
            continue
        try:
            durations[index] = audio_info(utterance.path).duration_s - (utterance.start_s or 0.0)
        except MVectorError:
            continue
    return durations
