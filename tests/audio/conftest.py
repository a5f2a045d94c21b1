"""Sounds for the tests, made here."""

import io
from collections.abc import Callable

import numpy as np
import pytest


def synthesised_speech(duration_s: float, sample_rate_hz: int = 16000, seed: int = 0) -> np.ndarray:
    """A crude voice that a speech detector hears as one: harmonics of a moving pitch through three moving formants."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(duration_s * sample_rate_hz)) / sample_rate_hz
    pitch_hz = 120 + 25 * np.sin(2 * np.pi * 1.3 * t) + 5 * np.sin(2 * np.pi * 5 * t)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / sample_rate_hz
    formants = (
        (500 + 250 * np.sin(2 * np.pi * 2.1 * t), 80, 1.0),
        (1500 + 500 * np.sin(2 * np.pi * 1.7 * t + 1), 110, 0.6),
        (2500 + 200 * np.sin(2 * np.pi * 1.1 * t), 160, 0.3),
    )
    voice = np.zeros(len(t))
    for k in range(1, 40):
        gain = sum(peak / (1 + ((k * pitch_hz - centre) / width) ** 2) for centre, width, peak in formants) / k**0.3
        voice += np.where(k * pitch_hz < 0.47 * sample_rate_hz, gain, 0) * np.sin(k * phase + k)
    voice *= np.clip(np.sin(2 * np.pi * 3.5 * t) + 0.6, 0, 1)  # syllables
    return (0.5 * voice / np.abs(voice).max() + 1e-3 * rng.standard_normal(len(t))).astype(np.float32)


def encode_with_pyav(samples: np.ndarray, sample_rate_hz: int, container: str, codec: str) -> bytes:
    """`samples` [T] float in [-1, 1] as the bytes of a mono file."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=sample_rate_hz)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray((samples[None] * 32767).astype(np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts = sample_rate_hz, 0
        resampler = av.AudioResampler(
            format=stream.format.name,
            layout="mono",
            rate=sample_rate_hz,
            frame_size=stream.codec_context.frame_size or 1024,
        )
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(piece))
        output.mux(stream.encode(None))
    return buffer.getvalue()


@pytest.fixture(scope="session")
def voice() -> np.ndarray:
    """Three seconds of a crude voice at 16 kHz, float32 [48000], peak 0.5."""
    return synthesised_speech(3.0)


@pytest.fixture(scope="session")
def make_voice() -> Callable[..., np.ndarray]:
    return synthesised_speech


@pytest.fixture(scope="session")
def pyav_encode() -> Callable[..., bytes]:
    return encode_with_pyav
