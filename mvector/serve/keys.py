"""API keys: 256 random bits, of which only the SHA-256 is kept.

A line of a keys file, or of the environment's MVECTOR_API_KEYS (there also separated by semicolons):

    phone verify,identify 5e884898da28047151d0e56f8dc6292773603d0d6aabbd62a11ef721d1542d8

A slow hash would add nothing: it protects passwords, which can be guessed, and these cannot.
"""

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mvector.errors import ConfigError, nearest

SCOPES = ("enroll", "verify", "identify", "compare", "embed", "list", "delete", "metrics")
ALL = "all"
ENVIRONMENT = "MVECTOR_API_KEYS"
PREFIX = "mv_"  # scanners for leaked secrets can look for it


@dataclass(frozen=True)
class ApiKey:
    """name: for logs and rates. digest: SHA-256 of the key."""

    name: str
    scopes: frozenset[str]
    digest: bytes


def new_key() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def key_line(name: str, scopes: Sequence[str], key: str) -> str:
    """The line that stands for `key` in a keys file. Raises ConfigError for a name or scope that cannot be one."""
    line = f"{name} {','.join(scopes)} {_digest(key).hex()}"
    parse_key(line, "the new key")
    return line


def parse_key(line: str, place: str) -> ApiKey:
    """Raises ConfigError, which never repeats what may be a key."""
    words = line.split()
    if len(words) != 3:
        raise ConfigError(
            f"{place}: expected 'name scope,scope… SHA-256', found {len(words)} words. Make a line with "
            "python -m mvector.serve --new_key NAME."
        )
    name, scopes, digest = words
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ConfigError(
            f"{place}: the third word is not a SHA-256 in 64 hexadecimal digits. The file holds hashes, never the keys "
            "themselves; make a line with python -m mvector.serve --new_key NAME."
        )
    if not re.fullmatch(r"[\w.-]{1,64}", name):
        raise ConfigError(f"{place}: the name of a key has 1 to 64 letters, digits, '_', '-' or '.', found {name!r}")
    named = frozenset(scopes.split(","))
    for scope in sorted(named - {ALL, *SCOPES}):
        raise ConfigError(
            f"{place}: unknown scope {scope!r}; there are: {', '.join(SCOPES)}, {ALL}.{nearest(scope, (*SCOPES, ALL))}"
        )
    return ApiKey(name, frozenset(SCOPES) if ALL in named else named, bytes.fromhex(digest))


def read_key_lines(path: str | Path | None) -> tuple[str, ...]:
    """The lines of a keys file and of the environment, checked; a line that begins with # is a remark."""
    lines: list[str] = []
    if path is not None:
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: the keys cannot be read ({getattr(error, 'strerror', 'not UTF-8')})") from error
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip() and not line.lstrip().startswith("#"):
                parse_key(line, f"{path}:{number}")
                lines.append(line.strip())
        if not lines:
            raise ConfigError(f"{path}: there is no key in it. Make one with python -m mvector.serve --new_key NAME.")
    for line in re.split(r"[;\n]", os.environ.get(ENVIRONMENT, "")):
        if line.strip():
            parse_key(line, ENVIRONMENT)
            lines.append(line.strip())
    names = [line.split()[0] for line in lines]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"there are two keys named {name!r}; names tell keys apart in rates and logs")
    return tuple(lines)


class KeyRing:
    """The keys of a service."""

    def __init__(self, lines: Iterable[str]):
        self._keys = [parse_key(line, "a key") for line in lines]

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, presented: str) -> ApiKey | None:
        """The key that was presented, in a time that does not tell how near a wrong one came."""
        digest, found = _digest(presented), None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
