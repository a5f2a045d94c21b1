"""Files behind a URL (s3://, gs://, hdfs://, https:// …): read through fsspec, or kept as local copies."""

import hashlib
import os
import time
from pathlib import Path
from typing import Any

from mvector.errors import MissingPackageError, MVectorError

CACHE_VARIABLE = "MVECTOR_CACHE"
TRIES = 3
PAUSE_S = 2.0  # before a second try, doubled before each further one


def is_remote(path: str) -> bool:
    """Whether `path` is a URL and not a path of this machine."""
    return "://" in path


def cache_folder() -> Path:
    """Where local copies are kept: the environment variable MVECTOR_CACHE, else ~/.cache/mvector."""
    return Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "mvector") / "files"


def local_copy(url: str) -> str:
    """The path of a whole local copy of `url`, fetched when it is not there yet; a local path is given back as it is.

    Several processes that need one file fetch it once, and a copy appears when it is whole. Raises MVectorError, which
    ends a training run that can be resumed: passing over what cannot be fetched now would lose a whole shard.
    """
    if not is_remote(url):
        return url
    target = cache_folder() / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}-{url.rsplit('/', 1)[1]}"
    if target.exists():
        return str(target)
    from filelock import FileLock  # torch needs it, too

    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.exists():
            part = f"{target}.part"
            _with_patience(url, lambda files, path: files.get_file(path, part))
            os.replace(part, target)
    return str(target)


def read_remote(url: str) -> bytes:
    """The whole content of `url`, not kept. Raises MVectorError."""
    content: bytes = _with_patience(url, lambda files, path: files.cat_file(path))
    return content


def list_remote(pattern: str) -> list[str]:
    """The URLs that a pattern with * or ? stands for, sorted. Raises MVectorError."""
    return sorted(_with_patience(pattern, lambda files, path: map(files.unstrip_protocol, files.glob(path))))


def _with_patience(url: str, act: Any) -> Any:
    """`act(file system, path)` of a URL; tried again when the network fails."""
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MissingPackageError(
            f"{url}: files behind a URL are read through fsspec, which cannot be imported ({error}): pip install fsspec"
        ) from error
    try:
        files, path = url_to_fs(url)
    except (ImportError, ValueError) as error:  # fsspec names the package that its protocol needs
        raise MissingPackageError(f"{url}: fsspec cannot read this kind of URL ({error}).") from error
    for attempt in range(TRIES):
        try:
            return act(files, path)
        except FileNotFoundError as error:
            raise MVectorError(f"{url}: there is no such file.") from error
        except Exception as error:  # each protocol's package has errors of its own
            if attempt == TRIES - 1:
                raise MVectorError(f"{url} cannot be fetched ({type(error).__name__}: {error}).") from error
        time.sleep(PAUSE_S * 2**attempt)
    raise AssertionError("unreachable")
