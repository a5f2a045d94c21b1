"""Features computed ahead: equal to those of the recordings, resumable, and random crops of them in training."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from mvector.audio import load_audio, normalize_level
from mvector.cli.extract_features import main
from mvector.config import Config, load_config
from mvector.data import feature_extraction
from mvector.data.dataset import Augmentation, CropSettings
from mvector.data.feature_extraction import extract_features
from mvector.data.lists import Utterance, read_data_list
from mvector.data.packed_features import (
    PackedFeatureDataset,
    feature_recipe,
    load_features,
    require_no_augmentation_of_sound,
)
from mvector.data.samplers import Draw
from mvector.data.shard_writer import ShardSettings, write_shards
from mvector.errors import ConfigError, DataListError, MVectorError
from mvector.features import AudioFeaturizer
from mvector.features.spec_augment import SpecAugment

RATE = 16000
PREPROCESS = {"method_args": {"num_mel_bins": 20}, "waveform_scale": 32768.0}


@pytest.fixture
def config() -> Config:
    return load_config({"preprocess_conf": PREPROCESS})


@pytest.fixture
def recordings(tmp_path) -> Path:
    """A list of ten recordings of 0.3 to 2.1 s; number 3 is no sound, 4 silent, 5 at 8 kHz, 6 a part of another."""
    lines = []
    for number in range(10):
        path, rate = tmp_path / f"{number}.wav", 8000 if number == 5 else RATE
        noise = np.random.default_rng(number).normal(0, 0.1, round(rate * (0.3 + 0.2 * number)))
        soundfile.write(path, np.zeros(RATE) if number == 4 else noise, rate)
        lines.append(f"{path}\tspeaker {number % 3}\n" if number != 6 else f"{path}\tspeaker 0\t0.4\t1.1\n")
    (tmp_path / "3.wav").write_bytes(b"no sound")
    (tmp_path / "list.txt").write_text("".join(lines), encoding="utf-8")
    return tmp_path / "list.txt"


def expected_features(utterance: Utterance, mean_norm: bool = False) -> np.ndarray:
    waveform = normalize_level(load_audio(utterance.path, RATE, utterance.start_s, utterance.end_s), -20.0)
    featurizer = AudioFeaturizer(**PREPROCESS, mean_norm=mean_norm).eval()
    return featurizer(torch.from_numpy(waveform)[None])[0][0].numpy()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_features_are_those_of_the_recordings(recordings, config, tmp_path, dtype):
    utterances = read_data_list(recordings)
    done = extract_features(config, utterances, tmp_path / "out", dtype)
    assert (done.rows, done.failed) == (10, 2)
    packed = load_features(tmp_path / "out")
    assert packed.utterances == utterances
    assert sorted(packed.reasons) == [3, 4]
    assert "cannot be read as sound" in packed.reasons[3]
    assert "silent" in packed.reasons[4]
    assert packed.matrix.dtype == dtype
    covered = np.zeros(len(packed.matrix), dtype=int)
    for row, utterance in enumerate(utterances):
        first, frames = packed.first_frame[row], packed.frames[row]
        covered[first : first + frames] += 1
        if row in packed.reasons:
            assert frames == 0
            continue
        np.testing.assert_array_equal(packed.matrix[first : first + frames], expected_features(utterance).astype(dtype))
    assert covered.max() == 1
    assert (tmp_path / "out" / "features.npy").stat().st_size < 200 + packed.matrix.nbytes
    packed.require_recipe(config)


@pytest.mark.slow  # starting a process imports torch
def test_several_processes_give_the_same_file(recordings, config, tmp_path, monkeypatch):
    monkeypatch.setattr(feature_extraction, "BLOCK", 3)
    for workers in (1, 2):
        extract_features(config, read_data_list(recordings), tmp_path / str(workers), num_workers=workers)
    for name in ("features.npy", "index.tsv", "meta.json"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


@pytest.mark.parametrize("stopped_after", [0, 4, 9])
def test_a_stopped_run_goes_on_and_ends_the_same(recordings, config, tmp_path, monkeypatch, stopped_after):
    monkeypatch.setattr(feature_extraction, "BLOCK", 2)
    utterances = read_data_list(recordings)
    extract_features(config, utterances, tmp_path / "whole")
    compute, calls = feature_extraction._features, []

    def stop(utterance):
        if len(calls) == stopped_after:
            raise KeyboardInterrupt
        calls.append(utterance)
        return compute(utterance)

    monkeypatch.setattr(feature_extraction, "_features", stop)
    with pytest.raises(KeyboardInterrupt):
        extract_features(config, utterances, tmp_path / "cut")
    with pytest.raises(DataListError, match=r"no finished packed features .*tools/extract_features.py"):
        load_features(tmp_path / "cut")
    with open(tmp_path / "cut" / "done.jsonl", "a", encoding="utf-8") as journal:
        journal.write("[4, [[12")  # a line that a kill has cut off

    again = []
    monkeypatch.setattr(feature_extraction, "_features", lambda u: again.append(u) or compute(u))
    extract_features(config, utterances, tmp_path / "cut")
    assert len(again) == len(utterances) - stopped_after // 2 * 2
    assert sorted(p.name for p in (tmp_path / "cut").iterdir()) == ["features.npy", "index.tsv", "meta.json"]
    for file in (tmp_path / "whole").iterdir():
        assert file.read_bytes() == (tmp_path / "cut" / file.name).read_bytes()
    again.clear()
    assert extract_features(config, utterances, tmp_path / "cut").rows == 10
    assert not again


@pytest.mark.parametrize("killed_in", ["job.json", "features.npy", "index.tsv", "meta.json"])
def test_killed_while_a_file_is_put_in_place(recordings, config, tmp_path, monkeypatch, killed_in):
    import os

    utterances, replace = read_data_list(recordings), os.replace
    extract_features(config, utterances, tmp_path / "whole")

    def kill(source, target):
        if Path(target).name == killed_in:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", kill)
    with pytest.raises(KeyboardInterrupt):
        extract_features(config, utterances, tmp_path / "cut")
    monkeypatch.setattr(os, "replace", replace)
    extract_features(config, utterances, tmp_path / "cut")
    for file in (tmp_path / "whole").iterdir():
        assert file.read_bytes() == (tmp_path / "cut" / file.name).read_bytes()


def test_features_of_shards(recordings, config, tmp_path):
    write_shards(read_data_list(recordings), tmp_path / "shards", ShardSettings(4))
    utterances = read_data_list(tmp_path / "shards" / "index.json")
    done = extract_features(config, utterances, tmp_path / "out", "float32")
    assert done.failed == 1  # the silent one; what is no sound is not in the shards
    packed = load_features(tmp_path / "out")
    for row, utterance in enumerate(utterances):
        if row not in packed.reasons:
            first = packed.first_frame[row]
            np.testing.assert_array_equal(
                packed.matrix[first : first + packed.frames[row]], expected_features(utterance)
            )


def test_other_recipes_and_lists_are_refused(recordings, config, tmp_path):
    utterances = read_data_list(recordings)
    extract_features(config, utterances, tmp_path / "out")
    packed = load_features(tmp_path / "out")
    for other in (
        {"preprocess_conf": {**PREPROCESS, "waveform_scale": 1.0}},
        {"preprocess_conf": PREPROCESS, "dataset_conf": {"dataset": {"target_dB": -26}}},
        {"preprocess_conf": PREPROCESS, "dataset_conf": {"dataset": {"use_dB_normalization": False}}},
    ):
        with pytest.raises(DataListError, match="features of another recipe"):
            packed.require_recipe(load_config(other))
        with pytest.raises(DataListError, match="holds features of another recipe"):
            extract_features(load_config(other), utterances, tmp_path / "out")
    packed.require_recipe(load_config({"preprocess_conf": {**PREPROCESS, "mean_norm": False}}))  # is not in them
    with pytest.raises(DataListError, match="holds features of another list"):
        extract_features(config, utterances[1:], tmp_path / "out")
    with pytest.raises(DataListError, match="holds features of another type of numbers"):
        extract_features(config, utterances, tmp_path / "out", "float32")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    with pytest.raises(DataListError, match="exists and holds no features"):
        extract_features(config, utterances, tmp_path / "full")
    with pytest.raises(DataListError, match=r"not one of 2 recordings gives features; the last: .*silent"):
        extract_features(config, utterances[3:5], tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_disk_without_room_is_found_before_the_work(recordings, config, tmp_path, monkeypatch):
    import shutil
    from types import SimpleNamespace

    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(MVectorError, match=r"frames of 20 numbers need 0\.0 GB, and 0\.0 GB are free"):
        extract_features(config, read_data_list(recordings), tmp_path / "out")


def test_numbers_beyond_float16_are_refused(recordings, tmp_path):
    power = load_config({"preprocess_conf": {"feature_method": "Spectrogram", "waveform_scale": 32768.0}})
    with pytest.raises(MVectorError, match="which float16 does not hold: give --dtype float32"):
        extract_features(power, read_data_list(recordings)[:1], tmp_path / "half")
    assert extract_features(power, read_data_list(recordings)[:1], tmp_path / "full", "float32").rows == 1


def test_damaged_folders(recordings, config, tmp_path):
    extract_features(config, read_data_list(recordings), tmp_path / "out")
    meta = tmp_path / "out" / "meta.json"
    about = json.loads(meta.read_text(encoding="utf-8"))
    meta.write_text(json.dumps({**about, "rows": 9}), encoding="utf-8")
    with pytest.raises(DataListError, match="the packed features are damaged"):
        load_features(tmp_path / "out")
    meta.write_text(json.dumps({**about, "format": "x"}), encoding="utf-8")
    with pytest.raises(DataListError, match="does not describe packed features of this version"):
        load_features(tmp_path / "out")
    meta.write_text("{", encoding="utf-8")
    with pytest.raises(DataListError, match="cannot be read"):
        load_features(tmp_path / "out")


# ---------------------------------------------------------------- training


def dataset(
    folder: Path, augmentation: Augmentation | None = None, seconds: float = 0.8, **more
) -> PackedFeatureDataset:
    packed = load_features(folder)
    classes = {f"speaker {n}": n for n in range(3)}
    crop = CropSettings(duration_s=seconds, min_duration_s=more.pop("min_duration_s", 0.3))
    return PackedFeatureDataset(
        packed, classes, crop, augmentation or Augmentation(), 1, AudioFeaturizer(**PREPROCESS, **more)
    )


def test_a_crop_is_a_run_of_frames_without_its_mean(recordings, config, tmp_path):
    extract_features(config, read_data_list(recordings), tmp_path / "out", "float32")
    data = dataset(tmp_path / "out")
    starts = set()
    for epoch in range(20):
        example = data[Draw(epoch, 9, 0)]  # 2.1 s
        assert example.sound.shape == (78, 20)
        assert (example.label, example.skipped) == (0, [])
        whole = torch.from_numpy(expected_features(read_data_list(recordings)[9]))
        windows = whole.unfold(0, 78, 1).transpose(1, 2)  # [starts, 78, 20]
        difference = (windows - windows.mean(dim=1, keepdim=True) - example.sound).abs().amax((1, 2))
        assert difference.min() < 1e-5
        starts.add(int(difference.argmin()))
    assert len(starts) > 10
    assert min(starts) >= 0
    assert max(starts) <= len(whole) - 78


def test_a_crop_of_features_is_the_features_of_the_crop(recordings, config, tmp_path):
    """As training from waveforms computes them, where the crop begins at a frame (the level apart: mean-normalised)."""
    extract_features(config, read_data_list(recordings), tmp_path / "out", "float32")
    utterance = read_data_list(recordings)[8]
    crop = dataset(tmp_path / "out")[Draw(0, 8, 0)].sound
    waveform = torch.from_numpy(load_audio(utterance.path))
    candidates = [waveform[s : s + round(0.8 * RATE)] for s in range(0, len(waveform) - round(0.8 * RATE), 160)]
    computed = AudioFeaturizer(**PREPROCESS)(torch.stack(candidates))[0]
    assert (computed - crop).abs().amax((1, 2)).min() < 2e-4


def test_short_utterances_are_repeated_and_too_short_ones_replaced(recordings, config, tmp_path):
    extract_features(config, read_data_list(recordings), tmp_path / "out", "float32")
    data = dataset(tmp_path / "out", mean_norm=False, min_duration_s=0.4)
    whole = expected_features(read_data_list(recordings)[1])
    crop = data[Draw(0, 1, 0)].sound.numpy()
    shift = next(s for s in range(len(whole)) if np.array_equal(crop[0], whole[s]))
    np.testing.assert_array_equal(crop, whole[(shift + np.arange(len(crop))) % len(whole)])
    for row, reason in ((0, "fewer than min_duration 0.4 s"), (3, "cannot be read as sound"), (4, "silent")):
        example = data[Draw(0, row, 0)]
        assert len(example.sound) == len(crop)
        assert Path(example.skipped[0][0]).name == f"{row}.wav"
        assert reason in example.skipped[0][1]


def test_examples_follow_from_the_draw_alone_also_in_other_processes(recordings, config, tmp_path):
    extract_features(config, read_data_list(recordings), tmp_path / "out")
    spec = Augmentation(spec_augment=SpecAugment(prob=1.0, time_mask_ratio=0.3))
    data = dataset(tmp_path / "out", spec)
    assert len(data.packed.matrix) > 0  # opened
    pickled = pickle.dumps(data)
    assert len(pickled) < 20_000  # without the matrix
    other = pickle.loads(pickled)
    masked = 0
    for draw in [Draw(e, u, 0) for e in range(2) for u in (7, 8, 9)]:
        first, second = data[draw], other[draw]
        assert torch.equal(first.sound, second.sound)
        assert torch.equal(first.draws, second.draws)
        masked += int((first.sound == 0).all(dim=1).sum())
    assert masked > 0
    assert not torch.equal(data[Draw(0, 9, 0)].sound, data[Draw(0, 9, 1)].sound)


def test_augmentation_of_the_sound_is_refused(tmp_path):
    sections = {
        "speed": {"prob": 0.5},
        "volume": {"prob": 0.5},
    }
    for name, section in sections.items():
        with pytest.raises(ConfigError, match=f"train_features .* asks for {name}"):
            require_no_augmentation_of_sound(load_config({"augmentation": {name: section}}))
    require_no_augmentation_of_sound(load_config({"augmentation": {"spec_aug": {"prob": 0.5}, "speed": {"prob": 0.0}}}))
    require_no_augmentation_of_sound(load_config({}))
    assert feature_recipe(load_config({}))["sample_rate"] == RATE


def test_the_command(recordings, tmp_path, capsys):
    configuration = tmp_path / "c.yml"
    configuration.write_text(json.dumps({"preprocess_conf": PREPROCESS}), encoding="utf-8")
    arguments = ["--configs", str(configuration), "--output", str(tmp_path / "out"), "--num_workers", "1"]
    with pytest.raises(ConfigError, match="there is no list"):
        main(arguments)
    main([*arguments, "--set", f"dataset_conf.train_list={recordings}"])
    printed = capsys.readouterr().out.splitlines()
    frames = len(load_features(tmp_path / "out").matrix)
    assert printed[0] == f"10 recordings, {frames:,} frames in {tmp_path / 'out'} (2 without features)"
    assert "3.wav" in printed[1]
    assert f"dataset_conf.train_features={tmp_path / 'out'}" in printed[-1]
