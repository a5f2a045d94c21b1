"""Evaluation from embeddings, against the predecessor's own code and against scoring a trial list line by line.

    python benchmarks/evaluation.py --predecessor FOLDER [--enroll 5000] [--test 10000] [--large 20000]
                                    [--lines 1000000] [--repeats 3]

FOLDER is where the wheel of mvector 1.1.7 was unpacked (`pip download --no-deps mvector==1.1.7`, `unzip`); its
`MVectorTrainer.evaluate` is run as it is, with a model that gives back the embeddings it is given. It and the loop over
lines need scikit-learn. The two sides take turns, each in a process of its own; the median and the spread of the
seconds are printed, and by how much the process grew. Starting Python and reading the embeddings is in no figure,
importing what the first call imports is. Unix only.
"""

import argparse
import importlib.abc
import importlib.machinery
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np

SIZE = 192
RECORDINGS = 4708  # of the trial list, as in VoxCeleb1-O
LINES_ONE_BY_ONE = 20_000


def make_embeddings(path: Path, enroll: int, test: int, speakers: int, seed: int = 0) -> None:
    """Embeddings of two lists with an EER of some per cent."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((speakers, SIZE), dtype=np.float32)
    arrays = {}
    for side, count in (("enroll", enroll), ("test", test)):
        ids = rng.integers(0, speakers, count)
        noise = rng.standard_normal((count, SIZE), dtype=np.float32)
        arrays |= {side: centres[ids] + np.float32(2.2) * noise, f"{side}_ids": ids}
    np.savez(path, **arrays)


def make_trials(folder: Path, lines: int, seed: int = 0) -> None:
    """A trial list in the form of VoxCeleb's, its recordings (empty files), and an embedding for each."""
    rng = np.random.default_rng(seed)
    speaker = np.sort(rng.integers(0, 40, RECORDINGS))
    names = [f"id10{s:03d}/abcdefghijk/{i:05d}.wav" for i, s in enumerate(speaker)]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    one, other = rng.integers(0, RECORDINGS, (2, lines))
    text = [f"{int(speaker[i] == speaker[j])} {names[i]} {names[j]}\n" for i, j in zip(one, other, strict=True)]
    (folder / "trials.txt").write_text("".join(text), encoding="utf-8")
    (folder / "few_trials.txt").write_text("".join(text[:LINES_ONE_BY_ONE]), encoding="utf-8")
    np.savez(folder / "named.npz", names=names, embeddings=rng.standard_normal((RECORDINGS, SIZE), dtype=np.float32))


class PredecessorFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands in for what the predecessor imports and its evaluation does not use."""

    NEEDED = ("mvector", "mvector.trainer", "mvector.metric", "mvector.metric.metrics")
    MISSING = ("loguru", "torchinfo", "visualdl", "yeaudio", "termcolor")

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        stands_in = (name.startswith("mvector.") and name not in self.NEEDED) or name.split(".")[0] in self.MISSING
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if stands_in else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> Any:
        module = MagicMock(name=spec.name)
        module.__path__ = []
        return module

    def exec_module(self, module: Any) -> None:
        pass


class GivesBack:
    """The predecessor's model for this purpose: what comes in is the embedding."""

    def __len__(self) -> int:
        return 1

    def __call__(self, batch: Any) -> Any:
        return batch

    def eval(self) -> None: ...
    def train(self) -> None: ...


def predecessor(folder: str, wheel: str) -> Callable[[], dict[str, float]]:
    sys.path.insert(0, wheel)
    sys.meta_path.insert(0, PredecessorFinder())
    import torch

    from mvector.trainer import MVectorTrainer

    arrays = np.load(Path(folder) / "embeddings.npz")
    loaders = [
        [(torch.from_numpy(arrays[side]), torch.from_numpy(arrays[f"{side}_ids"]), None)] for side in ("enroll", "test")
    ]
    trainer = SimpleNamespace(
        enroll_loader=loaders[0], trials_loader=loaders[1], model=GivesBack(), device="cpu", stop_eval=False
    )

    def run() -> dict[str, float]:
        rate, cost, _ = MVectorTrainer.evaluate(trainer)
        return {"eer": rate, "min_dcf": cost}

    return run


def ours(folder: str, name: str) -> Callable[[], dict[str, float]]:
    from mvector.metrics import all_pairs

    arrays = dict(np.load(Path(folder) / f"{name}.npz"))

    def run() -> dict[str, float]:
        found = all_pairs(arrays["enroll"], arrays["enroll_ids"], arrays["test"], arrays["test_ids"])
        return {"eer": found.eer, "min_dcf": found.min_dcf[0.01], "error_bound": found.error_bound}

    return run


def line_by_line(folder: str, _: str) -> Callable[[], dict[str, float]]:
    """What WeSpeaker's scoring does for each line: look up two embeddings, call a cosine of matrices, write a line."""
    from sklearn.metrics.pairwise import cosine_similarity

    arrays = np.load(Path(folder) / "named.npz")
    embedding_of = dict(zip(arrays["names"].tolist(), arrays["embeddings"], strict=True))

    def run() -> dict[str, float]:
        lines = 0
        with (
            open(Path(folder) / "few_trials.txt", encoding="utf-8") as trials,
            open(Path(folder) / "few_scores.txt", "w", encoding="utf-8") as scores,
        ):
            for line in trials:
                label, enroll, test = line.split()
                score = cosine_similarity(embedding_of[enroll].reshape(1, -1), embedding_of[test].reshape(1, -1))[0][0]
                scores.write(f"{enroll} {test} {score:.5f} {'target' if label == '1' else 'nontarget'}\n")
                lines += 1
        return {"lines": lines}

    return run


def whole_list(folder: str, _: str) -> Callable[[], dict[str, float]]:
    from mvector.data.trials import read_trials
    from mvector.scoring import score_trials
    from mvector.scoring.score_file import write_scores

    arrays = np.load(Path(folder) / "named.npz")
    row_of = {name: row for row, name in enumerate(arrays["names"].tolist())}
    embeddings = arrays["embeddings"]

    def run() -> dict[str, float]:
        started = time.perf_counter()
        trials = read_trials(Path(folder) / "trials.txt", folder)
        read = time.perf_counter()
        rows = [row_of[utterance.path[len(folder) + 1 :].replace(os.sep, "/")] for utterance in trials.utterances]
        scored = score_trials(embeddings[rows], trials)
        done = time.perf_counter()
        lines = write_scores(Path(folder) / "scores.txt", scored, trials)
        written = time.perf_counter()
        return {"lines": lines, "read_s": read - started, "score_s": done - read, "write_s": written - done}

    return run


CHILDREN = {"predecessor": predecessor, "ours": ours, "line by line": line_by_line, "whole list": whole_list}


def child(name: str, folder: str, argument: str) -> None:
    """Run one side once and print its seconds, by how many MiB the process grew, and what it found."""
    run = CHILDREN[name](folder, argument)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    found = run()
    seconds = time.perf_counter() - started
    unit = 2**20 if sys.platform == "darwin" else 2**10
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / unit
    print(json.dumps({"seconds": seconds, "extra_mib": grown, **found}))


def compare(sides: list[tuple[str, str, str]], folder: Path, repeats: int) -> dict[str, dict[str, Any]]:
    """The medians of several runs in turn, by label; sides are (label, name in CHILDREN, argument)."""
    runs: dict[str, list[dict[str, float]]] = {label: [] for label, _, _ in sides}
    for _ in range(repeats):
        for label, name, argument in sides:
            command = [sys.executable, __file__, "--child", name, str(folder), argument]
            output = subprocess.run(command, capture_output=True, text=True)
            if output.returncode:
                raise SystemExit(f"{label}: {output.stderr.strip().splitlines()[-1]}")
            runs[label].append(json.loads(output.stdout.splitlines()[-1]))
    result = {}
    for label, found in runs.items():
        medians = {key: statistics.median(run[key] for run in found) for key in found[0]}
        seconds = [run["seconds"] for run in found]
        more = ", ".join(f"{key} {value:.6g}" for key, value in medians.items() if key not in ("seconds", "extra_mib"))
        print(
            f"{label:34} {medians['seconds']:8.3f} s ({min(seconds):.3f} – {max(seconds):.3f}), "
            f"{medians['extra_mib']:6.0f} MiB more; {more}",
            flush=True,
        )
        result[label] = medians
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--predecessor", help="folder of the unpacked wheel of mvector 1.1.7")
    parser.add_argument("--enroll", type=int, default=5000)
    parser.add_argument("--test", type=int, default=10_000)
    parser.add_argument("--large", type=int, default=20_000, help="so many against so many, ours only; 0: none")
    parser.add_argument("--lines", type=int, default=1_000_000, help="of the trial list; 0: none")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(*arguments.child)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pairs = f"{arguments.enroll:,} × {arguments.test:,}"
        make_embeddings(folder / "embeddings.npz", arguments.enroll, arguments.test, 200)
        sides = [(f"{pairs}, ours", "ours", "embeddings")]
        if arguments.predecessor:
            sides.insert(0, (f"{pairs}, predecessor", "predecessor", arguments.predecessor))
        medians = list(compare(sides, folder, arguments.repeats).values())
        if arguments.predecessor:
            print(f"{medians[0]['seconds'] / medians[1]['seconds']:.0f} × as fast\n")
        if arguments.large:
            make_embeddings(folder / "large.npz", arguments.large, arguments.large, 1000)
            compare([(f"{arguments.large:,} × {arguments.large:,}, ours", "ours", "large")], folder, arguments.repeats)
        if arguments.lines:
            make_trials(folder, arguments.lines)
            sides = [("trial list, line by line", "line by line", ""), ("trial list, ours", "whole list", "")]
            each, whole = compare(sides, folder, arguments.repeats).values()
            rates = [side["lines"] / side["seconds"] for side in (each, whole)]
            print(f"{rates[0]:,.0f} and {rates[1]:,.0f} trials a second: {rates[1] / rates[0]:.0f} × as fast")


if __name__ == "__main__":
    main()
