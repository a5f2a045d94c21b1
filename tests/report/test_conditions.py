"""Metrics per condition against a plain loop over the trials."""

from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import pytest

from mvector.data.lists import Utterance
from mvector.data.trials import Trials
from mvector.metrics import eer
from mvector.report import condition_rows, duration_column, snr_column
from mvector.report.metadata import Column


def rows_of(column, scored, trials, threshold=None):
    return {row.value: row for row in condition_rows(scored, trials, [column], threshold)}


def brute_force(scored, trials, cell_of):
    cells = defaultdict(list)
    for trial, (e, t) in enumerate(zip(scored.enroll, scored.test, strict=True)):
        cell = cell_of(trials.enroll_rows[e][0], trials.test_rows[t])
        if cell is not None:
            cells[cell].append(trial)
    return cells


def test_values_pair_by_pair(trials_and_scores):
    trials, scored = trials_and_scores
    genders = [("f", "m", "")[(n // 6) % 3] for n in range(len(trials.utterances))]

    def cell(one, other):
        if not genders[one] or not genders[other]:
            return None
        return f"{genders[one]} – {genders[one]}" if genders[one] == genders[other] else "different"

    expected = brute_force(scored, trials, cell)
    rows = rows_of(Column("gender", texts=tuple(genders)), scored, trials, threshold=1.5)
    assert list(rows) == ["f – f", "m – m", "different"]
    for value, members in expected.items():
        row, scores, labels = rows[value], scored.scores[members], scored.labels[members]
        assert (row.targets, row.non_targets, row.n) == (labels.sum(), (~labels).sum(), len(members))
        assert row.false_rejects == sum(s <= 1.5 for s in scores[labels])
        assert row.false_accepts == sum(s > 1.5 for s in scores[~labels])
        if value == "different":
            assert row.metrics is None  # nobody is of two genders: there are no target trials
            assert row.people == 16
        else:
            assert (row.metrics.eer, row.metrics.threshold) == eer(scores, labels)
            assert row.people == row.metrics.speakers == 8
            assert row.metrics.interval_too_narrow


def test_durations_count_with_the_shorter_side(trials_and_scores):
    trials, scored = trials_and_scores
    seconds = np.random.default_rng(0).choice([1.0, 2.0, 3.9, 4.0, 9.0, np.nan], len(trials.utterances))

    def cell(one, other):
        shorter = min(seconds[one], seconds[other])
        if np.isnan(seconds[one]) or np.isnan(seconds[other]):
            return None
        return "< 2 s" if shorter < 2 else "2 – 4 s" if shorter < 4 else "4 – 8 s" if shorter < 8 else "≥ 8 s"

    expected = brute_force(scored, trials, cell)
    rows = rows_of(duration_column(seconds), scored, trials)
    assert {value: row.n for value, row in rows.items()} == {value: len(members) for value, members in expected.items()}
    assert rows["< 2 s"].metrics.eer == eer(scored.scores[expected["< 2 s"]], scored.labels[expected["< 2 s"]])[0]
    assert rows["< 2 s"].false_accepts is None  # no threshold was given


def test_amounts_without_a_worse_side_go_by_pairs(trials_and_scores):
    trials, scored = trials_and_scores
    ages = np.arange(len(trials.utterances)) // 6 * 1.0
    rows = rows_of(Column("age", numbers=ages, edges=(6.0, 12.0)), scored, trials)
    assert list(rows) == ["< 6", "6 – 12", "≥ 12", "different"]
    assert rows["< 6"].people == 6
    assert sum(row.n for row in rows.values()) == len(scored.scores)


def test_a_column_of_many_values_is_same_or_different(trials_and_scores):
    trials, scored = trials_and_scores
    sessions = tuple(f"s{n // 3}" for n in range(len(trials.utterances)))
    rows = rows_of(Column("session", texts=sessions), scored, trials)
    assert list(rows) == ["same", "different"]
    assert rows["same"].n == 48 * 3  # 48 sessions of 3 recordings
    assert rows["same"].metrics is None  # all of them target trials


@pytest.mark.parametrize(("people", "has_metrics"), [(4, False), (5, True)])
def test_too_few_people_give_no_number(trials_and_scores, people, has_metrics):
    trials, scored = trials_and_scores
    texts = tuple("x" if n < 6 * people else "" for n in range(len(trials.utterances)))
    row = rows_of(Column("c", texts=texts), scored, trials)["x – x"]
    assert row.people == people
    assert min(row.targets, row.non_targets) >= 30
    assert (row.metrics is not None) is has_metrics


def test_a_voice_of_several_recordings():
    trials = Trials(
        utterances=[Utterance(f"{n}.wav", "") for n in range(5)],
        enroll_rows=[(0, 1), (2, 3), (0, 2)],
        test_rows=np.array([4]),
        enroll_speakers=np.array([0, 1, 2]),
        test_speakers=np.array([0]),
    )
    scored = SimpleNamespace(
        scores=np.array([0.9, 0.1, 0.2]), labels=np.array([True, False, False]), counts=None,
        enroll=np.array([0, 1, 2]), test=np.zeros(3, int),
    )  # fmt: skip
    durations = rows_of(duration_column([1.0, 1.5, 1.0, 0.5, 9.0]), scored, trials)
    assert {value: row.n for value, row in durations.items()} == {"< 2 s": 1, "2 – 4 s": 2}  # 1.5, 2.0 and 2.5 s
    noise = rows_of(snr_column([0.0, 20.0, 0.0, 4.0, 30.0]), scored, trials)
    assert {value: row.n for value, row in noise.items()} == {"< 5 dB": 2, "5 – 15 dB": 1}  # means 10, 2 and 0
    rooms = rows_of(Column("room", texts=("a", "a", "b", "b", "a")), scored, trials)
    assert {value: row.n for value, row in rooms.items()} == {"a – a": 1, "different": 1}  # the third voice is of both


def test_scores_in_bins_have_no_conditions(trials_and_scores):
    trials, _ = trials_and_scores
    binned = SimpleNamespace(
        scores=np.zeros(2), labels=np.array([True, False]), counts=np.ones(2), enroll=None, test=None
    )
    assert condition_rows(binned, trials, [duration_column(np.ones(len(trials.utterances)))]) == []
