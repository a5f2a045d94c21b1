"""Training examples a second with all augmentations, and memory of the loader processes, against mvector 1.1.7.

    python benchmarks/pipeline.py --peer_python PYTHON [--speech FOLDER --noise FOLDER --rooms FOLDER]
                                  [--workers 0 1 2] [--batches 12] [--repeats 5] [--prob 1.0]

PYTHON is the interpreter of an environment with `torch==2.11.0 torchaudio==2.11.0 mvector==1.1.7`; without it only our
side is measured. Its dataset, collate function and DataLoader are used as its trainer does, with the same recordings,
batches and probabilities: speed, noise, reverberation, volume, Fbank of 80 bins and SpecAugment on crops of 3 s.
Folders of WAV files can be given (speech: one folder for each speaker; the peer wants nothing but sounds in the other
two); else recordings are synthesised: speech of 4 to 12 s, noise of 60 s, rooms of 0.5 s.

The two sides take turns, each measurement in a process of its own; the medians and the spread are printed. A
measurement begins after a few batches, when the processes have started and the files are in the page cache. Memory is
what the trainer's modules being imported and the loader running takes: PSS counts shared pages by halves, USS only
pages of the process's own; both are summed over the loader processes (Linux only).
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

BATCH_SIZE = 64
CROP_S = 3.0
WARM_UP = 4  # batches
RATE = 16000


def synthesise(folder: Path) -> None:
    """Speech, noise and rooms for the benchmark: noise of the right length is as dear to read and mix as the real."""
    import numpy as np
    import soundfile

    rng = np.random.default_rng(0)
    for name, count, duration_s in (
        ("speech", 128, (4.0, 12.0)),
        ("noise", 8, (60.0, 60.0)),
        ("rooms", 32, (0.5, 0.5)),
    ):
        for number in range(count):
            path = folder / name / (f"{number % 32}" if name == "speech" else "") / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            wave = 0.1 * rng.standard_normal(round(rng.uniform(*duration_s) * RATE))
            if name == "rooms":
                wave *= np.exp(-np.arange(len(wave)) / 1000)
            soundfile.write(path, wave, RATE, subtype="PCM_16")


def write_list(speech: Path, target: Path, lines: int) -> None:
    """A data list of so many lines, each recording as often as needed."""
    paths = sorted(str(path) for path in speech.rglob("*.wav"))
    if not paths:
        raise SystemExit(f"no WAV files in {speech}")
    numbers = {name: number for number, name in enumerate(sorted({os.path.dirname(path) for path in paths}))}
    rows = [f"{paths[n % len(paths)]}\t{numbers[os.path.dirname(paths[n % len(paths)])]}\n" for n in range(lines)]
    target.write_text("".join(rows), encoding="utf-8")


def sections(settings: dict[str, Any]) -> dict[str, Any]:
    """The augmentation file, which has the same keys on both sides."""
    prob = settings["prob"]
    return {
        "speed": {"prob": 1.0},
        "volume": {"prob": prob, "min_gain_dBFS": -15, "max_gain_dBFS": 15},
        "noise": {"prob": prob, "noise_dir": settings["noise"], "min_snr_dB": 10, "max_snr_dB": 50},
        "reverb": {"prob": prob, "reverb_dir": settings["rooms"]},
        "spec_aug": {"prob": prob, "freq_mask_ratio": 0.1, "time_mask_ratio": 0.05},
    }


def peer(settings: dict[str, Any]) -> tuple[Iterator[Any], Callable[[Any], int]]:
    import logging

    from loguru import logger

    logger.remove()
    logging.disable()
    from mvector.data_utils.collate_fn import collate_fn
    from mvector.data_utils.featurizer import AudioFeaturizer
    from mvector.data_utils.reader import MVectorDataset
    from mvector.utils.utils import dict_to_object
    from torch.utils.data import BatchSampler, DataLoader, RandomSampler

    import mvector.trainer  # noqa: F401 - what a training has imported when it starts its loader processes

    arguments = {"num_mel_bins": 80, "sample_frequency": RATE}
    dataset = MVectorDataset(
        settings["list"],
        AudioFeaturizer("Fbank", method_args=arguments),
        max_duration=CROP_S,
        aug_conf=dict_to_object(sections(settings)),
        num_speakers=1000,
    )
    sampler = BatchSampler(RandomSampler(dataset), BATCH_SIZE, drop_last=True)
    loader = DataLoader(dataset, collate_fn=collate_fn, batch_sampler=sampler, num_workers=settings["workers"])
    return iter(loader), lambda batch: len(batch[1])


def ours(settings: dict[str, Any]) -> tuple[Iterator[Any], Callable[[Any], int]]:
    import torch

    import mvector.trainer  # noqa: F401
    from mvector.config import load_config
    from mvector.data.lists import read_data_list, speaker_classes
    from mvector.features import AudioFeaturizer
    from mvector.training.preparation import build_batches, build_dataset, build_loader, read_batches

    config = load_config(
        {
            "dataset_conf": {
                "dataset": {"max_duration": CROP_S},
                "sampler": {"batch_size": BATCH_SIZE},
                "dataLoader": {"num_workers": settings["workers"]},
                "train_list": settings["list"],
            },
            "preprocess_conf": {"feature_method": "Fbank", "method_args": {"num_mel_bins": 80}},
            "augmentation": sections(settings),
        }
    )
    utterances = read_data_list(settings["list"])
    featurizer = AudioFeaturizer(**config.preprocess_conf.model_dump())
    dataset = build_dataset(config, utterances, speaker_classes(utterances), featurizer)
    batches = build_batches(config, utterances, dataset)
    del utterances
    loader = build_loader(config, dataset, batches, torch.device("cpu"))
    return read_batches(loader), lambda batch: len(batch["labels"])


SIDES = {"mvector 1.1.7": peer, "ours": ours}


def child(name: str, settings: dict[str, Any]) -> None:
    """One measurement: prints utterances a second and the MiB of the loader processes."""
    import multiprocessing

    iterator, count = SIDES[name](settings)
    for _ in range(WARM_UP):
        next(iterator)
    started, utterances = time.perf_counter(), 0
    for _ in range(settings["batches"] - 1):
        utterances += count(next(iterator))
    seconds = time.perf_counter() - started
    memory = [_memory_mib(process.pid) for process in multiprocessing.active_children()]  # at work on what follows
    result = {"utterances_per_s": utterances / seconds}
    if memory and None not in memory:
        result |= {"pss_mib": sum(m[0] for m in memory if m), "uss_mib": sum(m[1] for m in memory if m)}
    print(json.dumps(result), flush=True)
    os._exit(0)  # without waiting for what nobody reads


def _memory_mib(pid: int | None) -> tuple[float, float] | None:
    """(PSS, USS) of a process; None where the system does not tell."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return None
    fields = {key: int(kib) / 1024 for key, kib in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
    return fields["Pss"], fields["Private_Clean"] + fields["Private_Dirty"]


def measure(python: str, name: str, settings: dict[str, Any]) -> dict[str, float]:
    environment = dict(os.environ)
    if name == "ours":
        environment["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent)
    else:
        environment.pop("PYTHONPATH", None)
    command = [python, __file__, "--child", name, json.dumps(settings)]
    # Started in another folder: the peer's package has the name of ours.
    output = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=settings["cwd"])
    if output.returncode:
        raise SystemExit(f"{name}: {output.stderr.strip()}")
    return json.loads(output.stdout.splitlines()[-1])


def report(found: dict[str, list[dict[str, float]]], workers: int) -> None:
    for figure, unit in (("utterances_per_s", "utterances/s"), ("pss_mib", "MiB PSS"), ("uss_mib", "MiB USS")):
        medians = {}
        for name, runs in found.items():
            values = [run[figure] for run in runs if figure in run]
            if values:
                medians[name] = statistics.median(values)
                print(
                    f"{workers} workers, {name:14} {medians[name]:8.1f} {unit} ({min(values):.1f} – {max(values):.1f})",
                    flush=True,
                )
        if len(medians) == 2:
            print(f"{'':11}ours / mvector: {medians['ours'] / medians['mvector 1.1.7']:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer_python", help="interpreter of an environment with mvector 1.1.7")
    parser.add_argument("--speech", type=Path, help="folder of WAV files at 16 kHz")
    parser.add_argument("--noise", type=Path)
    parser.add_argument("--rooms", type=Path)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--batches", type=int, default=12, help="measured in each run")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--prob", type=float, default=1.0, help="of every augmentation but speed, which is always on")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child[0], json.loads(arguments.child[1]))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not (arguments.speech and arguments.noise and arguments.rooms):
            synthesise(folder)
        settings: dict[str, Any] = {
            "list": str(folder / "list.txt"),
            "noise": str((arguments.noise or folder / "noise").resolve()),
            "rooms": str((arguments.rooms or folder / "rooms").resolve()),
            "prob": arguments.prob,
            "batches": arguments.batches,
            "cwd": name,
        }
        # More batches than are read, so that the loader processes are still at work when their memory is looked at.
        lines = BATCH_SIZE * (WARM_UP + arguments.batches + 10 * (1 + max(arguments.workers)))
        write_list((arguments.speech or folder / "speech").resolve(), folder / "list.txt", lines)
        sides = {"ours": sys.executable}
        if arguments.peer_python:
            sides = {"mvector 1.1.7": arguments.peer_python, **sides}
        for workers in arguments.workers:
            found: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
            for _ in range(arguments.repeats):
                for side, python in sides.items():
                    found[side].append(measure(python, side, settings | {"workers": workers}))
            report(found, workers)


if __name__ == "__main__":
    main()
