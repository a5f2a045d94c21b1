"""Converting recordings once to what training reads fastest: 16 kHz, mono, 16 bits, WAV or FLAC."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from mvector.audio import load_audio
from mvector.data.parallel import map_in_processes
from mvector.errors import AudioError, DataListError, MVectorError

FORMATS = ("wav", "flac")
SAMPLE_RATE_HZ = 16000


@dataclass(frozen=True)
class Job:
    source: str
    target: str


def convert_recordings(
    sources: Iterable[str], folder: str | Path, audio_format: str, num_workers: int = 1
) -> tuple[dict[str, str], dict[str, str]]:
    """Convert each recording into `folder`, in `num_workers` processes.

    Files that are there already, from a run that was stopped, are not made again. Below `folder` the recordings keep
    the path that they have below the deepest folder that all of them are in.
    Returns (source → new path, source → why it could not be converted).
    """
    if audio_format not in FORMATS:
        raise DataListError(f"recordings can be converted to {' or '.join(FORMATS)}, not to {audio_format!r}.")
    sources = list(dict.fromkeys(sources))
    targets = target_paths(sources, folder, audio_format)
    jobs = [Job(source, target) for source, target in targets.items() if not os.path.exists(target)]
    for parent in sorted({os.path.dirname(job.target) for job in jobs}):
        os.makedirs(parent, exist_ok=True)
    results = map_in_processes(convert, jobs, num_workers, f"converting to {audio_format}")
    failed = {job.source: problem for job, problem in zip(jobs, results, strict=True) if problem}
    return {source: target for source, target in targets.items() if source not in failed}, failed


def target_paths(sources: Iterable[str], folder: str | Path, audio_format: str) -> dict[str, str]:
    """Where each recording goes. Two that differ only in their suffix ('a.mp3' and 'a.wav') keep it in their names."""
    sources = list(sources)
    absolute = {source: os.path.abspath(source) for source in sources}
    try:
        common = os.path.commonpath([os.path.dirname(path) for path in absolute.values()]) if sources else ""
    except ValueError:  # several drives
        raise DataListError(
            "recordings on several drives cannot be converted in one go; convert one list at a time."
        ) from None
    relative = {source: os.path.relpath(path, common) for source, path in absolute.items()}
    # Windows and macOS do not tell upper from lower case in file names.
    stems = Counter(os.path.splitext(path)[0].lower() for path in relative.values())
    targets = {}
    for source, path in relative.items():
        stem = os.path.splitext(path)[0]
        name = f"{stem if stems[stem.lower()] == 1 else path}.{audio_format}"
        targets[source] = os.path.join(folder, name).replace(os.sep, "/")
    return targets


def convert(job: Job) -> str | None:
    """Write one recording; None, or why it cannot be converted."""
    try:
        waveform = load_audio(job.source, SAMPLE_RATE_HZ)
    except AudioError as error:
        return str(error)
    except MVectorError:  # a missing package concerns all the files, not this one
        raise
    except Exception as error:  # a decoder's own trouble with this file must not end a run over a million
        return f"{job.source}: {type(error).__name__}: {error}"
    target = Path(job.target)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        write_16_bit(partial, waveform, target.suffix[1:])
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return None


def write_16_bit(file: str | Path | IO[bytes], waveform: np.ndarray, audio_format: str) -> None:
    """Write a waveform [T] at 16 kHz as 'wav' or 'flac'."""
    import soundfile

    # Rounded here: libsndfile would scale by 32767 and change recordings that are 16-bit already.
    samples = np.clip(np.rint(waveform * 32768.0), -32768, 32767).astype(np.int16)
    soundfile.write(file, samples, SAMPLE_RATE_HZ, format=audio_format.upper(), subtype="PCM_16")


def renaming(new_paths: Mapping[str, str], failed: Mapping[str, str]) -> dict[str, str | None]:
    """Old path → new path, or None for a recording that has to leave the lists."""
    renamed: dict[str, str | None] = {source.replace(os.sep, "/"): path for source, path in new_paths.items()}
    return renamed | {source.replace(os.sep, "/"): None for source in failed}
