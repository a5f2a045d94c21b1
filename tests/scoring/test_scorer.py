"""Scores by name equal the formulas written out for single pairs."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from mvector.errors import MVectorError
from mvector.scoring import Cohort, Plda
from mvector.scoring.scorer import METHODS, Scorer

E, SPEAKERS = 12, 30


@dataclass
class Trials:
    enroll_rows: list[tuple[int, ...]]
    test_rows: Any
    enroll_speakers: Any
    test_speakers: Any
    enroll: Any = None
    test: Any = None
    labels: Any = None


@pytest.fixture(scope="module")
def training():
    rng = np.random.default_rng(0)
    speakers = np.repeat(np.arange(SPEAKERS), 6)
    voices = rng.normal(0.4, 1, (SPEAKERS, E))
    return (voices[speakers] + 0.7 * rng.normal(size=(len(speakers), E))).astype(np.float32), speakers


@pytest.fixture(scope="module")
def known(training):
    embeddings, speakers = training
    return {"cohort": Cohort.from_embeddings(embeddings, speakers), "plda": Plda.fit(embeddings, speakers)}


@pytest.fixture(scope="module")
def embeddings():
    return np.random.default_rng(1).normal(0.4, 1, (9, E)).astype(np.float32)


@pytest.fixture(params=["all pairs", "list"])
def trials(request):
    everything = Trials([(0,), (1, 2), (3, 4, 5)], np.array([6, 7, 8]), np.array([0, 1, 2]), np.array([0, 1, 7]))
    if request.param == "list":
        everything.enroll, everything.test = np.array([0, 2, 1, 2], np.int32), np.array([2, 0, 1, 2], np.int32)
        everything.labels = np.array([False, False, True, False])
    return everything


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def by_hand(method, enrollment, known, embeddings, members, test, top_n):
    """The score of one voice and one recording, from the definitions."""
    if method == "plda":
        vectors = known["plda"].enrollment_vectors(embeddings, [tuple(members)])
        return float(vectors[0] @ known["plda"].test_vectors(embeddings[[test]])[0])
    x = embeddings.astype(np.float64)
    cohort = known["cohort"].means.astype(np.float64)
    if method != "cosine":
        x = x - known["cohort"].training_mean
    t = unit(x[test])

    def raw(other):
        if enrollment == "scores":
            return np.mean([unit(x[m]) @ other for m in members])
        return unit(unit(x[list(members)]).mean(axis=0)) @ other

    score = raw(t)
    if method in ("cosine", "centred-cosine"):
        return score
    of_e, of_t = np.sort([raw(c) for c in cohort]), np.sort(cohort @ t)
    if method == "as-norm":
        of_e, of_t = of_e[-top_n:], of_t[-top_n:]
    z, t = (score - of_e.mean()) / of_e.std(), (score - of_t.mean()) / of_t.std()
    return {"z-norm": z, "t-norm": t}.get(method, (z + t) / 2)


@pytest.mark.parametrize("enrollment", ["mean", "scores"])
@pytest.mark.parametrize("method", METHODS)
def test_every_score_is_its_formula(method, enrollment, known, embeddings, trials):
    scorer = Scorer(method, enrollment, known["cohort"], top_n=7, plda=known["plda"])
    scored = scorer.score(embeddings, trials)
    assert len(scored.scores) == (9 if trials.labels is None else 4)
    for score, e, t in zip(scored.scores, scored.enroll, scored.test, strict=True):
        expected = by_hand(method, enrollment, known, embeddings, trials.enroll_rows[e], trials.test_rows[t], 7)
        assert score == pytest.approx(expected, rel=2e-5, abs=2e-5)


def test_voices_of_joined_audio_replace_those_of_the_recordings(known, embeddings, trials):
    voices = np.random.default_rng(2).normal(size=(3, E)).astype(np.float32)
    scored = Scorer("cosine", "concatenate").score(embeddings, trials, voices)
    for score, e, t in zip(scored.scores, scored.enroll, scored.test, strict=True):
        expected = unit(voices[e]) @ unit(embeddings[trials.test_rows[t]])
        assert score == pytest.approx(expected, abs=1e-6)


def test_more_than_the_cohort_has_is_all_of_it(known, embeddings, trials):
    everything = Scorer("as-norm", cohort=known["cohort"], top_n=10_000).score(embeddings, trials)
    plain = Scorer("s-norm", cohort=known["cohort"]).score(embeddings, trials)
    np.testing.assert_allclose(everything.scores, plain.scores, rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_unusable_recordings_are_left_out(method, known, embeddings, trials):
    broken = embeddings.copy()
    broken[[3, 8]] = np.nan  # one of the third voice's three, and a test recording
    scored = Scorer(method, "mean", known["cohort"], 7, known["plda"]).score(broken, trials)
    assert np.isfinite(scored.scores).all()
    assert scored.left_out == (3 if trials.labels is None else 2)


def test_what_is_missing_is_named(known):
    with pytest.raises(MVectorError, match=r"no score 'as_norm'; choose one of .*Did you mean 'as-norm'"):
        Scorer("as_norm")
    with pytest.raises(MVectorError, match="as-norm needs a cohort"):
        Scorer("as-norm")
    with pytest.raises(MVectorError, match="PLDA need a PLDA model"):
        Scorer("plda", cohort=known["cohort"])
