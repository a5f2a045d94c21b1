"""Computing the features of a list ahead, into packed features (see `mvector.data.packed_features`).

The recordings' headers say how many frames there will be, so that each utterance has its place in the one file before
the first is computed. Processes write blocks of utterances into it; a block that is done is noted in a journal, and
a run that was killed goes on with the others.
"""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from tqdm import tqdm

import mvector
from mvector.audio import audio_info, load_audio, normalize_level
from mvector.config import Config
from mvector.data.lists import Utterance, list_digest
from mvector.data.packed_features import COLUMNS, FORMAT, INDEX, MATRIX, META, feature_recipe, frame_counter
from mvector.errors import AudioError, DataListError, MVectorError
from mvector.features import AudioFeaturizer

JOB, JOURNAL = "job.json", "done.jsonl"
BLOCK = 64  # utterances whose features a kill can cost, for each process
DTYPES = ("float16", "float32")


@dataclass(frozen=True)
class Extracted:
    """What is in the folder now: `rows` utterances, `failed` of them without features, `frames` in all."""

    rows: int
    failed: int
    frames: int
    first_failure: str = ""


@dataclass(frozen=True)
class _Block:
    """Some utterances of the list, with the place of each: its first frame and how many are reserved for it."""

    number: int
    utterances: Sequence[Utterance]
    places: Sequence[tuple[int, int]]


def extract_features(
    config: Config,
    utterances: Sequence[Utterance],
    folder: str | Path,
    dtype: str = "float16",
    num_workers: int = 1,
) -> Extracted:
    """Compute the features of `utterances` into `folder`, going on where an earlier call was cut off.

    Raises DataListError where `folder` belongs to another list, recipe or type, or nothing can be computed.
    """
    folder = Path(folder)
    featurizer = build_featurizer(config)
    job = {"recipe": feature_recipe(config), "dtype": dtype, "list_digest": list_digest(utterances)}
    try:
        finished = _claim(folder, job)
        if finished is not None:
            return finished
        places = _places(folder, job, config, utterances, featurizer)
        blocks = [
            _Block(number, utterances[start : start + BLOCK], places[start : start + BLOCK])
            for number, start in enumerate(range(0, len(utterances), BLOCK))
        ]
        done = _read_journal(folder / JOURNAL)
        with (
            tqdm(desc="features", total=len(utterances), unit="utt", disable=None) as bar,
            open(folder / JOURNAL, "a", encoding="utf-8", newline="\n") as journal,
        ):
            bar.update(sum(len(blocks[number].utterances) for number in done))
            todo = [block for block in blocks if block.number not in done]
            for number, outcome in _compute(todo, config, folder, dtype, num_workers):
                done[number] = outcome
                _note(journal, number, outcome)
                bar.update(len(outcome))
        outcomes = [outcome for number in range(len(blocks)) for outcome in done[number]]
        return _finish(folder, job, utterances, places, outcomes, featurizer.feature_size)
    except OSError as error:
        raise MVectorError(f"{folder}: the features cannot be written ({error.strerror or error}).") from error


def build_featurizer(config: Config) -> AudioFeaturizer:
    """The configuration's feature, before its mean is subtracted."""
    preprocess = config.preprocess_conf
    return AudioFeaturizer(
        feature_method=preprocess.feature_method,
        method_args=preprocess.method_args,
        waveform_scale=preprocess.waveform_scale,
        mean_norm=False,
        backend=preprocess.backend,
        use_hf_model=preprocess.use_hf_model,
    ).eval()


def _claim(folder: Path, job: dict[str, Any]) -> Extracted | None:
    """Make the folder this job's own; what is in it where that is finished."""
    for name in (META, JOB):
        if (folder / name).is_file():
            earlier = json.loads((folder / name).read_text(encoding="utf-8"))
            for key, what in (("recipe", "recipe"), ("list_digest", "list"), ("dtype", "type of numbers")):
                if earlier.get(key) != json.loads(json.dumps(job[key])):
                    raise DataListError(
                        f"{folder} holds features of another {what}: give another --output, or delete that folder."
                    )
            if name == META:
                return Extracted(*(earlier[key] for key in ("rows", "failed", "frames", "first_failure")))
            return None
    # A half-written job is all that a run leaves that was killed inside its first lines.
    if folder.exists() and (folder.is_file() or any(not entry.name.endswith(".part") for entry in folder.iterdir())):
        raise DataListError(f"{folder} exists and holds no features: give another --output.")
    folder.mkdir(parents=True, exist_ok=True)
    return None


def _places(
    folder: Path, job: dict[str, Any], config: Config, utterances: Sequence[Utterance], featurizer: AudioFeaturizer
) -> list[tuple[int, int]]:
    """First frame and number of frames reserved for each utterance; the file is made for them the first time."""
    job_file = folder / JOB
    count = frame_counter(featurizer)
    if job_file.is_file():
        reserved = np.array(json.loads(job_file.read_text(encoding="utf-8"))["reserved"], dtype=np.int64)
    else:
        rate = config.dataset_conf.dataset.sample_rate
        seconds = tqdm(map(_seconds, utterances), "reading lengths", len(utterances), disable=None, leave=False)
        samples = np.array([round(one * rate) for one in seconds], dtype=np.int64)
        usable = samples >= featurizer.min_samples
        counts = count(torch.from_numpy(np.maximum(samples, featurizer.min_samples))).numpy()
        reserved = np.where(usable, counts, 0)
        _require_room(folder, int(reserved.sum()), featurizer.feature_size, job["dtype"])
        _write(job_file, json.dumps({**job, "reserved": reserved.tolist()}) + "\n")
    if not (folder / MATRIX).is_file():
        _make_matrix(folder, int(reserved.sum()), featurizer.feature_size, job["dtype"])
    first = np.cumsum(reserved) - reserved
    return list(zip(first.tolist(), reserved.tolist(), strict=True))


def _require_room(folder: Path, frames: int, size: int, dtype: str) -> None:
    needed = frames * size * np.dtype(dtype).itemsize
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise MVectorError(
            f"{folder}: {frames:,} frames of {size} numbers need {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are "
            "free there: give another --output, or --dtype float16."
        )


def _make_matrix(folder: Path, frames: int, size: int, dtype: str) -> None:
    """The file of all frames, of zeros, that file systems keep as a hole until they are written."""
    part = folder / f"{MATRIX}.part"
    with open(part, "wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False}
        np.lib.format.write_array_header_1_0(file, header | {"shape": (frames, size)})
        file.truncate(file.tell() + frames * size * np.dtype(dtype).itemsize)
    os.replace(part, folder / MATRIX)


def _compute(
    blocks: Sequence[_Block], config: Config, folder: Path, dtype: str, num_workers: int
) -> Iterator[tuple[int, list[tuple[int, str]]]]:
    """(number, outcomes) of each block as it is done."""
    if num_workers <= 1 or len(blocks) <= 1:
        _start(config, folder, dtype)
        yield from map(_compute_block, blocks)
        return
    # Spawned: the only way there is on Windows, and torch's threads survive no fork.
    with ProcessPoolExecutor(num_workers, get_context("spawn"), _start, (config, folder, dtype)) as pool:
        futures: list[Future[tuple[int, list[tuple[int, str]]]]] = [pool.submit(_compute_block, one) for one in blocks]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise MVectorError(
                "computing features: a worker process was killed, perhaps for want of memory; run the same command "
                "again with fewer --num_workers, it goes on."
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_worker: dict[str, Any] = {}  # what a process keeps from block to block


def _start(config: Config, folder: Path, dtype: str) -> None:
    torch.set_num_threads(1)
    _worker.update(config=config, folder=folder, dtype=np.dtype(dtype), featurizer=build_featurizer(config))


def _compute_block(block: _Block) -> tuple[int, list[tuple[int, str]]]:
    """Write the features of a block; for each utterance its frames, or 0 and why there are none."""
    outcomes = []
    with open(_worker["folder"] / MATRIX, "r+b") as file:
        version = np.lib.format.read_magic(file)
        assert version == (1, 0)
        np.lib.format.read_array_header_1_0(file)
        start = file.tell()
        for utterance, (first, reserved) in zip(block.utterances, block.places, strict=True):
            try:
                features = _features(utterance)[:reserved]  # decoding may give a frame more than the header promised
            except AudioError as error:
                outcomes.append((0, " ".join(str(error).split())))
                continue
            file.seek(start + first * features.shape[1] * features.itemsize)
            file.write(features.tobytes())
            outcomes.append((len(features), "") if len(features) else (0, f"{utterance.path}: its length is unknown"))
    return block.number, outcomes


def _features(utterance: Utterance) -> np.ndarray:
    """Features [F, D] of one utterance in the type of the file. Raises AudioError."""
    config: Config = _worker["config"]
    data = config.dataset_conf.dataset
    waveform = load_audio(utterance.path, data.sample_rate, utterance.start_s, utterance.end_s, warnings=[])
    if not np.any(waveform):
        raise AudioError(f"{utterance.path} is silent (all zero).")
    if data.use_dB_normalization:
        waveform = normalize_level(waveform, data.target_dB)
    with torch.inference_mode():
        features = _worker["featurizer"](torch.from_numpy(waveform)[None])[0][0].numpy()
    with np.errstate(over="ignore"):
        stored = features.astype(_worker["dtype"])
    if not np.isfinite(stored).all():
        raise MVectorError(
            f"{utterance.path}: its features reach {np.abs(features).max():.3g}, which {_worker['dtype']} does not "
            "hold: give --dtype float32 and another --output."
        )
    return stored


def _finish(
    folder: Path,
    job: dict[str, Any],
    utterances: Sequence[Utterance],
    places: Sequence[tuple[int, int]],
    outcomes: Sequence[tuple[int, str]],
    size: int,
) -> Extracted:
    failures = [reason for _, reason in outcomes if reason]
    if len(failures) == len(utterances):
        shutil.rmtree(folder)  # so that they are tried again
        raise DataListError(f"not one of {len(failures)} recordings gives features; the last: {failures[-1]}")
    lines = ["\t".join(COLUMNS)]
    for utterance, (first, _), (frames, reason) in zip(utterances, places, outcomes, strict=True):
        seconds = ["" if second is None else repr(float(second)) for second in (utterance.start_s, utterance.end_s)]
        columns = (utterance.path, utterance.speaker, *seconds, str(first), str(frames), reason)
        if any("\t" in text or "\n" in text for text in columns[:2]):
            raise DataListError(f"{utterance.path!r}: a path or speaker with a tab or a line's end cannot be packed.")
        lines.append("\t".join(columns))
    _write(folder / INDEX, "\n".join(lines) + "\n")
    frames = sum(reserved for _, reserved in places)
    result = Extracted(len(utterances), len(failures), frames, failures[0] if failures else "")
    meta = {"format": FORMAT, "mvector": mvector.__version__, **vars(result), "dimension": size, **job}
    _write(folder / META, json.dumps(meta, indent=2) + "\n")
    for name in (JOB, JOURNAL):
        (folder / name).unlink(missing_ok=True)
    return result


def _note(journal: IO[str], number: int, outcomes: Sequence[tuple[int, str]]) -> None:
    journal.write(json.dumps([number, outcomes]) + "\n")
    journal.flush()


def _read_journal(path: Path) -> dict[int, list[tuple[int, str]]]:
    """The blocks that are done. A line that a kill has cut off counts for nothing, and is removed."""
    if not path.is_file():
        return {}
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        _write(path, whole.decode("utf-8"))
    return {
        number: [tuple(outcome) for outcome in outcomes] for number, outcomes in map(json.loads, whole.splitlines())
    }


def _write(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8", errors="surrogateescape", newline="\n")
    os.replace(part, path)


def _seconds(utterance: Utterance) -> float:
    """How long an utterance lasts by the header of its recording; 0 where that cannot be read."""
    try:
        end_s = audio_info(utterance.path).duration_s
    except AudioError:
        return 0.0
    if utterance.end_s is not None:
        end_s = min(end_s, utterance.end_s)
    return max(0.0, end_s - (utterance.start_s or 0.0))
