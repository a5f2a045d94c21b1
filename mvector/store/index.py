"""Which people may be the nearest: by looking at everybody (exact), or by a graph for more than a million (hnsw)."""

import functools
from collections.abc import Iterable
from typing import Protocol

import numpy as np

from mvector.errors import MissingPackageError, StoreError
from mvector.store.matrix import ExactMatrix, Floats, Ids, quantize

KINDS = ("exact", "hnsw")
CONNECTIVITY, EXPANSION_ADD = 16, 128  # links of a node; how widely its place is searched when it is added
EXPANSION_SEARCH = 128  # more finds more and takes longer; see benchmarks/identification.py
FEWEST_CANDIDATES = 16  # compared exactly, because the graph orders by 8-bit codes


class Index(Protocol):
    """Embeddings of unit length by id; ids are given in ascending order, and a new one is larger than all before."""

    def __len__(self) -> int: ...
    def put(self, ids: Ids, embeddings: Floats) -> None: ...
    def drop(self, ids: Iterable[int]) -> None: ...
    def candidates(self, queries: Floats, top_k: int) -> list[Ids]: ...


class GraphIndex:
    """Hierarchical navigable small world (Malkov and Yashunin 2016) by usearch, on embeddings of 8 bits, in memory.

    It is built when a store is first searched and never written to disk, where it would outlive who was deleted.
    """

    def __init__(self, size: int):
        self._graph = functools.partial(
            _usearch(),
            ndim=size,
            metric="cos",
            dtype="i8",
            connectivity=CONNECTIVITY,
            expansion_add=EXPANSION_ADD,
            expansion_search=EXPANSION_SEARCH,
        )()

    def __len__(self) -> int:
        return len(self._graph)

    def put(self, ids: Ids, embeddings: Floats) -> None:
        self.drop(one for one in ids.tolist() if one in self._graph)
        self._graph.add(ids.astype(np.uint64), quantize(embeddings)[0])  # a cosine does not need the scales

    def drop(self, ids: Iterable[int]) -> None:
        for one in ids:
            if one in self._graph:
                self._graph.remove(one, compact=False)

    def candidates(self, queries: Floats, top_k: int) -> list[Ids]:
        if not len(self):
            return [np.empty(0, np.int64) for _ in queries]
        count = min(len(self), max(FEWEST_CANDIDATES, 2 * top_k))
        return [self._graph.search(codes, count).keys.astype(np.int64) for codes in quantize(queries)[0]]


def make_index(kind: str, size: int) -> Index:
    if kind not in KINDS:
        raise StoreError(f"there is no index named {kind!r}; there are: {', '.join(KINDS)}.")
    return ExactMatrix(size) if kind == "exact" else GraphIndex(size)


def _usearch():  # type: ignore[no-untyped-def]
    try:
        from usearch.index import Index as Graph
    except Exception as error:
        raise MissingPackageError(
            f"the index hnsw needs the package usearch, which cannot be imported ({error}). Install it with: pip "
            "install usearch"
        ) from error
    return Graph
