"""All pairs against the plain matrix with `eer` and `min_dcf`: exactly, or within the bound that is reported."""

import importlib
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from mvector.errors import MVectorError
from mvector.metrics import all_pairs, eer, min_dcf, score_histogram
from mvector.metrics.score_histogram import MOST_ERROR, P_TARGETS, ScoreHistogram
from mvector.metrics.score_tiles import in_threads, score_tiles

module = importlib.import_module("mvector.metrics.all_pairs")  # the package's name of it is the function


def made_up(n, m, speakers, noise=0.5, size=16, seed=0):
    """(embeddings [n, size], speakers [n], the same for m tests); lengths differ from row to row."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(speakers, size))
    sides = []
    for count in (n, m):
        number = rng.integers(0, speakers, count)
        x = centres[number] + noise * rng.normal(size=(count, size))
        sides += [(x * rng.uniform(0.1, 10, (count, 1))).astype(np.float32), number]
    return sides


def plain_matrix(enroll, enroll_ids, test, test_ids):
    a, b = ((x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32) for x in (enroll, test))
    labels = np.array([[i == j for j in test_ids] for i in enroll_ids])
    return (a @ b.T).ravel(), labels.ravel()


def check(found, scores, labels, tolerance=1e-12):
    rate, threshold = eer(scores, labels)
    assert found.eer == pytest.approx(rate, abs=tolerance)
    for p_target in (0.01, 0.05, 0.001):
        assert found.min_dcf[p_target] == pytest.approx(min_dcf(scores, labels, p_target), abs=tolerance)
    assert (found.n_target, found.n_nontarget) == (labels.sum(), (~labels).sum())
    return threshold


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "name",
    [lambda i: i, lambda i: f"id{i:05d}", lambda i: f"说话人{i}".encode(), lambda i: i * 1.5, lambda i: (i, "room")],
)
def test_exact_and_ids_of_any_dtype(name, dtype):
    a, ai, b, bi = made_up(60, 90, 12, seed=1)
    a, b = a.astype(dtype), b.astype(dtype)
    enroll_ids, test_ids = [name(i) for i in ai.tolist()], [name(i) for i in bi.tolist()]
    if isinstance(enroll_ids[0], tuple):
        boxes = np.empty(60, object), np.empty(90, object)
        boxes[0][:], boxes[1][:] = enroll_ids, test_ids
        found = all_pairs(a, boxes[0], b, boxes[1])
    else:
        found = all_pairs(a, np.array(enroll_ids), b, test_ids)
    threshold = check(found, *plain_matrix(a, ai, b, bi))
    assert found.threshold == threshold
    assert 0.01 < found.eer < 0.4
    assert (found.exact, found.error_bound) == (True, 0.0)


@pytest.mark.parametrize("seed", range(30))
def test_exact_with_ties_and_extremes(seed):
    """Vectors of ±1 have products without rounding, and few different ones."""
    rng = np.random.default_rng(seed)
    a, b = rng.choice([-1.0, 1.0], (int(rng.integers(1, 9)), 16)), rng.choice([-1.0, 1.0], (9, 16))
    ai, bi = rng.integers(0, 3, len(a)), rng.integers(0, 3, 9)
    scores, labels = plain_matrix(a, ai, b, bi)
    if seed % 3 == 0:  # targets above all, or below all
        a, b, ai, bi = np.eye(4), (1 if seed % 2 else -1) * np.eye(4), np.arange(4), np.arange(4)
        scores, labels = plain_matrix(a, ai, b, bi)
    if labels.all() or not labels.any():
        pytest.skip("one kind only")
    found = all_pairs(a, ai, b, bi)
    assert found.threshold == check(found, scores, labels)


def tile_matrix(a, ai, b, bi):
    """The very scores that are counted: the last bit of a product depends on the shape of the matrices."""
    unit = [(x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32) for x in (a, b)]
    scores = np.full((len(a), len(b)), np.nan, np.float32)
    labels = np.zeros(scores.shape, bool)
    tiles = score_tiles(np.arange(len(a)), np.arange(len(b)), ai, bi, unit[0].__getitem__, unit[1].__getitem__)
    for tile in tiles:
        scores[np.ix_(tile.enroll, tile.test)] = tile.scores()
        for rows, columns in tile.targets:
            labels[np.ix_(tile.enroll[rows], tile.test[columns])] = True
    return scores, labels


CASES = {
    "ordinary": lambda: made_up(700, 900, 40, 0.9),
    "few tests": lambda: made_up(3000, 30, 10, 0.9),
    "few enrollments": lambda: made_up(7, 9000, 7, 0.9),
    "two speakers": lambda: made_up(500, 600, 2, 1.5),
    "a speaker each": lambda: made_up(600, 700, 5000, 0.3),
    "well separated": lambda: made_up(600, 700, 20, 0.05),
    "ties": lambda: [np.sign(x) if x.ndim == 2 else x for x in made_up(600, 700, 30, 0.9)],
    "all alike": lambda: [1000 + x / np.abs(x).max() if x.ndim == 2 else x for x in made_up(600, 700, 30, 0.5)],
    "wrong way round": lambda: (lambda a, ai, b, bi: (a, ai, -b, bi))(*made_up(600, 700, 30, 0.5)),
}


@pytest.fixture
def counted(monkeypatch):
    monkeypatch.setattr(module, "EXACT_TRIALS", 0)
    monkeypatch.setattr(module, "SAMPLE_TRIALS", 20_000)
    monkeypatch.setattr("mvector.metrics.score_tiles.TILE_ENROLL", 128)
    monkeypatch.setattr("mvector.metrics.score_tiles.TILE_TEST", 200)
    monkeypatch.setattr("mvector.metrics.score_tiles.TEST_VALUES", 16 * 450)


@pytest.mark.parametrize("case", CASES)
def test_counted_within_the_bound(case, counted):
    a, ai, b, bi = CASES[case]()
    scores, labels = tile_matrix(a, ai, b, bi)
    np.testing.assert_allclose(scores.ravel(), plain_matrix(a, [0], b, [0])[0], atol=2e-6)
    np.testing.assert_array_equal(labels, ai[:, None] == bi[None, :])
    found = all_pairs(a, ai, b, bi)
    assert not found.exact
    assert found.error_bound <= MOST_ERROR
    threshold = check(found, scores.ravel(), labels.ravel(), found.error_bound + 1e-12)
    assert found.threshold == pytest.approx(threshold, abs=3.2e-5)  # half of the widest bin


@pytest.mark.parametrize("bins", [16, 300])
def test_bound_of_coarse_bins_holds(bins, counted, monkeypatch):
    """With few bins the results are off, and never by more than is said."""
    monkeypatch.setattr(score_histogram, "BINS", bins)
    monkeypatch.setattr(score_histogram, "LAST_BIN", np.float32(bins))
    monkeypatch.setattr(score_histogram, "COARSE_BINS", bins // 8)
    monkeypatch.setattr(score_histogram, "MOST_PASSES", 1)
    monkeypatch.setattr(score_histogram, "SAMPLE_TOLERANCE", 3.0)
    off = 0.0
    for seed in range(8):
        a, ai, b, bi = made_up(200, 300, 20, 0.4 + 0.1 * seed, seed=seed)
        scores, labels = (x.ravel() for x in tile_matrix(a, ai, b, bi))
        found = all_pairs(a, ai, b, bi)
        check(found, scores, labels, found.error_bound + 1e-12)
        assert found.error_bound > MOST_ERROR
        off = max(off, abs(found.min_dcf[0.05] - min_dcf(scores, labels, 0.05)))
    assert off > 1e-4


def test_bad_windows_are_mended_by_counting_again(counted, monkeypatch):
    """Where the sample was misleading, the bins of the first count say where to look."""
    windows_around = ScoreHistogram.windows_around
    asked = []

    def misled(self, most, tolerance=0.0):
        asked.append(tolerance)
        return [(-0.9, -0.8)] if tolerance else windows_around(self, most)

    monkeypatch.setattr(ScoreHistogram, "windows_around", misled)
    a, ai, b, bi = made_up(700, 900, 40, 0.9)
    scores, labels = tile_matrix(a, ai, b, bi)
    found = all_pairs(a, ai, b, bi)
    assert asked[:2] == [score_histogram.SAMPLE_TOLERANCE, 0.0]
    assert found.error_bound <= MOST_ERROR
    check(found, scores.ravel(), labels.ravel(), found.error_bound + 1e-12)


def test_bins_hold_what_their_edges_say():
    histogram = ScoreHistogram(-1.0, 1.0, [(-0.5, -0.4), (0.1, 0.1001)])
    scores = np.random.default_rng(0).uniform(-1.2, 1.2, 20_000).astype(np.float32)
    scores[:5000] = 0.1 + 1e-4 * np.abs(scores[:5000])
    histogram.add(scores)
    assert histogram.trials.sum() == len(scores)
    occupied = np.flatnonzero(histogram.trials)[:-1]
    upper = histogram.edges(occupied + 1)
    below = np.searchsorted(np.sort(scores).astype(np.float64), upper)
    # float32 arithmetic may put a score that lies on an edge on its other side.
    assert np.abs(below - np.cumsum(histogram.trials[occupied])).max() <= 3


@pytest.mark.parametrize(
    ("n", "m", "size", "exact"),
    [(2000, 2500, 8, True), (2600, 2500, 8, False), (150_000, 3, 192, True), (3, 150_000, 192, True)],
)
def test_memory(n, m, size, exact):
    a, ai, b, bi = made_up(n, m, 2, size=size)  # half of the trials are target trials
    tracemalloc.start()
    found = all_pairs(a, ai, b, bi)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.exact == exact
    assert peak < 100 * 2**20


def test_torch_is_not_imported():
    code = (
        "import sys, numpy as np\nfrom mvector.metrics import all_pairs\n"
        "all_pairs(np.eye(4), range(4), np.eye(4), range(4))\nprint('torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_an_error_in_a_thread_is_raised():
    done = []

    def work(item):
        if item == 3:
            raise MVectorError("three")
        done.append(item)

    with pytest.raises(MVectorError, match="three"):
        in_threads(work, range(100_000))
    assert len(done) < 100_000 - 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"enroll": np.ones((2, 3))}, r"shapes \(2, 3\) and \(3, 4\)"),
        ({"test": np.ones(4)}, r"shapes \(2, 4\) and \(4,\)"),
        ({"enroll_ids": [1]}, r"2 embeddings needs one id, found ids of shape \(1,\)"),
        ({"test_ids": [[1], [2], [3]]}, r"shape \(3, 1\)"),
        ({"test_ids": [7, 7, 7]}, "0 target and 6 non-target"),
        ({"enroll_ids": [1, 1], "test_ids": [1, 1, 1]}, "6 target and 0 non-target"),
        ({"enroll_ids": ["1", "2"]}, "0 target"),  # text is not a number
        ({"enroll": np.array([[1.0, 2, 3, 4], [np.nan, 0, 0, 0]])}, "1 of 2 embeddings are NaN"),
        ({"test": np.full((3, 4), np.inf)}, "3 of 3 embeddings"),
        ({"enroll": np.ones((0, 4)), "enroll_ids": []}, "0 target and 0 non-target"),
    ],
)
def test_bad_input(change, message):
    given = {"enroll": np.ones((2, 4)), "enroll_ids": [1, 2], "test": np.ones((3, 4)), "test_ids": [1, 2, 3]}
    with pytest.raises(MVectorError, match=message):
        all_pairs(**(given | change))


def test_p_targets():
    assert list(all_pairs(np.eye(4), range(4), np.eye(4), range(4)).min_dcf) == list(P_TARGETS) == [0.01, 0.05, 0.001]
