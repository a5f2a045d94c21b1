"""MVectorPredictor with enrolled people: what callers of the mvector package expect, and what they suffered from."""

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mvector.errors import ConfigError, StoreError
from mvector.predict import MVectorPredictor

RATE = 16000
ROOT = Path(__file__).parents[2]


@pytest.fixture
def voices(make_voice) -> dict[str, np.ndarray]:
    """Three voices that even a random network tells apart: the same one played faster and slower."""
    return {name: make_voice(3.0, rate, seed=7) for name, rate in (("anna", 16000), ("贝拉", 11000), ("carl", 13500))}


@pytest.fixture
def opened(tiny_model_dir, tmp_path):
    """opened(**arguments) -> a predictor on the same store; all are closed at the end."""
    predictors: list[MVectorPredictor] = []

    def make(**arguments) -> MVectorPredictor:
        settings = {"model_path": tiny_model_dir, "audio_db_path": tmp_path / "audio_db", "device": "cpu", **arguments}
        predictors.append(MVectorPredictor(**settings))
        return predictors[-1]

    yield make
    for predictor in predictors:
        predictor.store.close()


def test_enroll_recognise_verify_delete(opened, voices, make_voice):
    predictor = opened()
    assert predictor.get_users() == []
    assert tuple(predictor.recognition(voices["anna"])) == (None, None)
    for name, sound in voices.items():  # the predecessor crashed at the first
        done, message = predictor.register(sound, name)
        assert (done, message) == (True, f"{name} is enrolled (recordings: 1)")
    assert predictor.get_users() == ["anna", "carl", "贝拉"]
    for rate, expected in ((16000, "anna"), (11000, "贝拉"), (13500, "carl")):
        name, score = answer = predictor.recognition(make_voice(3.0, rate, seed=8), threshold=0.9)
        assert name == expected
        assert score > 0.9
        assert answer.margin > 0
        assert predictor.verify(make_voice(3.0, rate, seed=8), expected, 0.9).same is True
    second = predictor.register(make_voice(3.0, seed=9), "anna")
    assert (second.utterances, second.name) == (2, "anna")
    assert predictor.get_users() == ["anna", "carl", "贝拉"]  # each name once
    assert predictor.remove_user("anna") is True
    assert predictor.remove_user("anna") is False
    assert predictor.get_users() == ["carl", "贝拉"]
    assert predictor.recognition(voices["anna"]).nearest != "anna"
    with pytest.raises(StoreError, match="nobody is enrolled as 'anna'"):
        predictor.verify(voices["anna"], "anna")


def test_the_score_is_the_cosine_with_the_mean_of_the_persons_recordings(opened, make_voice):
    predictor = opened()
    sounds = [make_voice(3.0, seed=seed) * gain for seed, gain in ((1, 1.0), (2, 0.1))]
    for sound in sounds:
        predictor.register(sound.astype(np.float32), "anna")
    embeddings = [predictor.recogniser.hear(sound, RATE, predictor.embedder).embedding for sound in sounds]
    mean = np.mean(embeddings, axis=0)
    asked = make_voice(3.0, 14000, seed=3)
    expected = predictor.recogniser.hear(asked, RATE, predictor.embedder).embedding @ mean / np.linalg.norm(mean)
    assert predictor.recognition(asked).score == pytest.approx(float(expected), abs=1e-5)
    assert predictor.verify(asked, "anna").score == pytest.approx(float(expected), abs=1e-5)


def test_every_kind_of_source_and_any_rate(opened, make_voice, tmp_path):
    predictor = opened()
    path = tmp_path / "录音.wav"
    soundfile.write(path, make_voice(3.0, 44100), 44100, subtype="FLOAT")
    predictor.register(str(path), "anna")
    for source in (path, path.read_bytes()):
        assert predictor.recognition(source).score == pytest.approx(1.0, abs=1e-5)
    assert predictor.recognition(make_voice(3.0, 44100), sample_rate=44100).score == pytest.approx(1.0, abs=1e-4)
    assert predictor.verify(make_voice(3.0, 44100), "anna", sample_rate=44100).score == pytest.approx(1.0, abs=1e-4)


def test_which_threshold_decides(make_model, opened, make_voice):
    calibration = {"scale": 9.0, "offset": -2.5, "prior": 0.5, "targets": 10, "non_targets": 40}
    model = make_model({"threshold": 0.25, "calibration": calibration}, name="calibrated")
    own, given = opened(model_path=model), opened(model_path=model, threshold=0.999999)
    own.register(make_voice(3.0), "anna")
    asked = make_voice(3.0, 13000, seed=5)
    answer = own.recognition(asked)
    assert (answer.threshold, answer.name) == (0.25, "anna")
    assert answer.llr == pytest.approx(9 * answer.score - 2.5, abs=1e-4)
    assert answer.probability() == pytest.approx(1 / (1 + np.exp(-answer.llr)), rel=1e-4)
    refused = given.recognition(asked)
    assert (refused.threshold, refused.name, refused.score) == (0.999999, None, pytest.approx(answer.score))
    assert given.recognition(asked, 0).name == "anna"
    assert given.threshold == 0.999999
    assert given.recognition(asked).name is None
    with pytest.raises(ConfigError, match="from -1 to 1"):
        own.recognition(asked, threshold=60)


def test_a_given_threshold_decides_exactly_as_given_also_where_it_is_the_stored_one(make_model, opened, voices):
    calibration = {"scale": 9.0, "offset": -2.5, "prior": 0.5, "targets": 10, "non_targets": 40}
    model = make_model({"threshold": 0.25, "calibration": calibration}, name="calibrated")
    own, given = opened(model_path=model), opened(model_path=model, threshold=0.25)
    for name, sound in voices.items():
        own.register(sound, name)
    raised = pytest.approx((np.log(3) + np.log(9) + 2.5) / 9)  # for three people, right with 90 %
    assert own.recognition(voices["anna"]).threshold == raised
    assert own.recognition(voices["anna"], threshold=0.25).threshold == 0.25
    assert given.recognition(voices["anna"]).threshold == 0.25
    own.threshold = 0.3  # as callers of the predecessor set it
    assert own.recognition(voices["anna"]).threshold == 0.3


def test_the_index_is_chosen(opened, voices):
    exact, lists = opened(), opened(index="ivf")
    for name, sound in voices.items():
        exact.register(sound, name)
    for sound in voices.values():
        assert lists.recognition(sound) == exact.recognition(sound)
    with pytest.raises(StoreError, match="no index named 'annoy'; there are: exact, ivf"):
        opened(index="annoy")


def test_people_stay_enrolled_and_another_model_is_refused(opened, make_model, voices):
    first = opened()
    first.register(voices["anna"], "anna")
    second = opened()
    assert second.recognition(voices["anna"]).name == "anna"
    second.remove_user("anna")
    assert first.get_users() == []
    second.register(voices["carl"], "carl")
    with pytest.raises(StoreError):
        opened(model_path=make_model(name="other", seed=1))


def test_recordings_are_kept_or_not(opened, voices):
    keeping, forgetting = opened(), opened(keep_audio=False)
    keeping.register(voices["anna"], "anna")
    forgetting.register(voices["anna"], "carl")
    assert [one.has_audio for one in keeping.store.utterances("anna")] == [True]
    (utterance,) = keeping.store.utterances("carl")
    assert utterance.has_audio is False
    assert utterance.quality["speech_s"] > 2
    assert utterance.quality["magnitude"] > 0


@pytest.mark.parametrize("name", ["../../etc/passwd", "CON", "🙂", "名" * 300, "a/b\\c:d", "o'Brien; DROP TABLE x"])
def test_names_are_data(opened, voices, tmp_path, name):
    predictor = opened()
    before = {path.name for path in tmp_path.iterdir()}
    predictor.register(voices["anna"], name)
    assert predictor.get_users() == [name]
    assert predictor.recognition(voices["anna"]).name == name
    assert {path.name for path in tmp_path.iterdir()} == before
    assert predictor.remove_user(name)


def test_a_name_that_cannot_be_one(opened, voices):
    predictor = opened()
    for name in ("", "a\x00b", "n" * 301):
        with pytest.raises(StoreError):
            predictor.register(voices["anna"], name)
    assert predictor.get_users() == []


def test_the_folder_of_the_mvector_package_is_taken_over(opened, voices, tmp_path, caplog):
    folder = tmp_path / "audio_db"
    for path, name in (("anna/0.wav", "anna"), ("anna/1.wav", "anna"), ("贝拉/0.wav", "贝拉"), ("carl.wav", "carl")):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / path, voices[name] * (0.5 if "1.wav" in path else 1.0), RATE)
    soundfile.write(folder / "anna" / "2.wav", np.zeros(RATE), RATE)  # silence is nobody's voice
    (folder / "audio_indexes.bin").write_bytes(b"\x80\x04cos\nsystem\n")  # would run a program if it were unpickled
    with caplog.at_level(logging.WARNING, "mvector"):
        predictor = opened()
    assert predictor.get_users() == ["anna", "carl", "贝拉"]
    assert predictor.store.get("anna").utterances == 2
    assert any("2.wav" in record.message for record in caplog.records)
    for name, sound in voices.items():
        assert predictor.recognition(sound).name == name
    predictor.remove_user("carl")
    assert opened().get_users() == ["anna", "贝拉"]


def test_an_outlier_is_told(make_model, opened, make_voice):
    predictor = opened(model_path=make_model({"threshold": 0.9999}, name="strict"))
    predictor.register(make_voice(3.0), "anna")
    assert predictor.register(make_voice(3.0), "anna").warnings == ()
    assert predictor.register(make_voice(3.0, 13500), "anna").warnings != ()


def test_without_a_place_for_voices(tiny_model_dir, voice):
    predictor = MVectorPredictor(model_path=tiny_model_dir)
    for act in (
        lambda: predictor.register(voice, "anna"),
        lambda: predictor.recognition(voice),
        lambda: predictor.verify(voice, "anna"),
        lambda: predictor.remove_user("anna"),
        predictor.get_users,
    ):
        with pytest.raises(ConfigError, match="audio_db_path"):
            act()


COMPARE = """
import sys
from mvector.predict import MVectorPredictor
MVectorPredictor(model_path=sys.argv[1]).verdict(*sys.argv[2:4])
print([name for name in ("sqlite3", "mvector.store", "mvector.recognition", "cryptography") if name in sys.modules])
"""


def test_comparing_two_recordings_imports_nothing_of_the_store(tiny_model_dir, voice, tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, voice, RATE)
    command = [sys.executable, "-c", COMPARE, str(tiny_model_dir), str(path), str(path)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, cwd=ROOT)
    assert done.stdout == "[]\n"
