"""Ctrl-C and SIGTERM while training: save first, then stop."""

import logging
import signal
import threading
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

logger = logging.getLogger("mvector")


class Interrupted(Exception):
    """The run was asked to stop; its state is saved in `folder`."""

    def __init__(self, folder: Path):
        super().__init__(f"training stopped and saved in {folder}")
        self.folder = folder


class StopRequest:
    """`with StopRequest() as stop:` — `stop.asked` turns True at the first Ctrl-C or SIGTERM.

    A second one raises KeyboardInterrupt at once. Outside the main thread, where signals cannot be caught, nothing is.
    """

    def __init__(self) -> None:
        self.asked = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._ask)
        return self

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        logger.info("stopping after this step; press Ctrl-C again to stop at once without saving")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            if signal.getsignal(number) == self._ask:  # what was set meanwhile stays
                signal.signal(number, handler)
