"""What an index of embeddings has to bear, whichever it is."""

from collections.abc import Iterator

import numpy as np

from mvector.store.index import Index


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def random_changes(index: Index, rounds: int, removals: int) -> Iterator[dict[int, np.ndarray]]:
    """Random additions, replacements and removals on an index of 8 numbers, compared with a dictionary after each
    round, which is given to the caller: as many people, and the nearest of them among the candidates."""
    rng, known, following = np.random.default_rng(3), dict[int, np.ndarray](), 0
    for _ in range(rounds):
        fresh = following + np.sort(rng.choice(40, rng.integers(0, 20), replace=False))
        old = rng.choice(sorted(known), min(len(known), 5), replace=False) if known else []
        ids = np.array(sorted({*fresh.tolist(), *(int(one) for one in old)}), np.int64)
        following += 40
        rows = unit(rng.standard_normal((len(ids), 8))) if len(ids) else np.empty((0, 8), np.float32)
        index.put(ids, rows)
        known |= dict(zip(ids.tolist(), rows, strict=True))
        gone = rng.choice(sorted(known), min(len(known), removals), replace=False).tolist() if known else []
        index.drop([*gone, 10**6])
        for one in gone:
            del known[one]
        assert len(index) == len(known)
        if known:
            query = unit(rng.standard_normal((1, 8)))
            best = max(known, key=lambda one: float(known[one].astype(np.float64) @ query[0]))
            assert best in index.candidates(query, 1)[0]
        yield known
