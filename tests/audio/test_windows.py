"""Long recordings as a stream of windows."""

import tracemalloc

import numpy as np
import pytest
import soundfile

from mvector.audio import iter_windows, load_audio
from mvector.errors import AudioError, TooShortError


@pytest.mark.parametrize("rate", [16000, 8000, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_joined_windows_are_the_recording(rate, channels):
    noise = np.random.default_rng(rate).uniform(-0.5, 0.5, (rate * 7, channels)).astype(np.float32)
    windows = list(iter_windows(noise, window_s=2.0, source_rate_hz=rate, warnings=[]))
    assert [len(w) for w in windows] == [32000, 32000, 32000, 16000]
    assert all(w.dtype == np.float32 for w in windows)
    np.testing.assert_allclose(np.concatenate(windows), load_audio(noise, source_rate_hz=rate, warnings=[]), atol=1e-6)


@pytest.mark.parametrize(
    ("duration_s", "lengths_s"),
    [
        (0.5, [0.5]),
        (1.5, [1.5]),
        (20.0, [20]),
        (20.9, [20.9]),
        (21.0, [20, 1]),
        (40.5, [20, 20.5]),
        (41.5, [20, 20, 1.5]),
    ],
)
def test_a_rest_under_one_second_joins_the_window_before(duration_s, lengths_s):
    samples = np.full(round(duration_s * 16000), 0.1, np.float32)
    assert [len(w) / 16000 for w in iter_windows(samples)] == lengths_s


def test_only_the_seconds_asked_for(tmp_path):
    path = tmp_path / "a.flac"
    samples = np.random.default_rng(0).integers(-9000, 9000, 16000 * 30, dtype=np.int16)
    soundfile.write(path, samples, 16000)
    windows = list(iter_windows(path, window_s=5.0, start_s=10.0, end_s=22.0))
    assert [len(w) for w in windows] == [80000, 80000, 32000]
    np.testing.assert_array_equal(np.concatenate(windows), load_audio(path)[160000:352000])


def test_errors_are_those_of_load_audio(tmp_path):
    with pytest.raises(AudioError, match="no such file"):
        next(iter_windows(tmp_path / "a.wav"))
    with pytest.raises(TooShortError):
        next(iter_windows(np.full(700, 0.1, np.float32)))
    samples = np.full(16000 * 50, 0.1, np.float32)
    samples[-1] = np.nan
    with pytest.raises(AudioError, match="not finite"):
        list(iter_windows(samples))


@pytest.mark.slow
def test_three_hours_take_little_memory(tmp_path):
    path = tmp_path / "meeting.flac"
    minute = (np.sin(np.arange(8000 * 60) * 0.3) * 8000).astype(np.int16)
    with soundfile.SoundFile(path, "w", 8000, 1) as file:
        for _ in range(180):
            file.write(minute)

    rss_before = _peak_rss_bytes()
    tracemalloc.start()
    try:
        count = samples = 0
        for window in iter_windows(path, warnings=[]):
            count, samples = count + 1, samples + len(window)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (count, samples) == (540, 3 * 3600 * 16000)
    assert peak < 100e6  # NumPy's arrays; 12 MB a window at most, 16 MB a decoded block
    assert _peak_rss_bytes() - rss_before < 500e6


def _peak_rss_bytes() -> int:
    try:
        import resource
    except ImportError:  # Windows: the traced memory alone is checked
        return 0
    import sys

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
