"""What PyAV reads for us: M4A, WebM and other recordings of phones and browsers."""

import io
import sys

import av
import numpy as np
import pytest

from mvector.audio import audio_info, iter_windows, load_audio
from mvector.errors import AudioError, MissingPackageError

# container, codec, rate, the file's rate (Opus is always decoded at 48 kHz), how far off seeking may be in samples
FORMATS = [
    ("ipod", "aac", 16000, 16000, 0),
    ("mp4", "aac", 44100, 44100, 0),
    ("3gp", "aac", 16000, 16000, 0),
    ("mov", "pcm_s16le", 16000, 16000, 0),
    ("adts", "aac", 16000, 16000, 0),
    ("webm", "libopus", 48000, 48000, 48),
    ("webm", "libopus", 16000, 48000, 16),
    ("matroska", "flac", 16000, 16000, 0),
    *([("amr", "libopencore_amrnb", 8000, 8000, 0)] if "libopencore_amrnb" in av.codecs_available else []),
]


def best_shift(part: np.ndarray, whole: np.ndarray, start: int, reach: int) -> tuple[int, float]:
    """Where `part` fits best into `whole` near `start`, and the correlation there."""
    inner = part[2000:-2000]
    shifts = range(-reach, reach + 1)
    scores = [np.corrcoef(inner, whole[start + 2000 + k :][: len(inner)])[0, 1] for k in shifts]
    return int(np.argmax(scores)) - reach, max(scores)


@pytest.mark.parametrize(("container", "codec", "rate", "file_rate", "tolerance"), FORMATS)
def test_decoding_and_seeking(make_voice, pyav_encode, tmp_path, container, codec, rate, file_rate, tolerance):
    voice = make_voice(6.0, rate)
    path = tmp_path / "录音.wav"  # the content decides, not the name
    path.write_bytes(pyav_encode(voice, rate, container, codec))
    warnings: list[str] = []
    waveform = load_audio(path, sample_rate_hz=rate, warnings=warnings)
    info = audio_info(path)
    assert (info.sample_rate_hz, info.channels) == (file_rate, 1)
    assert info.duration_s == pytest.approx(6.0, abs=0.15)
    assert len(waveform) == pytest.approx(6 * rate, abs=0.15 * rate)
    padding = 1024 if container == "adts" else 0  # raw AAC cannot say how much there is
    _, similarity = best_shift(voice[rate : 3 * rate], waveform, rate + padding, 50)
    assert similarity > (0.7 if container == "amr" else 0.9)

    part = load_audio(path, rate, start_s=3.0, end_s=4.5, warnings=warnings)
    assert len(part) == round(1.5 * rate)
    shift, similarity = best_shift(part, waveform, 3 * rate, max(tolerance, 4))
    assert abs(shift) <= tolerance
    assert similarity > 0.99
    assert warnings == []
    np.testing.assert_array_equal(load_audio(io.BytesIO(path.read_bytes()), rate), waveform)
    np.testing.assert_array_equal(np.concatenate(list(iter_windows(path, 1.0, rate))), waveform)


def test_seeking_decodes_only_what_is_needed(make_voice, pyav_encode):
    data = pyav_encode(np.tile(make_voice(10.0), 12), 16000, "ipod", "aac")

    class Counted(io.BytesIO):
        taken = 0

        def read(self, size=-1):
            block = super().read(size)
            self.taken += len(block)
            return block

    file = Counted(data)
    load_audio(file, start_s=100.0, end_s=102.0)
    assert file.taken < 0.5 * len(data)


def test_stereo_becomes_the_mean(voice, tmp_path):
    path = tmp_path / "a.mov"
    with av.open(path, "w") as output:
        stream = output.add_stream("pcm_s16le", rate=16000)
        stream.layout = "stereo"
        pcm = (np.stack((voice, -0.5 * voice), axis=1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate, frame.pts = 16000, 0
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    assert audio_info(path).channels == 2
    np.testing.assert_allclose(load_audio(path), voice * 0.25, atol=2 / 32768)


@pytest.mark.parametrize(("container", "codec"), [("webm", "libopus"), ("adts", "aac"), ("matroska", "flac")])
def test_truncated(make_voice, pyav_encode, container, codec):
    data = pyav_encode(make_voice(6.0), 16000, container, codec)
    whole = load_audio(data)
    warnings: list[str] = []
    waveform = load_audio(data[: len(data) // 2], warnings=warnings)
    assert 0.3 * len(whole) < len(waveform) < 0.7 * len(whole)
    np.testing.assert_allclose(waveform[:-2000], whole[: len(waveform) - 2000], atol=1e-4)
    assert len(warnings) == 1
    assert "truncated" in warnings[0]


def test_an_m4a_without_its_index_cannot_be_decoded(voice, pyav_encode):
    data = pyav_encode(voice, 16000, "ipod", "aac")
    with pytest.raises(AudioError, match="damaged or truncated"):
        load_audio(data[: len(data) // 2])


def test_a_film_without_sound(tmp_path):
    path = tmp_path / "film.mp4"
    with av.open(path, "w") as output:
        stream = output.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        for _ in range(3):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        output.mux(stream.encode(None))
    with pytest.raises(AudioError, match=r"film\.mp4: there is no audio track"):
        load_audio(path)


def test_play_lists_are_never_followed(voice, tmp_path):
    import soundfile

    soundfile.write(tmp_path / "secret.wav", voice, 16000)
    for text in (
        "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nsecret.wav\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile secret.wav\n",
    ):
        path = tmp_path / "upload.m3u8"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(AudioError, match="cannot be read as sound"):
            load_audio(path)


def test_without_pyav(voice, pyav_encode, monkeypatch):
    data = pyav_encode(voice, 16000, "ipod", "aac")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingPackageError, match="pip install av"):
        load_audio(data)
    with pytest.raises(AudioError, match="cannot be read as sound"):
        load_audio(b"this is not sound at all" * 10)
    with pytest.raises(AudioError, match="rare codec: pip install av"):
        load_audio(b"RIFF\x10\x00\x00\x00WAVEjunk" + bytes(100))
