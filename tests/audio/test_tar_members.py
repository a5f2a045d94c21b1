"""Recordings inside tar files: their paths, and reading them in place."""

import io
import os
import tarfile

import numpy as np
import pytest
import soundfile

from mvector.audio import audio_info, load_audio
from mvector.audio.tar_members import TarMember, file_of, open_member, tar_member
from mvector.data.lists import read_data_list
from mvector.errors import AudioError

RATE = 16000


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def wav_bytes(seconds: float = 0.5) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * RATE))
    soundfile.write(buffer, noise, RATE, format="WAV")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/b.tar!k.wav#512+30", TarMember("a/b.tar", "k.wav", 512, 30)),
        ("a/b.tar!x/k.wav", TarMember("a/b.tar", "x/k.wav")),
        ("C:\\数据\\b.tar!键.flac#0+1", TarMember("C:\\数据\\b.tar", "键.flac", 0, 1)),
        ("s3://b/t-{0}.tar!k#1.wav#512+30", TarMember("s3://b/t-{0}.tar", "k#1.wav", 512, 30)),
        ("a!b.wav", None),
        ("b.tar", None),
        ("b.tar!", None),
        ("", None),
    ],
)
def test_paths_of_members(path, expected):
    assert tar_member(path) == expected
    assert file_of(path) == (expected.shard if expected else path)
    if expected:
        assert str(expected) == path


def test_a_member_without_a_range_is_found_by_its_name(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        add(tar, "one.txt", b"hello")
        add(tar, "深/two.wav", wav_bytes())
    expected = soundfile.read(io.BytesIO(wav_bytes()), dtype="float32")[0]
    np.testing.assert_array_equal(load_audio(f"{tmp_path}/x.tar!深/two.wav"), expected)
    (tmp_path / "list.txt").write_text("x.tar!深/two.wav\tanna\n", encoding="utf-8")
    assert read_data_list(tmp_path / "list.txt")[0].path == os.path.join(str(tmp_path), "x.tar!深/two.wav")


def test_a_large_member_is_read_in_parts(tmp_path):
    """Longer than what is read at once: random reads and seeks agree with a file in memory."""
    content = np.random.default_rng(0).bytes(3_000_000)
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        add(tar, "first", b"1" * 700)
        add(tar, "big.bin", content)
        add(tar, "last", b"2" * 700)
    member = open_member(TarMember(f"{tmp_path}/x.tar", "big.bin"))
    reference, rng = io.BytesIO(content), np.random.default_rng(1)
    for _ in range(200):
        whence, offset, size = int(rng.integers(3)), int(rng.integers(3_200_000)), int(rng.integers(100_000))
        if whence == io.SEEK_END:
            offset = -int(rng.integers(3_000_000))
        assert member.seek(offset, whence) == reference.seek(offset, whence)
        assert member.read(size) == reference.read(size)
        if reference.tell() > 5_000_000:
            member.seek(0), reference.seek(0)
    member.close()


def test_a_long_recording_in_a_shard_is_read_by_segment(tmp_path):
    long = np.random.default_rng(0).uniform(-0.5, 0.5, 60 * RATE).astype(np.float32)
    buffer = io.BytesIO()
    soundfile.write(buffer, long, RATE, format="WAV", subtype="FLOAT")
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        add(tar, "long.wav", buffer.getvalue())
    np.testing.assert_array_equal(
        load_audio(f"{tmp_path}/x.tar!long.wav", RATE, 40.0, 41.0), long[40 * RATE : 41 * RATE]
    )
    assert audio_info(f"{tmp_path}/x.tar!long.wav").duration_s == 60.0


def test_members_that_cannot_be_read(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        add(tar, "a.wav", wav_bytes())
        add(tar, "bad.wav", b"no sound")
    (tmp_path / "text.tar").write_text("no tar at all", encoding="utf-8")
    for path, message in (
        ("missing.tar!a.wav", "there is no file .*missing.tar"),
        ("missing.tar!a.wav#0+10", "there is no file .*missing.tar"),
        ("x.tar!b.wav", "there is no b.wav in this tar file"),
        ("x.tar!a.wav#512+999999", "ends before this recording does"),
        ("x.tar!bad.wav", "bad.wav: this cannot be read as sound"),
        ("text.tar!a.wav", "the tar file cannot be read"),
    ):
        with pytest.raises(AudioError, match=message):
            load_audio(f"{tmp_path}/{path}")
