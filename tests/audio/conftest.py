"""Sounds for the tests, made here."""

import io
from collections.abc import Callable

import numpy as np
import pytest


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
def pyav_encode() -> Callable[..., bytes]:
    return encode_with_pyav
