"""What every kind of store promises, compared with plain arithmetic on lists."""

import io
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import soundfile

from mvector.errors import StoreError
from mvector.store import Match, open_store

NAMES = [
    "张三",
    "../../etc/passwd",
    "CON",
    "👩‍👩‍👧",
    "x" * 300,
    "Ann",
    "ann",
    "O'Brien; DROP TABLE",
    "a\\b/c",
    ".",
    "%s ?",
]


def test_an_empty_store_knows_nobody(store, voice):
    assert (store.count(), store.names(), store.people(), store.search(voice())) == (0, [], [], [])
    assert (store.get("Ann"), store.mean("Ann"), store.compare("Ann", voice())) == (None, None, None)
    assert store.utterances("Ann") == []
    assert store.remove("Ann") is False


def test_names_are_data(make_store, voice, tmp_path):
    store, embeddings = make_store(), {name: voice() for name in NAMES}
    for name, embedding in embeddings.items():
        assert store.add(name, embedding, audio=(np.zeros(100), 16000)).name == name
    again = make_store()
    assert again.names() == sorted(NAMES)
    for name, embedding in embeddings.items():
        assert again.search(embedding, 1)[0].name == name
    for written in tmp_path.rglob("*"):
        assert written.name.startswith("voices") or written.suffix == ".sound" or written.name == "声纹库"
    for name in NAMES:
        assert again.remove(name)
    assert store.count() == 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", "at least one character"),
        (" \t", "at least one character"),
        ("a\nb", "U\\+000A"),
        ("a\0", "U\\+0000"),
        ("a\u2028b", "line separator"),
        ("\ud800", "surrogate"),
        ("x" * 301, "301 characters; at most 300"),
        (7, "must be text, found int"),
    ],
)
def test_what_cannot_be_a_name(store, voice, name, expected):
    for call in (lambda: store.add(name, voice()), lambda: store.get(name), lambda: store.remove(name)):
        with pytest.raises(StoreError, match=expected):
            call()
    assert store.count() == 0


def test_one_name_in_two_spellings_and_two_names_in_two_cases(store, voice):
    composed, decomposed = "Ren\u00e9", "Rene\u0301"
    store.add(composed, voice())
    store.add(f" {decomposed} ", voice())
    assert store.names() == [composed]
    assert store.get(decomposed).utterances == 2
    store.add("RENÉ", voice())
    assert store.count() == 2


def test_the_mean_is_that_of_the_unit_length_embeddings(store, voice):
    embeddings = [voice() for _ in range(3)]
    for count, embedding in enumerate(embeddings, start=1):
        added = store.add("Ann", embedding * 10.0**count)
        assert added.utterances == count
    mean = np.mean(embeddings, axis=0, dtype=np.float64)
    np.testing.assert_allclose(store.mean("Ann"), mean / np.linalg.norm(mean), atol=1e-6)
    other = voice()
    assert store.compare("Ann", other * 3) == pytest.approx(float(store.mean("Ann") @ other), abs=1e-6)


def test_opposite_embeddings_still_have_a_mean_of_unit_length(store, voice):
    x = voice()
    store.add("Ann", x)
    store.add("Ann", -x)
    assert np.linalg.norm(store.mean("Ann")) == pytest.approx(1.0)


def test_search_equals_comparing_with_everybody(store, voice):
    for number in range(30):
        for _ in range(1 + number % 3):
            store.add(f"p{number}", voice())
    queries = np.stack([voice() for _ in range(5)])
    everybody = {name: store.mean(name).astype(np.float64) for name in store.names()}
    for query, found in zip(queries, store.search(queries, 4), strict=True):
        expected = sorted(((float(mean @ query), name) for name, mean in everybody.items()), reverse=True)[:4]
        assert [match.name for match in found] == [name for _, name in expected]
        np.testing.assert_allclose([match.score for match in found], [score for score, _ in expected], atol=1e-6)
    assert store.search(queries[0]) == store.search(queries, 2)[0]
    assert len(store.search(queries[0], 100)) == 30
    assert isinstance(store.search(queries[0])[0], Match)


@pytest.mark.parametrize(
    "bad", [np.zeros(16), np.full(16, np.nan), np.full(16, np.inf), np.ones(15), np.ones((2, 2, 16))]
)
def test_what_cannot_be_an_embedding(store, voice, bad):
    store.add("Ann", voice())
    for call in (lambda: store.add("Bob", bad), lambda: store.search(bad), lambda: store.compare("Ann", bad)):
        with pytest.raises(StoreError, match="embedding"):
            call()
    assert store.names() == ["Ann"]
    with pytest.raises(StoreError, match="top_k must be at least 1, found 0"):
        store.search(voice(), 0)


def test_an_utterance_unlike_the_others_is_enrolled_with_a_warning(make_store, voice):
    store, ann = make_store(outlier_score=0.4), voice()
    assert store.add("Ann", ann).warning is None
    assert store.add("Ann", voice(ann, 0.41)).warning is None
    odd = store.add("Ann", voice(store.mean("Ann"), 0.39))
    assert "does not sound like the others of 'Ann': similarity 0.39, expected at least 0.40" in odd.warning
    assert odd.utterances == 3
    assert store.get("Ann").utterances == 3


@dataclass
class Quality:
    speech_s: float
    snr_db: float
    clipped_share: float | None = None


def test_quality_and_recordings_stay_with_the_utterance(make_store, voice):
    store, before = make_store(), datetime.now(UTC) - timedelta(seconds=1)
    samples = (np.arange(-400, 400) / 32768 * 40).astype(np.float32)
    store.add("Ann", voice(), quality=Quality(2.5, float("nan")), audio=(samples, 8000))
    store.add("Ann", voice(), quality={"level_dbfs": np.float32(-20)}, audio=b"RIFF any bytes")
    store.add("Ann", voice())
    silent = make_store(keep_audio=False)
    silent.add("Ann", voice(), audio=(samples, 8000))
    found = store.utterances("Ann")
    assert [one.quality for one in found] == [{"speech_s": 2.5}, {"level_dbfs": -20.0}, {}, {}]
    assert [one.has_audio for one in found] == [True, True, False, False]
    assert all(before < one.added_at < datetime.now(UTC) + timedelta(seconds=1) for one in found)
    with store.transaction() as cursor:
        sound = store.sound_of(cursor, found[0].utterance_id)
        assert store.sound_of(cursor, found[1].utterance_id) == b"RIFF any bytes"
        assert store.sound_of(cursor, found[2].utterance_id) is None
    decoded, rate = soundfile.read(io.BytesIO(sound), dtype="float32")
    assert rate == 8000
    np.testing.assert_array_equal(decoded, samples)  # multiples of 1/32768 come back exactly


def test_bad_quality_and_audio_enroll_nobody(store, voice):
    for settings in (
        {"quality": 3},
        {"audio": (np.full(10, np.nan), 16000)},
        {"audio": b""},
        {"audio": (np.zeros(0), 1)},
    ):
        with pytest.raises(StoreError):
            store.add("Ann", voice(), **settings)
    assert store.count() == 0


def test_two_openings_see_each_others_changes_in_searches(make_store, voice):
    one, other = make_store(), make_store()
    ann, bob = voice(), voice()
    one.add("Ann", ann)
    assert other.search(ann, 1)[0].name == "Ann"
    other.add("Bob", bob)
    one.add("Ann", -ann + 0.5 * bob)
    assert one.search(bob, 1)[0].name == other.search(bob, 1)[0].name
    assert one.search(ann) == other.search(ann)
    one.remove("Bob")
    assert {match.name for match in other.search(bob)} == {"Ann"}
    one.add("Bob", ann)
    assert other.search(ann, 1) == one.search(ann, 1) == [Match("Bob", pytest.approx(1.0))]


def test_threads_may_share_a_store(store, voice):
    embeddings, errors = [voice() for _ in range(24)], []

    def work(start: int) -> None:
        try:
            for number in range(start, 24, 4):
                store.add(f"p{number}", embeddings[number])
                assert store.search(embeddings[number], 1)[0].name == f"p{number}"
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert store.count() == 24


def test_another_model_is_refused_until_the_store_is_empty(make_store, voice):
    store = make_store()
    store.add("Ann", voice())
    with pytest.raises(StoreError, match=r"embedded by another model \(a{32}\).*tools/reembed.py"):
        make_store(fingerprint="b" * 32)
    with pytest.raises(StoreError, match=r"have 16 numbers.*said to have 17"):
        make_store(embedding_size=17)
    store.remove("Ann")
    moved = make_store(fingerprint="b" * 32, embedding_size=5)
    moved.add("Ann", voice(size=5))
    for call in (lambda: store.search(voice()), store.names, lambda: store.add("Bob", voice())):
        with pytest.raises(StoreError, match="moved to another model while it was open"):
            call()


def test_a_closed_store_says_so(store, voice):
    with store:
        store.add("Ann", voice())
    store.close()
    for call in (store.names, lambda: store.add("Bob", voice())):
        with pytest.raises(StoreError, match="the store is closed"):
            call()


def test_unknown_index_and_bad_size(tmp_path):
    with pytest.raises(StoreError, match="no index named 'annoy'; there are: exact, ivf"):
        open_store(tmp_path, "a", 4, index="annoy")
    with pytest.raises(StoreError, match="embedding_size must be at least 1, found 0"):
        open_store(tmp_path, "a", 0)
