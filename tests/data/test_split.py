"""Dividing recordings: nobody in two parts, or everybody in all."""

from pathlib import Path

import pytest

from mvector.data.corpora.base import Recording
from mvector.data.split import Parts, speakers_of, split_by_speaker, split_within_speakers
from mvector.errors import DataListError


def recordings(speakers: int, each: int, split: str | None = None, prefix: str = "s") -> list[Recording]:
    return [
        Recording(Path(f"{prefix}{s:03d}/{n}.wav"), f"{prefix}{s:03d}", "mf"[s % 2], split)
        for s in range(speakers)
        for n in range(each)
    ]


def all_of(parts: Parts) -> list[Recording]:
    return [recording for part in parts.values() for recording in part]


def test_speakers_are_in_one_part_only_and_nothing_is_lost() -> None:
    everything = recordings(100, 5)
    parts = split_by_speaker(everything)
    sets = [speakers_of(parts[name]) for name in ("train", "dev", "test")]
    assert [len(s) for s in sets] == [90, 5, 5]  # 5 % of the speakers each
    assert len(set().union(*sets)) == 100
    assert {r.path for r in all_of(parts)} == {r.path for r in everything}
    assert len(all_of(parts)) == len(everything)


def test_defaults_are_between_2_and_50_speakers() -> None:
    assert len(speakers_of(split_by_speaker(recordings(8, 3))["dev"])) == 2
    assert len(speakers_of(split_by_speaker(recordings(2000, 2))["test"])) == 50


def test_number_share_and_none() -> None:
    parts = split_by_speaker(recordings(40, 3), dev_speakers=0.25, test_speakers=7)
    assert [len(speakers_of(parts[name])) for name in ("train", "dev", "test")] == [23, 10, 7]
    parts = split_by_speaker(recordings(40, 3), dev_speakers=0, test_speakers=0)
    assert [len(speakers_of(parts[name])) for name in ("train", "dev", "test")] == [40, 0, 0]


def test_seed_decides_and_the_order_of_the_files_does_not() -> None:
    everything = recordings(60, 3)
    chosen = [speakers_of(split_by_speaker(everything, seed=seed)["dev"]) for seed in (0, 1)]
    assert chosen[0] == speakers_of(split_by_speaker(everything[::-1], seed=0)["dev"])
    assert chosen[0] != chosen[1]


def test_official_parts_are_kept() -> None:
    everything = recordings(20, 3, "train", "a") + recordings(4, 3, "dev", "b") + recordings(5, 3, "test", "c")
    parts = split_by_speaker(everything)
    assert {name: len(speakers_of(parts[name])) for name in parts} == {"train": 20, "dev": 4, "enroll": 0, "test": 5}
    parts = split_by_speaker(everything, dev_speakers=3)  # drawn in addition
    assert {name: len(speakers_of(parts[name])) for name in parts} == {"train": 17, "dev": 7, "enroll": 0, "test": 5}


def test_missing_development_part_is_drawn_from_training() -> None:
    parts = split_by_speaker(recordings(50, 3, "train", "a") + recordings(5, 3, "test", "c"))
    assert speakers_of(parts["test"]) == {f"c{n:03d}" for n in range(5)}
    assert len(speakers_of(parts["dev"])) == 2
    assert all(name.startswith("a") for name in speakers_of(parts["dev"]))


def test_test_speakers_never_stay_in_training() -> None:
    both = [*recordings(20, 3, "train"), Recording(Path("x.wav"), "s003", None, "test")]
    parts = split_by_speaker(both, dev_speakers=0)
    assert "s003" not in speakers_of(parts["train"])
    assert speakers_of(parts["test"]) == {"s003"}


def test_only_test_speakers() -> None:
    parts = split_by_speaker(recordings(5, 3, "test"))
    assert not parts["train"]
    assert not parts["dev"]


def test_speakers_with_one_recording_are_not_drawn() -> None:
    parts = split_by_speaker(recordings(30, 1, None, "once") + recordings(4, 2, None, "twice"), 2, 2)
    assert speakers_of(parts["dev"]) | speakers_of(parts["test"]) == {f"twice{n:03d}" for n in range(4)}


def test_too_few_speakers_says_what_to_do() -> None:
    with pytest.raises(DataListError, match="2 development and 2 test speakers cannot be taken from 5") as error:
        split_by_speaker(recordings(5, 3))
    assert "--split identification" in str(error.value)


def test_within_speakers_everybody_is_in_every_part() -> None:
    everything = recordings(6, 20)
    parts = split_within_speakers(everything, seed=3)
    assert [len(parts[name]) for name in ("train", "dev", "test")] == [96, 12, 12]
    assert speakers_of(parts["train"]) == speakers_of(parts["dev"]) == speakers_of(parts["test"])
    assert sorted(all_of(parts)) == sorted(everything)


def test_within_speakers_with_few_recordings() -> None:
    parts = split_within_speakers(recordings(2, 2, None, "few") + recordings(2, 3, None, "some"))
    assert speakers_of(parts["train"]) == {"few000", "few001", "some000", "some001"}
    assert speakers_of(parts["test"]) == {"some000", "some001"}
    with pytest.raises(DataListError, match="no speaker has three recordings"):
        split_within_speakers(recordings(5, 2))
