"""The worst pairs and speakers against a full sort and a plain count."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from mvector.data.lists import Utterance
from mvector.data.trials import Trials
from mvector.report import worst_cases
from mvector.report.worst_cases import file_of


def greedy(trials, scored, of_targets):
    """All trials of a kind sorted, the worst first, then without repetition."""
    kind = [n for n in range(len(scored.scores)) if scored.labels[n] == of_targets]
    kind.sort(key=lambda n: scored.scores[n] if of_targets else -scored.scores[n])
    used, pairs, chosen = set(), Counter(), []
    for n in kind:
        files = {trials.enroll_rows[scored.enroll[n]][0], trials.test_rows[scored.test[n]]}
        people = frozenset((trials.enroll_speakers[scored.enroll[n]], trials.test_speakers[scored.test[n]]))
        if used & files or pairs[people] == 2:
            continue
        used |= files
        pairs[people] += 1
        chosen.append(n)
    return chosen[:10]


@pytest.mark.parametrize("seed", [0, 1])
def test_pairs_are_those_of_a_full_sort(make_trials, seed):
    trials, scored = make_trials(people=12, each=5, seed=seed)
    worst = worst_cases(scored, trials, threshold=1.0)
    for pairs, of_targets in ((worst.false_accepts, False), (worst.false_rejects, True)):
        expected = greedy(trials, scored, of_targets)
        assert len(expected) == 10
        assert [pair.score for pair in pairs] == [float(scored.scores[n]) for n in expected]
        for pair, n in zip(pairs, expected, strict=True):
            assert pair.enroll_files == (trials.utterances[scored.enroll[n]].path,)
            assert pair.test_file == trials.utterances[scored.test[n]].path
            assert pair.enroll_speaker == trials.utterances[scored.enroll[n]].speaker
            assert pair.is_target is of_targets
            assert pair.is_error is bool((scored.scores[n] > 1.0) != of_targets)


def test_one_bad_recording_does_not_fill_the_list(make_trials):
    trials, scored = make_trials(people=40, each=6, separation=5)
    noise = trials.utterances[17].path
    scored.scores[((scored.enroll == 17) | (scored.test == 17)) & ~scored.labels] += 20  # like everybody: the worst 234
    pairs = worst_cases(scored, trials, 2.0).false_accepts
    assert len(pairs) == 10
    assert sum(noise in (*pair.enroll_files, pair.test_file) for pair in pairs) == 1
    files = [file for pair in pairs for file in (*pair.enroll_files, pair.test_file)]
    assert len(set(files)) == len(files)


def test_two_names_of_one_person_do_not_fill_the_list(make_trials):
    trials, scored = make_trials(people=20, each=12)
    speakers = trials.enroll_speakers
    both = {3, 4}
    chosen = [{speakers[e], speakers[t]} == both for e, t in zip(scored.enroll, scored.test, strict=True)]
    scored.scores[chosen] += 20
    pairs = worst_cases(scored, trials, 2.0).false_accepts
    assert [{p.enroll_speaker, p.test_speaker} == {"p03", "p04"} for p in pairs] == [True] * 2 + [False] * 8


def one_sided(seed=0):
    """10 voices of two recordings each against 40 tests by the same people, each voice against each test."""
    rng = np.random.default_rng(seed)
    utterances = [Utterance(f"e{n}.wav", "") for n in range(20)] + [Utterance(f"t{n}.wav", "") for n in range(400)]
    trials = Trials(
        utterances=utterances,
        enroll_rows=[(2 * n, 2 * n + 1) for n in range(10)],
        test_rows=np.arange(20, 420),
        enroll_speakers=np.arange(100, 110),
        test_speakers=100 + np.arange(400) % 10,
    )
    enroll, test = (side.ravel() for side in np.indices((10, 400)))
    labels = trials.enroll_speakers[enroll] == trials.test_speakers[test]
    return trials, SimpleNamespace(
        scores=rng.normal(size=4000) + 2 * labels, labels=labels, counts=None, enroll=enroll, test=test
    )


def test_goats_lambs_and_wolves_by_counting():
    trials, scored = one_sided()
    worst = worst_cases(scored, trials, threshold=1.2)
    missed, wrong_enrolled, wrong_tested = Counter(), Counter(), Counter()
    for score, label, e, t in zip(scored.scores, scored.labels, scored.enroll, scored.test, strict=True):
        if label and score <= 1.2:
            missed[f"e{2 * e}.wav"] += 1
        if not label and score > 1.2:
            wrong_enrolled[f"e{2 * e}.wav"] += 1
            wrong_tested[f"e{2 * (t % 10)}.wav"] += 1
    # Everybody has 40 target trials and, on each side, 360 non-target trials.
    for speakers, counted, of in (
        (worst.goats, missed, 40),
        (worst.lambs, wrong_enrolled, 360),
        (worst.wolves, wrong_tested, 360),
    ):
        assert {s.speaker: (s.errors, s.trials) for s in speakers} == {name: (n, of) for name, n in counted.items()}
        assert [s.rate for s in speakers] == sorted((n / of for n in counted.values()), reverse=True)
    highest = np.where(scored.labels, -9, scored.scores).argmax()
    voice = trials.enroll_rows[scored.enroll[highest]]
    assert worst.false_accepts[0].enroll_files == tuple(f"e{n}.wav" for n in voice)


def test_within_one_list_both_sides_count(make_trials):
    trials, scored = make_trials(people=8, each=6)
    worst = worst_cases(scored, trials, threshold=1.0)
    counted = Counter()
    for score, label, e, t in zip(scored.scores, scored.labels, scored.enroll, scored.test, strict=True):
        if not label and score > 1.0:
            counted.update((trials.utterances[e].speaker, trials.utterances[t].speaker))
    assert {s.speaker: (s.errors, s.trials) for s in worst.lambs} == {name: (n, 6 * 42) for name, n in counted.items()}
    assert worst.wolves == []


def test_nobody_without_an_error_and_nobody_of_few_trials(make_trials):
    trials, scored = make_trials(people=6, each=3, separation=50)  # 3 target trials each
    worst = worst_cases(scored, trials, threshold=20.0)
    assert (worst.goats, worst.lambs) == ([], [])
    assert worst_cases(scored, trials, threshold=1000.0).goats == []  # all rejected, but of 3 trials only


def test_scores_in_bins_have_no_worst_cases(trials_and_scores):
    binned = SimpleNamespace(
        scores=np.zeros(2), labels=np.array([True, False]), counts=np.ones(2), enroll=None, test=None
    )
    assert worst_cases(binned, trials_and_scores[0], 0.0) is None


def test_a_segment_is_named_with_its_seconds():
    assert file_of(Utterance("a.wav", "")) == "a.wav"
    assert file_of(Utterance("a.wav", "", 1.5, 4.0)) == "a.wav [1.5–4 s]"
    assert file_of(Utterance("a.wav", "", None, 4.0)) == "a.wav [0–4 s]"
    assert file_of(Utterance("a.wav", "", 2.0)) == "a.wav [2– s]"
