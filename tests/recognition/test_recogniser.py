"""Who is it, and is it really her: decisions over a real store, with embeddings and cohorts made up for the purpose."""

import json

import numpy as np
import pytest

from mvector.config import load_config
from mvector.errors import ConfigError, MVectorError, StoreError
from mvector.fingerprint import model_fingerprint
from mvector.recognition import Heard, Quality, Reason, Recogniser
from mvector.recognition.scale import COSINE, Scale, Scoring, as_norm_settings
from mvector.scoring.calibration import Calibration
from mvector.scoring.cohort import Cohort
from mvector.store import open_store

SIZE = 8
CONFIG = load_config({}, check_names=False)
GOOD = Quality(duration_s=6.0, speech_s=5.0, snr_db=30.0, clipped_share=0.0, level_dbfs=-25.0, magnitude=3.0)


def unit(seed: int) -> np.ndarray:
    vector = np.random.default_rng(seed).standard_normal(SIZE)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def heard(embedding: np.ndarray | None, quality: Quality = GOOD, is_silent: bool = False) -> Heard:
    return Heard("who.wav", embedding, quality, is_silent, ("a warning",))


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "db", "f" * 32, SIZE) as opened:
        yield opened


@pytest.fixture
def people(store):
    """Ten people of one utterance each, with magnitudes of their own."""
    embeddings = {f"p{seed}": unit(seed) for seed in range(10)}
    for seed, (name, embedding) in enumerate(embeddings.items()):
        store.add(name, embedding, quality={"magnitude": 1.0 + seed})
    return embeddings


def recogniser(store, threshold=0.5, calibration=None, **scoring) -> Recogniser:
    return Recogniser(store, Scoring(Scale(COSINE, threshold, calibration), **scoring), CONFIG)


def test_the_nearest_is_named_with_score_and_margin(store, people):
    asked = unit(3) + 0.2 * unit(77)
    asked /= np.linalg.norm(asked)
    cosines = np.array([embedding @ asked for embedding in people.values()])
    answer = recogniser(store).recognise(heard(asked))
    name, score = answer
    assert (name, answer.name, answer.nearest, answer[0], len(answer)) == ("p3", "p3", "p3", "p3", 2)
    assert score == answer.score == answer[1] == pytest.approx(cosines.max(), abs=1e-6)
    assert answer.margin == pytest.approx(np.sort(cosines)[-1] - np.sort(cosines)[-2], abs=1e-6)
    assert (answer.threshold, answer.scoring, answer.reason, answer.explanation) == (0.5, "cosine", None, None)
    assert (answer.warnings, answer.quality, answer.enrolled) == (("a warning",), GOOD, 10)
    assert (answer.normalised, answer.llr, answer.probability()) == (None, None, None)


def test_a_stranger_is_nobody_and_the_score_is_kept(store, people):
    asked = unit(500)
    best = max(float(embedding @ asked) for embedding in people.values())
    name, score = answer = recogniser(store, threshold=best + 0.01).recognise(heard(asked))
    assert name is None
    assert score == pytest.approx(best, abs=1e-6)
    assert answer.reason == "below_threshold"
    assert answer.explanation == "who.wav: not similar enough to anybody enrolled"
    assert people[answer.nearest] @ asked == pytest.approx(best, abs=1e-6)


def test_a_threshold_holds_for_its_own_call(store, people):
    """The predecessor kept it for all later calls, and took 0 for none given."""
    decider, asked = recogniser(store, threshold=0.9), unit(3) + 0.8 * unit(77)
    sound = heard(asked / np.linalg.norm(asked))
    before = decider.recognise(sound)
    assert before.name is None
    for threshold, named in ((0, True), (0.0, True), (before.score, False), (np.nextafter(before.score, -1), True)):
        answer = decider.recognise(sound, threshold)
        assert (answer.threshold, answer.name is not None) == (threshold, named)
        assert decider.verify(sound, "p3", threshold).same is named
    assert decider.recognise(sound) == before
    for wrong in (1.01, float("nan")):
        with pytest.raises(ConfigError, match="from -1 to 1"):
            decider.recognise(sound, wrong)


def test_nobody_enrolled_and_one_person(store):
    decider = recogniser(store, threshold=-1)
    answer = decider.recognise(heard(unit(0)))
    assert tuple(answer) == (None, None)
    assert (answer.reason, answer.enrolled) == (Reason.NOBODY_ENROLLED, 0)
    store.add("one", unit(0))
    answer = decider.recognise(heard(unit(0)))
    assert (answer.name, answer.margin) == ("one", None)


@pytest.mark.parametrize(
    ("quality", "is_silent", "reason"),
    [
        (Quality(duration_s=3.0), True, "silence"),
        (Quality(duration_s=3.0), False, "no_speech"),
        (Quality(duration_s=3.0, speech_s=0.2), False, "too_little_speech"),
        (Quality(duration_s=0.3), False, "too_little_speech"),
        (Quality(), False, "too_little_speech"),
    ],
)
def test_without_an_embedding_nobody_is_recognised_at_any_threshold(store, people, quality, is_silent, reason):
    sound = heard(None, quality, is_silent)
    answer = recogniser(store).recognise(sound, threshold=-1)
    assert (tuple(answer), answer.reason) == ((None, None), reason)
    assert answer.explanation.startswith("who.wav: ")
    verification = recogniser(store).verify(sound, "p3", threshold=-1)
    assert (verification.same, verification.score, verification.reason) == (False, None, reason)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, "below_threshold"),
        ({"speech_s": 0.9}, "too_little_speech"),
        ({"snr_db": 4.0}, "too_noisy"),
        ({"snr_db": 4.0, "duration_s": 1.5}, "below_threshold"),  # too short to tell noise from voice
        ({"snr_db": None}, "below_threshold"),
        ({"clipped_share": 0.1}, "clipped"),
    ],
)
def test_a_bad_recording_explains_a_low_score_and_forbids_no_high_one(store, people, change, reason):
    quality = Quality(**{**GOOD.numbers(), **change})
    answer = recogniser(store, threshold=0.99).recognise(heard(unit(600), quality))
    assert (answer.name, answer.reason) == (None, reason)
    assert recogniser(store, threshold=0.5).recognise(heard(unit(3), quality)).name == "p3"
    assert recogniser(store, threshold=0.99).verify(heard(unit(600), quality), "p3").reason == reason


def test_a_model_without_a_threshold_names_nobody(store, people):
    answer = recogniser(store, threshold=None).recognise(heard(unit(3)))
    assert (answer.name, answer.nearest, answer.reason) == (None, "p3", "no_threshold")
    assert answer.score == pytest.approx(1, abs=1e-6)
    verification = recogniser(store, threshold=None).verify(heard(unit(3)), "p3")
    assert (verification.same, verification.reason) == (None, "no_threshold")
    assert recogniser(store, threshold=None).recognise(heard(unit(3)), 0.5).name == "p3"


def test_verifying_compares_with_that_person_alone(store, people):
    decider = recogniser(store, 0.5, Calibration(9.0, -2.5))
    for name, embedding in people.items():
        answer = decider.verify(heard(unit(3)), name)
        cosine = float(embedding @ unit(3))
        assert answer.score == answer.cosine == pytest.approx(cosine, abs=1e-6)
        assert answer.same is (cosine > 0.5)
        assert answer.llr == pytest.approx(9 * cosine - 2.5, abs=1e-4)
        assert answer.probability(0.1) == pytest.approx(1 / (1 + 9 * np.exp(-answer.llr)))
    with pytest.raises(StoreError, match="'nobody'"):
        decider.verify(heard(unit(3)), "nobody")


def test_among_many_people_more_is_asked_of_the_best_score(store, people):
    """As likelihood ratios it is a factor of N: a stranger has N chances. A caller's own threshold stays what it is."""
    calibration = Calibration(9.0, -2.5)
    strict = recogniser(store, 0.6, calibration).recognise(heard(unit(3)))
    assert calibration.llr(strict.threshold) - calibration.llr(0.6) == pytest.approx(np.log(10))
    decider = recogniser(store, 0.5, calibration)
    # The factor alone would give names that are right with a probability of 88 %.
    odds = np.exp(calibration.llr(decider.recognise(heard(unit(3))).threshold)) / 10
    assert odds / (1 + odds) == pytest.approx(0.9)
    assert decider.recognise(heard(unit(3)), 0.5).threshold == 0.5
    assert decider.verify(heard(unit(3)), "p3").threshold == 0.5
    for index in range(1, 10):
        store.remove(f"p{index}")
    assert decider.recognise(heard(unit(0))).threshold == 0.5


# ---------------------------------------------------------------- probability


def test_the_probability_is_bayes_over_everybody_enrolled(store, people):
    calibration = Calibration(9.0, -2.5)
    asked = unit(3) + 0.7 * unit(4)
    asked /= np.linalg.norm(asked)
    answer = recogniser(store, calibration=calibration).recognise(heard(asked))
    ratios = np.exp(9 * np.array([embedding @ asked for embedding in people.values()]) - 2.5)
    for prior in (0.5, 0.05):
        expected = prior / 10 * ratios.max() / (1 - prior + prior / 10 * ratios.sum())
        assert answer.probability(prior) == pytest.approx(expected, rel=1e-4)
    with pytest.raises(MVectorError, match="between 0 and 1"):
        answer.probability(0.0)


def test_among_many_people_the_same_score_means_less(store):
    calibration, chances = Calibration(9.0, -2.5), []
    asked = unit(0)
    orthogonal = [vector - (vector @ asked) * asked for vector in map(unit, range(1, 301))]
    store.add("her", asked)
    for count in (1, 50, 300):
        for index in range(store.count(), count):
            store.add(f"other {index}", orthogonal[index])
        chances.append(recogniser(store, calibration=calibration).recognise(heard(asked)).probability())
    assert chances[0] == pytest.approx(1 / (1 + np.exp(-6.5)))
    # Everybody else has the cosine 0 and a ratio of exp(-2.5).
    expected = [np.exp(6.5) / (n + np.exp(6.5) + (n - 1) * np.exp(-2.5)) for n in (50, 300)]
    np.testing.assert_allclose(chances[1:], expected, rtol=1e-4)


# ---------------------------------------------------------------- as-norm


def cohort_of(seed: int = 9, size: int = 40) -> Cohort:
    rng = np.random.default_rng(seed)
    speakers = [f"s{index}" for index in range(size) for _ in range(2)]
    return Cohort.from_embeddings(rng.standard_normal((2 * size, SIZE)) * 2 + 0.3, speakers)


def as_norm_by_hand(enroll: np.ndarray, test: np.ndarray, cohort: Cohort, top_n: int) -> float:
    e, t = (vector - cohort.training_mean for vector in (enroll, test))
    e, t = e / np.linalg.norm(e), t / np.linalg.norm(t)
    parts = [np.sort(cohort.means @ side)[-top_n:] for side in (e, t)]
    return float(np.mean([(e @ t - part.mean()) / part.std() for part in parts]))


def test_as_norm_decides_with_its_own_threshold_and_calibration(store, people):
    cohort = cohort_of()
    expected = {
        name: as_norm_by_hand(embedding * (1.0 + seed), 3.0 * unit(3), cohort, 10)
        for seed, (name, embedding) in enumerate(people.items())
    }
    for threshold, named in ((expected["p3"] - 0.1, True), (expected["p3"] + 0.1, False)):
        as_norm = Scale("as-norm", threshold - np.log(10) / 2, Calibration(2.0, -1.0))  # for one of ten people
        assert as_norm.calibration.llr(as_norm.threshold) > np.log(9)
        decider = recogniser(store, 0.2, as_norm=as_norm, cohort=cohort, top_n=10)
        answer = decider.recognise(heard(unit(3)))
        assert (answer.scoring, answer.name is not None) == ("as-norm", named)
        assert answer.threshold == pytest.approx(threshold)
        assert answer.score == answer.normalised == pytest.approx(expected["p3"], rel=1e-4)
        assert answer.margin == pytest.approx(expected["p3"] - np.sort(list(expected.values()))[-2], rel=1e-3)
        assert answer.cosine == pytest.approx(1.0, abs=1e-6)
        assert answer.llr == pytest.approx(2 * expected["p3"] - 1, rel=1e-4)
        verification = decider.verify(heard(unit(3)), "p5")
        assert verification.score == pytest.approx(expected["p5"], rel=1e-4)
        assert verification.cosine == pytest.approx(float(people["p5"] @ unit(3)), abs=1e-6)
        # A caller's threshold is a cosine: it decides on cosines.
        given = decider.recognise(heard(unit(3)), 0.2)
        assert (given.scoring, given.threshold, given.llr) == ("cosine", 0.2, None)
        assert given.score == given.cosine


def test_as_norm_may_name_another_person_than_the_cosine(store):
    """Somebody who resembles everybody has the higher cosine, and by the cohort's measure the lower score."""
    rng = np.random.default_rng(0)
    common = np.eye(SIZE)[0]
    cohort = Cohort.from_embeddings(
        3 * common + 0.5 * rng.standard_normal((60, SIZE)), [str(i) for i in range(60)], False
    )
    like_everybody = common
    like_her = 0.9 * np.eye(SIZE)[1] + np.sqrt(1 - 0.81) * np.eye(SIZE)[2]
    asked = 0.75 * common + np.sqrt(1 - 0.75**2) * np.eye(SIZE)[1]
    store.add("like everybody", like_everybody, quality={"magnitude": 1.0})
    store.add("like her", like_her, quality={"magnitude": 1.0})
    decider = recogniser(store, -1, as_norm=Scale("as-norm", -99.0, None), cohort=cohort, top_n=30)
    assert decider.recognise(heard(asked), threshold=-1).name == "like everybody"
    answer = decider.recognise(heard(asked))
    assert (answer.name, answer.scoring) == ("like her", "as-norm")
    assert answer.cosine == pytest.approx(like_her @ asked, abs=1e-6)


def test_without_magnitudes_the_cosine_decides_with_its_own_threshold(store, people):
    store.add("p3", unit(3))  # from a store or an import that did not keep it
    as_norm = Scale("as-norm", 99.0, None)
    answer = recogniser(store, 0.5, as_norm=as_norm, cohort=cohort_of(), top_n=10).recognise(heard(unit(3)))
    assert (answer.scoring, answer.threshold, answer.normalised, answer.name) == ("cosine", 0.5, None, "p3")


def test_what_a_model_directory_says_about_scoring(make_model, caplog):
    folder = make_model({"threshold": 0.25})
    config = load_config(folder / "config.yml")
    fingerprint = model_fingerprint(folder, config)
    assert Scoring.of_model(folder, {"threshold": 0.25}, fingerprint) == Scoring(Scale("cosine", 0.25, None))

    cohort_of(1).save(folder / "cohort.safetensors", fingerprint)
    without = Scoring.of_model(folder, {"threshold": 0.25}, fingerprint)
    assert (without.as_norm, without.cohort is None) == (None, False)

    calibration = Calibration(2.0, -1.0, 0.5, 9, 90)
    metrics = {"as_norm": {"threshold": 3.5, "calibration": calibration.as_dict(), **as_norm_settings(folder)}}
    metrics = json.loads(json.dumps(metrics))
    assert Scoring.of_model(folder, metrics, fingerprint).as_norm == Scale("as-norm", 3.5, calibration)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]

    cohort_of(2).save(folder / "cohort.safetensors", fingerprint)  # another cohort: the threshold is not for it
    assert Scoring.of_model(folder, metrics, fingerprint).as_norm is None
    assert "is not the cohort" in caplog.text
    cohort_of(2).save(folder / "cohort.safetensors", "0" * 32)
    assert Scoring.of_model(folder, metrics, fingerprint).cohort is None
    assert "of another model" in caplog.text
