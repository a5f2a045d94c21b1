"""The score file: `enroll test score target|nontarget` per trial, UTF-8, as the trial list names the two sides.

Columns are separated by spaces, or by tabs where a name holds white space; scores have six decimals. The lines are put
together as columns of bytes, some ten thousand at a time: one by one they would take longer to write than to score.
"""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mvector.errors import MVectorError
from mvector.metrics.score_tiles import THREADS
from mvector.scoring.trial_scores import TrialScores

BLOCK_BYTES = 1 << 20
MILLION = 1_000_000

Bytes = NDArray[np.uint8]


class NamedTrials(Protocol):
    """What is read of a `mvector.data.trials.Trials` (see there)."""

    @property
    def utterances(self) -> Sequence[Any]: ...
    @property
    def enroll_rows(self) -> Sequence[tuple[int, ...]]: ...
    @property
    def test_rows(self) -> NDArray[Any]: ...
    @property
    def enroll_names(self) -> list[str] | None: ...
    @property
    def test_names(self) -> list[str] | None: ...


def write_scores(path: str | Path, scored: TrialScores, trials: NamedTrials) -> int:
    """Write the score file of single (not counted) scores; returns the number of lines. It appears when complete."""
    if scored.enroll is None or scored.test is None:
        raise MVectorError(
            f"{path}: so many trials were counted in bins of scores, not kept one by one; a score file needs a trial "
            "list or fewer recordings."
        )
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(partial, "wb") as file:
                for block in _blocks(scored, trials):
                    file.write(block.data)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise MVectorError(f"{path}: the score file cannot be written ({error.strerror}).") from error
    return len(scored.scores)


def _blocks(scored: TrialScores, trials: NamedTrials) -> Iterator[Bytes]:
    """The text in blocks, in order; a few are made at a time."""
    enroll_names, test_names = _names(trials)
    separator = "\t" if any(len(name.split()) != 1 for name in (*enroll_names, *test_names)) else " "
    enroll_table, test_table = (_table([n + separator for n in names]) for names in (enroll_names, test_names))
    label_table = _table([f"{separator}nontarget\n", f"{separator}target\n"])
    size = max(1, BLOCK_BYTES // (enroll_table.shape[1] + test_table.shape[1] + 32))
    scores, enroll, test, labels = scored.scores, scored.enroll, scored.test, scored.labels
    assert enroll is not None
    assert test is not None

    def block(start: int) -> Bytes:
        part = slice(start, start + size)
        names = enroll_table.take(enroll[part], axis=0), test_table.take(test[part], axis=0)
        label = label_table.take(labels[part].view(np.uint8), axis=0)
        text = np.concatenate([*names, _decimals(scores[part]), label], axis=1)
        return text[text != 0]

    ahead: deque[Future[Bytes]] = deque()  # while one block is written to disk, the next ones are made
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(scores), size):
            ahead.append(pool.submit(block, start))
            if len(ahead) > 2 * THREADS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _names(trials: NamedTrials) -> tuple[list[str], list[str]]:
    paths = [_path(utterance) for utterance in trials.utterances]
    enroll = trials.enroll_names or [",".join(paths[row] for row in rows) for rows in trials.enroll_rows]
    return enroll, trials.test_names or [paths[row] for row in trials.test_rows.tolist()]


def _path(utterance: Any) -> str:
    path = utterance.path.replace(os.sep, "/")
    if utterance.start_s is None and utterance.end_s is None:
        return path
    return f"{path}#{utterance.start_s or 0:g}-{'' if utterance.end_s is None else format(utterance.end_s, 'g')}"


def _table(texts: Sequence[str]) -> Bytes:
    """[N, longest]: the texts in UTF-8, each followed by zeros."""
    encoded = np.array([text.encode("utf-8", errors="replace") for text in texts])
    return encoded.view(np.uint8).reshape(len(encoded), -1)


def _decimals(scores: NDArray[np.floating]) -> Bytes:
    """[n, width]: the scores as text; a zero byte stands where another score has a sign or a further digit."""
    millionths = np.rint(np.abs(scores).astype(np.float64) * MILLION).astype(np.int64)
    if millionths.max(initial=0) < 2**31:
        millionths = millionths.astype(np.int32)  # whose divisions take a third of the time
    whole, fraction = np.divmod(millionths, MILLION)
    digits = len(str(whole.max(initial=0)))
    text = np.empty((len(scores), 1 + digits + 1 + 6), dtype=np.uint8)
    text[:, 0] = np.where((scores < 0) & (millionths > 0), ord("-"), 0)
    for place in range(digits):
        power = 10 ** (digits - 1 - place)
        text[:, 1 + place] = np.where((whole >= power) | (power == 1), ord("0") + whole // power % 10, 0)
    text[:, 1 + digits] = ord(".")
    thousands, rest = np.divmod(fraction, 1000)
    text[:, 2 + digits : 5 + digits] = TRIPLES.take(thousands, axis=0)
    text[:, 5 + digits :] = TRIPLES.take(rest, axis=0)
    return text


TRIPLES = _table([f"{number:03d}" for number in range(1000)])
