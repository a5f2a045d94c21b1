"""A service as its own process, as people start it."""

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from threading import Thread

ROOT = Path(__file__).parents[2]
START_S = 240.0  # on a machine where everything runs at once


class Running:
    """address: http://127.0.0.1:PORT, or https. trusted: the certificates that the latter is asked with.

    lines: what it has printed so far. stop() returns its exit status.
    """

    def __init__(self, command: list[str], environment: dict[str, str], address: str, trusted: ssl.SSLContext | None):
        self.address, self.trusted, self.lines = address, trusted, list[str]()
        flags = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP} if sys.platform == "win32" else {}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", env=environment, **flags
        )
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait_until_ready(self) -> "Running":
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError), self.ask("/health/ready", timeout_s=5):
                return self
            time.sleep(0.05)
        raise AssertionError("the service does not answer:\n" + "\n".join(self.lines))

    def ask(self, path: str, timeout_s: float = 60) -> HTTPResponse:
        return urllib.request.urlopen(f"{self.address}{path}", timeout=timeout_s, context=self.trusted)

    def terminate(self) -> None:
        self.process.send_signal(signal.CTRL_BREAK_EVENT if sys.platform == "win32" else signal.SIGTERM)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.terminate()
        status = self.process.wait(60)
        self._reader.join(10)
        return status


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running_service(model: Path, folder: Path, *arguments: str, **variables: str) -> Iterator[Running]:
    """`python -m mvector.serve` with a store in `folder`, ready; it is stopped at the end.

    With --tls_cert it is asked over HTTPS, and no other certificate than that one is trusted.
    """
    port = free_port()
    trusted = None
    if "--tls_cert" in arguments:
        trusted = ssl.create_default_context(cafile=arguments[arguments.index("--tls_cert") + 1])
    scheme = "http" if trusted is None else "https"
    command = [sys.executable, "-m", "mvector.serve", "--model_path", str(model), "--audio_db_path", str(folder / "db")]
    environment = {**os.environ, "LANGUAGE": "en", "PYTHONPATH": str(ROOT), **variables}
    address = f"{scheme}://127.0.0.1:{port}"
    running = Running([*command, "--port", str(port), *arguments], environment, address, trusted)
    try:
        yield running.wait_until_ready()
    finally:
        if running.process.poll() is None:
            running.stop()


def answering(lines: list[str]) -> set[int]:
    """The processes that have answered a request, by the log."""
    logged = [json.loads(line) for line in lines if line.startswith("{")]
    return {line["process"] for line in logged if line["event"] == "request"}
