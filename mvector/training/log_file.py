"""The file train.log: what is logged while a run lasts."""

import contextlib
import logging
import logging.handlers
from collections.abc import Callable, Iterator
from pathlib import Path

logger = logging.getLogger("mvector")


class _QuietFileHandler(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """A full disk must not fill the terminal with a traceback for every line; what is logged is shown there too."""


@contextlib.contextmanager
def log_file() -> Iterator[Callable[[Path], None]]:
    """What is logged meanwhile, from INFO on, whatever the importer shows, goes into folder/train.log as soon as the
    function that is yielded was called with the folder; what was logged before goes there too."""
    buffer = logging.handlers.MemoryHandler(capacity=10**6, flushLevel=logging.CRITICAL + 1, flushOnClose=False)
    handlers: list[logging.Handler] = [buffer]

    def open_log(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        file = _QuietFileHandler(folder / "train.log", encoding="utf-8")
        file.setFormatter(logging.Formatter("[%(asctime)s %(levelname)s] %(message)s"))
        handlers.append(file)
        buffer.setTarget(file)
        buffer.flush()
        logger.removeHandler(buffer)
        logger.addHandler(file)

    level = logger.level
    if not logger.isEnabledFor(logging.INFO):
        logger.setLevel(logging.INFO)
    logger.addHandler(buffer)
    try:
        yield open_log
    finally:
        logger.setLevel(level)
        for handler in handlers:
            logger.removeHandler(handler)
            with contextlib.suppress(OSError):  # a full disk again: what could not be written is lost there
                handler.close()
