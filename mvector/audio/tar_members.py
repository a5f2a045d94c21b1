"""Recordings inside tar files, read in place: an uncompressed tar is a concatenation, so a member is a range of bytes.

A member is written as a path, `shards/train-000003.tar!00001234.flac#5120+44018`: the tar (a local path or a URL), the
name in it, and where its bytes begin and how many there are. Such a path can stand wherever the path of a recording
can, also in a list; it needs no index in memory, and any process can open it. The range may be left out
(`train-000003.tar!00001234.flac`): the tar's headers are then looked through once.
"""

import functools
import io
import re
import tarfile
from typing import IO, NamedTuple

from mvector.audio.remote import local_copy
from mvector.errors import AudioError

WHOLE_BYTES = 1 << 20  # a member up to this size is read at once, of a larger one the parts that a decoder asks for
_MEMBER = re.compile(r"(?P<shard>.+?\.tar)!(?P<name>.+?)(?:#(?P<offset>\d+)\+(?P<size>\d+))?")


class TarMember(NamedTuple):
    """A member of the tar at `shard`; `offset` and `size` are in bytes, None where they have to be looked up."""

    shard: str
    name: str
    offset: int | None = None
    size: int | None = None

    def __str__(self) -> str:
        place = "" if self.offset is None else f"#{self.offset}+{self.size}"
        return f"{self.shard}!{self.name}{place}"


def tar_member(path: str) -> TarMember | None:
    """What `path` says of a member of a tar; None where it is an ordinary path."""
    found = _MEMBER.fullmatch(path) if ".tar!" in path else None
    if found is None:
        return None
    offset, size = found["offset"], found["size"]
    return TarMember(found["shard"], found["name"], *((int(offset), int(size)) if offset and size else (None, None)))


def file_of(path: str) -> str:
    """The file on the disk (or the URL) that holds the recording `path`: its tar, or itself."""
    member = tar_member(path)
    return path if member is None else member.shard


def open_member(member: TarMember) -> IO[bytes]:
    """The bytes of a member as a file object that can seek. Raises AudioError where they are not there."""
    shard = local_copy(member.shard)
    try:
        offset, size = member.offset, member.size
        if offset is None or size is None:
            offset, size = _ranges(shard)[member.name]
        if size > WHOLE_BYTES:
            return io.BufferedReader(_Part(shard, offset, size), 1 << 16)
        with open(shard, "rb", buffering=0) as file:
            file.seek(offset)
            content = file.read(size)
    except KeyError:
        raise AudioError(f"{member}: there is no {member.name} in this tar file") from None
    except FileNotFoundError:
        raise AudioError(f"{member}: there is no file {shard}") from None
    except (OSError, tarfile.TarError) as error:
        raise AudioError(f"{member}: the tar file cannot be read ({error})") from error
    if len(content) < size:
        raise AudioError(f"{member}: the tar file ends before this recording does; copy or make it again")
    return io.BytesIO(content)


@functools.lru_cache(maxsize=16)
def _ranges(shard: str) -> dict[str, tuple[int, int]]:
    """Name → (offset, size) of the members of a local tar."""
    with tarfile.open(shard, "r:") as tar:
        return {member.name: (member.offset_data, member.size) for member in tar if member.isfile()}


class _Part(io.RawIOBase):
    """`size` bytes of a file from `offset` on, as a file of its own."""

    def __init__(self, path: str, offset: int, size: int):
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 (closed by close)
        self._offset, self._size, self._position = offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"negative position {start + offset}")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def, override]
        wanted = max(0, min(len(buffer), self._size - self._position))
        self._file.seek(self._offset + self._position)
        number = self._file.readinto(memoryview(buffer)[:wanted])
        self._position += number
        return number

    def close(self) -> None:
        self._file.close()
        super().close()
