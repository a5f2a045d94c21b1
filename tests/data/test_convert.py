"""Converting recordings to 16 kHz mono: what comes out, and going on after a stop."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mvector.data.convert import convert_recordings, target_paths
from mvector.errors import DataListError

RATE = 16000


def sine(seconds: float, rate: int, hz: float = 440.0) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


def write(path: Path, samples: np.ndarray, rate: int = RATE, **settings: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **settings)
    return path.as_posix()


@pytest.mark.parametrize("audio_format", ["wav", "flac"])
def test_any_format_becomes_16_khz_mono(audio_format: str, tmp_path: Path) -> None:
    stereo = np.stack([sine(1.0, 44100), sine(1.0, 44100)], axis=1)
    sources = [write(tmp_path / "in/甲/1.flac", stereo, 44100), write(tmp_path / "in/b/2.ogg", sine(1.0, 8000), 8000)]
    new_paths, failed = convert_recordings(sources, tmp_path / "out", audio_format)
    assert not failed
    assert new_paths == {
        sources[0]: (tmp_path / f"out/甲/1.{audio_format}").as_posix(),
        sources[1]: (tmp_path / f"out/b/2.{audio_format}").as_posix(),
    }
    for path in new_paths.values():
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (RATE, 1, "PCM_16")
        samples, _ = soundfile.read(path)
        assert len(samples) == pytest.approx(RATE, abs=200)
        spectrum = np.abs(np.fft.rfft(samples[2000:14000]))
        assert np.argmax(spectrum) * RATE / 12000 == pytest.approx(440, abs=2)


def test_sixteen_bit_recordings_keep_their_samples(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(-32768, 32768, RATE).astype(np.int16)
    source = write(tmp_path / "in/a.wav", samples, subtype="PCM_16")
    new_paths, _ = convert_recordings([source], tmp_path / "out", "flac")
    assert np.array_equal(soundfile.read(new_paths[source], dtype="int16")[0], samples)


def test_what_is_there_already_is_not_made_again(tmp_path: Path) -> None:
    sources = [write(tmp_path / f"in/{n}.wav", sine(0.2, RATE)) for n in range(3)]
    new_paths, _ = convert_recordings(sources, tmp_path / "out", "wav")
    finished = Path(new_paths[sources[0]])
    os.utime(finished, (1, 1))
    Path(new_paths[sources[1]]).unlink()  # the run was stopped before this one …
    (tmp_path / "out/.1.wav.99.partial").write_bytes(b"RIFF")  # … while it was being written
    again, failed = convert_recordings(sources, tmp_path / "out", "wav")
    assert again == new_paths
    assert not failed
    assert finished.stat().st_mtime == 1
    assert all(soundfile.info(path).frames == 3200 for path in again.values())


def test_bad_recordings_are_reported_and_leave_nothing(tmp_path: Path) -> None:
    good = write(tmp_path / "in/good.wav", sine(0.2, RATE))
    bad = tmp_path / "in/bad.wav"
    bad.write_text("no sound", encoding="utf-8")
    new_paths, failed = convert_recordings([good, bad.as_posix()], tmp_path / "out", "wav")
    assert list(new_paths) == [good]
    assert list(failed) == [bad.as_posix()]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.wav"]


def test_names_that_would_clash_keep_their_suffix(tmp_path: Path) -> None:
    sources = [f"{tmp_path.as_posix()}/in/s/{name}" for name in ("a.mp3", "a.wav", "b.wav", "C.wav", "c.ogg")]
    targets = target_paths(sources, "out", "flac")
    assert list(targets.values()) == [
        "out/a.mp3.flac",
        "out/a.wav.flac",
        "out/b.flac",
        "out/C.wav.flac",
        "out/c.ogg.flac",
    ]


def test_processes_convert_as_one_does(tmp_path: Path) -> None:
    sources = [write(tmp_path / f"in/{n}.wav", sine(0.1, RATE, 100.0 + n)) for n in range(70)]
    new_paths, failed = convert_recordings(sources, tmp_path / "out", "flac", num_workers=2)
    assert not failed
    assert len(new_paths) == 70
    for source, path in new_paths.items():
        assert np.array_equal(soundfile.read(source, dtype="int16")[0], soundfile.read(path, dtype="int16")[0])


def test_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(DataListError, match="wav or flac, not to 'mp3'"):
        convert_recordings([], tmp_path, "mp3")
