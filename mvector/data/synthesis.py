"""Sentences spoken by eSpeak NG, for the quickstart's synthetic corpus.

eSpeak NG (GPL-3) comes with the optional package `espeakng-loader`, a part of the extra `train`; nothing of it is
bundled here. It runs in short processes of its own (`espeak_worker.py` says why).
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mvector.errors import MissingPackageError, MVectorError

_WORKER = Path(__file__).with_name("espeak_worker.py")
_TIMEOUT_S = 300


@dataclass(frozen=True)
class Sentence:
    """One sentence and how it is spoken.

    voice: language and variant as eSpeak NG writes them, 'en-us+max'; the language alone is the plain voice.
    rate: words per minute (80–450). pitch: 0–99, 50 is the variant's own. pitch_range: 0 (monotone) – 99, 50 is usual.
    """

    voice: str
    text: str
    rate: int = 170
    pitch: int = 50
    pitch_range: int = 50


def voice_variants() -> list[str]:
    """Names of the voice variants that the installed eSpeak NG has, sorted.

    The listing matters because eSpeak NG speaks 'en+nonsense' with the plain voice and reports no error.
    """
    return sorted(path.name for path in (_espeak_files()[1] / "voices" / "!v").iterdir())


def synthesize(sentences: Sequence[Sentence]) -> tuple[list[np.ndarray], int]:
    """Speak the sentences one after the other in one new process.

    Returns (waveforms, sample_rate_hz): float32 [T] in [-1, 1] for each sentence, at eSpeak NG's own rate (22050 Hz).
    The same sentences in the same order give the same samples on every call.
    Raises MissingPackageError without espeakng-loader, MVectorError for an unknown language or variant or when
    eSpeak NG fails.
    """
    library, data_folder = _espeak_files()
    known = set(voice_variants())
    for sentence in sentences:
        _, plus, variant = sentence.voice.partition("+")
        if plus and variant not in known:
            raise MVectorError(f"eSpeak NG has no voice variant {variant!r} (voice {sentence.voice!r})")
    job = {
        "library": str(library),
        "data_folder": str(data_folder),
        "sentences": [asdict(sentence) for sentence in sentences],
    }
    done = subprocess.run(
        [sys.executable, "-I", str(_WORKER)],
        input=json.dumps(job).encode("ascii"),
        capture_output=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        reason = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"status {done.returncode}"]
        raise MVectorError(f"the speech synthesiser failed: {reason[-1]}")
    return _unpack(done.stdout, sentences)


def _unpack(sound: bytes, sentences: Sequence[Sentence]) -> tuple[list[np.ndarray], int]:
    sample_rate_hz = int(np.frombuffer(sound, np.int32, 1)[0])
    waveforms, position = [], 4
    for sentence in sentences:
        count = int(np.frombuffer(sound, np.int32, 1, position)[0])
        samples = np.frombuffer(sound, np.int16, count, position + 4)
        if not samples.any():
            raise MVectorError(f"eSpeak NG made no sound of {sentence.text!r} with voice {sentence.voice!r}")
        waveforms.append(samples.astype(np.float32) / 32768)
        position += 4 + 2 * count
    return waveforms, sample_rate_hz


def _espeak_files() -> tuple[Path, Path]:
    """The library and the folder espeak-ng-data that espeakng-loader brings, as absolute paths."""
    try:
        import espeakng_loader

        return Path(espeakng_loader.get_library_path()).resolve(), Path(espeakng_loader.get_data_path()).resolve()
    except Exception as error:  # whatever its import raises, the package is not usable
        raise MissingPackageError(
            "the quickstart's synthetic voices need the package espeakng-loader (eSpeak NG), which cannot be imported: "
            'run pip install -e ".[train]" or pip install espeakng-loader.'
        ) from error
