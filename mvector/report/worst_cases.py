"""Where a person should go and listen: the worst pairs of recordings, and the speakers that errors gather at.

The animals are those of Doddington et al., "Sheep, goats, lambs and wolves" (ICSLP 1998): goats are often rejected as
themselves, lambs are easily imitated (others are accepted as them), wolves are good at being accepted as others.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mvector.data.lists import Utterance
from mvector.report.conditions import ScoredTrials, TrialSides

MOST_PAIRS = 10
MOST_SPEAKERS = 10
# One bad recording, or two names of one person, would otherwise fill a list by itself.
MOST_PAIRS_OF_A_RECORDING = 1
MOST_PAIRS_OF_TWO_SPEAKERS = 2
# A share of fewer trials than this says nothing about a speaker.
FEWEST_TARGETS, FEWEST_NONTARGETS = 5, 30
# How many of the worst trials are looked through for such a list, at first and at most.
FIRST_CANDIDATES, MOST_CANDIDATES = 200, 100_000


class NamedTrials(TrialSides, Protocol):
    @property
    def utterances(self) -> Sequence[Utterance]: ...
    @property
    def enroll_names(self) -> list[str] | None: ...
    @property
    def test_names(self) -> list[str] | None: ...


@dataclass(frozen=True)
class WorstPair:
    """A trial with its files; `is_error` at the report's threshold."""

    score: float
    is_target: bool
    enroll_files: tuple[str, ...]
    test_file: str
    enroll_speaker: str
    test_speaker: str
    is_error: bool


@dataclass(frozen=True)
class WorstSpeaker:
    """`errors` of `trials` of a kind ('goat', 'lamb' or 'wolf', see above) at the threshold; one recording to hear."""

    kind: str
    speaker: str
    errors: int
    trials: int
    file: str

    @property
    def rate(self) -> float:
        return self.errors / self.trials


@dataclass(frozen=True)
class WorstCases:
    """The worst first. Where everything is compared within one list, lambs are at the same time wolves."""

    threshold: float
    false_accepts: list[WorstPair]  # non-target pairs with the highest scores
    false_rejects: list[WorstPair]  # target pairs with the lowest scores
    goats: list[WorstSpeaker]
    lambs: list[WorstSpeaker]
    wolves: list[WorstSpeaker]


def worst_cases(scored: ScoredTrials, trials: NamedTrials, threshold: float) -> WorstCases | None:
    """The worst pairs and speakers; None when the scores are counted in bins and no longer belong to recordings."""
    if scored.enroll is None or scored.test is None:
        return None
    people = _People(trials)
    goats, lambs, wolves = _worst_speakers(scored, trials, people, threshold)
    return WorstCases(
        threshold=threshold,
        false_accepts=_worst_pairs(scored, trials, people, threshold, of_targets=False),
        false_rejects=_worst_pairs(scored, trials, people, threshold, of_targets=True),
        goats=goats,
        lambs=lambs,
        wolves=wolves,
    )


class _People:
    """The persons of the trials as 0 … P-1: of each enrolled voice [N], of each test recording [M]; their names."""

    def __init__(self, trials: NamedTrials) -> None:
        n_enroll = len(trials.enroll_speakers)
        _, number = np.unique(np.concatenate([trials.enroll_speakers, trials.test_speakers]), return_inverse=True)
        self.of_enroll, self.of_test = number[:n_enroll], number[n_enroll:]
        self.files: dict[int, str] = {}
        self.names: dict[int, str] = {}
        rows = [members[0] for members in trials.enroll_rows] + trials.test_rows.tolist()
        for person, row in zip(number.tolist(), rows, strict=True):
            utterance = trials.utterances[row]
            self.files.setdefault(person, file_of(utterance))
            if utterance.speaker:
                self.names.setdefault(person, utterance.speaker)
        for person, name in zip(self.of_enroll.tolist(), trials.enroll_names or (), strict=False):
            self.names.setdefault(person, name)

    def name(self, person: int) -> str:
        """A trial list names no speakers: then a person is called by the enrolled voice, or the first recording."""
        return self.names.get(person) or self.files[person]


def file_of(utterance: Utterance) -> str:
    """The recording, with the seconds that are used of it: `a.wav` or `a.wav [1.5–4 s]`."""
    if utterance.start_s is None and utterance.end_s is None:
        return utterance.path
    end = "" if utterance.end_s is None else f"{utterance.end_s:g}"
    return f"{utterance.path} [{utterance.start_s or 0:g}–{end} s]"


def _worst_pairs(
    scored: ScoredTrials, trials: NamedTrials, people: _People, threshold: float, of_targets: bool
) -> list[WorstPair]:
    assert scored.enroll is not None
    assert scored.test is not None
    of_kind = np.flatnonzero(scored.labels == of_targets)
    badness = -scored.scores[of_kind] if of_targets else scored.scores[of_kind]
    candidates = FIRST_CANDIDATES
    while True:
        # Only the worst are sorted: first few, and more where repetitions leave the list short.
        taken = min(candidates, len(of_kind))
        worst = np.argpartition(badness, len(of_kind) - taken)[len(of_kind) - taken :]
        worst = of_kind[worst[np.lexsort((worst, -badness[worst]))]]
        chosen = _without_repetition(worst.tolist(), scored.enroll, scored.test, trials, people)
        if len(chosen) == MOST_PAIRS or taken == len(of_kind) or candidates >= MOST_CANDIDATES:
            break
        candidates *= 8
    return [
        WorstPair(
            score=float(scored.scores[trial]),
            is_target=of_targets,
            enroll_files=tuple(file_of(trials.utterances[row]) for row in trials.enroll_rows[scored.enroll[trial]]),
            test_file=file_of(trials.utterances[trials.test_rows[scored.test[trial]]]),
            enroll_speaker=people.name(people.of_enroll[scored.enroll[trial]]),
            test_speaker=people.name(people.of_test[scored.test[trial]]),
            is_error=bool((scored.scores[trial] > np.float64(threshold)) != of_targets),
        )
        for trial in chosen
    ]


def _without_repetition(
    ordered: Sequence[int], enroll: NDArray[Any], test: NDArray[Any], trials: TrialSides, people: _People
) -> list[int]:
    """The first MOST_PAIRS of the ordered trials in which no recording and no two people stand too often."""
    recordings: Counter[int] = Counter()
    pairs: Counter[tuple[int, int]] = Counter()
    chosen = []
    for trial in ordered:
        rows = {*trials.enroll_rows[enroll[trial]], int(trials.test_rows[test[trial]])}
        one, other = int(people.of_enroll[enroll[trial]]), int(people.of_test[test[trial]])
        pair = (min(one, other), max(one, other))
        if pairs[pair] == MOST_PAIRS_OF_TWO_SPEAKERS or any(recordings[r] == MOST_PAIRS_OF_A_RECORDING for r in rows):
            continue
        chosen.append(trial)
        if len(chosen) == MOST_PAIRS:
            break
        recordings.update(rows)
        pairs[pair] += 1
    return chosen


def _worst_speakers(
    scored: ScoredTrials, trials: NamedTrials, people: _People, threshold: float
) -> tuple[list[WorstSpeaker], list[WorstSpeaker], list[WorstSpeaker]]:
    """(goats, lambs, wolves): the highest shares of errors among people with trials enough; nobody without an error."""
    n_people = len(people.files)
    accepted = scored.scores > np.float64(threshold)
    target = scored.labels
    enroll, test = people.of_enroll[scored.enroll], people.of_test[scored.test]

    def count(person: NDArray[Any], chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(person[chosen], minlength=n_people)

    def worst(kind: str, errors_and_trials: NDArray[np.int64], fewest: int) -> list[WorstSpeaker]:
        errors, of = errors_and_trials
        rate = np.where((of >= fewest) & (errors > 0), errors / np.maximum(of, 1), 0.0)
        order = np.lexsort((-errors, -rate))[:MOST_SPEAKERS]
        return [
            WorstSpeaker(kind, people.name(p), int(errors[p]), int(of[p]), people.files[p])
            for p in order.tolist()
            if rate[p] > 0
        ]

    missed, falsely_accepted = target & ~accepted, ~target & accepted
    of_targets = np.array([count(enroll, missed), count(enroll, target)])
    goats = worst("goat", of_targets, FEWEST_TARGETS)
    as_enrolled = np.array([count(enroll, falsely_accepted), count(enroll, ~target)])
    as_tested = np.array([count(test, falsely_accepted), count(test, ~target)])
    if _within_one_list(trials):
        # Which of two recordings is the enrolled one is then an accident of the order of the list.
        return goats, worst("lamb", as_enrolled + as_tested, FEWEST_NONTARGETS), []
    return (
        goats,
        worst("lamb", as_enrolled, FEWEST_NONTARGETS),
        worst("wolf", as_tested, FEWEST_NONTARGETS),
    )


def _within_one_list(trials: TrialSides) -> bool:
    """Whether the enrolled recordings are the test recordings."""
    enrolled = np.array([members[0] for members in trials.enroll_rows if len(members) == 1])
    return len(enrolled) == len(trials.enroll_rows) and bool(np.isin(enrolled, trials.test_rows).all())
