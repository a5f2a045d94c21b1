"""Errors that are meant for the person who runs the program.

Every mistake that a user can make and mend raises an :class:`MVectorError` whose message names the file, line or
key, says what was expected and what to do. The scripts print the message alone and exit with status 2.
"""

import difflib
from collections.abc import Iterable


class MVectorError(Exception):
    """A user's mistake or a broken input, told in one sentence."""


class ConfigError(MVectorError):
    """A configuration file or an override is wrong."""


class DataListError(MVectorError):
    """A data list, trial list or corpus folder is wrong."""


class AudioError(MVectorError):
    """A recording cannot be used: empty, not audio, not finite."""


class TooShortError(AudioError):
    """A recording is shorter than the shortest one that can be embedded."""


class NoSpeechError(AudioError):
    """A recording has no speech in it."""


class MicrophoneError(MVectorError):
    """There is no such microphone, or nothing can be recorded from it."""


class ModelError(MVectorError):
    """A model directory or checkpoint is missing, damaged or of another kind."""


class StoreError(MVectorError):
    """The store of enrolled voices cannot be used so: another model's, a wrong key, a name that cannot be one."""


class RankError(MVectorError):
    """Another of the processes that train together has ended, or no longer answers."""


class MissingPackageError(MVectorError, ImportError):
    """An optional package is needed and cannot be imported."""


def nearest(name: str, allowed: Iterable[str]) -> str:
    """' Did you mean X?' for the allowed name closest to `name`, or an empty string when none is close."""
    allowed = list(allowed)
    folded = {candidate.lower(): candidate for candidate in allowed}
    matches = difflib.get_close_matches(name.lower(), list(folded), n=1, cutoff=0.5)
    return f" Did you mean {folded[matches[0]]!r}?" if matches else ""
