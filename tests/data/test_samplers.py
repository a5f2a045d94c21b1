"""Batches: every example once, reproducible, resumable."""

from collections import Counter

import numpy as np
import pytest

from mvector.data.samplers import EpochBatches, PKBatches, crops_per_utterance
from mvector.errors import DataListError


def test_crops_per_utterance_counts_started_crops():
    assert crops_per_utterance([0.5, 2.0, 2.1, 4.0, 4.5, 13.0], None).tolist() == [1] * 6
    # A tenth of a crop does not start another one: 2.1 s at 2 s a crop is one crop.
    assert crops_per_utterance([0.0, 0.5, 2.0, 2.1, 4.0, 4.5, 13.0], 2.0).tolist() == [1, 1, 1, 1, 2, 3, 7]


@pytest.mark.parametrize("drop_last", [True, False])
def test_an_epoch_draws_every_example_once(drop_last):
    crops = np.array([1, 3, 2, 1, 4])
    batches = EpochBatches(crops, batch_size=3, drop_last=drop_last, seed=5)
    drawn = [draw for batch in batches for draw in batch]
    everything = {(u, r) for u, count in enumerate(crops.tolist()) for r in range(count)}
    found = [(draw.utterance, draw.repeat) for draw in drawn]
    assert len(found) == len(set(found))
    assert set(found) <= everything
    assert len(found) == (9 if drop_last else 11)
    assert len(list(batches)) == len(batches)


def test_a_last_batch_of_one_is_left_out():
    batches = EpochBatches(np.ones(7, int), batch_size=3, drop_last=False, seed=0)
    assert [len(batch) for batch in batches] == [3, 3]


def test_order_is_a_function_of_seed_and_epoch():
    def order(seed: int, epoch: int, first: int = 0) -> list:
        batches = EpochBatches(np.ones(50, int), 4, True, seed)
        batches.epoch, batches.first_batch = epoch, first
        return list(batches)

    assert order(1, 0) == order(1, 0)
    assert [d.utterance for b in order(1, 0) for d in b] != [d.utterance for b in order(1, 1) for d in b]
    assert order(1, 0) != order(2, 0)
    assert order(1, 3, first=5) == order(1, 3)[5:]


def test_fewer_examples_than_a_batch():
    with pytest.raises(DataListError, match="batch_size"):
        EpochBatches(np.ones(3, int), 4, True, 0)


def test_pk_batches_hold_p_speakers_with_k_different_utterances(caplog):
    labels = [0] * 5 + [1] * 4 + [2] * 2 + [3] * 9 + [4] * 4
    batches = PKBatches(labels, batch_size=8, sample_per_id=4, seed=3)
    assert "1 of 5 speakers" in caplog.text
    for batch in batches:
        assert len({draw.utterance for draw in batch}) == 8
        assert sorted(Counter(labels[draw.utterance] for draw in batch).values()) == [4, 4]
        assert all(labels[draw.utterance] != 2 for draw in batch)
    again = PKBatches(labels, 8, 4, 3)
    assert list(again) == list(batches)
    again.epoch = 1
    assert list(again) != list(batches)
    with pytest.raises(DataListError, match="P×K"):
        PKBatches([0, 0, 1], 8, 4, 0)
