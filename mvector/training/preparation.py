"""From a configuration to what a run reads: augmentation, training examples, batches, development trials."""

import logging
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from mvector.audio import audio_info
from mvector.audio.augmentation import Noise, RoomAndChannel, Volume
from mvector.config import AugmentationConfig, Config
from mvector.data.corpora.demo import ensure_demo_corpus
from mvector.data.dataset import Augmentation, CropSettings, TrainingDataset, collate
from mvector.data.lists import Utterance, read_data_list
from mvector.data.samplers import EpochBatches, PKBatches, crops_per_utterance
from mvector.data.trials import Trials, load_trials
from mvector.errors import ConfigError, MVectorError
from mvector.features import AudioFeaturizer
from mvector.features.spec_augment import SpecAugment

logger = logging.getLogger("mvector")

DEMO_FOLDER = Path("dataset/demo")  # lists in here are those of the synthetic corpus, made at their first use


@dataclass(frozen=True)
class Development:
    """The trials that choose the best epoch and the threshold."""

    list_path: str
    trials: Trials
    is_test_list: bool  # the configuration names no development list, so its test list had to serve


def read_training_list(config: Config) -> list[Utterance]:
    """The utterances of dataset_conf.train_list; the synthetic corpus is made when its list is asked for."""
    data = config.dataset_conf
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
    config: Config, utterances: Sequence[Utterance], classes: dict[str, int], featurizer: AudioFeaturizer | None
) -> TrainingDataset:
    """The training examples; with a `featurizer` they come as features, without as waveforms."""
    data = config.dataset_conf.dataset
    crop = CropSettings(
        duration_s=data.max_duration,
        min_duration_s=data.min_duration,
        sample_rate_hz=data.sample_rate,
        target_db=data.target_dB if data.use_dB_normalization else None,
    )
    augmentation = Augmentation()
    if config.augmentation is not None:
        augmentation = build_augmentation(config.augmentation, data.sample_rate)
    return TrainingDataset(utterances, classes, crop, augmentation, config.train_conf.seed, featurizer)


def build_augmentation(conf: AugmentationConfig, sample_rate_hz: int) -> Augmentation:
    """What the sections of the augmentation file describe; a section that is absent or never applied is None."""
    augmentation = Augmentation()
    if conf.speed:
        augmentation.speed_prob = conf.speed.prob
        augmentation.speed_classes = conf.speed.speed_perturb_3_class and conf.speed.prob > 0
    if (conf.reverb and conf.reverb.prob > 0) or (conf.channel and conf.channel.prob > 0):
        augmentation.room_and_channel = RoomAndChannel(
            sample_rate_hz,
            reverb_dir=conf.reverb.reverb_dir if conf.reverb else None,
            reverb_prob=conf.reverb.prob if conf.reverb else 0.0,
            channel_prob=conf.channel.prob if conf.channel else 0.0,
            **(
                {
                    "min_bandwidth_hz": conf.channel.min_bandwidth_Hz,
                    "max_bandwidth_hz": conf.channel.max_bandwidth_Hz,
                    "max_low_cut_hz": conf.channel.max_low_cut_Hz,
                    "max_tilt_db": conf.channel.max_tilt_dB,
                }
                if conf.channel
                else {}
            ),
        )
    if conf.noise and conf.noise.prob > 0:
        augmentation.noise_prob = conf.noise.prob
        augmentation.noise = Noise(conf.noise.noise_dir, conf.noise.min_snr_dB, conf.noise.max_snr_dB, sample_rate_hz)
    if conf.volume and conf.volume.prob > 0:
        augmentation.volume_prob = conf.volume.prob
        augmentation.volume = Volume(conf.volume.min_gain_dBFS, conf.volume.max_gain_dBFS)
    if conf.spec_aug and conf.spec_aug.prob > 0:
        augmentation.spec_augment = SpecAugment(**conf.spec_aug.model_dump())
    return augmentation


def build_batches(
    config: Config, utterances: Sequence[Utterance], dataset: TrainingDataset
) -> EpochBatches | PKBatches:
    data, seed = config.dataset_conf, config.train_conf.seed
    if data.is_use_pksampler:
        speakers = [utterance.speaker for utterance in utterances]
        return PKBatches(speakers, data.sampler.batch_size, data.sample_per_id, seed)
    seconds_per_crop = data.sampler.seconds_per_crop
    durations = np.zeros(len(utterances)) if seconds_per_crop is None else _durations_s(utterances)
    crops = crops_per_utterance(durations, seconds_per_crop)
    return EpochBatches(crops, data.sampler.batch_size, data.sampler.drop_last, seed)


def build_loader(
    config: Config, dataset: TrainingDataset, batches: EpochBatches | PKBatches, device: torch.device
) -> DataLoader:
    workers = config.dataset_conf.dataLoader.num_workers
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        # The loader seeds its workers from here; from the global generator it would shift what dropout draws.
        generator=torch.Generator().manual_seed(config.train_conf.seed),
        worker_init_fn=_leave_signals_to_trainer,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
        prefetch_factor=4 if workers else None,
    )


def _leave_signals_to_trainer(_: int) -> None:
    """Workers ignore Ctrl-C and SIGTERM: the trainer saves first and then ends them."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


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
    for index, utterance in enumerate(tqdm(utterances, desc="reading lengths", unit="utt", disable=None, leave=False)):
        if utterance.end_s is not None:
            durations[index] = utterance.end_s - (utterance.start_s or 0.0)
            continue
        try:
            durations[index] = audio_info(utterance.path).duration_s - (utterance.start_s or 0.0)
        except MVectorError:
            continue
    return durations
