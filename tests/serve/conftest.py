"""A model directory for the services of these tests, and a service in this process."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import TINY_CONFIG
from tests.serve.sound_files import encoded


@pytest.fixture(scope="session")
def served_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model directory with random weights, a threshold and a calibration."""
    import torch

    from mvector.config import load_config
    from mvector.embedder import SpeakerEmbedder
    from mvector.model_directory import save_model

    folder = tmp_path_factory.mktemp("served") / "best_model"
    folder.mkdir()
    config = load_config(TINY_CONFIG)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        embedder = SpeakerEmbedder.from_config(config)
    calibration = {"scale": 9.0, "offset": -2.5, "prior": 0.5, "targets": 10, "non_targets": 40}
    metrics = {"eer": 0.1, "threshold": 0.25, "calibration": calibration}
    save_model(folder, embedder, config, metrics, ["anna", "贝拉"])
    return folder


@pytest.fixture(scope="session")
def clip(voice: np.ndarray) -> bytes:
    """Three seconds of speech as a WAV file."""
    return encoded(voice, "wav")


def _started(model: Path, folder: Path, running: ExitStack, **settings: object) -> Any:
    from fastapi.testclient import TestClient

    from mvector.serve import Settings
    from mvector.serve.app import create_app

    values = {"requests_per_minute": 0, "decoders": 1, "audio_db_path": str(folder / "voices"), **settings}
    app = create_app(Settings(str(model), **values))
    return running.enter_context(TestClient(app, base_url="http://localhost:8000"))


@pytest.fixture
def serve(served_model: Path, tmp_path: Path) -> Iterator[Callable]:
    """serve(**settings) starts a service in this process and returns a client; all are stopped after the test."""
    with ExitStack() as running:
        yield lambda **settings: _started(served_model, tmp_path, running, **settings)


@pytest.fixture(scope="module")
def _shared(served_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with ExitStack() as running:
        yield _started(served_model, tmp_path_factory.mktemp("shared"), running)


@pytest.fixture
def client(_shared: Any) -> Iterator[Any]:
    """A client of a service with nothing set, which tests share; whom one enrolls is gone in the next."""
    yield _shared
    service = _shared.app.state.service
    service.ready = True
    for name in service.predictor.get_users():
        service.predictor.remove_user(name)
