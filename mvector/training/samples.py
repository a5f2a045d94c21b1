"""Augmented training examples as wav files, for a person to listen to before days of training."""

import copy
import logging
import re
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import soundfile

from mvector.data.dataset import TrainingDataset
from mvector.errors import ConfigError
from mvector.model_directory import write_text

if TYPE_CHECKING:
    from mvector.training.run import TrainingRun

logger = logging.getLogger("mvector")


def write_samples(run: "TrainingRun", folder: Path, count: int) -> None:
    """Write the first `count` examples of the present epoch into `folder`, as the network is to hear them, but before
    features: 0001_SPEAKER.wav (float32, at the model's rate), and labels.tsv: file, class, speaker, recording.

    Raises ConfigError where features were computed ahead: no sound is read then.
    """
    if not isinstance(run.dataset, TrainingDataset):
        raise ConfigError(
            "--save_samples: the features were computed ahead (dataset_conf.train_features), so there is no sound to "
            "save. Leave it out."
        )
    dataset = copy.copy(run.dataset)
    dataset.featurizer, dataset.on_device = None, False  # whole waveforms, whatever the run reads
    folder.mkdir(parents=True, exist_ok=True)
    run.batches.epoch, run.batches.first_batch = run.epoch, 0
    lines = ["file\tclass\tspeaker\trecording"]
    for number, draw in enumerate(islice((draw for batch in run.batches for draw in batch), count), start=1):
        example = dataset[draw]
        assert example.sound is not None
        speaker = run.speakers[example.label % len(run.speakers)]  # the classes of other speeds follow those of 1.0
        plain = re.sub(r"[^\w-]", "_", speaker)  # a speaker's name may be no file name
        name = f"{number:04d}_{plain}.wav"
        soundfile.write(folder / name, example.sound.numpy(), dataset.crop.sample_rate_hz, subtype="FLOAT")
        lines.append(f"{name}\t{example.label}\t{speaker}\t{dataset.recordings.path(draw.utterance)}")
    write_text(folder / "labels.tsv", "\n".join(lines) + "\n")
    logger.info("%d augmented examples are in %s", len(lines) - 1, folder)
