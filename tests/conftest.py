"""What tests of several packages share: a crude voice, and a tiny model directory with random weights."""

import os
from collections.abc import Callable
from pathlib import Path

# The workers of pytest-xdist, and the programs that tests start, share the cores instead of fighting for them.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

TINY_CONFIG = {
    "preprocess_conf": {"feature_method": "Fbank", "method_args": {"num_mel_bins": 40}, "waveform_scale": 32768.0},
    "model_conf": {"model": "EcapaTdnn", "model_args": {"embd_dim": 24, "channels": [16, 16, 16, 16, 48]}},
}
TINY_METRICS = {
    "eer": 0.1,
    "threshold": 0.25,
    "development": {"list": "lists/dev.txt", "target_trials": 10, "non_target_trials": 40},
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules with slow tests begin, so that no worker is left alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts speak the language of the locale; tests read English."""
    monkeypatch.setenv("LANGUAGE", "en")


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


@pytest.fixture(scope="session")
def voice() -> np.ndarray:
    """Three seconds of a crude voice at 16 kHz, float32 [48000], peak 0.5."""
    return synthesised_speech(3.0)


@pytest.fixture(scope="session")
def make_voice() -> Callable[..., np.ndarray]:
    return synthesised_speech


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., Path]:
    """make_model(metrics=…, name=…, seed=…, **sections) writes a tiny model directory and returns its path.

    `sections` replace those of TINY_CONFIG. Its weights are random: the numbers mean nothing, but are always the same.
    """

    def make(metrics: dict | None = None, name: str = "best_model", seed: int = 0, **sections: dict) -> Path:
        import torch

        from mvector.config import load_config
        from mvector.embedder import SpeakerEmbedder
        from mvector.model_directory import save_model

        folder = tmp_path / "models" / "Tiny" / name
        folder.mkdir(parents=True)
        config = load_config({**TINY_CONFIG, **sections})
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            embedder = SpeakerEmbedder.from_config(config)
        save_model(folder, embedder, config, TINY_METRICS if metrics is None else metrics, ["anna", "贝拉"])
        return folder

    return make


@pytest.fixture
def tiny_model_dir(make_model: Callable[..., Path]) -> Path:
    """A tiny model directory: ECAPA-TDNN, random weights, 40 mel bins, 24-dimensional embeddings, threshold 0.25."""
    return make_model()
