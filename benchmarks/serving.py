"""The service under load: cold start, latency and throughput by number of clients, memory over many requests.

    python benchmarks/serving.py --audio_path SPEECH.wav [--model_path DIR] [--workers 1] [--clients 1 8 32]
        [--seconds 20] [--requests 10000] [--route identify]

Starts `python -m mvector.serve` with an empty store and the clip of `--clip_s` seconds enrolled as one person. Clients
are threads of this process, each with one connection, that ask again as soon as they are answered; they take some of
the processor's time themselves. Memory is the resident set of the service's processes, the decoders' apart (Linux).
"""

import argparse
import http.client
import io
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import soundfile

from mvector.audio import load_audio

RATE = 16000
ROOT = Path(__file__).parents[1]


def clip_of(path: str, seconds: float) -> bytes:
    """The first `seconds` of a recording as a WAV file of 16 bit."""
    file = io.BytesIO()
    soundfile.write(file, load_audio(path, RATE, end_s=seconds, warnings=[]), RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


def ask(connection: http.client.HTTPConnection, method: str, path: str, data: bytes | None = None) -> bytes:
    connection.request(method, path, body=data, headers={"Content-Type": "audio/wav"} if data else {})
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise SystemExit(f"{method} {path}: {response.status} {body.decode()}")
    return body


def start(arguments: argparse.Namespace, folder: str, port: int) -> subprocess.Popen[bytes]:
    command = [
        *(sys.executable, "-m", "mvector.serve", "--port", str(port)),
        *([] if arguments.model_path is None else ["--model_path", arguments.model_path]),
        *("--audio_db_path", folder, "--rate_limit", "0", "--workers", str(arguments.workers)),
        *("--device", arguments.device),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)


def wait_for_port(process: subprocess.Popen[bytes], port: int) -> None:
    while process.poll() is None:
        try:
            ask(http.client.HTTPConnection("127.0.0.1", port, timeout=30), "GET", "/health/ready")
            return
        except OSError:
            time.sleep(0.01)
    raise SystemExit("the service does not start; start it by hand to see why: python -m mvector.serve")


def latencies(port: int, path: str, clip: bytes, clients: int, seconds: float) -> tuple[list[float], float]:
    """Seconds of each request, and requests a second over all clients."""
    taken: list[float] = []
    until = time.perf_counter() + seconds

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        while (started := time.perf_counter()) < until:
            ask(connection, "POST", path, clip)
            taken.append(time.perf_counter() - started)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken, len(taken) / (time.perf_counter() - started)


def memory_mib(pid: int) -> tuple[float, float]:
    """Resident memory of the service's own processes and of its decoders, in MiB."""
    service, decoders = 0.0, 0.0
    for process in [pid, *descendants(pid)]:
        try:
            command = Path(f"/proc/{process}/cmdline").read_bytes()
            status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
        except OSError:
            continue
        resident = next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS")), 0.0)
        if b"decoder_process" in command:
            decoders += resident
        else:
            service += resident
    return service, decoders


def descendants(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")  # of each thread
    children = [child for task in tasks for child in task.read_text(encoding="ascii").split()]
    return [one for child in map(int, children) for one in (child, *descendants(child))]


def memory(port: int, path: str, clip: bytes, requests: int, pid: int) -> None:
    print(f"\nmemory over {requests} requests (8 clients)\n  requests   service   decoders")
    done, step = 0, max(1, requests // 10)
    while done <= requests:
        service, decoders = memory_mib(pid)
        print(f"  {done:8d} {service:7.1f} MiB {decoders:6.1f} MiB", flush=True)
        threads = [threading.Thread(target=repeat, args=(port, path, clip, step // 8 + 1)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        done += 8 * (step // 8 + 1)


def repeat(port: int, path: str, clip: bytes, times: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    for _ in range(times):
        ask(connection, "POST", path, clip)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model_path", default=None, help="default: the model that the package carries")
    parser.add_argument("--audio_path", required=True)
    parser.add_argument("--clip_s", type=float, default=3.0)
    parser.add_argument("--route", choices=("identify", "verify", "embeddings"), default="identify")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--requests", type=int, default=10000, help="for the growth of memory; 0: not measured")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    clip, path = clip_of(arguments.audio_path, arguments.clip_s), f"/v1/{arguments.route}"
    if arguments.route == "verify":
        path += "?name=anna"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        process = start(arguments, folder, port)
        try:
            wait_for_port(process, port)
            ready_s = time.perf_counter() - started
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            answer = json.loads(ask(connection, "POST", "/v1/enroll?name=anna", clip))
            print(f"cold start: ready after {ready_s:.2f} s, first recording enrolled after "
                  f"{time.perf_counter() - started:.2f} s (utterances: {answer['utterances']})")  # fmt: skip
            latencies(port, path, clip, max(arguments.clients), 2.0)  # warm
            print(f"\nPOST {path}, {arguments.clip_s:g} s of speech, workers {arguments.workers}")
            print("  clients      p50      p95   requests/s")
            for clients in arguments.clients:
                taken, rate = latencies(port, path, clip, clients, arguments.seconds)
                p50, p95 = statistics.median(taken), float(np.quantile(taken, 0.95))
                print(f"  {clients:7d} {1000 * p50:5.0f} ms {1000 * p95:5.0f} ms {rate:12.1f}", flush=True)
            if arguments.requests:
                memory(port, path, clip, arguments.requests, process.pid)
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
