"""Resampling in one piece and in blocks."""

import numpy as np
import pytest

from mvector.audio import resample
from mvector.audio.resample import StreamResampler

RATES = [(16000, 16000), (8000, 16000), (44100, 16000), (48000, 16000), (16000, 22050)]


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
@pytest.mark.parametrize("block", [160, 1000, 100_000])
def test_blocks_joined_equal_the_whole(from_hz, to_hz, block):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, from_hz).astype(np.float32)
    whole = resample(noise, from_hz, to_hz)
    assert (len(whole), whole.dtype) == (to_hz, np.float32)
    stream = StreamResampler(from_hz, to_hz)
    pieces = [stream.push(noise[i : i + block]) for i in range(0, len(noise), block)]
    np.testing.assert_allclose(np.concatenate([*pieces, stream.finish()]), whole, atol=1e-6)


def test_a_tone_keeps_its_phase():
    tone = np.sin(2 * np.pi * 500 * np.arange(44100) / 44100).astype(np.float32)
    expected = np.sin(2 * np.pi * 500 * np.arange(16000) / 16000)
    np.testing.assert_allclose(resample(tone, 44100, 16000)[200:-200], expected[200:-200], atol=1e-4)
