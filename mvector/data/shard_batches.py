"""Batches of utterances in shards: as good as shuffled, and near one another on the disk."""

import numpy as np
from numpy.typing import NDArray

from mvector.data.samplers import EpochBatches

POOL = 16  # shards whose utterances are shuffled together


class ShardBatches(EpochBatches):
    """Every draw of an epoch once, in an order that goes through the shards pool by pool.

    `shards` [utterances] has the number of each one's shard (`mvector.data.shards.shard_numbers`). In each epoch the
    shards are shuffled and dealt into pools of about `POOL`; inside a pool all draws are shuffled together. So a disk
    or network file system reads ahead in a few files instead of thousands, and shards behind a URL are fetched one
    pool after the other. `tools/make_shards.py` divides a list by chance, which keeps a pool a fair sample of it.

    As in every epoch of batches the order follows from seed and epoch alone: it is the same for any number of ranks and
    workers, which divide the batches among them, and a resumed run goes on in the middle of it.
    """

    def __init__(
        self,
        crops: np.ndarray,
        shards: NDArray[np.int64],
        batch_size: int,
        drop_last: bool,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
        pool: int = POOL,
    ):
        super().__init__(crops, batch_size, drop_last, seed, rank, ranks)
        self.shards, self.pool = shards, pool

    def _order(self) -> tuple[np.ndarray, np.ndarray]:
        utterance, repeat = super()._order()
        count = int(self.shards.max()) + 1
        place = np.random.default_rng((self.seed, self.epoch, count)).permutation(count)  # of each shard
        pool = place * -(-count // self.pool) // count  # the number of each shard's pool; they differ by one shard
        grouped = np.argsort(pool[self.shards[utterance]], kind="stable")  # keeps the shuffled order inside a pool
        return utterance[grouped], repeat[grouped]
