"""Identification against the definitions person by person, with ties, several entries of a person and strangers."""

import numpy as np
import pytest

from mvector.errors import MVectorError
from mvector.metrics import DirPoint, closed_set_accuracy, dir_at_far, identification_metrics


def made_up(seed, probes=150, people=12, strangers=0, ties=False):
    """Scores of probes against a gallery with one to three entries of each person; (scores, probes, gallery)."""
    rng = np.random.default_rng(seed)
    gallery = rng.permutation(np.repeat(np.arange(people), rng.integers(1, 4, people)))
    probe = np.concatenate([rng.integers(0, people, probes), np.full(strangers, people)])
    scores = rng.normal(size=(len(probe), len(gallery))) + 2 * (probe[:, None] == gallery[None, :])
    return (np.round(scores) if ties else scores), rng.permutation(probe), gallery


def best_of_each_person(row, gallery):
    return {person: max(s for s, g in zip(row, gallery, strict=True) if g == person) for person in set(gallery)}


def brute_rank(row, person, gallery):
    best = best_of_each_person(row, gallery)
    return 1 + sum(best[other] >= best[person] for other in best if other != person)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_closed_set_agrees_with_brute_force(seed, ties, monkeypatch):
    monkeypatch.setattr("mvector.metrics.identification.BLOCK_SCORES", 100)  # a few rows at a time
    scores, probe, gallery = made_up(seed, ties=ties)
    ranks = [brute_rank(row, person, gallery.tolist()) for row, person in zip(scores.tolist(), probe, strict=True)]
    found = closed_set_accuracy(scores, probe, gallery, ranks=(1, 2, 5, 12))
    assert found == {k: pytest.approx(np.mean([rank <= k for rank in ranks])) for k in (1, 2, 5, 12)}
    assert found[12] == 1
    assert set(closed_set_accuracy(scores, probe, gallery)) == {1, 5}


def test_a_tie_is_no_hit_whatever_the_order():
    assert closed_set_accuracy([[0.5, 0.5, 0.1]], ["a"], ["a", "b", "c"]) == {1: 0.0, 5: 1.0}
    assert closed_set_accuracy([[0.5, 0.5, 0.1]], ["b"], ["a", "b", "c"]) == {1: 0.0, 5: 1.0}
    assert closed_set_accuracy([[0.5, 0.5, 0.1]], ["a"], ["a", "a", "c"], [1]) == {1: 1.0}  # a tie with itself
    constant = closed_set_accuracy(np.zeros((4, 10)), np.arange(4), np.arange(10))
    assert constant == {1: 0.0, 5: 0.0}
    scores, probe, gallery = made_up(0, ties=True)
    order = np.random.default_rng(9).permutation(len(gallery))
    assert closed_set_accuracy(scores[:, order], probe, gallery[order]) == closed_set_accuracy(scores, probe, gallery)


def brute_dir(scores, probe, gallery, far, rank):
    known = [person in set(gallery) for person in probe]
    tops = [max(row) for row, is_known in zip(scores, known, strict=True) if not is_known]
    within = [t for t in sorted(tops) if sum(top > t for top in tops) / len(tops) <= far]
    threshold = within[0]
    hits = [
        best_of_each_person(row, gallery)[person] > threshold and brute_rank(row, person, gallery) <= rank
        for row, person, is_known in zip(scores, probe, known, strict=True)
        if is_known
    ]
    return sum(hits) / len(hits), threshold


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("rank", [1, 3])
def test_open_set_agrees_with_brute_force(rank, ties):
    scores, probe, gallery = made_up(7, probes=200, strangers=310, ties=ties)
    for far in (0.1, 0.25, 0.5):
        rate, threshold = brute_dir(scores.tolist(), probe.tolist(), gallery.tolist(), far, rank)
        found = dir_at_far(scores, probe, gallery, far, rank)
        assert found == DirPoint(far, rank, pytest.approx(rate), threshold, True, round(30 / far))
        assert 0 < rate < 1 or ties


def test_open_set_at_the_edge_of_what_is_measurable():
    scores, probe, gallery = made_up(0, strangers=299)
    assert dir_at_far(scores, probe, gallery, 0.1) == DirPoint(0.1, 1, None, None, False, 300)
    # 300 strangers scoring 0 … 299 and a FAR of 0.1: thirty may pass, so the threshold is the 31st score from above.
    stranger = np.arange(300.0)[:, None]
    scores = np.concatenate([stranger, [[269.0], [269.5]]])
    found = dir_at_far(scores, ["?"] * 300 + ["a", "a"], ["a"], 0.1)
    assert found == DirPoint(0.1, 1, 0.5, 269.0, True, 300)


def test_ids_may_be_of_any_kind():
    scores, probe, gallery = made_up(1, strangers=310)
    names = np.array([f"id{number:05d}" for number in range(13)])
    for numbers in (names, np.arange(13) * -7, np.arange(13, dtype=np.uint8)):
        assert dir_at_far(scores, numbers[probe], numbers[gallery], 0.1) == dir_at_far(scores, probe, gallery, 0.1)


def test_bad_input_gets_a_sentence():
    scores, probe, gallery = made_up(2, strangers=3)
    with pytest.raises(MVectorError, match="3 of 153 probes are of people who are not in the gallery"):
        closed_set_accuracy(scores, probe, gallery)
    with pytest.raises(MVectorError, match="ranks count from 1, found 0"):
        closed_set_accuracy(scores, probe, gallery, [0, 1])
    with pytest.raises(MVectorError, match="ranks count from 1"):
        dir_at_far(scores, probe, gallery, 0.1, rank=0)
    with pytest.raises(MVectorError, match="a FAR is a fraction"):
        dir_at_far(scores, probe, gallery, 0.0)
    with pytest.raises(MVectorError, match="found 150 and 0"):
        dir_at_far(scores[:150], probe[:150].clip(0, 11), gallery, 0.1)
    with pytest.raises(MVectorError, match="found 0 and 153"):
        dir_at_far(scores, probe + 100, gallery, 0.1)
    with pytest.raises(MVectorError, match=r"scores \[M, N\]"):
        closed_set_accuracy(scores.T, probe, gallery)
    with pytest.raises(MVectorError, match="1 of 2 scores are NaN"):
        closed_set_accuracy([[np.nan, 1.0]], [0], [0, 1])


def test_all_at_once_agrees_with_one_by_one():
    scores, probe, gallery = made_up(3, probes=400, strangers=3200)
    found = identification_metrics(scores, probe, gallery)
    enrolled = np.isin(probe, gallery)
    assert (found.people, found.probes, found.strangers) == (12, 400, 3200)
    assert found.top == pytest.approx(closed_set_accuracy(scores[enrolled], probe[enrolled], gallery))
    assert found.dir == [dir_at_far(scores, probe, gallery, far) for far in (0.01, 0.001)]
    assert found.dir[0].measurable
    assert not found.dir[1].measurable
    assert [line.partition(" ")[0] for line in found.lines()] == [
        "identification",
        "top-1",
        "top-5",
        "DIR",
        "DIR",
        "others:",
    ]
    assert "needs 30,000 recordings of others" in found.lines()[-2]


def test_intervals_are_those_of_speakers_and_not_of_probes():
    """Half of the speakers are always found and half never: so many probes of so few people say little."""
    people, each = 40, 50
    probe = np.repeat(np.arange(people), each)
    scores = np.where(probe[:, None] == np.arange(people)[None, :], np.where(probe % 2, 1.0, -1.0)[:, None], 0.0)
    found = identification_metrics(scores, probe, np.arange(people))
    low, high = found.intervals_95["top_1"]
    assert found.top[1] == 0.5
    expected = 1.96 * np.sqrt(0.25 / people)  # the binomial spread of 40 people, not of 2,000 probes
    assert high - 0.5 == pytest.approx(expected, rel=0.25)
    assert 0.5 - low == pytest.approx(expected, rel=0.25)
    assert found.dir == []


def test_the_dir_interval_holds_its_rate_and_has_width():
    scores, probe, gallery = made_up(5, probes=600, people=30, strangers=0)
    rng = np.random.default_rng(0)
    probe = np.concatenate([probe, 100 + rng.integers(0, 40, 3500)])  # forty strangers
    scores = np.concatenate([scores, rng.normal(size=(3500, scores.shape[1]))])
    found = identification_metrics(scores, probe, gallery)
    low, high = found.intervals_95["dir_0.01"]
    assert low < found.dir[0].rate < high
    assert high - low > 0.01


def test_nobody_enrolled_among_the_probes():
    with pytest.raises(MVectorError, match="none of the recordings is of one"):
        identification_metrics(np.zeros((3, 2)), [7, 8, 9], [1, 2])
