"""Kept recordings as files of random names beside the database, so that one can be overwritten and removed at once.

In a row of the database they would have to be rewritten with it, all of them, to be sure that one is gone. Files are
written before the transaction that names them is committed, and removed after the one that forgets them; what a killed
process leaves between is a file that no row names, and `sweep` removes those.
"""

import logging
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

logger = logging.getLogger("mvector")

_NAME = re.compile(r"[0-9a-f]{32}\.sound")


class SoundFiles:
    """The files of `folder`. All but `read` are for the one process that holds the store's write lock."""

    def __init__(self, folder: Path):
        self._folder = folder

    def write(self, content: bytes) -> bytes:
        """Keep `content`; returns the file's name, which is what a row holds. It is on the disk when this returns."""
        self._folder.mkdir(exist_ok=True)
        name = f"{secrets.token_hex(16)}.sound"
        with open(self._folder / name, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return name.encode()

    def read(self, name: bytes) -> bytes | None:
        """The content; None where somebody removed the file."""
        try:
            return (self._folder / name.decode()).read_bytes()
        except FileNotFoundError:
            return None

    def remove(self, names: Iterable[bytes]) -> None:
        """Overwrite with zeros, as far as the disk does so in place, and remove."""
        for name in names:
            path = self._folder / name.decode()
            try:
                with open(path, "r+b") as file:
                    file.write(bytes(path.stat().st_size))
                    file.flush()
                    os.fsync(file.fileno())
                path.unlink()
            except FileNotFoundError:
                continue
            except OSError as error:  # open in another program (Windows); the next sweep tries again
                logger.warning("%s: this deleted recording cannot be removed yet (%s)", path, error.strerror)

    def names(self) -> set[bytes]:
        if not self._folder.is_dir():
            return set()
        with os.scandir(self._folder) as entries:
            return {entry.name.encode() for entry in entries if _NAME.fullmatch(entry.name)}

    def sweep(self, named: Iterable[bytes]) -> None:
        """Remove the files that are not among `named`, those of all rows."""
        self.remove(self.names().difference(named))
