"""Batches: every example once, reproducible, resumable."""

from collections import Counter

import numpy as np
import pytest

from mvector.data.samplers import BalancedBatches, EpochBatches, PKBatches, crops_per_utterance
from mvector.errors import ConfigError, DataListError


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


@pytest.mark.parametrize(
    ("examples", "batch_size", "ranks", "sizes"),
    [
        (7, 3, 1, [3, 2, 2]),
        (6, 3, 1, [3, 3]),
        (5, 2, 1, [2, 3]),  # halves of 2 and 1 would leave batch norm one utterance
        (3, 4, 1, [3]),
        (131, 64, 1, [64, 34, 33]),
        (131, 64, 2, [64, 34, 33]),
        (9, 4, 2, [4, 5]),
    ],
)
def test_what_is_left_after_full_batches_is_shared_with_the_one_before(examples, batch_size, ranks, sizes):
    batches = EpochBatches(np.ones(examples, int), batch_size, False, 0, ranks=ranks)
    assert [len(batch) for batch in batches.whole_batches()] == sizes
    assert len(batches) == len(sizes)


KINDS = {
    "every utterance once": lambda size, rank, ranks: EpochBatches(np.arange(1, 11), size, False, 4, rank, ranks),
    "balanced": lambda size, rank, ranks: BalancedBatches(
        [*"aaaaaaaaabbbbccccccddde" * 3], size, False, 4, rank, ranks
    ),
    "P×K": lambda size, rank, ranks: PKBatches([*"aaaabbbbbccccdddddd" * 3], size, 4, 4, rank, ranks),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_the_shares_of_the_ranks_make_up_the_batches_of_one_process(kind, ranks):
    """Nothing is lost or doubled, and every rank has as many as any other, or one more."""
    alone = KINDS[kind](16, 0, 1)
    shares = [KINDS[kind](16, rank, ranks) for rank in range(ranks)]
    for batches in (alone, *shares):
        batches.epoch, batches.first_batch = 3, 1
    whole = list(alone)
    assert len(whole) == len(alone) - 1 > 0
    for parts, batch in zip(zip(*shares, strict=True), whole, strict=True):
        assert [draw for part in parts for draw in part] == batch
        sizes = {len(part) for part in parts}
        assert max(sizes) - min(sizes) <= 1
        assert min(sizes) >= 2


def test_each_process_needs_two_utterances():
    with pytest.raises(ConfigError, match="batch_size must be at least 2 in each of the 4 processes"):
        EpochBatches(np.ones(50, int), 7, True, 0, 0, 4)
    with pytest.raises(DataListError, match="fewer than one batch"):
        EpochBatches(np.ones(7, int), 8, False, 0, 0, 4)


def test_balanced_batches_draw_every_speaker_equally_often():
    speakers = ["many"] * 30 + ["few"] * 2 + ["one"] + ["some"] * 7
    batches = BalancedBatches(speakers, 8, False, 1)
    for batches.epoch in range(3):
        draws = [draw for batch in batches for draw in batch]
        assert len(draws) == len(set(draws)) == 40
        assert Counter(speakers[draw.utterance] for draw in draws) == dict.fromkeys(("many", "few", "one", "some"), 10)
        for start in range(0, 40, 4):  # round by round
            assert len({speakers[draw.utterance] for draw in draws[start : start + 4]}) == 4
        for speaker, repeats in (("few", [0] * 2 + [1] * 2 + [2] * 2 + [3] * 2 + [4] * 2), ("one", list(range(10)))):
            assert sorted(draw.repeat for draw in draws if speakers[draw.utterance] == speaker) == repeats
        # All of a speaker's utterances come before any of them comes again.
        of_some = [draw for draw in draws if speakers[draw.utterance] == "some"]
        assert [draw.repeat for draw in of_some] == [0] * 7 + [1] * 3
        assert len({draw.utterance for draw in of_some}) == 7


def test_balanced_batches_give_the_odd_draws_to_other_speakers_in_every_epoch():
    batches = BalancedBatches([*"aaabbcd"], 7, False, 0)
    extra = set()
    for batches.epoch in range(20):
        counts = Counter("aaabbcd"[draw.utterance] for batch in batches for draw in batch)
        assert sorted(counts.values()) == [1, 2, 2, 2]
        extra.add(min(counts, key=counts.__getitem__))
    assert extra == set("abcd")


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


def speakers_of(counts: dict[str, int]) -> list[str]:
    """A list in which the utterances of the speakers alternate."""
    longest = max(counts.values())
    return [speaker for number in range(longest) for speaker, count in counts.items() if number < count]


def test_pk_batches_hold_p_speakers_with_k_different_utterances():
    speakers = speakers_of({"a": 5, "b": 4, "c": 2, "d": 9, "e": 4})
    batches = PKBatches(speakers, batch_size=8, sample_per_id=4, seed=3)
    drawn = list(batches)
    assert len(drawn) == len(batches) == 3  # 22 utterances of speakers with four or more
    for batch in drawn:
        assert len({draw.utterance for draw in batch}) == 8
        assert sorted(Counter(speakers[draw.utterance] for draw in batch).values()) == [4, 4]
        assert all(speakers[draw.utterance] != "c" for draw in batch)


def test_pk_batches_are_a_function_of_seed_and_epoch_and_go_on_inside_one():
    speakers = speakers_of({"a": 5, "b": 4, "d": 9, "e": 4})

    def order(seed: int, epoch: int, first: int = 0) -> list:
        batches = PKBatches(speakers, 8, 4, seed)
        batches.epoch, batches.first_batch = epoch, first
        return list(batches)

    assert order(3, 0) == order(3, 0)
    assert order(3, 0) != order(3, 1)
    assert order(3, 0) != order(4, 0)
    assert order(3, 1, first=2) == order(3, 1)[2:]
    # The same utterance in two batches of an epoch is cropped and augmented anew.
    draws = [draw for batch in order(3, 0) for draw in batch]
    assert len({draw.utterance for draw in draws}) < len(draws) == len(set(draws))


def test_every_speaker_with_enough_utterances_is_drawn_sooner_or_later():
    speakers = speakers_of({"a": 2, "b": 3, "c": 1, "d": 2})
    batches = PKBatches(speakers, 4, 2, 0)
    seen = set()
    for batches.epoch in range(20):
        seen |= {draw.utterance for batch in batches for draw in batch}
    assert seen == {index for index, speaker in enumerate(speakers) if speaker != "c"}


def test_speakers_with_too_few_utterances_are_counted_and_one_is_named_once(caplog):
    batches = PKBatches(speakers_of({"a": 5, "张三": 2, "b": 4, "c": 3, "d": 4}), 8, 4, 0)
    list(batches)
    (message,) = caplog.messages
    assert "2 of 5 speakers have fewer than 4 utterances" in message
    assert "dataset_conf.sample_per_id" in message
    assert message.endswith("such as 张三")


def test_nothing_is_said_where_everybody_has_enough(caplog):
    PKBatches(speakers_of({"a": 2, "b": 2}), 4, 2, 0)
    assert not caplog.messages


@pytest.mark.parametrize(
    ("counts", "batch_size", "sample_per_id", "message"),
    [
        ({"a": 5, "b": 5}, 4, 4, "dataset_conf.sampler.batch_size is 4, .* set batch_size to 8 or more"),
        (
            {"a": 5, "b": 4, "c": 1},
            12,
            4,
            "takes 3 speakers with 4 utterances each, but 2 of the 3 .* dataset_conf.sampler.batch_size to at most 8",
        ),
        ({"a": 5, "b": 3}, 8, 4, "but 1 of the 2 speakers .* lower dataset_conf.sample_per_id"),
    ],
)
def test_batches_that_cannot_be_made_name_the_key_to_set(counts, batch_size, sample_per_id, message):
    with pytest.raises(ConfigError, match=message):
        PKBatches(speakers_of(counts), batch_size, sample_per_id, 0)
