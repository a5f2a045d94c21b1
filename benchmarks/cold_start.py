"""From a cold start to the first verdict, next to `import torch` alone.

    python benchmarks/cold_start.py --model_path DIR --audio_path1 A --audio_path2 B [--repeats 7]

The two run in turn, each in a new process, so that whatever else the machine does hits them alike; medians of the
wall time and of the processor time (user + system) are printed. On a busy machine the latter is the one to read.
Unix only: Windows does not tell the processor time of a finished child.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "infer_contrast.py"


def seconds(command: list[str]) -> tuple[float, float]:
    """(wall, processor) time in seconds of a child process that must succeed."""
    before, started = os.times(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - started, os.times()
    return wall, after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model_path", required=True)
    parser.add_argument("--audio_path1", required=True)
    parser.add_argument("--audio_path2", required=True)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    paths = [f"--{name}={getattr(arguments, name)}" for name in ("model_path", "audio_path1", "audio_path2")]
    commands = {
        "import torch": [sys.executable, "-c", "import torch"],
        "first verdict": [sys.executable, str(SCRIPT), "--device", "cpu", *paths],
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for repeat in range(arguments.repeats + 1):
        for name, command in commands.items():
            measured = seconds(command)
            if repeat:  # the first round fills the file cache
                times[name].append(measured)
    medians = {name: [statistics.median(values) for values in zip(*each, strict=True)] for name, each in times.items()}
    medians["our own"] = [b - a for a, b in zip(*medians.values(), strict=True)]
    for name, (wall, processor) in medians.items():
        print(f"{name:14} {wall:6.2f} s wall, {processor:6.2f} s processor")


if __name__ == "__main__":
    main()
