"""Killed with SIGKILL at any instant, again and again, a run ends as the unbroken one: a command in a loop will do."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from mvector.training.tracking import read_records

# train.py, but it kills itself at a moment that its first argument names: the third rename, say, or inside the second
# file of a state.
COMMAND = """
import itertools, os, signal, sys
kind, _, number = sys.argv.pop(1).partition(":")
calls = itertools.count(1)

def due(name):
    return name == kind and next(calls) == int(number)

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def killing(function, name, before=True, half=False):
    def call(*arguments, **keywords):
        now = due(name)
        if now and before:
            die()
        result = function(*arguments, **keywords)
        if now:
            if half:  # what was written of the file when the kill came
                os.truncate(arguments[1], os.path.getsize(arguments[1]) // 2)
            die()
        return result
    return call

if __name__ == "__main__":
    import torch, safetensors.torch
    torch.set_num_threads(1)
    import mvector.trainer, mvector.training.step, mvector.training.tracking
    mvector.trainer.draw_curves = lambda tracker: None  # half of the time
    from mvector.cli import run
    from mvector.cli.train import main
    os.replace = killing(killing(os.replace, "before a rename"), "after a rename", before=False)
    torch.save = killing(torch.save, "inside a state", before=False, half=True)
    safetensors.torch.save_file = killing(safetensors.torch.save_file, "inside weights", before=False, half=True)
    step = mvector.training.step
    step.clip_gradients = killing(step.clip_gradients, "inside a step")
    shared = mvector.training.shared_evaluation
    shared.evaluate_trials = killing(shared.evaluate_trials, "after an evaluation", before=False)
    tracker = mvector.training.tracking.Tracker
    tracker.record = killing(tracker.record, "after a record", before=False)
    run(main)
"""
KINDS = ("before a rename", "after a rename", "inside a state", "inside weights", "inside a step",
         "after an evaluation", "after a record")  # fmt: skip
MEASURED = ("utterances_per_s", "data_stall_percent", "memory_gib")


class Trainer:
    """Starts train.py on one configuration, into folders of its own."""

    def __init__(self, tmp_path: Path, settings: dict):
        self.script, self.config, self.folder = tmp_path / "kill.py", tmp_path / "config.yml", tmp_path
        self.script.write_text(COMMAND, encoding="utf-8")
        self.config.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")

    def start(self, name: str, moment: str = "never") -> subprocess.Popen:
        # To a file: the worker of a killed trainer would hold a pipe open for some seconds more.
        with open(self.output(name), "w", encoding="utf-8") as output:
            return subprocess.Popen(
                [sys.executable, str(self.script), moment, "--configs", str(self.config), "--device", "cpu",
                 "--save_model_path", str(self.models(name).parent), "--log_dir", str(self.folder / name / "log"),
                 "--resume_model", "auto"],
                stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def run(self, name: str, moment: str = "never") -> tuple[int, str]:
        code = self.start(name, moment).wait(timeout=600)
        return code, self.output(name).read_text(encoding="utf-8", errors="replace")

    def output(self, name: str) -> Path:
        return self.folder / f"{name}.txt"

    def models(self, name: str) -> Path:
        return self.folder / name / "models" / "EcapaTdnn_Fbank"


def assert_equal(trainer: Trainer, broken: str, unbroken: str) -> None:
    """Every weight is the same bit for bit, and every figure is recorded once."""
    files = [path.relative_to(trainer.models(unbroken)) for path in trainer.models(unbroken).rglob("*.safetensors")]
    assert files
    for file in files:
        one, other = (trainer.models(name) / file for name in (broken, unbroken))
        assert one.read_bytes() == other.read_bytes(), file
    for stage in ("", "large_margin"):
        one, other = (
            [
                {key: value for key, value in record.items() if key not in MEASURED}
                for record in read_records(trainer.folder / name / "log" / "EcapaTdnn_Fbank" / stage / "metrics.jsonl")
            ]
            for name in (broken, unbroken)
        )
        assert one == other
    kept = {path.name for path in trainer.models(broken).rglob("*") if path.is_dir()}
    assert kept == {"last_model", "best_model", "average_model", "epochs", "large_margin"}


@pytest.fixture
def everything(settings, tmp_path) -> dict:
    """All that has a state or draws at random: moving average, accumulation, a worker, 16 bits, kept epochs, a second
    stage, and every kind of augmentation."""
    rng = np.random.default_rng(3)
    for name, decay in (("noise", 1.0), ("rooms", np.exp(-np.arange(8000) / 1500))):
        (tmp_path / name).mkdir()
        for number in range(2):
            soundfile.write(tmp_path / name / f"{number}.wav", 0.2 * rng.standard_normal(8000) * decay, 16000)
    settings["augmentation"] |= {
        "noise": {"prob": 0.5, "noise_dir": str(tmp_path / "noise")},
        "reverb": {"prob": 0.5, "reverb_dir": str(tmp_path / "rooms")},
    }
    settings["dataset_conf"]["dataLoader"]["num_workers"] = 1
    settings["train_conf"] |= {
        "enable_amp": True,
        "max_epoch": 10,
        "save_every_minutes": 1e-4,
        "accumulate_grad_batches": 2,
        "ema_decay": 0.9,
        "average_epochs": 3,
        "clip_grad_norm": 5.0,
    }
    settings["large_margin_conf"] = {"epochs": 2, "max_duration": 0.7, "margin": 0.3}
    return settings


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_killed_at_random_moments_it_ends_as_the_unbroken_run(everything, tmp_path):
    trainer = Trainer(tmp_path, everything)
    code, output = trainer.run("unbroken")
    assert code == 0, output
    rng = random.Random(4)
    killed = []
    for _ in range(4):  # from outside, at moments that nothing but the clock chooses, once training goes on
        process = trainer.start("broken")
        while process.poll() is None and ", batch " not in trainer.output("broken").read_text(encoding="utf-8"):
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.5))
        process.kill()
        killed.append(process.wait() == -9)
    for number, kind in enumerate(KINDS):
        moment = f"{kind}:{rng.randint(1, 3 if number > 4 else 7)}"
        code, output = trainer.run("broken", moment)
        assert code in (0, -9), output
        killed.append(code == -9)
    assert sum(killed) >= 10, killed
    while True:  # while ! python train.py … --resume_model auto; do :; done
        code, output = trainer.run("broken")
        if code == 0:
            break
    assert_equal(trainer, "broken", "unbroken")
    code, output = trainer.run("broken")
    assert code == 0
    assert "is complete" in output
    assert_equal(trainer, "broken", "unbroken")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("moment", ["inside weights:1", "inside a state:1", "before a rename:1", "after a rename:4"])
def test_killed_inside_the_first_save_of_all_it_starts_anew(settings, tmp_path, moment):
    settings["train_conf"]["max_epoch"] = 1
    trainer = Trainer(tmp_path, settings)
    code, output = trainer.run("run", moment)
    assert code == -9, output
    code, output = trainer.run("run")
    assert code == 0, output
    folders = sorted(path.name for path in trainer.models("run").parent.iterdir())
    assert folders == ["EcapaTdnn_Fbank"]  # the half-written folder was no run to keep
    assert sorted(path.name for path in trainer.models("run").iterdir()) == ["best_model", "last_model"]
