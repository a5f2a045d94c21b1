"""Looking for bad recordings: everything in the lists is decoded once, and what is wrong is written into a table."""

import csv
import hashlib
import io
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mvector.audio import load_audio, require_speech, rms_dbfs
from mvector.config.schema import DatasetConfig
from mvector.data.lists import Utterance
from mvector.data.parallel import map_in_processes
from mvector.errors import AudioError, MVectorError, NoSpeechError, TooShortError

SAMPLE_RATE_HZ = 16000
MIN_DURATION_S: float = DatasetConfig.model_fields["min_duration"].default  # training leaves out what is shorter
SILENT_DBFS = -50.0  # quiet rooms are about there; speech at a usable distance is above -40
CLIPPED_AMPLITUDE = 0.999
CLIPPED_SHARE = 0.001  # of the samples; a single loud peak is not clipping

PROBLEMS = ("broken", "too short", "silent", "speechless", "clipped", "duplicate", "shared")
COLUMNS = ("path", "speaker", "problem", "detail")


@dataclass(frozen=True)
class Finding:
    """One row of the report: what is wrong with line `line` (from 0) of the list called `list_name`."""

    list_name: str
    line: int
    path: str
    speaker: str
    problem: str
    detail: str


@dataclass(frozen=True)
class Inspection:
    """What decoding a recording told: problems with their details, and a hash of the samples (None: undecodable)."""

    problems: tuple[tuple[str, str], ...]
    digest: str | None
    duration_s: float


def check_lists(
    lists: Mapping[str, Sequence[Utterance]], num_workers: int = 1, shared_speakers: bool = False
) -> list[Finding]:
    """What is wrong with the recordings of `lists` (name → utterances; the training list first).

    Of the same audio under one speaker, all but the first are 'duplicate'; under two speakers, all are, since nobody
    can tell whose it is. What the first list shares with another one, audio or (unless `shared_speakers`) a speaker,
    is 'shared' in the first. Decoding runs in `num_workers` processes.
    """
    unique = list(dict.fromkeys(utterance for utterances in lists.values() for utterance in utterances))
    sound = list(dict.fromkeys(_sound_of(utterance) for utterance in unique))
    inspections = dict(zip(sound, map_in_processes(inspect, sound, num_workers, "checking"), strict=True))

    findings: list[Finding] = []
    for name, utterances in lists.items():
        for line, utterance in enumerate(utterances):
            for problem, detail in inspections[_sound_of(utterance)].problems:
                findings.append(Finding(name, line, utterance.path, utterance.speaker, problem, detail))
    for name, utterances in lists.items():
        findings += _duplicates(name, utterances, inspections)
    findings += _shared(lists, inspections, shared_speakers)
    order = {name: number for number, name in enumerate(lists)}
    return sorted(findings, key=lambda f: (order[f.list_name], f.line, PROBLEMS.index(f.problem)))


def inspect(utterance: Utterance) -> Inspection:
    """Decode one recording and judge it by itself."""
    warnings: list[str] = []
    try:
        waveform = load_audio(utterance.path, SAMPLE_RATE_HZ, utterance.start_s, utterance.end_s, warnings=warnings)
    except TooShortError as error:
        return Inspection((("too short", _without_path(error, utterance)),), None, 0.0)
    except AudioError as error:
        return Inspection((("broken", _without_path(error, utterance)),), None, 0.0)
    except MVectorError:  # a missing package concerns all the files, not this one
        raise
    except Exception as error:  # a decoder's own trouble with this file must not end a check of a million
        return Inspection((("broken", f"{type(error).__name__}: {error}"),), None, 0.0)
    problems = [("broken", warning) for warning in warnings if "truncated" in warning]
    duration_s = len(waveform) / SAMPLE_RATE_HZ
    level_dbfs = rms_dbfs(waveform)
    if duration_s < MIN_DURATION_S:
        problems.append(("too short", f"{duration_s:.3f} s"))
    elif level_dbfs < SILENT_DBFS:
        problems.append(("silent", f"{level_dbfs:.1f} dBFS"))
    elif not _has_speech(waveform):
        problems.append(("speechless", f"no speech found in {duration_s:.2f} s at {level_dbfs:.1f} dBFS"))
    clipped = float(np.mean(np.abs(waveform) >= CLIPPED_AMPLITUDE))
    if clipped >= CLIPPED_SHARE:
        problems.append(("clipped", f"{clipped:.2%} of the samples"))
    # All-zero recordings of one length are no copies of each other.
    digest = hashlib.blake2b(waveform.tobytes(), digest_size=16).hexdigest() if waveform.any() else None
    return Inspection(tuple(problems), digest, duration_s)


def _has_speech(waveform: np.ndarray) -> bool:
    """Whether the neural detector hears somebody; it stops at the first word, which is far faster."""
    try:
        require_speech(waveform, SAMPLE_RATE_HZ)
    except NoSpeechError:
        return False
    return True


def write_report(path: str | Path, findings: Iterable[Finding]) -> None:
    """Write path, speaker, problem and detail as CSV (UTF-8 with a mark, so that spreadsheets read Chinese names)."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((f.path, f.speaker, f.problem, f.detail) for f in findings)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(buffer.getvalue(), encoding="utf-8-sig", newline="")
    os.replace(partial, path)


def summary(findings: Iterable[Finding]) -> str:
    """'3 silent, 2 duplicate', or 'nothing'."""
    count = Counter(finding.problem for finding in findings)
    return ", ".join(f"{count[problem]} {problem}" for problem in PROBLEMS if count[problem]) or "nothing"


def _duplicates(
    name: str, utterances: Sequence[Utterance], inspections: Mapping[Utterance, Inspection]
) -> list[Finding]:
    """The same audio more than once in one list."""
    findings = []
    for lines in _lines_by_digest(utterances, inspections).values():
        speakers = {utterances[line].speaker for line in lines}
        for line in lines:
            utterance = utterances[line]
            other = next((k for k in lines if utterances[k].speaker != utterance.speaker), None)
            if len(speakers) > 1 and other is not None:
                detail = f"same audio under speaker {utterances[other].speaker}: {utterances[other].path}"
            elif line != lines[0]:
                detail = f"same audio as {utterances[lines[0]].path}"
            else:
                continue
            findings.append(Finding(name, line, utterance.path, utterance.speaker, "duplicate", detail))
    return findings


def _shared(
    lists: Mapping[str, Sequence[Utterance]], inspections: Mapping[Utterance, Inspection], shared_speakers: bool
) -> list[Finding]:
    """What stands in the first list and in another one as well."""
    first, *others = lists
    speaker_in: dict[str, str] = {}
    audio_in: dict[str, str] = {}
    for name in others:
        for utterance in lists[name]:
            speaker_in.setdefault(utterance.speaker, name)
            digest = inspections[_sound_of(utterance)].digest
            if digest is not None:
                audio_in.setdefault(digest, f"{utterance.path} in {name}")
    findings = []
    for line, utterance in enumerate(lists[first]):
        digest = inspections[_sound_of(utterance)].digest
        if utterance.speaker in speaker_in and not shared_speakers:
            detail = f"the speaker is in {speaker_in[utterance.speaker]}, too"
        elif digest in audio_in:
            detail = f"same audio as {audio_in[digest]}"
        else:
            continue
        findings.append(Finding(first, line, utterance.path, utterance.speaker, "shared", detail))
    return findings


def _lines_by_digest(
    utterances: Sequence[Utterance], inspections: Mapping[Utterance, Inspection]
) -> dict[str, list[int]]:
    lines: dict[str, list[int]] = defaultdict(list)
    for line, utterance in enumerate(utterances):
        digest = inspections[_sound_of(utterance)].digest
        if digest is not None:
            lines[digest].append(line)
    return {digest: found for digest, found in lines.items() if len(found) > 1}


def _sound_of(utterance: Utterance) -> Utterance:
    """The recording without its speaker: one that stands under two speakers is decoded once."""
    return Utterance(utterance.path, "", utterance.start_s, utterance.end_s)


def _without_path(error: Exception, utterance: Utterance) -> str:
    return str(error).removeprefix(f"{utterance.path}: ")
