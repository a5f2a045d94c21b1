"""Who of N enrolled people spoke: the store's exact search and its inverted lists, against scikit-learn's cosine scan.

    python benchmarks/identification.py [--people 1000 100000 1000000] [--queries 200] [--embeddings FOLDER]
                                        [--folder FOLDER]

The scan is what the mvector package does for a recording: normalise it, `cosine_similarity` with the matrix of
everybody, the largest. Each side is a process of its own and answers the same queries one by one, ours through
`VoiceStore.search` on an SQLite store; after a first one, which loads the store, the median, the 95th percentile and
the memory of the process are printed. Sides take turns in `--rounds` rounds. Needs scikit-learn; Unix only.

People: with --embeddings (packed ones of tools/extract_embeddings.py, of people with several recordings each) they are
the real embeddings, and as many perturbed copies as it takes: a copy is a real embedding plus a draw from the normal
distribution of the covariance within speakers that was measured on them. Without it they are synthetic: a random centre
in place of a real embedding. A query is another such draw around one person. `nearest` is how often a search finds the
person whom comparing with everybody in float64 finds nearest, `two` how many of the nearest two it finds (half of them
where a search gives one): the second one of synthetic people is nobody in particular, and lists around centres find
such people less surely: they lie around nothing.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SIZE = 192
CENTRE_DEVIATION, WITHIN_DEVIATION = 1.0, 0.8  # synthetic: two recordings of a speaker have a cosine of about 0.6
FINGERPRINT = "0" * 32
BATCH = 10_000
TOP_K = 2


def load_real(folder: str) -> tuple[np.ndarray, np.ndarray]:
    """Unit-length embeddings [U, E] and the Cholesky factor [E, E] of the covariance within speakers."""
    from mvector.packed_embeddings import load_embeddings

    packed = load_embeddings(folder)
    matrix = np.asarray(packed.embeddings, np.float64)
    speakers = np.array([utterance.speaker or "" for utterance in packed.utterances])
    usable = np.isfinite(matrix).all(axis=1) & (speakers != "")
    matrix, speakers = matrix[usable], speakers[usable]
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    _, ids, counts = np.unique(speakers, return_inverse=True, return_counts=True)
    means = np.zeros((len(counts), matrix.shape[1]))
    np.add.at(means, ids, matrix)
    deviations = matrix - (means / counts[:, None])[ids]
    covariance = deviations.T @ deviations / (counts[counts > 1] - 1).sum()
    deviation = np.trace(covariance) ** 0.5
    print(f"{len(matrix):,} embeddings of {len(counts):,} people; deviation within speakers {deviation:.3f}")
    return matrix, np.linalg.cholesky(covariance + 1e-9 * np.eye(len(covariance)))


def make_people(folder: Path, count: int, queries: int, real: tuple[np.ndarray, np.ndarray] | None) -> None:
    """people.npy [N, E], queries.npy [Q, E], and nearest.npy [Q, 2]: rows of the nearest by float64."""
    rng = np.random.default_rng(0)
    size = SIZE if real is None else real[0].shape[1]
    within = WITHIN_DEVIATION * np.eye(size) if real is None else real[1]
    people = np.lib.format.open_memmap(folder / "people.npy", "w+", np.float32, (count, size))
    asked = np.sort(rng.choice(count, queries, replace=count < queries))
    spoken = np.empty((queries, size))
    for start in range(0, count, BATCH):
        rows = np.arange(start, min(count, start + BATCH))
        if real is None:
            x = CENTRE_DEVIATION * rng.standard_normal((len(rows), size))
        else:
            x = real[0][rows % len(real[0])]
            copies = rows >= len(real[0])
            x[copies] += rng.standard_normal((int(copies.sum()), size)) @ within.T
        chosen = (asked >= start) & (asked < start + BATCH)
        spoken[chosen] = x[asked[chosen] - start] + rng.standard_normal((int(chosen.sum()), size)) @ within.T
        people[rows] = x / np.linalg.norm(x, axis=1, keepdims=True)
    spoken = (spoken / np.linalg.norm(spoken, axis=1, keepdims=True)).astype(np.float32)
    np.save(folder / "queries.npy", spoken)
    best = np.full((queries, TOP_K), -np.inf)
    nearest = np.zeros((queries, TOP_K), np.int64)
    for start in range(0, count, BATCH):
        scores = spoken.astype(np.float64) @ people[start : start + BATCH].astype(np.float64).T
        values = np.concatenate([best, scores], axis=1)
        rows = np.concatenate([nearest, np.tile(np.arange(start, start + scores.shape[1]), (queries, 1))], axis=1)
        order = np.argsort(-values, axis=1)[:, :TOP_K]
        best, nearest = np.take_along_axis(values, order, 1), np.take_along_axis(rows, order, 1)
    np.save(folder / "nearest.npy", nearest)


def fill_store(folder: Path) -> float:
    """Enroll everybody of people.npy, in transactions of many; returns the seconds it took."""
    from mvector.store import open_store

    people, started = np.load(folder / "people.npy", mmap_mode="r"), time.perf_counter()
    with open_store(folder / "db", FINGERPRINT, people.shape[1]) as store:
        for start in range(0, len(people), BATCH):
            with store.transaction(write=True) as cursor:
                for row, embedding in enumerate(people[start : start + BATCH], start):
                    person_id, _ = store.insert(cursor, f"p{row:07d}", store.check_embedding(embedding), {}, None, 0.0)
                    store.renew_mean(cursor, person_id)
    return time.perf_counter() - started


def scan(folder: Path) -> Callable[[np.ndarray], list[int]]:
    """The predecessor's way, which looks for one person."""
    from sklearn.metrics.pairwise import cosine_similarity

    people = np.load(folder / "people.npy")

    def search(query: np.ndarray) -> list[int]:
        query = query[None] / np.linalg.norm(query[None], axis=1, keepdims=True)
        similarities = cosine_similarity(query, people)[0]
        return [int(np.argmax(similarities))]

    return search


def ours(folder: Path, index: str) -> Callable[[np.ndarray], list[int]]:
    from mvector.store import open_store

    size = np.load(folder / "people.npy", mmap_mode="r").shape[1]
    store = open_store(folder / "db", FINGERPRINT, size, index=index)
    return lambda query: [int(match.name[1:]) for match in store.search(query, TOP_K)]


SIDES: dict[str, Callable[[Path], Callable[[np.ndarray], list[int]]]] = {
    "scikit-learn": scan,
    "exact": lambda folder: ours(folder, "exact"),
    "ivf": lambda folder: ours(folder, "ivf"),
}


def child(side: str, folder: Path) -> None:
    queries, nearest = np.load(folder / "queries.npy"), np.load(folder / "nearest.npy")
    started = time.perf_counter()
    search = SIDES[side](folder)
    search(queries[0])
    first_s = time.perf_counter() - started
    for query in queries[:3]:
        search(query)
    seconds, first, found = [], 0, 0
    for query, expected in zip(queries, nearest, strict=True):
        started = time.perf_counter()
        rows = search(query)
        seconds.append(time.perf_counter() - started)
        first += rows[0] == expected[0]
        found += len(set(rows) & set(expected.tolist()))
    unit = 2**20 if sys.platform == "darwin" else 2**10
    answer = {
        "median_ms": 1e3 * statistics.median(seconds),
        "p95_ms": 1e3 * float(np.percentile(seconds, 95)),
        "first_s": first_s,
        "nearest": first / len(queries),
        "two": found / (TOP_K * len(queries)),
        "resident_mib": resident_mib(),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit,
    }
    print(json.dumps(answer))


def resident_mib() -> float:
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        return float("nan")


def run_sides(folder: Path, rounds: int) -> dict[str, dict[str, Any]]:
    """The medians over the rounds; of the memory the largest."""
    runs: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side in SIDES:
            output = subprocess.run(
                [sys.executable, __file__, "--child", side, "--folder", str(folder)], capture_output=True, text=True
            )
            if output.returncode:
                raise SystemExit(f"{side}: {output.stderr.strip().splitlines()[-1]}")
            runs[side].append(json.loads(output.stdout.splitlines()[-1]))
    return {
        side: {key: (max if key.endswith("mib") else statistics.median)(run[key] for run in each) for key in each[0]}
        for side, each in runs.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, nargs="+", default=[1_000, 100_000, 1_000_000])
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--embeddings", default=None, help="packed embeddings; synthetic people without")
    parser.add_argument("--folder", default=None, help="where to put people and stores (default: a temporary folder)")
    parser.add_argument("--child", default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is not None:
        child(arguments.child, Path(arguments.folder))
        return
    real = None if arguments.embeddings is None else load_real(arguments.embeddings)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        for count in arguments.people:
            folder = Path(temporary) / str(count)
            folder.mkdir()
            make_people(folder, count, arguments.queries, real)
            filled_s = fill_store(folder)
            if real is None:
                kind = "synthetic people"
            else:
                kind = (
                    f"people: {min(count, len(real[0])):,} real embeddings, {max(0, count - len(real[0])):,} perturbed"
                )
            size_mib = sum(file.stat().st_size for file in (folder / "db").rglob("*")) / 2**20
            print(f"\n{count:,} {kind}; store of {size_mib:,.0f} MiB filled in {filled_s:.1f} s")
            print(
                f"{'':14}{'median':>10}{'p95':>10}{'':>9}{'nearest':>9}{'two':>9}{'first':>10}{'resident':>11}{'peak':>9}"
            )
            answers = run_sides(folder, arguments.rounds)
            for side, a in answers.items():
                faster = answers["scikit-learn"]["median_ms"] / a["median_ms"]
                print(
                    f"{side:14}{a['median_ms']:7.2f} ms{a['p95_ms']:7.2f} ms{faster:8.1f}×"
                    f"{a['nearest']:9.4f}{a['two']:9.4f}{a['first_s']:8.1f} s"
                    f"{a['resident_mib']:7.0f} MiB{a['peak_mib']:5.0f} MiB",
                    flush=True,
                )


if __name__ == "__main__":
    main()
