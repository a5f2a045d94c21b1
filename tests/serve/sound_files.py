"""Small sound files of every kind, lying ones, and damaged copies of them, all made here."""

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import soundfile

RATE = 16000
WRITTEN = {
    "wav": ("WAV", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "adpcm.wav": ("WAV", "IMA_ADPCM"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "aiff": ("AIFF", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
}


def encoded(waveform: np.ndarray, kind: str, sample_rate_hz: int = RATE) -> bytes:
    """`waveform` [T] as the bytes of a file: a name of WRITTEN, 'm4a' or 'webm'."""
    if kind in ("m4a", "webm"):
        return _through_pyav(waveform, kind, sample_rate_hz)
    container, coding = WRITTEN[kind]
    file = io.BytesIO()
    soundfile.write(file, waveform, sample_rate_hz, format=container, subtype=coding)
    return file.getvalue()


def _through_pyav(waveform: np.ndarray, kind: str, sample_rate_hz: int) -> bytes:
    import av

    file = io.BytesIO()
    container, codec, rate = ("mp4", "aac", sample_rate_hz) if kind == "m4a" else ("webm", "libopus", 48000)
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        samples = np.repeat(waveform, rate // sample_rate_hz).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        resampled = av.AudioResampler("fltp" if kind == "m4a" else "flt", "mono", rate).resample(frame)
        for packet in [*stream.encode(resampled[0]), *stream.encode(None)]:
            output.mux(packet)
    return file.getvalue()


def wav_that_claims(seconds: float, waveform: np.ndarray, **header: int) -> bytes:
    """A WAV of `waveform` whose header promises `seconds`, or other channels, rate_hz, bits."""
    data = (np.clip(waveform, -1, 1) * 32767).astype("<i2").tobytes()
    channels, rate, bits = header.get("channels", 1), header.get("rate_hz", RATE), header.get("bits", 16)
    promised = min(0xFFFFFFF0, round(seconds * rate) * 2)
    form = struct.pack(
        "<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits
    )
    return b"RIFF" + struct.pack("<I", promised + 36) + b"WAVE" + form + b"data" + struct.pack("<I", promised) + data


def flac_that_claims(seconds: float, waveform: np.ndarray) -> bytes:
    """A FLAC of `waveform` whose STREAMINFO promises `seconds`: 36 bits of samples from byte 21.5 on."""
    data = bytearray(encoded(waveform, "flac"))
    total = round(seconds * RATE)
    data[21] = (data[21] & 0xF0) | (total >> 32)
    data[22:26] = struct.pack(">I", total & 0xFFFFFFFF)
    return bytes(data)


def flac_of_silence(seconds: float) -> bytes:
    """Hours of digital silence in a small FLAC, with a header that tells the truth."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 8000, 1, "PCM_16", format="FLAC", compression_level=1.0) as output:
        block = np.zeros(8000 * 600, np.int16)
        for _ in range(round(seconds / 600)):
            output.write(block)
    return file.getvalue()


def mutations(seeds: dict[str, bytes], count: int) -> Iterator[tuple[str, bytes]]:
    """`count` damaged files, (what was done, bytes), always the same ones."""
    names = sorted(seeds)
    for index in range(count):
        name, rng = names[index % len(names)], np.random.default_rng([zlib.crc32(b"mutations"), index])
        data, how = bytearray(seeds[name]), HOW[(index // len(names)) % len(HOW)]
        yield f"{index} {name} {how.__name__}", bytes(how(data, rng))


def _flip_bits(data: bytearray, rng: np.random.Generator) -> bytearray:
    for at in rng.integers(0, len(data), rng.integers(1, 40)):
        data[at] ^= 1 << rng.integers(8)
    return data


def _flip_bits_of_the_head(data: bytearray, rng: np.random.Generator) -> bytearray:
    for at in rng.integers(0, min(len(data), 128), rng.integers(1, 8)):
        data[at] ^= 1 << rng.integers(8)
    return data


def _lie_in_the_head(data: bytearray, rng: np.random.Generator) -> bytearray:
    at = int(rng.integers(4, min(len(data), 96)))
    lies = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\1\0\0\0")
    data[at : at + 4] = lies[rng.integers(len(lies))]
    return data


def _cut(data: bytearray, rng: np.random.Generator) -> bytearray:
    return data[: rng.integers(0, len(data))]


def _take_out(data: bytearray, rng: np.random.Generator) -> bytearray:
    start = int(rng.integers(0, len(data)))
    del data[start : start + int(rng.integers(1, 2000))]
    return data


def _repeat(data: bytearray, rng: np.random.Generator) -> bytearray:
    start = int(rng.integers(0, len(data)))
    part = data[start : start + int(rng.integers(1, 2000))]
    return data[:start] + part * int(rng.integers(2, 6)) + data[start:]


def _noise(data: bytearray, rng: np.random.Generator) -> bytearray:
    start = int(rng.integers(4, len(data)))
    return data[:start] + bytearray(rng.bytes(len(data) - start))


HOW = (_flip_bits, _flip_bits_of_the_head, _lie_in_the_head, _cut, _take_out, _repeat, _noise)
