"""Embeddings on disk: a folder with a matrix that is memory-mapped, an index as text, and what both belong to.

    embeddings.npy   [U, E] float32, NumPy's own format; a row of NaN where an utterance could not be embedded
    index.tsv        a heading and U lines: path, speaker, start_s, end_s, duration_s, snr_db, magnitude, failed
    meta.json        rows, dimension, model fingerprint, cut; written last, so that a folder with it is whole

Nothing in it is pickled. Numbers of the index are read back to the same float32; an empty one is None or NaN.
"""

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mvector
from mvector.data.lists import Utterance
from mvector.embeddings import Embeddings
from mvector.errors import DataListError, MVectorError

MATRIX, INDEX, META = "embeddings.npy", "index.tsv", "meta.json"
FORMAT = "mvector embeddings 1"
COLUMNS = ("path", "speaker", "start_s", "end_s", "duration_s", "snr_db", "magnitude", "failed")


def save_embeddings(folder: str | Path, embeddings: Embeddings) -> None:
    """Write packed embeddings to `folder`, in the place of those that it may hold already."""
    rows, size = embeddings.embeddings.shape
    pack(
        Path(folder), [embeddings], rows, size,
        {"model_fingerprint": embeddings.model_fingerprint, "max_duration_s": embeddings.max_duration_s},
    )  # fmt: skip


def load_embeddings(folder: str | Path) -> Embeddings:
    """The packed embeddings in `folder`; the matrix stays on the disk until its rows are read.

    Raises DataListError for a folder that is none, that is not finished, or that is damaged.
    """
    folder = Path(folder)
    meta = read_meta(folder)
    if meta is None:
        unfinished = (folder / "shards").is_dir()
        raise DataListError(
            f"{folder}: the extraction of these embeddings is not finished; run the same command again to go on."
            if unfinished
            else f"{folder} holds no packed embeddings (no {META}). Make them: python tools/extract_embeddings.py "
            f"--model_path DIR --list LIST --output {folder}"
        )
    try:
        matrix = np.load(folder / MATRIX, mmap_mode="r", allow_pickle=False)
        utterances, (duration_s, snr_db, magnitude), reasons = _read_index(folder / INDEX)
    except (OSError, ValueError) as error:
        raise DataListError(
            f"{folder}: the packed embeddings are damaged ({error}): delete the folder and extract them again."
        ) from error
    rows, size = meta.get("rows"), meta.get("dimension")
    if matrix.shape != (rows, size) or len(utterances) != rows or matrix.dtype != np.float32:
        raise DataListError(
            f"{folder}: {META} speaks of {rows} rows of {size}, {MATRIX} has {matrix.shape} and {INDEX} "
            f"{len(utterances)}: delete the folder and extract the embeddings again."
        )
    return Embeddings(
        matrix,
        utterances,
        duration_s,
        snr_db,
        magnitude,
        reasons,
        meta.get("model_fingerprint", ""),
        meta.get("max_duration_s"),
    )


def read_meta(folder: Path) -> dict[str, Any] | None:
    """What meta.json says; None where there is none, so that the folder is not finished or no such folder."""
    file = folder / META
    try:
        meta = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise DataListError(f"{file} cannot be read ({error}).") from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise DataListError(f"{file} does not describe packed embeddings of this version ('format': '{FORMAT}').")
    return meta


def pack(folder: Path, parts: Iterable[Embeddings], rows: int, size: int, about: Mapping[str, Any]) -> None:
    """Write `parts` one after the other, `rows` rows of `size` numbers in all; `about` goes into meta.json.

    Only one part is in memory. Killed at any moment, the folder holds what it held before, or is not finished.
    """
    failed, first_failure = 0, ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / META).unlink(missing_ok=True)
        matrix, index = folder / f"{MATRIX}.part", folder / f"{INDEX}.part"
        with (
            open(matrix, "wb") as numbers,
            open(index, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as lines,
        ):
            header = {"descr": "<f4", "fortran_order": False, "shape": (rows, size)}
            np.lib.format.write_array_header_1_0(numbers, header)
            lines.write("\t".join(COLUMNS) + "\n")
            for part in parts:
                numbers.write(np.ascontiguousarray(part.embeddings, dtype="<f4").tobytes())
                lines.writelines(_index_lines(part))
                failed += len(part.reasons)
                if part.reasons and not first_failure:
                    first_failure = "{}: {}".format(*part.failed[0])
        os.replace(matrix, folder / MATRIX)
        os.replace(index, folder / INDEX)
        meta = {
            "format": FORMAT,
            "mvector": mvector.__version__,
            "rows": rows,
            "dimension": size,
            "failed": failed,
            "first_failure": first_failure,
            **about,
        }
        description = folder / f"{META}.part"
        description.write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8", newline="\n")
        os.replace(description, folder / META)
    except OSError as error:
        raise MVectorError(f"{folder}: the embeddings cannot be written ({error.strerror}).") from error


def _index_lines(part: Embeddings) -> Iterator[str]:
    for row, utterance in enumerate(part.utterances):
        columns = (
            utterance.path,
            utterance.speaker,
            "" if utterance.start_s is None else repr(float(utterance.start_s)),
            "" if utterance.end_s is None else repr(float(utterance.end_s)),
            *(_number(column[row]) for column in (part.duration_s, part.snr_db, part.magnitude)),
            " ".join(part.reasons.get(row, "").split()),
        )
        if any("\t" in text or "\n" in text for text in columns[:2]):
            raise DataListError(f"{utterance.path!r}: a path or speaker with a tab or a line's end cannot be packed.")
        yield "\t".join(columns) + "\n"


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.9g}"


def _read_index(path: Path) -> tuple[list[Utterance], NDArray[np.float32], dict[int, str]]:
    """Utterances, quality [3, U] and reasons; raises ValueError for a file that is not as `_index_lines` writes it."""
    utterances: list[Utterance] = []
    quality: list[tuple[str, str, str]] = []
    reasons: dict[int, str] = {}
    speakers: dict[str, str] = {}  # one string object per speaker, not one per line
    with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
        if tuple(next(lines, "").rstrip("\n").split("\t")) != COLUMNS:
            raise ValueError(f"the heading of {path.name} is not {' '.join(COLUMNS)}")
        for row, line in enumerate(lines):
            name, speaker, start, end, duration, snr, magnitude, failed = line[:-1].split("\t")
            start_s, end_s = float(start) if start else None, float(end) if end else None
            utterances.append(Utterance(name, speakers.setdefault(speaker, speaker), start_s, end_s))
            quality.append((duration or "nan", snr or "nan", magnitude or "nan"))
            if failed:
                reasons[row] = failed
    return utterances, np.array(quality, dtype=np.float32).reshape(-1, 3).T.copy(), reasons
