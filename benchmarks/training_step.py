"""Training steps of the backbones, against mvector 1.1.7 from PyPI in the same run.

    python benchmarks/training_step.py [--peer_python PYTHON] [--rounds 7] [--threads 2] [--batch 32] [--only ECAPA]
    python benchmarks/training_step.py --gpu [--configs CONFIG] [--batch_sizes 256 512]

PYTHON is the interpreter of an environment with the predecessor (`pip install torch==2.11.0 torchaudio==2.11.0
mvector==1.1.7`). A step is what a trainer does with features that lie ready: forward pass, classifier for 1,000
speakers, AAM loss, backward pass, Adam. Each side has a process of its own; all variants of a row take turns, step by
step, so that whatever else the machine does hits them alike. Printed are medians with the quartiles, the ratio to the
row's reference, and the share of the bfloat16 speed of one large matrix product that ours achieves.

With --gpu: each backbone in bfloat16 at large batches, with and without torch.compile; with --configs also how long
the GPU waits for data in that training. Without a GPU those rows are not measured.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

FRAMES = 298  # of three seconds
BINS, SPEAKERS = 80, 1000
OURS, PEER = "ours", "mvector 1.1.7"
ECAPA, GLOB, CAM, RESNET = "ECAPA c512, reflecting", "ECAPA c512, WeSpeaker's form", "CAM++", "ResNet34"
# (row, batch, variants (side, precision); the first is what the ratios refer to)
ROWS = (
    (ECAPA, 32, ((PEER, "float32"), (PEER, "bfloat16"), (OURS, "float32"), (OURS, "bfloat16"))),
    (GLOB, 32, ((OURS, "float32"), (OURS, "bfloat16"))),
    (CAM, 32, ((PEER, "float32"), (PEER, "bfloat16"), (OURS, "float32"), (OURS, "bfloat16"))),
    (RESNET, 8, ((OURS, "float32"), (OURS, "bfloat16"))),
)


def our_network(row: str) -> torch.nn.Module:
    from mvector.registry import BACKBONES

    name, arguments = {
        ECAPA: ("EcapaTdnn", {}),
        GLOB: ("EcapaTdnnGlob", {}),
        CAM: ("CAMPPlus", {"embd_dim": 192}),
        RESNET: ("ResNet", {"depth": 34}),
    }.get(row, (row, {}))
    return BACKBONES.build(name, arguments, input_size=BINS)


def our_loss(network: Any, device: str = "cpu") -> tuple[torch.nn.Module, Callable]:
    from mvector.losses import SpeakerClassifier
    from mvector.losses.aam import AAMLoss

    classifier, loss = SpeakerClassifier(network.embd_dim, SPEAKERS).to(device), AAMLoss()
    return classifier, lambda embeddings, labels: loss(classifier(embeddings), labels)


def peer_parts(row: str) -> tuple[torch.nn.Module, torch.nn.Module, Callable]:
    """The predecessor's classes; this runs in its own environment."""
    from mvector.loss.aamloss import AAMLoss
    from mvector.models.fc import SpeakerIdentification

    if row == CAM:
        from mvector.models.campplus import CAMPPlus

        network = CAMPPlus(BINS, embd_dim=192)
    else:
        from mvector.models.ecapa_tdnn import EcapaTdnn

        network = EcapaTdnn(BINS)
    classifier, loss = SpeakerIdentification(192, SPEAKERS), AAMLoss()
    return network, classifier, lambda embeddings, labels: loss(classifier(embeddings), labels)


def stepper(network: Any, classifier: Any, loss: Callable, batch: int, precision: str, device: str = "cpu") -> Callable:
    """A function that does one training step."""
    optimizer = torch.optim.Adam([*network.parameters(), *classifier.parameters()], lr=1e-3)
    features = torch.randn(batch, FRAMES, BINS, device=device)
    labels = torch.arange(batch, device=device) % SPEAKERS
    network.train()

    def step() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
            value = loss(network(features), labels)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

    return step


def gflop_of_step(network: torch.nn.Module, batch: int) -> float:
    """Multiplications and additions of forward and backward pass, in 10⁹."""
    from torch.utils.flop_counter import FlopCounterMode

    features = torch.randn(2, FRAMES, BINS, device=next(network.parameters()).device)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(features)
    network.train()
    return 3 * counter.get_total_flops() / len(features) * batch / 1e9


def peak_gflops(device: str) -> float:
    """Speed of one large bfloat16 matrix product."""
    size = 8192 if device == "cuda" else 2048
    a, b = (torch.randn(size, size, device=device).bfloat16() for _ in range(2))
    times = []
    for _ in range(6):
        started = time.perf_counter()
        a @ b
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return 2 * size**3 / min(times) / 1e9


def worker(side: str, threads: int) -> None:
    """Answers requests from standard input, one JSON object a line."""
    torch.set_num_threads(threads)
    answers = sys.stdout
    sys.stdout = sys.stderr  # libraries may print
    if side == OURS:
        from mvector.data.loader_process import keep_freed_memory

        keep_freed_memory(of_trainer=True)  # as every training of ours does
    current, step = None, None
    for line in sys.stdin:
        row, batch, precision, kind = json.loads(line)
        if kind == "speed":
            answer = {"peak": peak_gflops("cpu"), "gflop": gflop_of_step(our_network(row), batch)}
        else:
            if current != (row, precision):
                step = None  # only one network at a time is in memory
                torch.manual_seed(0)
                if side == OURS:
                    network = our_network(row)
                    classifier, loss = our_loss(network)
                else:
                    network, classifier, loss = peer_parts(row)
                step, current = stepper(network, classifier, loss, batch, precision), (row, precision)
                step()
                step()
            started = time.perf_counter()
            step()
            answer = {"seconds": time.perf_counter() - started}
        print(json.dumps(answer), file=answers, flush=True)


class Side:
    """A process that does the steps of one variant."""

    def __init__(self, python: str, side: str, threads: int):
        command = [python, str(Path(__file__).resolve()), "--worker", side, "--threads", str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, *request: object) -> dict[str, float]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the process ended: {self.process.args}")
        return json.loads(line)

    def close(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.wait()


def measure_row(row: str, batch: int, variants: Any, arguments: argparse.Namespace) -> None:
    """Print utterances per second of all variants of a row."""
    sides: dict[tuple[str, str], Side] = {}
    for side, precision in variants:
        python = sys.executable if side == OURS else arguments.peer_python
        if python is None:
            print(f"{row:29} {side:13} {precision:8} not measured (no --peer_python)")
            continue
        sides[side, precision] = Side(python, side, arguments.threads)
    rates: dict[tuple[str, str], list[float]] = {key: [] for key in sides}
    for _ in range(arguments.rounds):
        for (side, precision), process in sides.items():
            rates[side, precision].append(batch / process.ask(row, batch, precision, "step")["seconds"])
    speed = next(process for (side, _), process in sides.items() if side == OURS).ask(row, batch, "bfloat16", "speed")
    for process in sides.values():
        process.close()
    reference = statistics.median(next(iter(rates.values())))
    for (side, precision), values in rates.items():
        median = statistics.median(values)
        low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else (median,) * 3
        share = f", {median / batch * speed['gflop'] / speed['peak']:4.0%} of the bfloat16 peak" if side == OURS else ""
        print(
            f"{row:29} {side:13} {precision:8} {median:6.1f} utterances/s ({low:.1f} to {high:.1f}), "
            f"{median / reference:5.2f} ×{share}",
            flush=True,
        )


def measure_gpu_step(name: str, batch: int, compiled: bool, rounds: int) -> tuple[float, float]:
    """The median time of a step in seconds, and its GFLOP."""
    network = our_network(name).to("cuda", memory_format=torch.channels_last)  # as the trainer does
    classifier, loss = our_loss(network, "cuda")
    gflop = gflop_of_step(network, batch)
    step = stepper(torch.compile(network) if compiled else network, classifier, loss, batch, "bfloat16", "cuda")
    for _ in range(5):
        step()
    times = []
    for _ in range(rounds):
        torch.cuda.synchronize()
        started = time.perf_counter()
        step()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return statistics.median(times), gflop


def measure_gpu(arguments: argparse.Namespace) -> None:
    if not torch.cuda.is_available():
        print("GPU: not measured (PyTorch sees none)")
        return
    from mvector.registry import BACKBONES

    peak = peak_gflops("cuda")
    print(f"{torch.cuda.get_device_name()}: {peak / 1000:.0f} TFLOP/s in bfloat16 matrix products")
    for name in BACKBONES.names():
        for batch in arguments.batch_sizes:
            for compiled in (False, True):
                kind = "compiled" if compiled else "eager"
                try:
                    median, gflop = measure_gpu_step(name, batch, compiled, max(arguments.rounds, 10))
                    told = f"{batch / median:8.0f} utterances/s, {gflop / median / peak:5.1%} of the peak"
                except torch.OutOfMemoryError:
                    told = "out of memory"
                print(f"{name:14} batch {batch} {kind:8} {told}", flush=True)
                torch.cuda.empty_cache()
    if arguments.configs:
        subprocess.run(
            [sys.executable, "tools/profile_training.py", "--configs", arguments.configs, "--batches", "50"],
            cwd=Path(__file__).parents[1],
            check=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer_python", help="interpreter of an environment with mvector 1.1.7")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, help="utterances in a step (default: 32, ResNet34 8)")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--configs", help="with --gpu: a configuration whose loading is measured as well")
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker, arguments.threads)
    elif arguments.gpu:
        measure_gpu(arguments)
    else:
        print(f"{FRAMES} frames, {arguments.threads} thread(s), torch {torch.__version__}, {arguments.rounds} rounds")
        for row, batch, variants in ROWS:
            if arguments.only in row:
                measure_row(row, arguments.batch or batch, variants, arguments)
        measure_gpu(arguments)


if __name__ == "__main__":
    main()
