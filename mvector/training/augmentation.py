"""From the augmentation file to what loader processes do with an utterance."""

import logging
from pathlib import Path

from mvector.audio.augmentation import (
    ChannelRange,
    NoiseCategory,
    Noises,
    Recordings,
    RoomResponses,
    WaveformDraws,
    list_sounds,
)
from mvector.config import AugmentationConfig
from mvector.config.augmentation import NoiseCategoryConfig, ReverbConfig
from mvector.data.dataset import Augmentation
from mvector.data.lists import read_lines, resolve_paths
from mvector.errors import DataListError
from mvector.features.spec_augment import SpecAugment
from mvector.training.ranks import first_of_machine_first

logger = logging.getLogger("mvector")


def build_augmentation(conf: AugmentationConfig, sample_rate_hz: int, data_root: str | None = None) -> Augmentation:
    """What the sections of the augmentation file describe; one that is absent or never applied costs nothing.

    data_root: the folder that relative paths in a `noise_list` start from.
    """
    draws, augmentation = WaveformDraws(), Augmentation()
    if conf.speed:
        draws.speed_prob, draws.speeds = conf.speed.prob, (1.0, *conf.speed.speeds)
        augmentation.speed_classes = conf.speed.speed_perturb_3_class and conf.speed.prob > 0
    if conf.reverb and conf.reverb.prob > 0:
        draws.responses = RoomResponses(_responses(conf.reverb, sample_rate_hz), sample_rate_hz)
        draws.room_prob = conf.reverb.prob
    if conf.channel and conf.channel.prob > 0:
        draws.channel = ChannelRange(
            prob=conf.channel.prob,
            min_bandwidth_hz=conf.channel.min_bandwidth_Hz,
            max_bandwidth_hz=conf.channel.max_bandwidth_Hz,
            max_low_cut_hz=conf.channel.max_low_cut_Hz,
            max_tilt_db=conf.channel.max_tilt_dB,
        )
    categories = []
    if conf.noise and conf.noise.prob > 0:
        recordings = Recordings(list_sounds(conf.noise.noise_dir))
        categories.append(
            NoiseCategory("noise", conf.noise.prob, recordings, conf.noise.min_snr_dB, conf.noise.max_snr_dB)
        )
    categories += [_category(category, data_root) for category in conf.noises if category.prob > 0]
    if categories:
        draws.noises = Noises(categories, sample_rate_hz)
    if conf.volume and conf.volume.prob > 0:
        draws.volume_prob, draws.volume_db = conf.volume.prob, (conf.volume.min_gain_dBFS, conf.volume.max_gain_dBFS)
    if conf.spec_aug and conf.spec_aug.prob > 0:
        augmentation.spec_augment = SpecAugment(**conf.spec_aug.model_dump())
    augmentation.waveform = draws
    return augmentation


def _category(conf: NoiseCategoryConfig, data_root: str | None) -> NoiseCategory:
    recordings = None
    if conf.noise_dir is not None:
        recordings = Recordings(list_sounds(conf.noise_dir))
    elif conf.noise_list is not None:
        names = [line.partition("\t")[0].strip() for _, line in read_lines(conf.noise_list)]
        if not names:
            raise DataListError(f"{conf.noise_list}: the list of recordings is empty; expected one path per line.")
        recordings = Recordings(resolve_paths(names, conf.noise_list, data_root))
    return NoiseCategory(
        conf.name, conf.prob, recordings, conf.min_snr_dB, conf.max_snr_dB, conf.min_count, conf.max_count
    )


def _responses(conf: ReverbConfig, sample_rate_hz: int) -> list[str]:
    if conf.simulate:
        with first_of_machine_first():
            if not Path(conf.reverb_dir).exists():
                from mvector.audio.simulated_rooms import simulate_rooms

                logger.info("no folder %s: %d rooms are simulated into it", conf.reverb_dir, conf.simulate)
                simulate_rooms(Path(conf.reverb_dir), conf.simulate, sample_rate_hz)
    return list_sounds(conf.reverb_dir)
