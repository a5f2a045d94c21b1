"""The cohort: speaker means by hand, the file, and what belongs to another model."""

import numpy as np
import pytest

from mvector.errors import ModelError, MVectorError
from mvector.scoring import Cohort, cohort, cosine_scores, length_normalize, subtract_mean


def embeddings(count=40, size=6, seed=0):
    x = np.random.default_rng(seed).normal(size=(count, size)) + 0.5
    return (x * np.linspace(1, 30, count)[:, None]).astype(np.float32)  # of very different lengths


SPEAKERS = [f"s{i % 7}" for i in range(40)]


@pytest.mark.parametrize("block", [3, 17, 1000])
@pytest.mark.parametrize("center", [True, False])
def test_speaker_means_by_hand(center, block, monkeypatch):
    monkeypatch.setattr(cohort, "BLOCK_ROWS", block)
    x = embeddings()
    built = Cohort.from_embeddings(x, SPEAKERS, center)
    mean = x.astype(np.float64).mean(axis=0) if center else np.zeros(6)
    np.testing.assert_allclose(built.training_mean, mean, rtol=1e-5)
    assert built.speakers == [f"s{i}" for i in range(7)]
    for row, name in zip(built.means, built.speakers, strict=True):
        own = [(e - mean) / np.linalg.norm(e - mean) for e, s in zip(x, SPEAKERS, strict=True) if s == name]
        total = np.sum(own, axis=0)
        np.testing.assert_allclose(row, total / np.linalg.norm(total), atol=1e-6)
    np.testing.assert_allclose(built.center(x), x - mean, atol=1e-4)


def test_unusable_recordings_are_passed_over():
    x = embeddings()
    kept = np.array([name != "s3" for name in SPEAKERS])
    kept[5] = False
    expected = Cohort.from_embeddings(x[kept], [s for s, k in zip(SPEAKERS, kept, strict=True) if k])
    x[~kept] = np.nan
    found = Cohort.from_embeddings(x, SPEAKERS)
    assert found.speakers == expected.speakers
    assert "s3" not in found.speakers
    np.testing.assert_allclose(found.means, expected.means, atol=1e-6)
    np.testing.assert_allclose(found.training_mean, expected.training_mean, rtol=1e-6)


def test_file_holds_everything_to_the_bit(tmp_path):
    built = Cohort.from_embeddings(embeddings(), [f"说话人 {name}\n\t" for name in SPEAKERS])
    built.save(tmp_path / "cohort.safetensors", "model-1")
    read = Cohort.load(tmp_path / "cohort.safetensors", "model-1")
    assert read.speakers == built.speakers
    assert read.means.dtype == np.float32
    np.testing.assert_array_equal(read.means, built.means)
    np.testing.assert_array_equal(read.training_mean, built.training_mean)
    assert [file.name for file in tmp_path.iterdir()] == ["cohort.safetensors"]


def test_another_models_cohort_is_refused(tmp_path):
    path = tmp_path / "cohort.safetensors"
    Cohort.from_embeddings(embeddings(), SPEAKERS).save(path, "model-1")
    with pytest.raises(ModelError, match=r"another model.*model-1.*model-2"):
        Cohort.load(path, "model-2")


def test_what_is_no_cohort_is_refused(tmp_path):
    path = tmp_path / "cohort.safetensors"
    with pytest.raises(ModelError, match="cannot be read as safetensors"):
        Cohort.load(path, "m")
    path.write_bytes(b"no safetensors")
    with pytest.raises(ModelError, match="cannot be read as safetensors"):
        Cohort.load(path, "m")
    from safetensors.numpy import save_file

    save_file({"weight": np.ones(3)}, path)
    with pytest.raises(ModelError, match="is not a cohort file"):
        Cohort.load(path, "m")
    arrays = {"means": np.ones((2, 3)), "training_mean": np.ones(3)}
    save_file(arrays, path, metadata={"kind": "cohort", "model": "m"})
    with pytest.raises(ModelError, match="names of the cohort's speakers"):
        Cohort.load(path, "m")
    save_file(arrays, path, metadata={"kind": "cohort", "model": "m", "speakers": '["a"]'})
    with pytest.raises(ModelError, match="do not fit 1 speakers"):
        Cohort.load(path, "m")


def test_centred_cosine():
    a, b, mean = embeddings(4, seed=1), embeddings(5, seed=2), np.linspace(0, 3, 6)
    scores = cosine_scores(a, b, mean)
    for i in range(4):
        for j in range(5):
            x, y = a[i] - mean, b[j] - mean
            assert scores[i, j] == pytest.approx(x @ y / np.sqrt((x @ x) * (y @ y)), abs=1e-6)
    np.testing.assert_array_equal(cosine_scores(a, b, np.zeros(6)), cosine_scores(a, b))


def test_a_common_offset_is_removed():
    """What all voices share raises every cosine; after centring it is gone."""
    x = length_normalize(np.random.default_rng(0).normal(size=(500, 20)))
    shifted = x + 2 * np.eye(20)[0]
    apart = ~np.eye(500, dtype=bool)
    assert cosine_scores(shifted, shifted)[apart].mean() > 0.7
    cohort_of_all = Cohort.from_embeddings(shifted, [str(i) for i in range(500)])
    centred = cohort_of_all.center(shifted)
    assert abs(cosine_scores(centred, centred)[apart].mean()) < 0.01


def test_bad_input_gets_a_sentence():
    with pytest.raises(MVectorError, match="a speaker for each"):
        Cohort.from_embeddings(embeddings(), SPEAKERS[:-1])
    with pytest.raises(MVectorError, match="at least 2 speakers with usable recordings, found 1"):
        Cohort.from_embeddings(embeddings(3), ["a"] * 3)
    for mean in (np.ones(5), np.ones((1, 6)), 1.0):
        with pytest.raises(MVectorError, match="this model's own embeddings"):
            subtract_mean(embeddings(), mean)
