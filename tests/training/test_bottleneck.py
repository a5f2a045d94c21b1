"""What is named as the limit of a training, and what is measured of a real one."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from mvector.cli import profile_training
from mvector.config import load_config
from mvector.errors import ConfigError
from mvector.trainer import MVectorTrainer
from mvector.training import bottleneck
from mvector.training.bottleneck import Speeds, advice, limit, measure
from mvector.training.run import TrainingRun

BALANCED = Speeds(
    loading=200.0,
    features=1000.0,
    network=100.0,
    together=95.0,
    stall=0.01,
    features_in_loader=True,
    workers=2,
    cores=2,
    device="cpu",
    dtype="float32",
    can_use_16_bits=True,
    is_compiled=False,
)


def changed(**values) -> Speeds:
    return dataclasses.replace(BALANCED, **values)


def test_a_device_that_never_waits_is_limited_by_its_network():
    assert limit(BALANCED) == "network"
    assert "enable_amp" in advice(BALANCED)[0]
    assert not any("enable_amp" in text for text in advice(changed(dtype="bfloat16")))
    assert not any("enable_amp" in text for text in advice(changed(can_use_16_bits=False)))
    on_gpu = changed(device="cuda", dtype="bfloat16", features_in_loader=False, features=5000.0)
    assert "use_compile" in advice(on_gpu)[0]
    assert not any("use_compile" in text for text in advice(dataclasses.replace(on_gpu, is_compiled=True)))


def test_a_device_that_waits_is_limited_by_what_the_loader_does_most():
    # Two processes give 50 utterances/s: 25 from each core, 40 ms an utterance; 5 ms of it are features, or 25 ms.
    slow_decoding, slow_features = (changed(loading=50.0, stall=0.4, features=rate) for rate in (200.0, 40.0))
    assert limit(slow_decoding) == "loading"
    assert limit(slow_features) == "features"
    assert slow_features.feature_share == pytest.approx(25 / 40)
    assert any("extract_features" in text for text in advice(slow_features))
    assert any("make_shards" in text for text in advice(slow_decoding))
    assert limit(changed(loading=50.0, stall=0.4, features=float("inf"))) == "loading"  # they come from a file


def test_more_processes_are_advised_where_there_are_cores_for_them():
    starving = changed(stall=0.3)
    assert not any("num_workers" in text for text in advice(starving))
    assert "num_workers" in advice(dataclasses.replace(starving, cores=16))[0]


def test_features_on_the_device_count_against_its_step():
    on_gpu = changed(device="cuda", features_in_loader=False, features=150.0, network=100.0)
    assert limit(on_gpu) == "features"
    assert limit(dataclasses.replace(on_gpu, features=2000.0)) == "network"
    assert limit(dataclasses.replace(on_gpu, stall=0.5)) == "loading"


def trainer_and_run(settings: dict, folder: Path) -> tuple[MVectorTrainer, TrainingRun]:
    trainer = MVectorTrainer(load_config(settings), device="cpu", log_level="warning")
    return trainer, TrainingRun(trainer.config, trainer.device, folder, do_eval=False)


class Delayed:
    """A dataset that takes its time over every example."""

    def __init__(self, dataset, seconds: float):
        self._dataset, self._seconds = dataset, seconds

    def __getattr__(self, name):
        return getattr(self._dataset, name)

    def __getitem__(self, index):
        bottleneck.time.sleep(self._seconds)
        return self._dataset[index]


def test_a_slow_loader_is_found_out(settings, tmp_path):
    trainer, run = trainer_and_run(settings, tmp_path)
    run.loader = torch.utils.data.DataLoader(
        Delayed(run.dataset, 0.05), batch_sampler=run.batches, collate_fn=run.loader.collate_fn
    )
    speeds = measure(trainer, run, 3)
    assert speeds.loading < 1 / 0.05
    assert speeds.together < speeds.loading * 1.2 < speeds.network
    assert limit(speeds) == "loading"
    assert list(tmp_path.iterdir()) == []  # nothing is saved


def test_a_slow_network_is_found_out(settings, tmp_path, monkeypatch):
    settings["train_conf"] = {**settings.get("train_conf", {}), "accumulate_grad_batches": 2}
    trainer, run = trainer_and_run(settings, tmp_path)

    class Slow(nn.Module):
        def forward(self, x):
            bottleneck.time.sleep(1.0)
            return x

    monkeypatch.setattr(run, "forward_backbone", nn.Sequential(run.embedder.backbone, Slow()))
    speeds = measure(trainer, run, 2)
    assert speeds.network < 6
    assert speeds.network < speeds.loading
    assert speeds.features > speeds.loading  # part of its work, but on one thread
    assert limit(speeds) == "network"
    assert torch.get_num_threads() >= 1


def test_the_command_prints_a_table_and_advice(settings, tmp_path, capsys):
    config = tmp_path / "tiny.yml"
    config.write_text(load_config(settings).to_yaml(), encoding="utf-8")
    profile_training.main(["--configs", str(config), "--batches", "2", "--device", "cpu"])
    printed = capsys.readouterr().out
    assert printed.count("utterances/s") == 4
    assert "The limit is" in printed
    assert "  - " in printed


def test_no_batches_is_a_mistake():
    with pytest.raises(ConfigError, match="--batches must be 1 or more, found 0"):
        profile_training.main(["--batches", "0"])
