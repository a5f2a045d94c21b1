"""Which utterances make which batch: a function of seed and epoch, so that a resumed run goes on where it stopped."""

import logging
import math
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from itertools import pairwise
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


class Batches(Sampler[list[Draw]], ABC):
    """The batches of an epoch, of which this process gets its share; set `epoch` before, and `first_batch` to go on
    inside an epoch.

    `batch_size` counts the whole batch. Which utterances are in a batch does not depend on how many processes (ranks)
    share it: 2 that take 32 each see the batches of 1 that takes 64. Each gets neighbours, and as many as any other or
    one more.
    """

    def __init__(self, batch_size: int, seed: int, rank: int = 0, ranks: int = 1):
        self.batch_size, self.seed, self.rank, self.ranks = batch_size, seed, rank, ranks
        self.epoch, self.first_batch = 0, 0
        if batch_size < 2 * ranks:
            processes = "" if ranks == 1 else f" in each of the {ranks} processes"
            raise ConfigError(
                f"dataset_conf.sampler.batch_size must be at least 2{processes}: batch norm needs two utterances"
            )

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def whole_batches(self) -> Iterator[list[Draw]]:
        """What all processes together read, from `first_batch` on."""

    def __iter__(self) -> Iterator[list[Draw]]:
        for batch in self.whole_batches():
            yield batch[len(batch) * self.rank // self.ranks : len(batch) * (self.rank + 1) // self.ranks]


class EpochBatches(Batches):
    """Every draw of an epoch in shuffled order, each once: `crops` says how often each utterance is drawn.

    With `drop_last` a last batch that is not full is left out (other utterances in every epoch); without, what is left
    after the full batches is shared evenly with the batch before it, so that none is too small for batch norm; where
    batches are tiny, it joins that batch.
    """

    def __init__(self, crops: np.ndarray, batch_size: int, drop_last: bool, seed: int, rank: int = 0, ranks: int = 1):
        super().__init__(batch_size, seed, rank, ranks)
        self.crops, self.drop_last = crops, drop_last
        self.total = int(crops.sum())
        if len(self) == 0:
            raise DataListError(
                f"the training list gives {self.total} examples an epoch, fewer than one batch of {batch_size}. "
                "Lower dataset_conf.sampler.batch_size, or set dataset_conf.sampler.drop_last to False."
            )

    def __len__(self) -> int:
        return len(self._sizes())

    def _sizes(self) -> list[int]:
        full, rest = divmod(self.total, self.batch_size)
        sizes = [self.batch_size] * full
        if rest and not self.drop_last:
            together = rest + (sizes.pop() if sizes else 0)
            least = 2 * self.ranks
            sizes += [together - together // 2, together // 2] if full and together // 2 >= least else [together]
            return sizes if sizes[-1] >= least else []
        return sizes

    def whole_batches(self) -> Iterator[list[Draw]]:
        utterance, repeat = self._order()
        bounds = np.cumsum([0, *self._sizes()]).tolist()
        for start, end in list(pairwise(bounds))[self.first_batch :]:
            pairs = zip(utterance[start:end].tolist(), repeat[start:end].tolist(), strict=True)
            yield [Draw(self.epoch, u, r) for u, r in pairs]

    def _order(self) -> tuple[np.ndarray, np.ndarray]:
        """The utterance and the repeat of every draw of the epoch, [total] each."""
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.total)
        utterance = np.repeat(np.arange(len(self.crops)), self.crops)
        repeat = np.arange(self.total) - np.repeat(np.cumsum(self.crops) - self.crops, self.crops)
        return utterance[order], repeat[order]


class BalancedBatches(EpochBatches):
    """Every speaker as often as any other (or once more), whatever the number of his utterances, which `speakers`
    names; an epoch has as many draws as there are utterances.

    An epoch goes through all speakers in shuffled order, again and again. Each time a speaker gives the next of his
    utterances in shuffled order; they are shuffled anew when all have been drawn.
    """

    def __init__(
        self,
        speakers: Sequence[Hashable],
        batch_size: int,
        drop_last: bool,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
    ):
        super().__init__(np.ones(len(speakers), dtype=np.int64), batch_size, drop_last, seed, rank, ranks)
        numbers: dict[Hashable, int] = {}
        self.speaker = np.array([numbers.setdefault(speaker, len(numbers)) for speaker in speakers])  # [utterances]
        self.counts = np.bincount(self.speaker)  # utterances of each speaker

    def _order(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng((self.seed, self.epoch))
        speakers = len(self.counts)
        quota = np.full(speakers, self.total // speakers)
        quota[rng.permutation(speakers)[: self.total % speakers]] += 1
        chosen, rounds, repeats = [], [], []
        waiting, repeat = np.arange(self.total), 0  # utterances of speakers whose quota is not yet filled
        while len(waiting):
            waiting = waiting[np.lexsort((rng.random(len(waiting)), self.speaker[waiting]))]
            whose = self.speaker[waiting]
            position = np.arange(len(waiting)) - np.searchsorted(whose, whose)  # within the speaker's shuffled order
            number = repeat * self.counts[whose] + position  # how often the speaker was drawn before
            wanted = number < quota[whose]
            chosen.append(waiting[wanted])
            rounds.append(number[wanted])
            repeats.append(np.full(int(wanted.sum()), repeat))
            repeat += 1
            waiting = waiting[quota[whose] > repeat * self.counts[whose]]
        order = np.lexsort((rng.random(self.total), np.concatenate(rounds)))
        return np.concatenate(chosen)[order], np.concatenate(repeats)[order]


class PKBatches(Batches):
    """Batches of P speakers with K utterances each (Hermans et al. 2017), for losses that compare within a batch.

    `speakers` names the speaker of each utterance, K is `sample_per_id`, P is what `batch_size` has room for. An epoch
    has as many batches as hold each utterance once on average. Speakers with fewer than K utterances are left out; a
    log line says how many, and names one. Raises ConfigError where P is less than two, or fewer than P are left.
    """

    def __init__(
        self,
        speakers: Sequence[Hashable],
        batch_size: int,
        sample_per_id: int,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
    ):
        super().__init__(batch_size, seed, rank, ranks)
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
        self.sample_per_id = sample_per_id
        self.total = sum(len(group) for group in self.groups)

    def __len__(self) -> int:
        return max(1, math.ceil(self.total / (self.speakers_per_batch * self.sample_per_id)))

    def whole_batches(self) -> Iterator[list[Draw]]:
        for batch in range(self.first_batch, len(self)):
            rng = np.random.default_rng((self.seed, self.epoch, batch))
            speakers = rng.choice(len(self.groups), self.speakers_per_batch, replace=False)
            yield [
                Draw(self.epoch, int(utterance), batch)
                for speaker in speakers
                for utterance in rng.choice(self.groups[speaker], self.sample_per_id, replace=False)
            ]
