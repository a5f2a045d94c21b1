"""A tiny corpus of buzzing voices, made from formulas, and a configuration that trains on it in a second."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

RATE = 16000


def voice(speaker: int, utterance: int, duration_s: float = 0.8) -> np.ndarray:
    """A harmonic buzz whose pitch and formants belong to the speaker and wander with the utterance."""
    rng = np.random.default_rng((speaker, utterance))
    time = np.arange(round(duration_s * RATE)) / RATE
    pitch = 90 + 17 * speaker + 4 * np.sin(2 * np.pi * rng.uniform(1, 3) * time)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    formants = (400 + 90 * speaker, 1300 + 160 * ((speaker * 7) % 5))
    sound = np.zeros_like(time)
    for harmonic in range(1, 30):
        frequency = harmonic * (90 + 17 * speaker)
        gain = sum(np.exp(-(((frequency - f) / 250) ** 2)) for f in formants) + 0.02
        sound += gain * np.sin(harmonic * phase + rng.uniform(0, 6))
    sound *= 0.1 * (1 + 0.5 * np.sin(2 * np.pi * 3 * time + rng.uniform(0, 6)))
    return (sound + 0.003 * rng.standard_normal(len(sound))).astype(np.float32)


def write_corpus(folder: Path, speakers: range, utterances: int, prefix: str) -> list[tuple[str, str]]:
    rows = []
    for speaker in speakers:
        for utterance in range(utterances):
            path = folder / f"{prefix}{speaker}" / f"{utterance}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, voice(speaker, utterance), RATE, subtype="PCM_16")
            rows.append((path.as_posix(), f"{prefix}{speaker}"))
    return rows


def write_list(path: Path, rows: list[tuple[str, str]]) -> str:
    path.write_text("".join(f"{audio}\t{speaker}\n" for audio, speaker in rows), encoding="utf-8")
    return path.as_posix()


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Lists by name: 'train' (6 speakers × 6), 'dev' and 'test' (4 other speakers × 4), each 0.8 s long."""
    folder = tmp_path_factory.mktemp("声音 corpus")
    return {
        "folder": folder.as_posix(),
        "train": write_list(folder / "train.txt", write_corpus(folder, range(6), 6, "train-")),
        "dev": write_list(folder / "dev.txt", write_corpus(folder, range(6, 10), 4, "dev-")),
        "test": write_list(folder / "test.txt", write_corpus(folder, range(10, 14), 4, "test-")),
    }


@pytest.fixture(autouse=True)
def _no_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Curves would be half of the time of these runs; a test that looks at their picture asks for `pictures`."""
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr("mvector.metrics.training_curves.save_training_curves", lambda *_: None)


@pytest.fixture
def pictures() -> None:
    """Curves are drawn."""


@pytest.fixture
def settings(corpus: dict[str, str]) -> dict:
    """A configuration as a dict, for load_config, to be changed freely."""
    return quick_settings(corpus)


def quick_settings(corpus: dict[str, str]) -> dict:
    return {
        "dataset_conf": {
            "dataset": {"min_duration": 0.1, "max_duration": 0.5},
            "sampler": {"batch_size": 6},
            "dataLoader": {"num_workers": 0},
            "train_list": corpus["train"],
            "dev_trials_list": corpus["dev"],
            "trials_list": corpus["test"],
        },
        "preprocess_conf": {"method_args": {"num_mel_bins": 24}, "waveform_scale": 32768.0},
        "model_conf": {
            "model": "EcapaTdnn",
            "model_args": {"embd_dim": 16, "channels": [16, 16, 16, 16, 24], "attention_channels": 8, "se_channels": 8},
        },
        "loss_conf": {"loss": "AAMLoss", "loss_args": {"margin": 0.1, "scale": 16}, "use_margin_scheduler": True},
        "optimizer_conf": {
            "optimizer": "Adam",
            "optimizer_args": {"lr": 0.005},
            "scheduler_args": {"warmup_epoch": 1, "min_lr": 1e-5},
        },
        "train_conf": {"max_epoch": 3, "log_interval": 2, "seed": 7, "enable_amp": False},
        "augmentation": {
            "speed": {"prob": 0.5, "speed_perturb_3_class": True},
            "volume": {"prob": 0.5},
            "channel": {"prob": 0.5},
            "spec_aug": {"prob": 0.5},
        },
    }


class StopAfter:
    """Stands in for StopRequest: asks to stop after `steps` steps."""

    def __init__(self, steps: float):
        self.left = steps

    def __enter__(self) -> "StopAfter":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def asked(self) -> bool:
        self.left -= 1
        return self.left == 0


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """stop_after(n): every training from now on is asked to stop after n steps, as by Ctrl-C; infinity: never."""
    return lambda steps: monkeypatch.setattr("mvector.trainer.StopRequest", lambda: StopAfter(steps))


@pytest.fixture
def config_file(tmp_path: Path, settings: dict) -> str:
    path = tmp_path / "config.yml"
    path.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    return path.as_posix()


@pytest.fixture(scope="session")
def model_of_one_epoch(corpus: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory that nobody may change; see `trained`."""
    from mvector.trainer import MVectorTrainer

    folder = tmp_path_factory.mktemp("trained")
    settings = quick_settings(corpus)
    settings["train_conf"]["max_epoch"] = 1
    MVectorTrainer(settings, device="cpu").train(folder / "models", folder / "log")
    return folder / "models" / "EcapaTdnn_Fbank" / "best_model"


@pytest.fixture
def trained(model_of_one_epoch: Path, tmp_path: Path) -> Path:
    """A model directory of one epoch's training, a copy for this test alone."""
    return Path(shutil.copytree(model_of_one_epoch, tmp_path / "models" / "EcapaTdnn_Fbank" / "best_model"))
