"""Dividing a corpus into training, development and test: by speaker for verification, within speakers otherwise."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from mvector.data.corpora.base import SPLITS, Recording
from mvector.errors import DataListError

# Enough speakers for a development EER of some precision without taking many from training.
DEFAULT_SHARE = 0.05
DEFAULT_MOST = 50
DEFAULT_LEAST = 2
HELD_OUT_SHARE = 0.1  # of each speaker's recordings, for development and again for test, in `split_within_speakers`

Parts = dict[str, list[Recording]]


def split_by_speaker(
    recordings: Sequence[Recording],
    dev_speakers: int | float | None = None,
    test_speakers: int | float | None = None,
    seed: int = 0,
) -> Parts:
    """Parts with no speaker in two of them ('train' against 'dev', 'enroll' and 'test'), for verification.

    Official splits are kept. `dev_speakers` and `test_speakers` (a number of speakers, or a share below 1) are drawn
    from the speakers that remain for training; None draws 5 % (at least 2, at most 50) where the corpora have
    no such part of their own. Only speakers with two or more recordings are drawn, since one has no target trial.
    """
    parts: Parts = {name: [] for name in SPLITS}
    for recording in recordings:
        parts[recording.split or "train"].append(recording)
    parts["train"] = without_speakers(parts["train"], parts["dev"], parts["test"], parts["enroll"])
    parts["dev"] = without_speakers(parts["dev"], parts["test"], parts["enroll"])

    total = len(speakers_of(parts["train"]))
    wanted = {}
    for name, asked in (("dev", dev_speakers), ("test", test_speakers)):
        wanted[name] = _number(asked, total) if asked is not None or not parts[name] else 0
    count = Counter(recording.speaker for recording in parts["train"])
    eligible = sorted(speaker for speaker, n in count.items() if n > 1)
    needed = wanted["dev"] + wanted["test"]
    if needed > len(eligible) or (needed and total - needed < 2):
        raise DataListError(
            f"{wanted['dev']} development and {wanted['test']} test speakers cannot be taken from {total} speakers "
            f"({len(eligible)} of them with two or more recordings) and leave two to train on: give fewer with "
            "--dev_speakers and --test_speakers (0 for none), or divide within speakers with --split identification."
        )
    random.Random(seed).shuffle(eligible)
    drawn = {"dev": set(eligible[: wanted["dev"]]), "test": set(eligible[wanted["dev"] : needed])}
    for name, chosen in drawn.items():
        parts[name] += [recording for recording in parts["train"] if recording.speaker in chosen]
    parts["train"] = [r for r in parts["train"] if r.speaker not in drawn["dev"] | drawn["test"]]
    return parts


def split_within_speakers(recordings: Sequence[Recording], seed: int = 0) -> Parts:
    """Parts with the same speakers in each, for identification: a tenth of each speaker's recordings for development
    and a tenth for test, at least one each; speakers with fewer than three recordings are wholly in 'train'.

    Official splits divide speakers and are not used.
    """
    by_speaker: dict[str, list[Recording]] = defaultdict(list)
    for recording in dict.fromkeys(recordings):
        by_speaker[recording.speaker].append(recording)
    rng = random.Random(seed)
    parts: Parts = {name: [] for name in SPLITS}
    for speaker in sorted(by_speaker):
        own = sorted(by_speaker[speaker])
        rng.shuffle(own)
        held_out = max(1, round(len(own) * HELD_OUT_SHARE)) if len(own) > 2 else 0
        parts["dev"] += own[:held_out]
        parts["test"] += own[held_out : 2 * held_out]
        parts["train"] += own[2 * held_out :]
    if not parts["test"]:
        raise DataListError("no speaker has three recordings, so that nothing can be held out within speakers.")
    return parts


def speakers_of(recordings: Iterable[Recording]) -> set[str]:
    return {recording.speaker for recording in recordings}


def without_speakers(recordings: Sequence[Recording], *others: Sequence[Recording]) -> list[Recording]:
    """The recordings of speakers who are in none of the other parts."""
    taken = set().union(*(speakers_of(other) for other in others))
    return [recording for recording in recordings if recording.speaker not in taken]


def _number(asked: int | float | None, total: int) -> int:
    if asked is None:
        if total == 0:
            return 0  # an evaluation corpus, all of whose speakers are test speakers
        return min(DEFAULT_MOST, max(DEFAULT_LEAST, round(total * DEFAULT_SHARE)))
    return round(total * asked) if 0 < asked < 1 else int(asked)
