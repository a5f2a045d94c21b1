"""RMS level in dB relative to full scale."""

import numpy as np
import pytest

from mvector.audio import normalize_level, rms_dbfs


def test_levels_of_known_signals():
    t = np.arange(16000) / 16000
    assert rms_dbfs(np.ones(100)) == pytest.approx(0.0)
    assert rms_dbfs(np.sin(2 * np.pi * 100 * t)) == pytest.approx(-3.0103, abs=1e-4)
    assert rms_dbfs(np.full(100, 0.1)) == pytest.approx(-20.0)
    assert rms_dbfs(np.zeros(100)) == rms_dbfs(np.zeros(0)) == -200.0


@pytest.mark.parametrize("target_db", [-20.0, -3.0, -60.0])
@pytest.mark.parametrize("level", [1e-6, 0.01, 1.0])
def test_the_result_has_the_target_level(voice, target_db, level):
    result = normalize_level(voice * np.float32(level), target_db)
    assert result.dtype == np.float32
    assert 10 * np.log10(np.mean(result.astype(np.float64) ** 2)) == pytest.approx(target_db, abs=1e-3)
    np.testing.assert_allclose(result / result[100], voice / voice[100], rtol=1e-3, atol=1e-5)


def test_silence_stays_silence():
    np.testing.assert_array_equal(normalize_level(np.zeros(1000, np.float32)), np.zeros(1000))
    assert len(normalize_level(np.zeros(0, np.float32))) == 0
    nearly = normalize_level(np.full(1000, 1e-30, np.float32))
    assert np.isfinite(nearly).all()


def test_the_gain_is_bounded_and_peaks_are_not_clipped(voice):
    np.testing.assert_allclose(normalize_level(voice * 1e-4, max_gain_db=20.0), voice * 1e-3, rtol=1e-5)
    assert np.abs(normalize_level(voice, target_db=0.0)).max() > 1.5


def test_the_input_is_not_changed(voice):
    before = voice.copy()
    normalize_level(voice, -30.0)
    np.testing.assert_array_equal(voice, before)
