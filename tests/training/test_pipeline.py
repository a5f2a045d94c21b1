"""From the configuration to batches: where what is computed, and what the sections of the augmentation file become."""

import contextlib
import copy
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from mvector.audio.augmentation import Recordings
from mvector.config import load_augmentation, load_config
from mvector.data.lists import read_data_list, speaker_classes
from mvector.errors import ConfigError, DataListError, MissingPackageError
from mvector.training import preparation
from mvector.training.augmentation import build_augmentation
from mvector.training.run import TrainingRun
from mvector.training.step import network_input

RATE = 16000


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    rng = np.random.default_rng(3)
    for name, decay in (("noise", 1.0), ("music", 1.0), ("rooms", np.exp(-np.arange(RATE) / 1500))):
        (tmp_path / name / "inner").mkdir(parents=True)
        for number in range(2):
            wave = 0.2 * rng.standard_normal(RATE) * decay
            soundfile.write(tmp_path / name / "inner" / f"{number}.wav", wave, RATE)
    return tmp_path


def everything(sounds: Path) -> dict:
    return {
        "speed": {"prob": 1.0, "speed_perturb_3_class": True},
        "volume": {"prob": 0.5},
        "noise": {"prob": 0.2, "noise_dir": str(sounds / "noise")},
        "noises": [
            {"name": "music", "prob": 0.3, "noise_dir": str(sounds / "music"), "min_snr_dB": 5},
            {"name": "babble", "prob": 0.3, "source": "training", "min_count": 3, "max_count": 7, "max_snr_dB": 20},
        ],
        "reverb": {"prob": 0.5, "reverb_dir": str(sounds / "rooms")},
        "channel": {"prob": 0.5},
        "spec_aug": {"prob": 0.5},
    }


def test_a_device_gets_materials_and_computes_the_same_features(settings, sounds, tmp_path, monkeypatch):
    """What a GPU does, here on the CPU: augmentation, features and masks of a whole batch in the training process."""
    # Without the channel, which cuts bands off: what is 100 dB under the rest is rounding, and its logarithm differs.
    settings["augmentation"] = everything(sounds) | {"channel": None}
    config = load_config(settings)
    device = torch.device("cpu")
    in_workers = TrainingRun(copy.deepcopy(config), device, tmp_path / "a", do_eval=False)
    monkeypatch.setattr("mvector.training.run.features_in_workers", lambda device: False)
    monkeypatch.setattr(preparation, "augments_on_device", lambda device: True)
    on_device = TrainingRun(config, device, tmp_path / "b", do_eval=False)
    assert in_workers.augment is None
    assert on_device.augment is not None
    batches = 0
    for one, other in zip(in_workers.loader, on_device.loader, strict=True):
        assert torch.equal(one["labels"], other["labels"])
        expected, found = network_input(in_workers, one), network_input(on_device, other)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
        batches += 1
    assert batches > 1


def test_the_number_of_workers_changes_nothing(settings, sounds):
    settings["augmentation"] = everything(sounds)
    found = []
    for workers in (0, 2):
        settings["dataset_conf"]["dataLoader"] = {"num_workers": workers}
        config = load_config(settings)
        utterances = read_data_list(config.dataset_conf.train_list)
        dataset = preparation.build_dataset(config, utterances, speaker_classes(utterances), None)
        batches = preparation.build_batches(config, utterances, dataset)
        loader = preparation.build_loader(config, dataset, batches, torch.device("cpu"))
        found.append(list(preparation.read_batches(loader)))
        preparation.end_workers(loader)
    for one, other in zip(*found, strict=True):
        assert torch.equal(one["sound"], other["sound"])
        assert torch.equal(one["labels"], other["labels"])


def test_noise_by_category_from_folders_lists_and_the_training_list(sounds):
    listed = sounds / "噪声.txt"
    listed.write_text("noise/inner/0.wav\nnoise/inner/1.wav\tanything\n", encoding="utf-8")
    sections = everything(sounds)
    sections["noises"].append({"name": "street", "prob": 0.1, "noise_list": str(listed), "max_snr_dB": 3})
    augmentation = build_augmentation(load_augmentation(sections), RATE, str(sounds))
    found = {category.name: category for category in augmentation.waveform.noises.categories}
    assert list(found) == ["noise", "music", "babble", "street"]
    assert found["babble"].recordings is None
    assert (found["babble"].min_count, found["babble"].max_count) == (3, 7)
    assert isinstance(found["music"].recordings, Recordings)
    assert [Path(recording.path).name for recording in found["street"].recordings] == ["0.wav", "1.wav"]
    assert (found["music"].min_snr_db, found["music"].max_snr_db) == (5, 15)
    assert (augmentation.waveform.speed_prob, augmentation.waveform.volume_prob) == (1.0, 0.5)
    assert augmentation.speed_classes
    listed.write_text("\n", encoding="utf-8")
    with pytest.raises(DataListError, match="empty"):
        build_augmentation(load_augmentation(sections), RATE, str(sounds))


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        ([{"prob": 0.7, "source": "training"}, {"prob": 0.5, "source": "training"}], r"noises: .* add up to 1\.2"),
        ([{"prob": 0.7}], "exactly one is needed"),
        ([{"noise_dir": "a", "noise_list": "b"}], "exactly one is needed"),
        ([{"noise_dir": "a", "min_count": 3}], "min_count"),
        ([{"noise_dir": "a", "min_snr_dB": 30}], "min_snr_dB"),
        ([{"noise_dir": "a", "maximum": 3}], r"unknown key; allowed here: name, prob"),
        ([{"noise_dir": "a", "prob": "often"}], "expected a number from 0 to 1"),
    ],
)
def test_mistakes_in_categories_are_named(categories, message):
    with pytest.raises(ConfigError, match=message):
        load_augmentation({"noises": categories})


def test_files_of_mvector_1_1_load(sounds):
    conf = load_augmentation({"noise": {"prob": 0.5, "noise_dir": str(sounds / "noise"), "min_snr_dB": 10}})
    augmentation = build_augmentation(conf, RATE)
    assert [category.max_count for category in augmentation.waveform.noises.categories] == [1]
    assert augmentation.waveform.responses is augmentation.waveform.channel is augmentation.spec_augment is None


def test_rooms_are_simulated_once_where_there_is_no_folder(tmp_path):
    pytest.importorskip("pyroomacoustics")
    folder = tmp_path / "新 rooms"
    conf = load_augmentation({"reverb": {"prob": 1.0, "reverb_dir": str(folder), "simulate": 3}})
    responses = build_augmentation(conf, RATE).waveform.responses
    assert len(responses) == 3
    made = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    for index in range(3):
        response = responses.samples(index).numpy()
        late = np.square(response[4800:]).sum()
        assert np.square(response).sum() == pytest.approx(1, abs=1e-4)
        assert late < 0.2  # it dies away
        assert np.abs(response[100:]).max() > 1e-3  # and is more than the direct sound
    build_augmentation(conf, RATE)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == made
    assert list(tmp_path.iterdir()) == [folder]


def test_a_process_that_is_not_the_first_of_its_machine_finds_the_rooms_made(sounds, monkeypatch):
    """It looks for the folder after it has waited, and simulates nothing."""

    @contextlib.contextmanager
    def wait():
        (sounds / "rooms").rename(sounds / "made")  # what the first process does meanwhile
        yield

    def refuse(*_):
        raise AssertionError("simulated again")

    monkeypatch.setattr("mvector.training.augmentation.first_of_machine_first", wait)
    monkeypatch.setattr("mvector.audio.simulated_rooms.simulate_rooms", refuse)
    conf = load_augmentation({"reverb": {"prob": 1.0, "reverb_dir": str(sounds / "made"), "simulate": 3}})
    assert len(build_augmentation(conf, RATE).waveform.responses) == 2


def test_the_same_rooms_for_everybody(tmp_path):
    pytest.importorskip("pyroomacoustics")
    from mvector.audio.simulated_rooms import simulate_rooms

    for name, count in (("a", 2), ("b", 1)):
        simulate_rooms(tmp_path / name, count, RATE)
    assert (tmp_path / "a" / "room00000.wav").read_bytes() == (tmp_path / "b" / "room00000.wav").read_bytes()
    assert (tmp_path / "a" / "room00000.wav").read_bytes() != (tmp_path / "a" / "room00001.wav").read_bytes()


def test_simulating_without_the_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyroomacoustics", None)
    conf = load_augmentation({"reverb": {"prob": 1.0, "reverb_dir": str(tmp_path / "none"), "simulate": 3}})
    with pytest.raises(MissingPackageError, match="pip install pyroomacoustics"):
        build_augmentation(conf, RATE)
    assert not (tmp_path / "none").exists()
