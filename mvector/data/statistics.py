"""Speakers, utterances, hours and durations of data lists, from the recordings' headers."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from mvector.audio import audio_info
from mvector.data.lists import Utterance
from mvector.errors import AudioError

PERCENTILES = (0, 5, 50, 95, 100)


@dataclass(frozen=True)
class ListStatistics:
    """Of one list; `percentiles_s` are durations at `PERCENTILES`, `unreadable` the files without a usable header."""

    speakers: int
    utterances: int
    hours: float
    percentiles_s: tuple[float, ...]
    unreadable: tuple[str, ...]


def list_statistics(
    lists: Mapping[str, Sequence[Utterance]], num_threads: int | None = None
) -> dict[str, ListStatistics]:
    """Statistics of each list; headers are read in threads (reading waits for the disk), each file once."""
    paths = list(dict.fromkeys(utterance.path for utterances in lists.values() for utterance in utterances))
    threads = num_threads or min(32, 4 * (os.cpu_count() or 1))
    with ThreadPoolExecutor(threads) as pool:
        seconds = list(tqdm(pool.map(_seconds, paths), total=len(paths), desc="durations", unit="file", disable=None))
    duration_s = dict(zip(paths, seconds, strict=True))
    return {name: _statistics(utterances, duration_s) for name, utterances in lists.items()}


def format_statistics(statistics: Mapping[str, ListStatistics]) -> str:
    """A table, one list a line."""
    heading = f"{'list':<12}{'speakers':>10}{'utterances':>12}{'hours':>10}   seconds: min / 5 % / median / 95 % / max"
    lines = [heading]
    for name, row in statistics.items():
        seconds = " / ".join(f"{value:.2f}" for value in row.percentiles_s)
        lines.append(f"{name:<12}{row.speakers:>10,}{row.utterances:>12,}{row.hours:>10.2f}   {seconds}")
    return "\n".join(lines)


def _statistics(utterances: Sequence[Utterance], duration_s: Mapping[str, float | None]) -> ListStatistics:
    seconds, unreadable = [], []
    for utterance in utterances:
        whole = duration_s[utterance.path]
        if whole is None:
            unreadable.append(utterance.path)
            continue
        end_s = whole if utterance.end_s is None else min(utterance.end_s, whole)
        seconds.append(max(0.0, end_s - (utterance.start_s or 0.0)))
    percentiles = np.percentile(seconds, PERCENTILES) if seconds else np.zeros(len(PERCENTILES))
    return ListStatistics(
        speakers=len({utterance.speaker for utterance in utterances}),
        utterances=len(utterances),
        hours=sum(seconds) / 3600,
        percentiles_s=tuple(float(value) for value in percentiles),
        unreadable=tuple(unreadable),
    )


def _seconds(path: str) -> float | None:
    try:
        return audio_info(path).duration_s
    except AudioError:
        return None
