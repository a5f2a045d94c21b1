"""Drawn trials against a list of all pairs."""

from collections import Counter
from itertools import combinations, product

import pytest

from mvector.data.trial_maker import Trial, Voice, make_trials
from mvector.errors import DataListError


def voices(sizes: dict[str, int], group: str = "", female: str = "") -> list[Voice]:
    """`sizes[speaker]` recordings of each speaker; speakers in `female` are women, the others men."""
    return [
        Voice(f"{group}{speaker}/{n}.wav", speaker, "f" if speaker in female else "m", group)
        for speaker, count in sizes.items()
        for n in range(count)
    ]


def check(trials: list[Trial], tests: list[Voice], enroll: list[Voice] | None = None) -> tuple[int, int]:
    """Every trial is right, none is twice or of a recording with itself; returns (targets, non-targets)."""
    by_path = {voice.path: voice for voice in [*tests, *(enroll or [])]}
    for target, a, b in trials:
        assert target == (by_path[a].speaker == by_path[b].speaker)
        assert by_path[a].group == by_path[b].group
        assert a != b
        if enroll is not None:
            assert by_path[a] in enroll
            assert by_path[b] in tests
    assert len({frozenset((a, b)) for _, a, b in trials}) == len(trials)
    targets = sum(target for target, _, _ in trials)
    return targets, len(trials) - targets


SIZES = {"a": 1, "b": 2, "c": 5, "d": 9, "e": 4}


def test_all_pairs_are_found_when_all_are_asked_for() -> None:
    tests = voices(SIZES)
    pairs = [(x.speaker == y.speaker) for x, y in combinations(tests, 2)]
    assert check(make_trials(tests), tests) == (sum(pairs), len(pairs) - sum(pairs))


@pytest.mark.parametrize(("targets", "non_targets"), [(1, 1), (7, 100), (53, 157), (0, 10), (10, 0)])
def test_exact_numbers(targets: int, non_targets: int) -> None:
    tests = voices(SIZES)
    assert check(make_trials(tests, None, targets, non_targets), tests) == (targets, non_targets)


def test_defaults_on_a_larger_list() -> None:
    tests = voices({f"s{n}": 30 for n in range(40)})
    assert check(make_trials(tests), tests) == (10_000, 20_000)


def test_too_many_says_how_many_there_are() -> None:
    tests = voices({"a": 3, "b": 2})
    with pytest.raises(DataListError, match="5 target trials were asked for, but 4 can be made of 5 recordings of 2"):
        make_trials(tests, targets=5)
    with pytest.raises(DataListError, match="7 non-target trials were asked for, but 6 can be made"):
        make_trials(tests, non_targets=7)


def test_targets_are_spread_evenly_over_speakers() -> None:
    tests = voices({"few": 3, "many": 100, "more": 50, "some": 10})  # 3, 4950, 1225 and 45 pairs
    trials = make_trials(tests, targets=120, non_targets=0)
    count = Counter(a.split("/")[0] for _, a, _ in trials)
    assert count["few"] == 3
    assert sorted([count["many"], count["more"], count["some"]]) == [39, 39, 39]
    count = Counter(a.split("/")[0] for _, a, _ in make_trials(tests, targets=200, non_targets=0))
    assert count["few"] == 3
    assert count["some"] == 45
    assert count["many"] + count["more"] == 152
    assert abs(count["many"] - count["more"]) <= 1


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_same_sex_share(share: float) -> None:
    tests = voices(dict.fromkeys("abcdefgh", 6), female="abc")
    sex = {voice.path: voice.gender for voice in tests}
    trials = make_trials(tests, None, 20, 200, share)
    assert check(trials, tests) == (20, 200)
    assert sum(sex[a] == sex[b] for target, a, b in trials if not target) == round(200 * share)


def test_same_sex_share_takes_as_many_as_keep_it() -> None:
    tests = voices({"a": 2, "b": 2, "c": 2}, female="a")  # same sex: b-c, 4 pairs; different: 8
    trials = make_trials(tests, same_sex_share=0.5)
    assert check(trials, tests) == (3, 8)
    with pytest.raises(DataListError, match="5 same-sex non-target trials were asked for, but 4 can be made"):
        make_trials(tests, non_targets=10, same_sex_share=0.5)


def test_same_sex_share_needs_the_sex_of_everybody() -> None:
    tests = [*voices(SIZES), Voice("x.wav", "x")]
    with pytest.raises(DataListError, match="1 of 22 recordings is not known"):
        make_trials(tests, same_sex_share=0.5)
    with pytest.raises(DataListError, match="between 0 and 1"):
        make_trials(voices(SIZES), same_sex_share=50)


def test_corpora_do_not_meet() -> None:
    tests = voices(SIZES, "one-") + voices(SIZES, "two-")
    targets, non_targets = check(make_trials(tests), tests)
    one = [x.speaker == y.speaker for x, y in combinations(voices(SIZES), 2)]
    assert (targets, non_targets) == (2 * sum(one), 2 * (len(one) - sum(one)))


def test_two_sides() -> None:
    tests, enroll = voices({"a": 2, "b": 3, "x": 1}, female="a"), voices({"a": 4, "b": 1, "c": 2}, female="a")
    enroll = [Voice(f"enroll/{v.path}", v.speaker, v.gender) for v in enroll]
    pairs = [x.speaker == y.speaker for x, y in product(enroll, tests)]
    assert check(make_trials(tests, enroll), tests, enroll) == (sum(pairs), len(pairs) - sum(pairs))
    assert check(make_trials(tests, enroll, 5, 9, 0.5), tests, enroll) == (5, 9)


def test_seed_decides_and_nothing_else() -> None:
    tests = voices({f"s{n}": 5 for n in range(20)})
    assert make_trials(tests, None, 50, 50, seed=1) == make_trials(tests, None, 50, 50, seed=1)
    assert make_trials(tests, None, 50, 50, seed=1) != make_trials(tests, None, 50, 50, seed=2)


def test_rare_pairs_of_two_speakers() -> None:
    tests = voices({"talks a lot": 400, "once": 1})
    assert check(make_trials(tests, None, 10, 150), tests) == (10, 150)


def test_recording_that_is_listed_twice_counts_once() -> None:
    tests = voices({"a": 2, "b": 1})
    assert check(make_trials([*tests, *tests]), tests) == (1, 2)


def test_random_order() -> None:
    trials = make_trials(voices({f"s{n}": 5 for n in range(20)}), None, 100, 100)
    first = sum(target for target, _, _ in trials[:100])
    assert 30 < first < 70
