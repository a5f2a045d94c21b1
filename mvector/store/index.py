"""Which people may be the nearest: by looking at everybody (exact), or by inverted lists for about a million (ivf)."""

from collections.abc import Iterable
from typing import Protocol

from mvector.errors import StoreError
from mvector.store.inverted_lists import InvertedLists
from mvector.store.matrix import ExactMatrix, Floats, Ids

KINDS = ("exact", "ivf")


class Index(Protocol):
    """Embeddings of unit length by id; ids are given in ascending order, and a new one is larger than all before."""

    def __len__(self) -> int: ...
    def put(self, ids: Ids, embeddings: Floats) -> None: ...
    def drop(self, ids: Iterable[int]) -> None: ...
    def candidates(self, queries: Floats, top_k: int) -> list[Ids]: ...


def make_index(kind: str, size: int) -> Index:
    if kind not in KINDS:
        raise StoreError(f"there is no index named {kind!r}; there are: {', '.join(KINDS)}.")
    return ExactMatrix(size) if kind == "exact" else InvertedLists(size)
