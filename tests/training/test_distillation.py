"""Learning from a teacher's embeddings."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mvector.audio.augmentation import SPEEDS
from mvector.config import load_config
from mvector.data.dataset import collate
from mvector.data.lists import read_data_list, speaker_classes
from mvector.data.samplers import Draw
from mvector.embeddings import Embeddings, embed_utterances
from mvector.errors import AudioError, ConfigError, DataListError
from mvector.model_directory import load_model
from mvector.packed_embeddings import save_embeddings
from mvector.trainer import MVectorTrainer
from mvector.training.distillation import AtSpeed, Teacher
from mvector.training.preparation import build_dataset


def played(tone_hz: float, speed: float, samples: int) -> np.ndarray:
    """A tone as it sounds when played at `speed`: its pitch goes up with it."""
    return np.sin(2 * np.pi * tone_hz * speed * np.arange(samples) / 16000).astype(np.float32)


class Listener:
    """An embedder that gives the length and the pitch, counted in zero crossings per second."""

    embedding_size, min_samples = 2, 4000

    def embed(self, waveforms, batch_size=32):
        crossings = [np.count_nonzero(np.diff(np.signbit(waveform))) / 2 for waveform in waveforms]
        return np.array([[len(w), c / len(w) * 16000] for w, c in zip(waveforms, crossings, strict=True)], np.float32)


@pytest.mark.parametrize("speed", [0.8, 0.9, 1.1, 1.2])
def test_at_another_speed_length_and_pitch_change(speed):
    at_speed = AtSpeed(Listener(), speed)
    [(samples, pitch_hz)] = at_speed.embed([played(500.0, 1.0, 32000)])
    assert samples == 320000 // round(10 * speed)
    assert pitch_hz == pytest.approx(500.0 * speed, rel=2e-3)
    assert at_speed.min_samples == round(4000 * speed)
    [(shortest, _)] = at_speed.embed([played(500.0, 1.0, at_speed.min_samples)])
    assert shortest == 4000


def packed(folder: Path, utterances, rows: np.ndarray) -> None:
    quality = np.ones((3, len(rows)), np.float32)
    save_embeddings(folder, Embeddings(rows.astype(np.float32), list(utterances), *quality))


@pytest.fixture
def known(settings, tmp_path):
    """The training list's utterances, and random embeddings of a teacher at three speeds [3, U, 24]; one is missing."""
    utterances = read_data_list(settings["dataset_conf"]["train_list"])
    rows = np.random.default_rng(0).normal(size=(3, len(utterances), 24))
    rows[1, 2] = np.nan
    for speed, of_speed in zip(SPEEDS, rows, strict=True):
        packed(tmp_path / "teacher" / f"speed_{speed}", utterances[::-1], of_speed[::-1])  # in another order
    return utterances, rows, tmp_path / "teacher"


def test_loss_is_the_mean_distance_to_the_teacher(known):
    utterances, rows, folder = known
    teacher = Teacher(folder, 3.0, utterances, SPEEDS)
    rng = np.random.default_rng(1)
    embeddings = rng.normal(size=(5, 24)).astype(np.float32)
    numbers, speeds = np.array([0, 2, 2, 5, 3]), np.array([0, 1, 2, 2, 1])
    expected = []
    for embedding, number, speed in zip(embeddings, numbers, speeds, strict=True):
        wanted = rows[speed, number]
        cosine = embedding @ wanted / np.linalg.norm(embedding) / np.linalg.norm(wanted)
        expected.append(0.0 if np.isnan(cosine) else 1.0 - cosine)
    assert expected.count(0.0) == 1
    given = torch.from_numpy(embeddings).requires_grad_()
    loss = teacher.loss(given, torch.from_numpy(numbers), torch.from_numpy(speeds))
    assert loss.item() == pytest.approx(3.0 * np.mean(expected), rel=1e-5)
    loss.backward()
    assert torch.isfinite(given.grad).all()
    assert not given.grad[1].any()  # the recording that the teacher could not embed


def distilling(settings: dict, folder: Path, **augmentation) -> dict:
    settings["model_conf"]["model_args"]["embd_dim"] = 24
    settings["distillation_conf"] = {"teacher_embeddings": str(folder), "weight": 20.0}
    settings["augmentation"] = {**settings.get("augmentation", {}), **augmentation}
    return settings


@pytest.mark.slow
def test_the_network_is_drawn_to_its_teacher(settings, tmp_path):
    """The teacher gives each speaker a direction of its own; without it the network's directions are unrelated."""
    utterances = read_data_list(settings["dataset_conf"]["train_list"])
    directions = np.random.default_rng(0).normal(size=(6, 24))
    wanted = np.stack([directions[int(one.speaker.removeprefix("train-"))] for one in utterances])
    packed(tmp_path / "teacher" / "speed_1.0", utterances, wanted)
    found = {}
    for name in ("alone", "taught"):
        settings["augmentation"] = None
        settings["model_conf"]["model_args"]["embd_dim"] = 24
        if name == "taught":
            settings["distillation_conf"] = {"teacher_embeddings": str(tmp_path / "teacher"), "weight": 20.0}
        run = MVectorTrainer(load_config(settings), device="cpu").train(tmp_path / name, tmp_path / name / "log", 10)
        model = load_model(run.folder / "last_model")
        own = embed_utterances(model.embedder, model.config, utterances).embeddings
        found[name] = float(torch.cosine_similarity(torch.from_numpy(own), torch.from_numpy(wanted)).mean())
    assert found["taught"] > found["alone"] + 0.3


def test_examples_say_which_recording_they_are_of_and_at_which_speed(settings, known, monkeypatch):
    """Also where a recording is replaced: the teacher's answer must be that for the one that is heard."""
    utterances, _, _ = known
    run = MVectorTrainer(load_config(settings), device="cpu")
    dataset = build_dataset(run.config, utterances, speaker_classes(utterances), None)
    read, broken = dataset._read, 4
    heard = []

    def watched(index, samples, position):
        if index == broken:
            raise AudioError("broken")
        heard.append((index, SPEEDS.index(round(samples / dataset.crop.samples, 1))))
        return read(index, samples, position)

    monkeypatch.setattr(dataset, "_read", watched)
    batch = collate([dataset[Draw(0, number, 0)] for number in range(len(utterances))])
    assert list(zip(batch["utterances"].tolist(), batch["speed_classes"].tolist(), strict=True)) == heard
    assert broken not in batch["utterances"]
    assert len({speed for _, speed in heard}) == 3
    assert (batch["labels"] // 6 == batch["speed_classes"]).all()


def test_one_speed_needs_the_embeddings_of_one(settings, known):
    utterances, _, folder = known
    plain = load_config(distilling(settings, folder, speed=None))
    assert Teacher.from_config(plain, utterances, 24).embeddings.shape == (1, len(utterances), 24)
    assert Teacher.from_config(load_config(settings | {"distillation_conf": None}), utterances, 24) is None


def test_other_speeds_need_embeddings_and_classes_of_their_own(settings, known, tmp_path):
    utterances, rows, folder = known
    speed = {"prob": 1.0, "speeds": [1.2, 0.9], "speed_perturb_3_class": True}
    config = load_config(distilling(settings, folder, speed=speed))
    with pytest.raises(DataListError, match=r"speed_1\.2 holds no packed embeddings"):
        Teacher.from_config(config, utterances, 24)
    packed(folder / "speed_1.2", utterances, -rows[2])
    wanted = torch.nn.functional.normalize(torch.from_numpy(-rows[2]).float(), dim=1)
    torch.testing.assert_close(Teacher.from_config(config, utterances, 24).embeddings[1], wanted)
    dataset = build_dataset(config, utterances, speaker_classes(utterances), None)
    assert dataset.num_classes == 18
    batch = collate([dataset[Draw(0, number, 0)] for number in range(len(utterances))])
    assert set(batch["speed_classes"].tolist()) == {0, 1, 2}


def test_what_does_not_fit_is_said_before_training(settings, known, tmp_path):
    utterances, _, folder = known
    config = load_config(distilling(settings, folder))
    with pytest.raises(ConfigError, match=r"embeddings have 24 numbers and the network's 32: set .*embd_dim to 24"):
        Teacher.from_config(config, utterances, 32)
    with pytest.raises(DataListError, match="holds no packed embeddings"):
        Teacher(tmp_path / "nowhere", 1.0, utterances, SPEEDS[:1])
    packed(tmp_path / "part" / "speed_1.0", utterances[1:], np.ones((len(utterances) - 1, 24)))
    with pytest.raises(DataListError, match=f"1 of {len(utterances)} recordings are not among"):
        Teacher(tmp_path / "part", 1.0, utterances, SPEEDS[:1])
