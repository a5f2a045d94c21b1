"""Trials with names and scores, as an evaluation has them, without any audio."""

from types import SimpleNamespace

import numpy as np
import pytest

from mvector.data.lists import Utterance
from mvector.data.trials import Trials

HOSTILE = "张三 <script>alert(\"1\")</script> & '🎤' </td>"


def _make_trials(people: int = 24, each: int = 6, seed: int = 0, separation: float = 3.0, root: str = "wav"):
    """(trials, scored): one list against itself, `each` recordings of every person; person 1 has a hostile name."""
    rng = np.random.default_rng(seed)
    names = [HOSTILE if p == 1 else f"p{p:02}" for p in range(people)]
    utterances = [Utterance(f"{root}/{name}/{k}.wav", name) for name in names for k in range(each)]
    speakers = np.repeat(np.arange(people), each)
    enroll, test = (side.astype(np.int32) for side in np.triu_indices(len(utterances), 1))
    trials = Trials(
        utterances=utterances,
        enroll_rows=[(row,) for row in range(len(utterances))],
        test_rows=np.arange(len(utterances)),
        enroll_speakers=speakers,
        test_speakers=speakers,
    )
    labels = speakers[enroll] == speakers[test]
    scores = (rng.normal(size=len(labels)) + separation * labels).astype(np.float32)
    return trials, SimpleNamespace(scores=scores, labels=labels, counts=None, left_out=0, enroll=enroll, test=test)


@pytest.fixture(scope="session")
def make_trials():
    return _make_trials


@pytest.fixture(scope="session")
def trials_and_scores():
    """One for all tests, to be left as it is."""
    return _make_trials()


@pytest.fixture(scope="session")
def hostile_name():
    return HOSTILE
