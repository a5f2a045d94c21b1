"""Score normalisation against recorded values, loops over the definitions and invariants."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from mvector.errors import MVectorError
from mvector.scoring import ScoreNormalization, cohort_statistics, cosine_scores, length_normalize, voice_vectors

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "scores.npz")


def unit(count, size=16, seed=0):
    return length_normalize(np.random.default_rng(seed).normal(size=(count, size)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("kind", "top_n", "name"),
    [("as-norm", 10, "asnorm_top10"), ("as-norm", 30, "asnorm_top30"), ("s-norm", 7, "snorm")],
)
def test_agrees_with_recorded_scores(kind, top_n, name, dtype):
    enroll, test, cohort = (length_normalize(GOLDEN[key].astype(dtype)) for key in ("enroll", "test", "cohort"))
    normalization = ScoreNormalization.fit(kind, enroll, test, cohort, top_n)
    raw = cosine_scores(enroll, test)
    scores = normalization.adjust(raw, np.arange(len(enroll)), np.arange(len(test)))
    assert scores.dtype == dtype
    np.testing.assert_allclose(scores, GOLDEN[name], rtol=0, atol=1e-5)


def by_definition(kind, enroll, test, cohort, top_n):
    """Score by score, in plain Python."""

    def mean_and_deviation(row):
        found = sorted((sum(a * b for a, b in zip(row, c, strict=True)) for c in cohort), reverse=True)
        found = found[:top_n] if kind == "as-norm" else found
        mean = sum(found) / len(found)
        return mean, (sum((value - mean) ** 2 for value in found) / len(found)) ** 0.5

    scores = np.empty((len(enroll), len(test)))
    for i, e in enumerate(enroll.tolist()):
        for j, t in enumerate(test.tolist()):
            raw = sum(a * b for a, b in zip(e, t, strict=True))
            (mean_e, std_e), (mean_t, std_t) = mean_and_deviation(e), mean_and_deviation(t)
            z, t_norm = (raw - mean_e) / std_e, (raw - mean_t) / std_t
            scores[i, j] = {"z-norm": z, "t-norm": t_norm}.get(kind, (z + t_norm) / 2)
    return scores


@pytest.mark.parametrize("kind", ["z-norm", "t-norm", "s-norm", "as-norm"])
def test_agrees_with_the_definition(kind):
    enroll, test, cohort = unit(3, seed=1), unit(4, seed=2), unit(9, seed=3)
    normalization = ScoreNormalization.fit(kind, enroll, test, cohort, top_n=4)
    expected = by_definition(kind, enroll, test, cohort.tolist(), 4)
    raw = enroll @ test.T
    np.testing.assert_allclose(normalization.adjust(raw, np.arange(3), np.arange(4)), expected, atol=1e-10)
    # Block by block, in any order, and as a list of pairs.
    block = normalization.adjust(raw[1:][:, [3, 0]], slice(1, 3), [3, 0])
    np.testing.assert_allclose(block, expected[1:][:, [3, 0]], atol=1e-10)
    i, j = np.array([2, 0, 0, 1]), np.array([1, 3, 0, 0])
    np.testing.assert_allclose(normalization.adjust(raw[i, j], i, j), expected[i, j], atol=1e-10)


def test_swapping_the_sides_swaps_z_and_t_and_leaves_s():
    enroll, test, cohort = unit(3, seed=1), unit(5, seed=2), unit(20, seed=3)
    raw = enroll @ test.T
    rows, columns = np.arange(3), np.arange(5)
    for kind, swapped in (("z-norm", "t-norm"), ("s-norm", "s-norm"), ("as-norm", "as-norm")):
        there = ScoreNormalization.fit(kind, enroll, test, cohort, 6).adjust(raw, rows, columns)
        back = ScoreNormalization.fit(swapped, test, enroll, cohort, 6).adjust(raw.T, columns, rows)
        np.testing.assert_allclose(there, back.T, atol=1e-12)


def test_as_norm_over_the_whole_cohort_is_s_norm():
    enroll, test, cohort = unit(3, seed=1), unit(5, seed=2), unit(20, seed=3)
    raw = enroll @ test.T
    whole, plain = (
        ScoreNormalization.fit(kind, enroll, test, cohort, 20).adjust(raw, slice(None), slice(None))
        for kind in ("as-norm", "s-norm")
    )
    np.testing.assert_array_equal(whole, plain)


@pytest.mark.parametrize("top_n", [None, 5])
def test_blocks_change_nothing(top_n):
    x, cohort = unit(23), unit(40, seed=1)
    whole = cohort_statistics(x, cohort, top_n)
    for block in (1, 40, 130):
        np.testing.assert_allclose(cohort_statistics(x, cohort, top_n, block), whole, atol=1e-14)


def test_memory_is_that_of_a_block():
    """Six million cohort scores would be 24 MB, and as much again while they are sorted."""
    x, cohort = unit(2000, 8).astype(np.float32), unit(3000, 8, 1).astype(np.float32)
    tracemalloc.start()
    cohort_statistics(x, cohort, 300, block=100_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3e6


def test_a_voice_whose_scores_are_averaged_is_normalised_by_its_averaged_cohort_scores():
    members, test, cohort = unit(3, seed=1), unit(4, seed=2), unit(12, seed=3)
    voice = voice_vectors(members, [(0, 1, 2)], "scores")
    mean, std = cohort_statistics(voice, cohort)
    averaged = (members @ cohort.T).mean(axis=0)
    np.testing.assert_allclose((mean[0], std[0]), (averaged.mean(), averaged.std()), atol=1e-12)
    raw = (members @ test.T).mean(axis=0, keepdims=True)
    adjusted = ScoreNormalization.fit("z-norm", voice, test, cohort).adjust(raw, [0], np.arange(4))
    np.testing.assert_allclose(adjusted, (raw - averaged.mean()) / averaged.std(), atol=1e-12)


def test_an_unusable_recording_is_nan_and_the_others_are_not_touched():
    enroll, test, cohort = unit(3, seed=1), unit(4, seed=2), unit(12, seed=3)
    raw = enroll @ test.T
    expected = ScoreNormalization.fit("as-norm", enroll, test, cohort, 5).adjust(raw, slice(None), slice(None))
    test[2] = np.nan
    found = ScoreNormalization.fit("as-norm", enroll, test, cohort, 5).adjust(raw, slice(None), slice(None))
    assert np.isnan(found[:, 2]).all()
    np.testing.assert_array_equal(np.delete(found, 2, axis=1), np.delete(expected, 2, axis=1))


def test_bad_input_gets_a_sentence():
    x, cohort = unit(3), unit(5, seed=1)
    with pytest.raises(MVectorError, match=r"no score normalisation 'asnorm'.*Did you mean 'as-norm'"):
        ScoreNormalization.fit("asnorm", x, x, cohort)
    for top_n in (1, 6):
        with pytest.raises(MVectorError, match=f"top {top_n} of a cohort of 5 speakers.*more speakers"):
            ScoreNormalization.fit("as-norm", x, x, cohort, top_n)
    with pytest.raises(MVectorError, match="at least 2 speakers, found 1"):
        ScoreNormalization.fit("s-norm", x, x, cohort[:1])
    with pytest.raises(MVectorError, match="same score against the whole cohort"):
        ScoreNormalization.fit("z-norm", x, x, np.repeat(cohort[:1], 4, axis=0))
    with pytest.raises(MVectorError, match="from the same model"):
        ScoreNormalization.fit("z-norm", x, x, unit(5, 17))
