"""How a predictor listens to a recording: in windows, each with or without speech, at the model's level."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mvector.audio import iter_windows, normalize_level, require_speech
from mvector.audio.decode import AudioSource
from mvector.audio.speech import speech_seconds
from mvector.config import Config
from mvector.errors import NoSpeechError, TooShortError

WINDOW_S = 20.0  # longer recordings are embedded in windows; evaluation hears 20 s of an utterance too
ENOUGH_SPEECH_S = 2.0  # with less the verdict comes with a warning
HEARD, UNHEARD = 0, 1


def listen(
    source: AudioSource,
    sample_rate_hz: int,
    source_rate_hz: int,
    min_samples: int,
    verdict: bool,
    warnings: list[str] | None,
) -> Iterator[tuple[int, np.ndarray]]:
    """(HEARD or UNHEARD, window [T]) of a recording; with `verdict` the windows without speech are left out.

    `sample_rate_hz` and `min_samples` are the model's. Raises TooShortError, NoSpeechError, and what `iter_windows`
    does.
    """
    name = recording_name(source)
    windows = iter_windows(source, WINDOW_S, sample_rate_hz, source_rate_hz=source_rate_hz, warnings=warnings)
    ahead = list(itertools.islice(windows, 2))
    require_samples(len(ahead[0]), min_samples, sample_rate_hz, name)
    ask_detector = verdict or len(ahead) == 2
    speech_s, refusal, usable = 0.0, None, False
    for window in itertools.chain(ahead, windows):
        try:
            found_s = 0.0
            if warnings is not None and speech_s < ENOUGH_SPEECH_S and window.any():
                found_s = speech_seconds(window, sample_rate_hz, ENOUGH_SPEECH_S - speech_s)
                speech_s += found_s
            if ask_detector and not found_s:
                require_speech(window, sample_rate_hz, name)
            elif not window.any():
                raise NoSpeechError(f"{name}: digital silence, every sample is zero; check the microphone")
        except NoSpeechError as error:
            refusal = refusal or error
            if not verdict and window.any():
                usable = True
                yield UNHEARD, window
            continue
        usable = True
        yield HEARD, window
    if refusal is not None and not usable:
        raise refusal
    if warnings is not None and speech_s < ENOUGH_SPEECH_S:
        warnings.append(
            f"{name}: only {speech_s:.1f} s of speech was found in it; scores of less than "
            f"{ENOUGH_SPEECH_S:g} s are less reliable"
        )


def at_level(window: np.ndarray, config: Config) -> np.ndarray:
    """The window at the level that the model was trained on."""
    dataset = config.dataset_conf.dataset
    return normalize_level(window, dataset.target_dB) if dataset.use_dB_normalization else window


def require_samples(samples: int, needed: int, sample_rate_hz: int, name: str) -> None:
    """Raise TooShortError for a recording that gives the network too few frames."""
    if samples < needed:
        raise TooShortError(
            f"{name}: {samples / sample_rate_hz:.3f} s of sound; this model needs at least "
            f"{needed / sample_rate_hz:.3f} s, and a few seconds of speech for a reliable answer"
        )


def recording_name(source: AudioSource) -> str:
    """What the messages of :mod:`mvector.audio` call this recording."""
    if isinstance(source, (str, Path)):
        return str(source)
    if isinstance(source, np.ndarray):
        return "the given array"
    name = getattr(source, "name", None)
    return name if isinstance(name, str) and name else "the given recording"
