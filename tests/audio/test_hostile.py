"""Input made to break a decoder: every outcome is a waveform or an AudioError, in little time and memory."""

import io
import logging
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
import soundfile

from mvector.audio import audio_info, iter_windows, load_audio
from mvector.errors import AudioError

MAGICS = [
    b"RIFF\x24\x10\x00\x00WAVEfmt ",
    b"fLaC\x00\x00\x00\x22",
    b"OggS\x00\x02",
    b"ID3\x04\x00\x00",
    b"\xff\xfb\x90\x64",
    b"FORM\x00\x00\x10\x00AIFFCOMM",
    b".snd\x00\x00\x00\x18",
    b"caff\x00\x01",
    b"NIST_1A\n   1024\n",
    b"riff",
    b"RF64",
    b"\x00\x00\x00\x20ftypM4A ",
    b"\x1aE\xdf\xa3",
    b"#!AMR\n",
    b"\xff\xf1\x50\x80",
    b"0&\xb2u\x8ef\xcf\x11",
]
FORMATS = [
    ("WAV", "PCM_16"),
    ("WAV", "FLOAT"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
    ("AIFF", "PCM_16"),
    ("NIST", "PCM_16"),
    ("CAF", "PCM_16"),
]


@pytest.fixture(autouse=True)
def quiet_ffmpeg():
    """FFmpeg's complaints about damaged files are not what is tested."""
    logging.getLogger("libav").setLevel(logging.CRITICAL)


def sound_file(container: str = "WAV", subtype: str = "PCM_16", seconds: float = 2.0) -> bytes:
    t = np.arange(round(seconds * 16000)) / 16000
    buffer = io.BytesIO()
    soundfile.write(buffer, 0.3 * np.sin(2 * np.pi * 300 * t), 16000, format=container, subtype=subtype)
    return buffer.getvalue()


def try_everything(data: bytes) -> np.ndarray | None:
    """The waveform of `data`, or None where it is refused as it should be. Memory stays in proportion."""
    waveform = None
    messages: list[str] = []
    tracemalloc.start()
    try:
        for attempt in (
            lambda: load_audio(data, warnings=[]),
            lambda: load_audio(data, start_s=0.3, end_s=0.8, warnings=[]),
            lambda: audio_info(data),
            lambda: sum(len(window) for window in iter_windows(data, warnings=[])),
        ):
            try:
                result = attempt()
            except AudioError as refusal:
                messages.append(str(refusal))
            else:
                waveform = result if isinstance(result, np.ndarray) and waveform is None else waveform
        assert tracemalloc.get_traced_memory()[1] < 200e6
    finally:
        tracemalloc.stop()
    assert all(message.startswith("the given bytes: ") and len(message) > 30 for message in messages)
    if waveform is not None:
        assert np.isfinite(waveform).all()
    return waveform


@pytest.mark.parametrize("seed", range(10))
def test_random_bytes(seed):
    rng = np.random.default_rng(seed)
    try_everything(rng.bytes(int(rng.integers(1, 50_000))))


@pytest.mark.parametrize("magic", MAGICS, ids=lambda magic: magic[:8].hex())
def test_a_right_beginning_and_then_rubbish(magic):
    rng = np.random.default_rng(1)
    for rest in (b"", bytes(3), bytes(5000), rng.bytes(40), rng.bytes(20_000)):
        try_everything(magic + rest)


@pytest.mark.parametrize(("container", "subtype"), FORMATS)
def test_flipped_bytes_and_cuts(container, subtype):
    data = sound_file(container, subtype)
    rng = np.random.default_rng(2)
    for cut in (4, 12, 40, 44, 46, 100, 1024, len(data) // 3, len(data) - 1):
        try_everything(data[:cut])
    for _ in range(8):
        damaged = bytearray(data)
        for position in rng.integers(0, min(len(data), 200), 3):
            damaged[position] = int(rng.integers(256))
        for position in rng.integers(0, len(data), 5):
            damaged[position] = int(rng.integers(256))
        try_everything(bytes(damaged))


@pytest.mark.parametrize(("container", "codec"), [("ipod", "aac"), ("webm", "libopus"), ("adts", "aac")])
def test_flipped_bytes_and_cuts_in_what_pyav_reads(voice, pyav_encode, container, codec):
    data = pyav_encode(voice[:16000], 16000, container, codec)
    rng = np.random.default_rng(3)
    for cut in (7, 16, 40, 300, len(data) // 3, len(data) - 1):
        try_everything(data[:cut])
    for _ in range(10):
        damaged = bytearray(data)
        for position in rng.integers(4, len(data), 6):
            damaged[position] = int(rng.integers(256))
        try_everything(bytes(damaged))


def wav_header(data_bytes: int, rate: int = 16000, channels: int = 1, bits: int = 16) -> bytes:
    block = channels * bits // 8 % 65536
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", min(data_bytes + 36, 2**32 - 1), b"WAVE", b"fmt ", 16, 1, channels, rate,
        rate * block % 2**32, block, bits, b"data", data_bytes,
    )  # fmt: skip


def test_a_header_alone_is_empty():
    for size in (0, 32000, 0xFFFFFFFF):
        with pytest.raises(AudioError):
            load_audio(wav_header(size))


def test_a_wav_that_promises_gigabytes():
    for size in (0x70000000, 0x7FFFFFFE, 0xFFFFFFF0, 0xFFFFFFFF, 0):
        waveform = try_everything(wav_header(size) + bytes(64_000))
        if size:  # a length of zero may be taken at its word
            assert waveform is not None
            assert len(waveform) == 32000


def test_a_flac_that_promises_gigabytes():
    data = bytearray(sound_file("FLAC"))
    assert data[:4] == b"fLaC"
    for total in (2**36 - 1, 10**9, 0):  # 36 bits from bit 108 of STREAMINFO
        data[21] = data[21] & 0xF0 | total >> 32
        data[22:26] = (total & 0xFFFFFFFF).to_bytes(4, "big")
        warnings: list[str] = []
        assert len(load_audio(bytes(data), warnings=warnings)) == pytest.approx(32000, abs=1)
        assert len(warnings) == (1 if total else 0)  # 0 means that the length is not known
        try_everything(bytes(data))


def test_impossible_rates_and_channel_counts():
    for rate in (0, 1, 7, 2**31 - 1, 2**32 - 1):
        with pytest.raises(AudioError):
            load_audio(wav_header(64_000, rate=rate) + bytes(64_000))
    for channels in (0, 60_000):
        with pytest.raises(AudioError):
            load_audio(wav_header(64_000, channels=channels) + bytes(64_000))
    assert try_everything(wav_header(512_000, channels=256) + bytes(512_000)) is not None


def test_other_kinds_of_file_under_the_name_of_sound(tmp_path):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.wav", sound_file())
    kinds = {
        "zip": archive.getvalue(),
        "png": b"\x89PNG\r\n\x1a\n" + bytes(1000),
        "pdf": b"%PDF-1.7\n" + b"x" * 1000,
        "html": b"<!DOCTYPE html><html><body>404</body></html>",
        "git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n",
        "utf-16": "声音".encode("utf-16") * 100,
        "zeros": bytes(10_000),
        "elf": b"\x7fELF" + bytes(1000),
    }
    for kind, data in kinds.items():
        for name in (f"{kind}.wav", f"{kind}.mp3", f"{kind}.raw", f"{kind}.m4a"):
            path = tmp_path / name
            path.write_bytes(data)
            with pytest.raises(AudioError, match=name.replace(".", r"\.")):
                load_audio(path)
            with pytest.raises(AudioError):
                audio_info(path)


def test_odd_paths(tmp_path):
    for path in ("", ".", "\0", "a\0b.wav", "x" * 5000, "http://127.0.0.1:9/a.wav", "-", "con:/a.wav"):
        with pytest.raises(AudioError):
            load_audio(path)


def test_file_objects_that_fail(voice):
    class Broken(io.BytesIO):
        def read(self, *arguments):
            raise OSError("the disk is gone")

    with pytest.raises(AudioError, match="the disk is gone"):
        load_audio(Broken(sound_file()))
    closed = io.BytesIO(sound_file())
    closed.close()
    with pytest.raises(AudioError, match="closed"):
        load_audio(closed)
