"""The quickstart's corpus: synthetic voices that eSpeak NG speaks on this machine. No person's voice is in it."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from mvector.data.corpora.base import Corpus, Recording
from mvector.data.synthetic_speakers import (
    SAMPLE_RATE_HZ,
    UTTERANCES_PER_SPEAKER,
    SyntheticSpeaker,
    demo_speakers,
    speak,
)
from mvector.errors import DataListError
from mvector.registry import CORPORA

STATEMENT = (
    "These voices are synthetic (spoken by eSpeak NG on this machine): the numbers show that the program works, "
    "not how well it recognises people."
)
_MARKER = "corpus.json"
_NAME = "mvector demo corpus"
_VERSION = 1
_NON_TARGETS_PER_TARGET = 4
_README = f"""Synthetic voices for the quickstart of mvector

{STATEMENT}

No person was recorded. The sentences were written for this corpus and spoken on this machine by eSpeak NG
(https://github.com/espeak-ng/espeak-ng, GPL-3.0-or-later; from the Python package espeakng-loader); noise and channels
were added by mvector.
Every speaker is an eSpeak NG voice variant with a pitch, an intonation range and a vocal-tract length of its own.

train_list.txt    recordings and speakers to train on
dev_trials.txt    pairs of recordings (1 the same speaker, 0 two speakers); none of these speakers is in train_list.txt
test_trials.txt   the same for a third set of speakers
corpus.json       version, seed, counts; its presence says that the corpus is complete

The folder can be deleted at any time: the quickstart makes it again.
"""


@CORPORA.register("demo")
class Demo(Corpus):
    """Synthetic voices that eSpeak NG speaks on this machine: 126 speakers to train on, 14 to choose by, 14 to test.

    `ensure_demo_corpus` makes the folder; this class only lists what is in it.
    """

    homepage = "https://github.com/espeak-ng/espeak-ng"
    layout = "dataset/demo/SPEAKER/NN.wav, made by python create_data.py --corpus demo"
    folder_names = ("demo",)
    required = (_MARKER, "train_list.txt")

    def utterances(self, root: Path) -> Iterator[Recording]:
        for subset, speakers in demo_speakers().items():
            for speaker in speakers:
                for n in range(UTTERANCES_PER_SPEAKER):
                    yield Recording(root / _recording(speaker, n), speaker.name, split=subset)


def ensure_demo_corpus(root: str | Path = "dataset/demo", seed: int = 0) -> Path:
    """The folder of the demo corpus, which is made first where it does not exist yet (20 s on 2 cores).

    It is made in a folder beside `root` and renamed when it is complete. The same seed and the same eSpeak NG give the
    same bytes. Raises MissingPackageError without espeakng-loader, DataListError when `root` is something else already.
    """
    root = Path(root)
    if _is_complete(root, seed):
        return root
    _refuse_other_content(root)
    partial = root.with_name(f".{root.name}-{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        _make(partial, seed)
        if _is_complete(root, seed):  # another process was faster
            return root
        shutil.rmtree(root, ignore_errors=True)
        _rename(partial, root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return root


def synthetic_statement(list_path: str | Path | None) -> str | None:
    """The sentence that has to stand beside every number from this list, or None when its recordings are real.

    A list is known to be synthetic by the marker in its folder: corpus.json with "synthetic": true.
    """
    if not list_path:
        return None
    marker = _read_marker(Path(list_path).parent)
    return str(marker.get("statement", STATEMENT)) if marker.get("synthetic") is True else None


def _make(folder: Path, seed: int) -> None:
    subsets = demo_speakers(seed)
    speakers = [speaker for subset in subsets.values() for speaker in subset]
    durations_s: list[float] = []
    # Threads are enough: eSpeak NG runs in a process for each speaker, and soxr and the FFT release the lock.
    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, 8)) as pool:
        made = pool.map(lambda speaker: _write_speaker(folder, speaker, seed), speakers)
        for seconds in tqdm(made, total=len(speakers), desc="making synthetic voices (eSpeak NG)", unit="speaker"):
            durations_s += seconds

    train = [
        f"{_recording(speaker, n)}\t{speaker.name}"
        for speaker in subsets["train"]
        for n in range(UTTERANCES_PER_SPEAKER)
    ]
    _write_lines(folder / "train_list.txt", train)
    rng = np.random.default_rng(seed)
    counts = {}
    for subset in ("dev", "test"):
        trials = _trials(subsets[subset], rng)
        counts[subset] = {"targets": sum(t[0] == "1" for t in trials), "non_targets": sum(t[0] == "0" for t in trials)}
        _write_lines(folder / f"{subset}_trials.txt", trials)
    (folder / "README.txt").write_text(_README, encoding="utf-8")
    marker = {
        "name": _NAME,
        "version": _VERSION,
        "seed": seed,
        "synthetic": True,
        "statement": STATEMENT,
        "speakers": {subset: len(people) for subset, people in subsets.items()},
        "utterances": len(durations_s),
        "hours": round(sum(durations_s) / 3600, 3),
        "trials": counts,
    }
    (folder / _MARKER).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")


def _write_speaker(folder: Path, speaker: SyntheticSpeaker, seed: int) -> list[float]:
    """Write the speaker's recordings; their durations in seconds."""
    durations_s = []
    (folder / speaker.name).mkdir()
    for n, waveform in enumerate(speak(speaker, UTTERANCES_PER_SPEAKER, seed)):
        soundfile.write(folder / _recording(speaker, n), waveform, SAMPLE_RATE_HZ, subtype="PCM_16")
        durations_s.append(len(waveform) / SAMPLE_RATE_HZ)
    return durations_s


def _recording(speaker: SyntheticSpeaker, n: int) -> str:
    return f"{speaker.name}/{n + 1:02d}.wav"


def _trials(speakers: list[SyntheticSpeaker], rng: np.random.Generator) -> list[str]:
    """All pairs of recordings of one speaker, and four times as many of two speakers, in the VoxCeleb form."""
    recordings = [(speaker, n) for speaker in speakers for n in range(UTTERANCES_PER_SPEAKER)]
    pairs = [(a, b) for i, a in enumerate(recordings) for b in recordings[i + 1 :]]
    targets = [(a, b) for a, b in pairs if a[0] is b[0]]
    others = [(a, b) for a, b in pairs if a[0] is not b[0]]
    count = min(len(others), _NON_TARGETS_PER_TARGET * len(targets))
    others = [others[i] for i in sorted(rng.choice(len(others), size=count, replace=False))]
    return [
        f"{label} {_recording(*a)} {_recording(*b)}" for label, chosen in ((1, targets), (0, others)) for a, b in chosen
    ]


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def _read_marker(folder: Path) -> dict:
    try:
        marker = json.loads((folder / _MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return marker if isinstance(marker, dict) else {}


def _is_complete(root: Path, seed: int) -> bool:
    marker = _read_marker(root)
    return (marker.get("name"), marker.get("version"), marker.get("seed")) == (_NAME, _VERSION, seed)


def _refuse_other_content(root: Path) -> None:
    """Only an empty folder or an older demo corpus may be replaced."""
    if not root.exists() or _read_marker(root).get("name") == _NAME:
        return
    if not root.is_dir() or any(root.iterdir()):
        raise DataListError(
            f"{root}: the demo corpus cannot be made here, because this exists and is not a demo corpus. "
            "Move it away, or name another folder."
        )


def _rename(partial: Path, root: Path) -> None:
    for attempts_left in range(20, -1, -1):
        try:
            os.replace(partial, root)
            return
        except PermissionError:  # Windows: a virus scanner still reads a new file
            if not attempts_left:
                raise
            time.sleep(0.5)
