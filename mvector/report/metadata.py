"""What is known of each recording besides its voice: columns of a metadata file, and measured durations and noise.

The file is CSV or TSV (a tab in its first line makes it TSV), UTF-8, with a header. Its first column is `path` (as the
lists have it) or `speaker`; each other column becomes a condition:

    speaker<TAB>gender<TAB>age
    id10270<TAB>f<TAB>34

A column of numbers with more than MOST_VALUES_OF_A_CODE different values is cut at its quartiles, `duration` (seconds)
and `snr` (decibels) at fixed edges; any other column is taken by value. An empty field means unknown.
"""

import csv
import logging
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mvector.data.lists import Utterance, read_lines
from mvector.errors import DataListError, MVectorError

logger = logging.getLogger("mvector")

# A column of few different numbers holds codes (1 = phone, 2 = studio) and not amounts.
MOST_VALUES_OF_A_CODE = 8
DURATION_EDGES_S = (2.0, 4.0, 8.0)
SNR_EDGES_DB = (5.0, 15.0, 25.0)


@dataclass(frozen=True)
class Column:
    """One condition: a value for each of the U recordings of the trials.

    Amounts are `numbers` [U] (NaN: unknown), cut at the rising `edges`; else `texts` holds U values ('': unknown).
    `by_worse_side`: a trial counts with the lower of its two sides (a short recording is short whatever the other is);
    otherwise with its pair of values.
    """

    name: str
    numbers: NDArray[np.float64] | None = None
    edges: tuple[float, ...] = ()
    unit: str = ""
    texts: tuple[str, ...] = ()
    by_worse_side: bool = False


def duration_column(durations_s: ArrayLike) -> Column:
    """Seconds of speech of each recording [U], cut at 2, 4 and 8 s."""
    return Column("duration", _amounts(durations_s), DURATION_EDGES_S, "s", by_worse_side=True)


def snr_column(snr_db: ArrayLike) -> Column:
    """Signal-to-noise ratio of each recording [U] in decibels, cut at 5, 15 and 25 dB."""
    return Column("snr", _amounts(snr_db), SNR_EDGES_DB, "dB", by_worse_side=True)


def read_metadata(
    path: str | Path, utterances: Sequence[Utterance], data_root: str | Path | None = None
) -> list[Column]:
    """The columns of a metadata file for `utterances` [U] (`Trials.utterances`), in the file's order.

    Rows of other recordings or speakers are passed over. Raises DataListError with file and line.
    """
    rows = read_lines(path)
    number, line = next(rows, (0, ""))
    if not number:
        raise DataListError(f"{path}: the metadata file is empty; expected a header such as 'path,gender,age'.")
    delimiter = "\t" if "\t" in line else ","
    names = _fields(line, delimiter)
    if names[0].lower() not in ("path", "speaker") or len(names) < 2:
        raise DataListError(
            f"{path}:{number}: expected a header that begins with 'path' or 'speaker' and names at least one more "
            f"column, separated by commas or tabs, found {line!r}."
        )
    repeated = {name for name in names if names.count(name) > 1} | ({""} & set(names))
    if repeated:
        raise DataListError(f"{path}:{number}: each column needs a name of its own, found {names}.")
    known: dict[str, tuple[int, list[str]]] = {}
    for number, line in rows:
        fields = _fields(line, delimiter)
        if len(fields) != len(names):
            raise DataListError(
                f"{path}:{number}: expected {len(names)} columns ({', '.join(names)}), found {len(fields)}: {line!r}."
            )
        first, values = known.setdefault(fields[0], (number, fields[1:]))
        if values != fields[1:]:
            raise DataListError(
                f"{path}:{number}: {fields[0]!r} stands in line {first} with other values; keep one of the two lines."
            )
    by_path = names[0].lower() == "path"
    found = _by_path(known, utterances, path, data_root) if by_path else _by_speaker(known, utterances)
    if not any(key is not None for key in found):
        example = next((u.path if by_path else u.speaker or u.path for u in utterances), "")
        raise DataListError(
            f"{path}: not one of its {len(known)} rows belongs to a recording of the trials; the trials have "
            f"{example!r}, for example. Write the first column as the lists do."
        )
    unknown = found.count(None)
    if unknown:
        logger.warning("%s: nothing is said of %d of %d recordings", path, unknown, len(found))
    return [
        _column(name, [known[key][1][index] if key is not None else "" for key in found])
        for index, name in enumerate(names[1:])
    ]


def _fields(line: str, delimiter: str) -> list[str]:
    # Quotation marks group a field of CSV; in TSV, as in the lists, they are letters of a name.
    fields = next(csv.reader([line])) if delimiter == "," else line.split("\t")
    return [field.strip() for field in fields]


def _by_path(
    known: dict[str, tuple[int, list[str]]],
    utterances: Sequence[Utterance],
    path: str | Path,
    data_root: str | Path | None,
) -> list[str | None]:
    """The row of each recording: its path as written, or under data_root, or in the file's folder."""
    folders = ("", str(data_root) if data_root else "", str(Path(path).parent))
    places = {os.path.normpath(os.path.join(folder, key)): key for folder in reversed(folders) for key in known}
    return [places.get(os.path.normpath(utterance.path)) for utterance in utterances]


def _by_speaker(known: dict[str, tuple[int, list[str]]], utterances: Sequence[Utterance]) -> list[str | None]:
    """The row of each recording's speaker. A trial list names none: then a folder of the path may be the speaker."""
    found: list[str | None] = []
    for utterance in utterances:
        names = (utterance.speaker,) if utterance.speaker else reversed(PurePath(utterance.path).parts[:-1])
        found.append(next((name for name in names if name in known), None))
    return found


def _column(name: str, values: list[str]) -> Column:
    amounts: list[float] | None
    try:
        amounts = [float(value) if value else math.nan for value in values]
    except ValueError:
        amounts = None
    if amounts is not None and not any(math.isinf(amount) for amount in amounts):
        if name.lower() in ("duration", "duration_s"):
            return duration_column(amounts)
        if name.lower() in ("snr", "snr_db"):
            return snr_column(amounts)
        numbers = np.array(amounts)
        given = numbers[~np.isnan(numbers)]
        if len(np.unique(given)) > MOST_VALUES_OF_A_CODE:
            edges = np.unique(np.quantile(given, [0.25, 0.5, 0.75]))
            return Column(name, numbers, tuple(edges.tolist()))
    return Column(name, texts=tuple(values))


def _amounts(values: ArrayLike) -> NDArray[np.float64]:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or np.isinf(numbers).any():
        raise MVectorError(
            "durations and signal-to-noise ratios must be finite numbers (NaN: unknown), one for each recording."
        )
    return numbers
