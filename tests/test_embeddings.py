"""Embeddings with their quality, and looking them up."""

import numpy as np
import pytest
import soundfile

from mvector import embeddings as module
from mvector.audio import load_audio, normalize_level
from mvector.audio.quality import estimate_snr_db
from mvector.data.lists import Utterance
from mvector.data.trials import all_pairs
from mvector.embeddings import Embeddings, embed_utterances
from mvector.errors import DataListError, MissingPackageError, ModelError
from tests.band_embedder import CONFIG, BandEmbedder, write_recordings


@pytest.fixture
def utterances(tmp_path, make_voice):
    return write_recordings(tmp_path, make_voice, 5)


def random_embeddings(count: int, size: int = 3) -> Embeddings:
    made = Embeddings.empty([Utterance(f"{n}.wav", "s", 0.5 * n, 0.5 * n + 1) for n in range(count)], size)
    made.embeddings[:] = np.random.default_rng(0).normal(size=(count, size))
    made.snr_db[:] = np.arange(count)
    return made


def test_each_row_is_its_utterance_with_its_quality(utterances):
    embedder = BandEmbedder()
    made = embed_utterances(embedder, CONFIG, utterances, fingerprint="f")
    assert (made.embeddings.shape, made.embeddings.dtype, len(made)) == ((5, 6), np.float32, 5)
    assert (made.model_fingerprint, made.max_duration_s) == ("f", CONFIG.dataset_conf.eval_conf.max_duration)
    for row in (0, 2, 3, 4):
        utterance = utterances[row]
        sound = normalize_level(load_audio(utterance.path, 16000, utterance.start_s, utterance.end_s), -20)
        expected = embedder.embed([sound])[0]
        np.testing.assert_array_equal(made.embeddings[row], expected)
        assert made.magnitude[row] == pytest.approx(np.sqrt(np.square(expected.astype(np.float64)).sum()), rel=1e-6)
        np.testing.assert_allclose(made.duration_s[row], [0.5, 0, 0.3, 0.65, 0.7][row], atol=1e-6)
        np.testing.assert_equal(made.snr_db[row], np.float32(estimate_snr_db(sound, 16000)))
    assert not np.isnan(made.snr_db[[0, 3, 4]]).any()


def test_what_cannot_be_embedded_is_a_row_of_nan_with_a_reason(utterances, tmp_path):
    soundfile.write(tmp_path / "short.wav", np.full(1000, 0.1), 16000)
    (tmp_path / "text.wav").write_text("no sound")
    bad = [Utterance(str(tmp_path / name), "") for name in ("short.wav", "missing.wav", "text.wav")]
    made = embed_utterances(BandEmbedder(), CONFIG, [*utterances, *bad])
    assert np.isnan(made.embeddings).all(axis=1).tolist() == [False, True, False, False, False, True, True, True]
    assert np.isnan(made.duration_s).nonzero()[0].tolist() == np.isnan(made.magnitude).nonzero()[0].tolist()
    assert [path for path, _ in made.failed] == [utterances[1].path, *(one.path for one in bad)]
    reasons = [reason for _, reason in made.failed]
    assert "silent" in reasons[0]
    assert reasons[1] == "too short for this model"
    assert "missing.wav" in reasons[2]


def test_one_bad_answer_of_the_network_or_of_a_decoder_stops_nothing(utterances, monkeypatch):
    class Overflowing(BandEmbedder):
        def embed(self, waveforms, batch_size=1):
            rows = super().embed(waveforms)
            rows[0, 3] = np.inf
            return rows

    real = module.load_audio

    def load(path, *arguments, **named):
        if path == utterances[4].path:
            raise RuntimeError("the decoder stumbled")
        return real(path, *arguments, **named)

    monkeypatch.setattr(module, "load_audio", load)
    made = embed_utterances(Overflowing(), CONFIG, utterances)
    assert sorted(made.reasons) == [0, 1, 4]
    assert "not finite" in made.reasons[0]
    assert "the decoder stumbled" in made.reasons[4]
    assert np.isnan(made.embeddings[0]).all()


def test_a_missing_package_is_told_at_once(utterances, monkeypatch):
    def load(*_, **__):
        raise MissingPackageError("pip install av")

    monkeypatch.setattr(module, "load_audio", load)
    with pytest.raises(MissingPackageError, match="pip install av"):
        embed_utterances(BandEmbedder(), CONFIG, utterances)


def test_more_utterances_than_are_decoded_ahead_keep_their_order(utterances, monkeypatch):
    whole = embed_utterances(BandEmbedder(), CONFIG, utterances)
    monkeypatch.setattr(module, "DECODED_AHEAD", 2)
    np.testing.assert_array_equal(embed_utterances(BandEmbedder(), CONFIG, utterances).embeddings, whole.embeddings)
    turned = embed_utterances(BandEmbedder(), CONFIG, utterances[::-1])
    np.testing.assert_array_equal(turned.embeddings[::-1], whole.embeddings)


def test_trials_are_answered_from_packed_embeddings(utterances):
    made = embed_utterances(BandEmbedder(), CONFIG, utterances)
    trials = all_pairs(utterances[3:], utterances[:3])
    rows = made.rows_for([Utterance(u.path, "", u.start_s, u.end_s) for u in trials.utterances])
    assert rows.tolist() == [3, 4, 0, 1, 2]
    chosen = made.select(trials.utterances)
    np.testing.assert_array_equal(chosen.embeddings, made.embeddings[rows])
    np.testing.assert_array_equal(chosen.snr_db, made.snr_db[rows])
    assert chosen.failed == made.failed
    assert list(chosen.reasons) == [3]
    assert chosen.utterances == trials.utterances


def test_rows_that_follow_each_other_are_not_copied():
    made = random_embeddings(6)
    assert np.shares_memory(made.select(made.utterances[2:5]).embeddings, made.embeddings)
    other = made.select([made.utterances[2], made.utterances[4]])
    np.testing.assert_array_equal(other.snr_db, [2, 4])
    assert len(made.select([])) == 0


def test_missing_utterances_are_counted_and_the_first_is_named():
    made = random_embeddings(3)
    wanted = [made.utterances[0], Utterance("0.wav", "s", 0.0, 2.0), Utterance("x.wav", "s")]
    with pytest.raises(DataListError, match=r"2 of 3 recordings .* the first: 0\.wav \(0\.0 s to 2\.0 s\)"):
        made.rows_for(wanted)


def test_embeddings_of_another_model_or_cut_are_refused():
    made = random_embeddings(2)
    made.model_fingerprint, made.max_duration_s = "a", 20.0
    made.require_model("a", 20.0)
    made.require_model("a")
    with pytest.raises(ModelError, match="come from the model a, and this one is b"):
        made.require_model("b")
    with pytest.raises(ModelError, match=r"cut after 20\.0 s"):
        made.require_model("a", 10.0)
