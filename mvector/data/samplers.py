"""Which utterances make which batch: a function of seed and epoch, so that a resumed run goes on where it stopped."""

import logging
import math
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from mvector.errors import ConfigError, DataListError

logger = logging.getLogger("mvector")


class Draw(NamedTuple):
    """One training example: everything that its random choices depend on besides the seed."""

    epoch: int
    utterance: int  # index in the data list
    repeat: int  # how many times this utterance was drawn before in this epoch


def crops_per_utterance(durations_s: Sequence[float] | np.ndarray, seconds_per_crop: float | None) -> np.ndarray:
    """How often each utterance is drawn in one epoch: once, or once for every started `seconds_per_crop`."""
    if seconds_per_crop is None:
        return np.ones(len(durations_s), dtype=np.int64)
    return np.maximum(1, np.ceil(np.asarray(durations_s) / seconds_per_crop - 0.1)).astype(np.int64)


class EpochBatches(Sampler[list[Draw]]):
    """Batches of shuffled draws; set `epoch` before and `first_batch` to go on inside an epoch."""

    def __init__(self, crops: np.ndarray, batch_size: int, drop_last: bool, seed: int):
        self.crops, self.batch_size, self.drop_last, self.seed = crops, batch_size, drop_last, seed
        self.epoch, self.first_batch = 0, 0
        self.total = int(crops.sum())
        if batch_size < 2:
            raise ConfigError("dataset_conf.sampler.batch_size must be at least 2: batch norm needs two utterances")
        if len(self) == 0:
            raise DataListError(
                f"the training list gives {self.total} examples an epoch, fewer than one batch of {batch_size}. "
                "Lower dataset_conf.sampler.batch_size, or set dataset_conf.sampler.drop_last to False."
            )

    def __len__(self) -> int:
        if self.drop_last:
            return self.total // self.batch_size
        # A last batch of one cannot be batch-normalised: it joins no batch.
        return self.total // self.batch_size + (self.total % self.batch_size > 1)

    def __iter__(self) -> Iterator[list[Draw]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.total)
        utterance = np.repeat(np.arange(len(self.crops)), self.crops)[order]
        repeat = (np.arange(self.total) - np.repeat(np.cumsum(self.crops) - self.crops, self.crops))[order]
        for batch in range(self.first_batch, len(self)):
            chosen = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
            yield [
                Draw(self.epoch, u, r) for u, r in zip(utterance[chosen].tolist(), repeat[chosen].tolist(), strict=True)
            ]


class PKBatches(Sampler[list[Draw]]):
    """Batches of P speakers with K utterances each (Hermans et al. 2017), for losses that compare within a batch.

    `speakers` names the speaker of each utterance, K is `sample_per_id`, P is what `batch_size` has room for. An epoch
    has as many batches as hold each utterance once on average. Speakers with fewer than K utterances are left out; a
    log line says how many, and names one. Raises ConfigError where P is less than two, or fewer than P are left.
    """

    def __init__(self, speakers: Sequence[Hashable], batch_size: int, sample_per_id: int, seed: int):
        utterances: dict[Hashable, list[int]] = defaultdict(list)
        for index, speaker in enumerate(speakers):
            utterances[speaker].append(index)
        self.groups = [np.array(group) for group in utterances.values() if len(group) >= sample_per_id]
        skipped = [speaker for speaker, group in utterances.items() if len(group) < sample_per_id]
        if skipped:
            logger.warning(
                "%d of %d speakers have fewer than %d utterances (dataset_conf.sample_per_id) and are left out of the "
                "P×K batches, such as %s",
                len(skipped),
                len(utterances),
                sample_per_id,
                skipped[0],
            )
        self.speakers_per_batch = batch_size // sample_per_id
        if self.speakers_per_batch < 2:
            raise ConfigError(
                f"dataset_conf.sampler.batch_size is {batch_size}, but a P×K batch holds two or more speakers with "
                f"{sample_per_id} utterances each (dataset_conf.sample_per_id): set batch_size to {2 * sample_per_id} "
                "or more."
            )
        if len(self.groups) < self.speakers_per_batch:
            remedy = "lower dataset_conf.sample_per_id"
            if len(self.groups) >= 2:
                remedy = f"set dataset_conf.sampler.batch_size to at most {len(self.groups) * sample_per_id}"
            raise ConfigError(
                f"a P×K batch of {batch_size} takes {self.speakers_per_batch} speakers with {sample_per_id} utterances "
                f"each, but {len(self.groups)} of the {len(utterances)} speakers in the training list have as many: "
                f"{remedy}."
            )
        self.batch_size, self.sample_per_id, self.seed = batch_size, sample_per_id, seed
        self.epoch, self.first_batch = 0, 0
        self.total = sum(len(group) for group in self.groups)

    def __len__(self) -> int:
        return max(1, math.ceil(self.total / (self.speakers_per_batch * self.sample_per_id)))

    def __iter__(self) -> Iterator[list[Draw]]:
        for batch in range(self.first_batch, len(self)):
            rng = np.random.default_rng((self.seed, self.epoch, batch))
            speakers = rng.choice(len(self.groups), self.speakers_per_batch, replace=False)
            yield [
                Draw(self.epoch, int(utterance), batch)
                for speaker in speakers
                for utterance in rng.choice(self.groups[speaker], self.sample_per_id, replace=False)
            ]
