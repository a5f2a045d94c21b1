"""Exported models on one thread, as ratios to PyTorch's eager float32, and the cold start of a verdict without torch.

    python benchmarks/export.py --model_path DIR [--seconds 3] [--duration 60]
    python benchmarks/export.py --model_path DIR --audio_path1 A --audio_path2 B [--repeats 7]

The first form exports the model and embeds one utterance again and again, each runtime in turn, so that whatever else
the machine does hits them alike; medians of the processor time are printed. From waveform to embedding: features are
included. The second form starts new processes in turn: `import torch` alone, a verdict of the model directory, and
verdicts of the exported file. Unix only, as benchmarks/cold_start.py, whose clock it shares.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before the runtimes read it

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))

from cold_start import SCRIPT, seconds

from mvector.errors import MissingPackageError
from mvector.export.int8 import artificial_voice
from mvector.export.onnx_files import export_onnx
from mvector.export.runtime import load_exported
from mvector.model_directory import ModelDirectory, load_model


def speed(model: ModelDirectory, folder: Path, seconds_of_sound: float, duration_s: float) -> None:
    """Print the processor time of every runtime for one utterance, and its ratio to eager float32."""
    embedder = model.embedder
    voice = artificial_voice(seconds_of_sound, embedder.featurizer.sample_rate_hz, 130.0, seed=0)
    waveforms = torch.from_numpy(voice)[None]
    candidates: dict[str, Callable[[], np.ndarray]] = {}

    @torch.inference_mode()
    def eager() -> np.ndarray:
        return embedder(waveforms).numpy()

    @torch.inference_mode()
    def eager_bfloat16() -> np.ndarray:
        with torch.autocast("cpu", torch.bfloat16):
            return embedder(waveforms).float().numpy()

    candidates["PyTorch eager float32"] = eager
    candidates["PyTorch eager bfloat16"] = eager_bfloat16
    for name, file, device in (
        ("onnxruntime float32", "float.onnx", "cpu"),
        ("onnxruntime int8", "int8.onnx", "cpu"),
        ("OpenVINO bfloat16", "float.onnx", "openvino"),
    ):
        try:
            exported = load_exported(folder / file, device).embedder
        except MissingPackageError as error:
            print(error)
            continue
        candidates[name] = lambda exported=exported: exported.embed([voice])
    expected = eager()[0]
    times: dict[str, list[float]] = {name: [] for name in candidates}
    end = time.perf_counter() + duration_s
    while time.perf_counter() < end or len(times["PyTorch eager float32"]) < 5:
        for name, run in candidates.items():
            started = time.process_time()
            embedding = run()[0]
            times[name].append(time.process_time() - started)
            cosine = embedding @ expected / np.linalg.norm(embedding) / np.linalg.norm(expected)
            assert cosine > 0.99, f"{name} computes something else: cosine {cosine}"
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    reference = medians["PyTorch eager float32"]
    for name, median in medians.items():
        print(
            f"{name:23} {1000 * median:7.1f} ms for {seconds_of_sound:g} s, "
            f"{seconds_of_sound / median:6.1f} times real time, {reference / median:5.2f} × eager float32"
        )


def cold_start(arguments: argparse.Namespace, folder: Path) -> None:
    """Print the time from a new process to the verdict."""
    recordings = [f"--audio_path1={arguments.audio_path1}", f"--audio_path2={arguments.audio_path2}"]
    commands = {"import torch": [sys.executable, "-c", "import torch"]}
    for name, path in (
        ("verdict, PyTorch", arguments.model_path),
        ("verdict, onnxruntime", folder / "float.onnx"),
        ("verdict, onnxruntime int8", folder / "int8.onnx"),
    ):
        commands[name] = [sys.executable, str(SCRIPT), "--device", "cpu", f"--model_path={path}", *recordings]
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for repeat in range(arguments.repeats + 1):
        for name, command in commands.items():
            measured = seconds(command)
            if repeat:  # the first round fills the file cache
                times[name].append(measured)
    for name, each in times.items():
        wall, processor = (statistics.median(values) for values in zip(*each, strict=True))
        print(f"{name:25} {wall:6.2f} s wall, {processor:6.2f} s processor")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model_path", required=True)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of the utterance")
    parser.add_argument("--duration", type=float, default=60.0, help="seconds to measure for")
    parser.add_argument("--audio_path1")
    parser.add_argument("--audio_path2")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(arguments.model_path)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, int8 in (("float.onnx", False), ("int8.onnx", True)):
            for note in export_onnx(model, folder / file, with_features=True, int8=int8):
                print(note)
        if arguments.audio_path1 and arguments.audio_path2:
            cold_start(arguments, folder)
        else:
            speed(model, folder, arguments.seconds, arguments.duration)


if __name__ == "__main__":
    main()
