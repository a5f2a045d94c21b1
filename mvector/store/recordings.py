"""Recordings as a store keeps them: FLAC of 16 bits for samples, the bytes themselves for a sound file."""

import io

import numpy as np

from mvector.errors import StoreError


def to_bytes(audio: tuple[np.ndarray, int] | bytes) -> bytes:
    """A sound file of `audio`: (samples [T] or [T, channels] in -1..1, rate in Hz), or the bytes of a sound file.

    16 bits are what nearly every recording came from, and those come back exactly: value = integer / 32768.
    """
    if isinstance(audio, bytes | bytearray | memoryview):
        if not len(audio):
            raise StoreError("the recording to keep has no bytes in it.")
        return bytes(audio)
    import soundfile

    samples, rate_hz = audio
    samples = np.asarray(samples)
    if samples.dtype.kind == "f":
        if not samples.size or not np.isfinite(samples).all():
            raise StoreError("the recording to keep is empty, or has NaN or infinite samples.")
        samples = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, samples, int(rate_hz), format="FLAC", subtype="PCM_16")
    return file.getvalue()
