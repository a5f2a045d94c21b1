"""Where a detector of replayed and synthetic speech plugs in. None comes with the service.

A voice recognises whose voice it is, not whether somebody is speaking: a recording of the person, or a clone of the
voice, scores as the person does. A detector is a callable

    def detect(waveform: np.ndarray, sample_rate_hz: int) -> float | None

named by its dotted path. It gets every recording (mono float32 [T] in [-1, 1] at the model's rate) before it is
embedded, from several threads, and returns a score that goes into the answer as it is, or None; or it refuses the
recording by raising SpoofingSuspected with a sentence for the caller. Any other exception is a fault of the service,
which then answers 500: a detector that fails lets nobody in.
"""

import importlib
from collections.abc import Callable

import numpy as np

from mvector.errors import ConfigError, MVectorError

SpoofingDetector = Callable[[np.ndarray, int], float | None]


class SpoofingSuspected(MVectorError):
    """A detector refuses a recording as replayed, synthetic or otherwise not a person who is speaking now."""


def load_detector(path: str) -> SpoofingDetector:
    """The callable that the dotted path leads to ('my_package.replay.detect'). Raises ConfigError.

    It names code to be run and comes from whoever starts the service, never from a model directory.
    """
    module, _, name = path.rpartition(".")
    try:
        detector = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"spoofing detector {path!r} cannot be imported: {error}") from error
    if not callable(detector):
        raise ConfigError(f"spoofing detector {path!r} is not a function of (waveform, sample_rate_hz)")
    return detector
