"""A store moved to another model: from its recordings, at once for everybody else, and again after being cut off."""

import numpy as np
import pytest

from mvector.errors import StoreError, TooShortError
from mvector.store.reembed import reembed

OTHER = {"fingerprint": "b" * 32, "embedding_size": 5}


def other_model(sound: bytes) -> tuple[np.ndarray, dict[str, float]]:
    """An embedding [5] that depends on the recording alone, and a quality."""
    x = np.random.default_rng(list(sound)).standard_normal(5)
    return (x / np.linalg.norm(x)).astype(np.float32), {"magnitude": float(len(sound))}


@pytest.fixture
def sounds(make_store, voice):
    kept = {name: [b"RIFF %s %d" % (name.encode(), number) for number in range(2)] for name in ("Ann", "Bob", "张三")}
    with make_store() as store:
        for name, recordings in kept.items():
            for sound in recordings:
                store.add(name, voice(), audio=sound)
    return kept


def check_moved(store, sounds):
    assert store.names() == sorted(sounds)
    for name, recordings in sounds.items():
        mean = np.mean([other_model(sound)[0] for sound in recordings], axis=0, dtype=np.float64)
        np.testing.assert_allclose(store.mean(name), mean / np.linalg.norm(mean), atol=1e-6)
        assert store.search(store.mean(name), 1)[0].name == name
        assert [one.quality["magnitude"] for one in store.utterances(name)] == [len(sound) for sound in recordings]
    with store.transaction() as cursor:
        for table in ("voice_embeddings", "voice_means"):
            assert cursor.execute(f"SELECT COUNT(DISTINCT model_id) FROM {table}").fetchall()[0][0] == 1
        assert cursor.execute("SELECT fingerprint FROM voice_models").fetchall() == [("b" * 32,)]


def test_every_recording_is_embedded_by_the_new_model(make_store, sounds):
    with make_store(**OTHER, moving=True) as moving:
        moved = reembed(moving, other_model)
        assert (moved.utterances, moved.dropped) == (6, 0)
        check_moved(moving, sounds)
    with make_store(**OTHER) as store:
        check_moved(store, sounds)
    with pytest.raises(StoreError, match="embedded by another model"):
        make_store()
    with make_store(**OTHER, moving=True) as again:
        assert reembed(again, pytest.fail).utterances == 6


def test_cut_off_it_goes_on_and_the_old_model_works_meanwhile(make_store, sounds, voice):
    calls = []

    def interrupted(sound):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(sound)
        return other_model(sound)

    with make_store(**OTHER, moving=True) as moving, pytest.raises(KeyboardInterrupt):
        reembed(moving, interrupted)
    old = make_store()
    ann = old.mean("Ann")
    assert old.search(ann, 1)[0].name == "Ann"
    old.remove("Bob")
    old.add("New", voice(), audio=b"RIFF New")
    calls.clear()
    with make_store(**OTHER, moving=True) as moving:
        reembed(moving, lambda sound: calls.append(sound) or other_model(sound))
        del sounds["Bob"]
        check_moved(moving, sounds | {"New": [b"RIFF New"]})
    assert len(calls) == len(set(calls)) <= 4
    with pytest.raises(StoreError, match="moved to another model while it was open"):
        old.search(ann)


def test_who_is_enrolled_during_the_last_round_is_moved_too(make_store, sounds, voice):
    old = make_store()

    def late(sound):
        if sound == b"RIFF %s 1" % "张三".encode():
            old.add("Late", voice(), audio=b"RIFF Late")
        return other_model(sound)

    with make_store(**OTHER, moving=True) as moving:
        assert reembed(moving, late).utterances == 7
        check_moved(moving, sounds | {"Late": [b"RIFF Late"]})


def test_utterances_without_a_recording_need_a_word(make_store, sounds, voice):
    with make_store(keep_audio=False) as store:
        store.add("Ann", voice(), audio=b"RIFF")
        store.add("Mute", voice())
    with (
        make_store(**OTHER, moving=True) as moving,
        pytest.raises(StoreError, match=r"2 of the 8 enrolled recordings cannot be embedded.*first of 'Ann'.*--drop"),
    ):
        reembed(moving, pytest.fail)
    assert make_store().names() == ["Ann", "Bob", "Mute", "张三"]
    with make_store(**OTHER, moving=True) as moving:
        moved = reembed(moving, other_model, drop=True)
        assert (moved.utterances, moved.dropped) == (6, 2)
        check_moved(moving, sounds)


def test_recordings_that_the_new_model_refuses(make_store, sounds):
    def refusing(sound):
        if b"Bob" in sound:
            raise TooShortError("0.1 s of sound")
        return other_model(sound)

    with make_store(**OTHER, moving=True) as moving:
        with pytest.raises(StoreError, match=r"first of 'Bob' \(0.1 s of sound\)"):
            reembed(moving, refusing)
        assert reembed(moving, refusing, drop=True).dropped == 2
        del sounds["Bob"]
        check_moved(moving, sounds)
