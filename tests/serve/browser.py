"""A real Chromium without a window, driven over its debugging protocol; its microphone is a sound file."""

import contextlib
import json
import os
import shutil
import subprocess
import time
import urllib.request
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs a system package: chromium")
WAIT_S = 120.0


class Page:
    """One tab. problems: what it printed as an error, exceptions, and what its content policy refused."""

    def __init__(self, socket: Any):
        self._socket = socket
        self._number, self.problems = 0, list[str]()
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while (answer := json.loads(self._socket.recv(timeout=WAIT_S))).get("id") != self._number:
            self._note(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _note(self, event: dict[str, Any]) -> None:
        if event.get("method") == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(event["params"]["exceptionDetails"]))
        elif event.get("method") == "Log.entryAdded" and event["params"]["entry"]["level"] == "error":
            self.problems.append(json.dumps(event["params"]["entry"]))

    def open(self, address: str) -> None:
        self.call("Page.navigate", url=address)
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")

    def evaluate(self, script: str) -> Any:
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, (script, result)
        return result["result"].get("value")

    def wait_for(self, condition: str, seconds: float = WAIT_S) -> None:
        deadline = time.monotonic() + seconds
        while not self.evaluate(f"Boolean({condition})"):
            assert time.monotonic() < deadline, (condition, self.problems, self.evaluate("document.body.innerText"))
            time.sleep(0.05)

    def text(self, selector: str) -> str:
        return self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")

    def is_shown(self, selector: str) -> bool:
        return self.evaluate(f"document.querySelector({json.dumps(selector)}).getClientRects().length > 0")

    def click(self, selector: str) -> None:
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def press(self, key: str, text: str = "", shift: bool = False) -> None:
        """A key as from the keyboard: 'Tab', 'Enter' (with text '\\r'), ' ' …"""
        codes = {"Tab": 9, "Enter": 13, " ": 32, "ArrowRight": 39, "Escape": 27}
        common = {"key": key, "windowsVirtualKeyCode": codes[key], "modifiers": 8 if shift else 0}
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def shape(self, width: int, height: int, dark: bool = False, scale: float = 1.0) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}],
        )

    def picture(self, path: Path) -> None:
        path.write_bytes(b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]))


@contextlib.contextmanager
def chromium(folder: Path, microphone: Path | None = None, language: str = "en-US") -> Iterator[Page]:
    """A tab in a fresh Chromium; `microphone`: a WAV file that it hears again and again, or no microphone at all."""
    command = [
        CHROMIUM or "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--no-first-run",
        f"--user-data-dir={folder}", "--remote-debugging-port=0", f"--lang={language}", f"--accept-lang={language}",
        "--use-fake-ui-for-media-stream", "about:blank",
    ]  # fmt: skip
    if microphone is not None:
        command[1:1] = ["--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={microphone}"]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "LANGUAGE": language, "HOME": str(folder)}, start_new_session=True,
    )  # fmt: skip
    try:
        port_file, deadline = folder / "DevToolsActivePort", time.monotonic() + WAIT_S
        while not (port_file.exists() and port_file.read_text(encoding="utf-8").count("\n")):
            assert process.poll() is None and time.monotonic() < deadline, "Chromium does not start"  # noqa: PT018
            time.sleep(0.05)
        port = port_file.read_text(encoding="utf-8").splitlines()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=WAIT_S) as response:
            tabs = json.load(response)
        from websockets.sync.client import connect

        address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
        with connect(address, max_size=1 << 26) as socket:
            yield Page(socket)
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        if process.poll() is None:
            process.kill()
            process.wait()
