"""Logs as JSON lines that hold no sound, embeddings, scores, names of people or addresses of the service's users.

The address that a request came from is left to the proxy's log. A query string may hold a name, which is why
uvicorn's own access log is off, and so may a message of the library or of an exception: of those only the place in
the code is kept.
"""

import json
import logging
import traceback
from datetime import UTC, datetime
from typing import Any

logger = logging.getLogger("mvector.serve")


class JsonFormatter(logging.Formatter):
    """One line for each record: time, level, logger, process, event, and the fields of `extra={"fields": …}`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "event": _event(record),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line |= described(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False)


def _event(record: logging.LogRecord) -> str:
    """uvicorn passes on tracebacks as text when an application cannot start."""
    event = record.getMessage()
    return "server error" if record.name == "uvicorn.error" and ("Traceback" in event or record.exc_info) else event


def described(error: BaseException) -> dict[str, Any]:
    """Kind and place of an exception, without its message and without values."""
    frames = traceback.extract_tb(error.__traceback__)
    return {
        "exception": type(error).__name__,
        "where": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-8:]],
    }


LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": JsonFormatter}},
    "handlers": {
        "lines": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "json"},
        "nothing": {"class": "logging.NullHandler"},
    },
    "loggers": {
        "mvector.serve": {"handlers": ["lines"], "level": "INFO", "propagate": False},
        "mvector": {"handlers": ["nothing"], "level": "WARNING", "propagate": False},  # its messages hold names
        "uvicorn.error": {"handlers": ["lines"], "level": "INFO", "propagate": False},
        "uvicorn.access": {"handlers": ["nothing"], "level": "WARNING", "propagate": False},
    },
}
