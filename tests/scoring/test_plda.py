"""LDA and PLDA against SciPy's eigenproblem and normal densities, and against the parameters of made-up voices."""

import itertools

import numpy as np
import pytest
from scipy.linalg import eigh
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from mvector.errors import ModelError, MVectorError
from mvector.metrics import eer
from mvector.scoring import Lda, Plda, cosine_scores, length_normalize
from mvector.scoring.lda import SpeakerStatistics
from mvector.scoring.plda import fit_two_covariances

BETWEEN = np.array([[2.0, 0.6, 0.0], [0.6, 1.0, -0.3], [0.0, -0.3, 0.5]])
WITHIN = np.array([[0.5, -0.2, 0.1], [-0.2, 0.8, 0.0], [0.1, 0.0, 0.3]])
MEAN = np.array([1.0, -2.0, 0.5])


def voices(speakers, most, between=BETWEEN, within=WITHIN, mean=MEAN, seed=0):
    """(embeddings [U, E], speaker of each) with 1 to `most` recordings per speaker."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, most + 1, speakers)
    number = np.repeat(np.arange(speakers), counts)
    y = rng.multivariate_normal(mean, between, speakers)
    return y[number] + rng.multivariate_normal(np.zeros(len(mean)), within, len(number)), number


def wide_voices(speakers=40, size=8, seed=0):
    """Voices whose recordings vary most in directions that say nothing about the speaker."""
    within = np.diag([6.0, 6.0, 4.0] + [0.3] * (size - 3))
    return voices(speakers, 8, np.eye(size), within, np.full(size, 0.5), seed)


# ---------------------------------------------------------------- LDA


def test_lda_agrees_with_scipy():
    x, number = wide_voices()
    between, within = np.zeros((8, 8)), np.zeros((8, 8))
    for speaker in np.unique(number):
        own = x[number == speaker]
        gap = own.mean(axis=0) - x.mean(axis=0)
        between += len(own) * np.outer(gap, gap) / len(x)
        for row in own - own.mean(axis=0):
            within += np.outer(row, row) / (len(x) - 40)
    _, vectors = eigh(between, within)
    lda = Lda.fit(x, number, 5)
    assert lda.projection.shape == (8, 5)
    np.testing.assert_allclose(np.abs(lda.projection), np.abs(vectors[:, ::-1][:, :5]), atol=1e-6)
    projected = lda.transform(x)
    np.testing.assert_allclose(projected.mean(axis=0), 0, atol=1e-12)
    pooled = SpeakerStatistics.of(projected, number).within / (len(x) - 40)
    np.testing.assert_allclose(pooled, np.eye(5), atol=1e-6)


def test_lda_directions_do_not_depend_on_the_basis():
    x, number = wide_voices()
    turn = np.eye(8) + 0.3 * np.random.default_rng(1).normal(size=(8, 8))
    one, other = Lda.fit(x, number, 4).transform(x), Lda.fit(x @ turn + 3, number, 4).transform(x @ turn + 3)
    np.testing.assert_allclose(np.abs(one), np.abs(other), atol=1e-6)


def test_lda_passes_over_a_dimension_that_never_varies():
    x, number = wide_voices()
    with_dead = np.insert(x, 3, 0.25, axis=1)
    one, other = Lda.fit(x, number, 4).transform(x), Lda.fit(with_dead, number, 4).transform(with_dead)
    np.testing.assert_allclose(np.abs(one), np.abs(other), atol=1e-6)


def test_lda_bounds():
    x, number = wide_voices(speakers=6)
    assert Lda.fit(x, number).projection.shape == (8, 5)  # one direction fewer than speakers
    for dimension in (0, 6):
        with pytest.raises(MVectorError, match=f"1 to 5 directions, {dimension} were asked for"):
            Lda.fit(x, number, dimension)
    with pytest.raises(MVectorError, match="too few for LDA and PLDA over 8 dimensions"):
        Lda.fit(x[:9], number[:9])
    with pytest.raises(MVectorError, match="a speaker for each"):
        Lda.fit(x, number[:-1])
    with pytest.raises(MVectorError, match="another model"):
        Lda.fit(x, number).transform(np.ones((2, 9)))


# ---------------------------------------------------------------- the fit


def log_likelihood(x, number, mean, between, within):
    """Log density of all embeddings, speaker by speaker as one long normal vector."""
    total = 0.0
    for speaker in np.unique(number):
        own = x[number == speaker]
        n = len(own)
        covariance = np.kron(np.ones((n, n)), between) + np.kron(np.eye(n), within)
        total += multivariate_normal(np.tile(mean, n), covariance).logpdf(own.ravel())
    return total


def test_fit_recovers_the_parameters():
    x, number = voices(4000, 6)
    mean, between, within = fit_two_covariances(SpeakerStatistics.of(x, number))
    np.testing.assert_allclose(mean, MEAN, atol=0.1)  # four standard errors: 4 · sqrt(2.5 / 4000)
    np.testing.assert_allclose(between, BETWEEN, atol=0.2)
    np.testing.assert_allclose(within, WITHIN, atol=0.04)


def test_moments_alone_recover_the_parameters_too():
    x, number = voices(4000, 6)
    _, between, within = fit_two_covariances(SpeakerStatistics.of(x, number), iterations=0)
    np.testing.assert_allclose(between, BETWEEN, atol=0.2)
    np.testing.assert_allclose(within, WITHIN, atol=0.04)


def test_every_iteration_raises_the_likelihood():
    x, number = voices(25, 5, seed=1)
    known = SpeakerStatistics.of(x, number)
    found = [log_likelihood(x, number, *fit_two_covariances(known, n)) for n in (0, 1, 2, 5, 20, 100)]
    assert all(later > earlier for earlier, later in itertools.pairwise(found))
    assert found[-1] - found[-2] < 0.05 * (found[1] - found[0])


def test_converges_to_the_maximum_that_a_general_optimiser_finds():
    x, number = voices(15, 4, np.array([[1.0]]), np.array([[0.5]]), np.array([0.3]), seed=2)

    def loss(p):
        return -log_likelihood(x, number, p[:1], np.exp(p[1:2, None]), np.exp(p[2:, None]))

    best = minimize(loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9}).x
    mean, between, within = fit_two_covariances(SpeakerStatistics.of(x, number), 500)
    np.testing.assert_allclose([mean[0], between[0, 0], within[0, 0]], [best[0], *np.exp(best[1:])], rtol=1e-4)


# ---------------------------------------------------------------- scores


@pytest.fixture(scope="module")
def plda():
    return Plda.fit(*wide_voices(), lda_dimension=4)


def brute_force_llr(plda, enroll, test):
    """enroll [n, E], test [E]: densities of the joint vectors, in the basis in which the model is stored."""
    x = length_normalize(plda.lda.transform(length_normalize(np.vstack([enroll, test]))))

    def log_density(rows):
        n = len(rows)
        covariance = np.kron(np.ones((n, n)), plda.between) + np.kron(np.eye(n), plda.within)
        return multivariate_normal(np.tile(plda.mean, n), covariance).logpdf(rows.ravel())

    return log_density(x) - log_density(x[:-1]) - log_density(x[-1:])


def test_llr_agrees_with_normal_densities(plda):
    x, _ = wide_voices(seed=5)
    found = plda.llr(x[:4], x[10:15])
    expected = [[brute_force_llr(plda, x[i : i + 1], x[j]) for j in range(10, 15)] for i in range(4)]
    np.testing.assert_allclose(found, expected, atol=1e-8)
    np.testing.assert_allclose(plda.llr(x[10:15], x[:4]), found.T, atol=1e-10)  # neither side is special


def test_llr_of_several_utterances_agrees_with_normal_densities(plda):
    x, _ = wide_voices(seed=5)
    rows = [(0, 1, 2), (3,), (4, 0)]
    found = plda.enrollment_vectors(x, rows) @ plda.test_vectors(x[20:24]).T
    expected = [[brute_force_llr(plda, x[list(members)], x[j]) for j in range(20, 24)] for members in rows]
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_dependent_utterances_count_as_one(plda):
    x, _ = wide_voices(seed=5)
    test = plda.test_vectors(x[20:24])
    one = plda.enrollment_vectors(x[:1]) @ test.T
    repeated = plda.enrollment_vectors(x, [(0, 0, 0)], independence=0) @ test.T
    np.testing.assert_allclose(repeated, one, atol=1e-10)
    by_the_book = plda.enrollment_vectors(x, [(0, 0, 0)]) @ test.T
    assert np.abs(by_the_book - one).max() > 0.1  # what the same recording three times must not be taken for
    with pytest.raises(MVectorError, match="between 0 and 1"):
        plda.enrollment_vectors(x, [(0, 1)], independence=2)


def test_tells_speakers_apart_better_than_cosine():
    plda = Plda.fit(*wide_voices(150))
    x, number = wide_voices(60, seed=9)
    i, j = np.triu_indices(len(x), 1)
    labels = number[i] == number[j]
    by_plda, by_cosine = eer(plda.llr(x, x)[i, j], labels)[0], eer(cosine_scores(x, x)[i, j], labels)[0]
    assert by_plda < 0.6 * by_cosine


def test_loudness_and_unusable_recordings(plda):
    x, number = wide_voices()
    np.testing.assert_allclose(plda.llr(7 * x[:3], 0.1 * x[3:6]), plda.llr(x[:3], x[3:6]), atol=1e-9)
    broken = np.vstack([x, np.full((2, 8), np.nan)])
    again = Plda.fit(broken, np.append(number, [0, 99]), lda_dimension=4)
    np.testing.assert_allclose(again.llr(x[:3], x[3:6]), plda.llr(x[:3], x[3:6]), atol=1e-9)
    vectors = plda.enrollment_vectors(broken, [(0, len(x)), (0,), (len(x),)])
    np.testing.assert_allclose(vectors[0], vectors[1])
    assert np.isnan(vectors[2] @ plda.test_vectors(x[:3]).T).all()
    assert np.isnan(plda.llr(x[:1], broken[-1:])).all()


def test_file_gives_the_same_scores(plda, tmp_path):
    path = tmp_path / "plda.safetensors"
    plda.save(path, "model-1")
    x, _ = wide_voices(seed=5)
    np.testing.assert_array_equal(Plda.load(path, "model-1").llr(x[:3], x[3:6]), plda.llr(x[:3], x[3:6]))
    with pytest.raises(ModelError, match="another model"):
        Plda.load(path, "model-2")
    with pytest.raises(ModelError, match="cannot be read"):
        Plda.load(tmp_path / "no.safetensors", "model-1")


def test_files_that_do_not_fit(plda, tmp_path):
    from mvector.scoring import Cohort

    x, number = wide_voices()
    path = tmp_path / "plda.safetensors"
    Cohort.from_embeddings(x, [str(n) for n in number]).save(path, "m")
    with pytest.raises(ModelError, match="is not a plda file"):
        Plda.load(path, "m")
    Plda(plda.lda, plda.mean, plda.between[:2, :2], plda.within).save(path, "m")
    with pytest.raises(ModelError, match="do not fit one another"):
        Plda.load(path, "m")
