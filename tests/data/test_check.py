"""Finding bad recordings: one file of each kind, made for the purpose."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mvector.config import load_config
from mvector.data.check import MIN_DURATION_S, Finding, check_lists, inspect, summary, write_report
from mvector.data.lists import Utterance
from mvector.errors import MissingPackageError
from tests.conftest import synthesised_speech

RATE = 16000


def noise(seconds: float, seed: int = 0, level: float = 0.1) -> np.ndarray:
    return level * np.random.default_rng(seed).uniform(-1, 1, round(seconds * RATE))


def voice(seconds: float, seed: int = 0, level: float = 0.1) -> np.ndarray:
    """Speech to the detector, as loud as `noise`."""
    samples = synthesised_speech(seconds, RATE, seed)
    return level / np.sqrt(3) * samples / np.sqrt(np.mean(samples**2))


def write(path: Path, samples: np.ndarray, rate: int = RATE) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    # As integers: libsndfile rounds floats differently for WAV and for FLAC.
    integers = np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)
    soundfile.write(path, integers, rate, subtype="PCM_16")
    return path.as_posix()


def problems(path: str, **part: float) -> list[str]:
    return [problem for problem, _ in inspect(Utterance(path, "", **part)).problems]


def found(findings: list[Finding]) -> set[tuple[str, str, str]]:
    return {(finding.list_name, Path(finding.path).name, finding.problem) for finding in findings}


def test_good_recording(tmp_path: Path) -> None:
    inspection = inspect(Utterance(write(tmp_path / "a.wav", voice(0.6)), "a"))
    assert inspection.problems == ()
    assert inspection.duration_s == pytest.approx(0.6)


def test_each_problem(tmp_path: Path) -> None:
    assert problems((tmp_path / "not there.wav").as_posix()) == ["broken"]
    (tmp_path / "text.wav").write_text("no sound", encoding="utf-8")
    assert problems((tmp_path / "text.wav").as_posix()) == ["broken"]
    whole = Path(write(tmp_path / "whole.wav", voice(0.8)))
    (tmp_path / "cut.wav").write_bytes(whole.read_bytes()[:-4000])
    assert problems((tmp_path / "cut.wav").as_posix()) == ["broken"]
    assert problems(write(tmp_path / "short.wav", voice(0.2))) == ["too short"]
    assert problems(write(tmp_path / "very short.wav", voice(0.01))) == ["too short"]
    assert problems(write(tmp_path / "zeros.wav", np.zeros(RATE))) == ["silent"]
    assert problems(write(tmp_path / "quiet.wav", voice(0.6, level=0.003))) == ["silent"]  # -55 dBFS
    assert problems(write(tmp_path / "not so quiet.wav", voice(0.6, level=0.01))) == []  # -45 dBFS
    assert problems(write(tmp_path / "noise.wav", noise(2.0, level=0.3))) == ["speechless"]
    assert problems(write(tmp_path / "loud.wav", np.clip(voice(0.6, level=1.1), -1, 1))) == ["clipped"]
    assert problems(write(tmp_path / "one peak.wav", np.append(voice(0.6), 1.0))) == []


def test_too_short_is_what_training_leaves_out(tmp_path: Path) -> None:
    assert load_config({}).dataset_conf.dataset.min_duration == MIN_DURATION_S
    assert problems(write(tmp_path / "under.wav", voice(MIN_DURATION_S - 0.01))) == ["too short"]
    assert problems(write(tmp_path / "just.wav", voice(MIN_DURATION_S))) == []


def test_details_do_not_repeat_the_path(tmp_path: Path) -> None:
    (_, detail), *_ = inspect(Utterance((tmp_path / "not there.wav").as_posix(), "")).problems
    assert "not there.wav:" not in detail
    (_, detail), *_ = inspect(Utterance(write(tmp_path / "s.wav", voice(0.2)), "")).problems
    assert detail == "0.200 s"


def test_part_of_a_recording(tmp_path: Path) -> None:
    path = write(tmp_path / "half silent.wav", np.concatenate([np.zeros(RATE), voice(0.6)]))
    assert problems(path, start_s=1.0) == []
    assert problems(path, start_s=0.0, end_s=1.0) == ["silent"]


def test_duplicates_under_one_speaker_and_two(tmp_path: Path) -> None:
    once, again = write(tmp_path / "1.wav", voice(0.6)), write(tmp_path / "2.flac", voice(0.6))
    shared = [write(tmp_path / name, voice(0.6, seed=1)) for name in ("3.wav", "4.wav")]
    other = write(tmp_path / "5.wav", voice(0.6, seed=2))
    train = [Utterance(once, "anna"), Utterance(shared[0], "anna"), Utterance(other, "anna")]
    train += [Utterance(again, "anna"), Utterance(shared[1], "bob"), Utterance(other, "anna")]
    findings = check_lists({"train.txt": train})
    assert [(f.line, f.problem) for f in findings] == [(n, "duplicate") for n in (1, 3, 4, 5)]
    details = {f.line: f.detail for f in findings}
    assert details[1] == f"same audio under speaker bob: {shared[1]}"
    assert details[4] == f"same audio under speaker anna: {shared[0]}"
    assert details[3] == f"same audio as {once}"
    assert details[5] == f"same audio as {other}"  # the same line twice


def test_silent_recordings_are_not_copies_of_each_other(tmp_path: Path) -> None:
    paths = [write(tmp_path / name, np.zeros(RATE)) for name in ("1.wav", "2.wav")]
    findings = check_lists({"train.txt": [Utterance(paths[0], "anna"), Utterance(paths[1], "bob")]})
    assert [f.problem for f in findings] == ["silent", "silent"]


def test_what_training_shares_with_test(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{n}.wav", voice(0.6, seed=n)) for n in range(5)]
    copy = write(tmp_path / "copy.flac", voice(0.6, seed=0))
    lists = {
        "train.txt": [Utterance(paths[0], "anna"), Utterance(paths[1], "bob"), Utterance(paths[2], "carol")],
        "dev.txt": [Utterance(paths[3], "bob")],
        "test.txt": [Utterance(copy, "dave"), Utterance(paths[4], "eve")],
    }
    findings = check_lists(lists)
    assert found(findings) == {("train.txt", "0.wav", "shared"), ("train.txt", "1.wav", "shared")}
    assert {f.detail for f in findings} == {f"same audio as {copy} in test.txt", "the speaker is in dev.txt, too"}
    # For identification the speakers are the same by design, the audio must not be.
    assert found(check_lists(lists, shared_speakers=True)) == {("train.txt", "0.wav", "shared")}


def test_the_same_recording_for_enrollment_and_test_is_no_fault(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{n}.wav", voice(0.6, seed=n)) for n in range(2)]
    lists = {"train.txt": [Utterance(paths[0], "a")], "enroll.txt": [Utterance(paths[1], "b")]}
    assert check_lists({**lists, "test.txt": lists["enroll.txt"]}) == []


def test_processes_find_the_same(tmp_path: Path) -> None:
    train = [Utterance(write(tmp_path / f"{n}.wav", voice(0.4 + 0.2 * (n % 2), seed=n)), f"s{n}") for n in range(70)]
    findings = check_lists({"train.txt": train}, num_workers=2)
    assert findings == check_lists({"train.txt": train}, num_workers=1)
    assert [f.line for f in findings] == list(range(0, 70, 2))


def test_missing_package_is_not_blamed_on_the_recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_codecs(*_: object, **__: object) -> np.ndarray:
        raise MissingPackageError("M4A needs PyAV: pip install av")

    monkeypatch.setattr("mvector.data.check.load_audio", no_codecs)
    with pytest.raises(MissingPackageError, match="pip install av"):
        check_lists({"train.txt": [Utterance("a.m4a", "a")]})


def test_decoder_that_fails_in_an_unknown_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object, **__: object) -> np.ndarray:
        raise RuntimeError("internal error 7")

    monkeypatch.setattr("mvector.data.check.load_audio", crash)
    assert inspect(Utterance("a.wav", "a")).problems == (("broken", "RuntimeError: internal error 7"),)


def test_report(tmp_path: Path) -> None:
    findings = [
        Finding("train.txt", 0, "语音/甲.wav", "张伟", "silent", "-60.0 dBFS"),
        Finding("train.txt", 1, 'a,"b".wav', "x", "broken", "not sound, at all"),
    ]
    write_report(tmp_path / "new" / "report.csv", findings)
    with open(tmp_path / "new" / "report.csv", encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["path", "speaker", "problem", "detail"]
    assert rows[1:] == [[f.path, f.speaker, f.problem, f.detail] for f in findings]
    assert summary(findings) == "1 broken, 1 silent"
    assert summary([]) == "nothing"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.csv"]
