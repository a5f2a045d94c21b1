"""Exact search among many embeddings in little memory: a scan of 8-bit codes, and only the best compared exactly.

A row x (unit length) is kept as s·c with integers |c| ≤ 63, a fifth of the memory traffic of float32. Rounding moves a
score by no more than the length of x - s·c (Cauchy–Schwarz; the query has unit length), and that length is known. So
whoever scores within twice the largest such length of the k-th best may be among the k best, and nobody else can be:
those few are compared with their float32 embeddings, and the result is that of comparing with everybody.
"""

import functools
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Int8s = NDArray[np.int8]
Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

# 7 bits and not 8: processors without dot-product instructions add two products in 16 bits, where 8-bit codes saturate.
LARGEST_CODE = 63
BLOCK_ROWS = 65_536
FEW_ROWS = 8_192  # fewer are not worth importing torch for
ROUNDING = np.float32(1e-5)  # of the float32 arithmetic around the integers, generously


class _Block:
    """Up to BLOCK_ROWS rows, by ascending id."""

    def __init__(self, size: int):
        self.ids: Ids = np.empty(0, np.int64)
        self.codes: Int8s = np.empty((0, size), np.int8)
        self.scales: Floats = np.empty(0, np.float32)

    def reserve(self, rows: int) -> None:
        """Room for `rows`: twice as much as before, so that adding one by one copies little."""
        if rows > len(self.codes):
            room = min(BLOCK_ROWS, max(rows, 2 * len(self.codes), 256))
            for name in ("codes", "scales"):
                old = getattr(self, name)
                new = np.zeros((room, *old.shape[1:]), old.dtype)
                new[: len(self.ids)] = old[: len(self.ids)]
                setattr(self, name, new)


class ExactMatrix:
    """Embeddings by id, as 8-bit codes. Ids are given in ascending order: a new one is larger than all before it."""

    def __init__(self, size: int):
        self._size = size
        self._blocks: list[_Block] = []
        self._residual = 0.0  # the largest length of x - s c

    def __len__(self) -> int:
        return sum(len(block.ids) for block in self._blocks)

    def put(self, ids: Ids, embeddings: Floats) -> None:
        """Add or replace embeddings [N, E] of unit length under `ids` [N], ascending."""
        codes, scales, residuals = quantize(embeddings)
        self._residual = max(self._residual, float(residuals.max(initial=0.0)))
        last = int(self._blocks[-1].ids[-1]) if self._blocks else -1
        fresh = int(np.searchsorted(ids, last, side="right"))
        for row in range(fresh):
            block, place = self._find(int(ids[row]))
            if block is None:
                raise ValueError(f"id {ids[row]} is not larger than all before it")
            block.codes[place], block.scales[place] = codes[row], scales[row]
        while fresh < len(ids):
            if not self._blocks or len(self._blocks[-1].ids) == BLOCK_ROWS:
                self._blocks.append(_Block(self._size))
            block = self._blocks[-1]
            start = len(block.ids)
            take = slice(fresh, min(len(ids), fresh + BLOCK_ROWS - start))
            end = start + take.stop - take.start
            block.reserve(end)
            block.codes[start:end], block.scales[start:end] = codes[take], scales[take]
            block.ids = np.concatenate([block.ids, ids[take]])
            fresh = take.stop

    def drop(self, ids: Iterable[int]) -> None:
        """Forget `ids`; those that are not there are ignored."""
        for one in ids:
            block, place = self._find(one)
            if block is None:
                continue
            count = len(block.ids)
            block.codes[place : count - 1] = block.codes[place + 1 : count].copy()
            block.scales[place : count - 1] = block.scales[place + 1 : count].copy()
            block.codes[count - 1] = 0  # nothing is left of somebody who was deleted
            block.ids = np.delete(block.ids, place)
            if not len(block.ids):
                self._blocks.remove(block)

    def candidates(self, queries: Floats, top_k: int) -> list[Ids]:
        """For each of the queries [N, E] of unit length some ids, among them those of its `top_k` nearest."""
        codes, scales, residuals = quantize(queries)
        # |q·x - s_q s_x c_q·c_x| ≤ |q|·|x - s_x c_x| + |q - s_q c_q|·|s_x c_x|; the last factor is at most 1 + residual
        bounds = self._residual + residuals * (1.0 + self._residual) + ROUNDING
        found: list[list[tuple[_Block, NDArray[np.int64], Floats]]] = [[] for _ in queries]
        kth = np.full(len(queries), -np.inf, np.float32)
        best: list[Floats] = [np.empty(0, np.float32) for _ in queries]
        for block in self._blocks:
            products = _product(codes, block.codes[: len(block.ids)])  # [N, rows]
            for n, row in enumerate(products):
                scores = row * scales[n]
                scores *= block.scales[: len(block.ids)]
                least = max(kth[n], surely_reached(scores, top_k))
                near = np.flatnonzero(scores >= least - 2 * bounds[n])
                if not len(near):
                    continue
                best[n] = largest(np.concatenate([best[n], scores[near]]), top_k)
                if len(best[n]) == top_k:
                    kth[n] = best[n].min()
                found[n].append((block, near, scores[near]))
        return [
            self._narrow(query, parts, kth[n] - 2 * bounds[n], top_k)
            for n, (query, parts) in enumerate(zip(queries, found, strict=True))
        ]

    def _narrow(
        self, query: Floats, parts: Sequence[tuple[_Block, NDArray[np.int64], Floats]], least: float, top_k: int
    ) -> Ids:
        """The same with the query itself in place of its codes: a smaller error, so fewer candidates."""
        ids, scores = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
        for block, rows, rough in parts:
            rows = rows[rough >= least]
            ids.append(block.ids[rows])
            scores.append((block.codes[rows].astype(np.float32) @ query) * block.scales[rows])
        every, score = np.concatenate(ids), np.concatenate(scores)
        if len(every) <= top_k:
            return every
        return every[score >= largest(score, top_k).min() - 2 * (self._residual + ROUNDING)]

    def _find(self, one: int) -> tuple[_Block | None, int]:
        index = bisect_right(self._blocks, one, key=lambda block: int(block.ids[0])) - 1
        if index < 0:
            return None, 0
        block = self._blocks[index]
        place = int(np.searchsorted(block.ids, one))
        return (block, place) if place < len(block.ids) and block.ids[place] == one else (None, 0)


def quantize(embeddings: Floats) -> tuple[Int8s, Floats, Floats]:
    """Embeddings [N, E] → codes [N, E], scales [N] and the lengths [N] of what rounding took away, rounded up."""
    x = np.asarray(embeddings, np.float32)
    scales = np.maximum(np.abs(x).max(axis=1), np.float32(1e-30)) / np.float32(LARGEST_CODE)
    codes = np.rint(x / scales[:, None]).astype(np.int8)
    lost = np.linalg.norm(x - codes.astype(np.float32) * scales[:, None], axis=1)
    return codes, scales, (lost * np.float32(1.001)).astype(np.float32)


def surely_reached(scores: Floats, top_k: int) -> np.float32:
    """A value that at least `top_k` of the scores reach, found without sorting them: each part's largest does."""
    part = len(scores) // top_k
    return scores[: part * top_k].reshape(top_k, part).max(axis=1).min() if part else np.float32(-np.inf)


def largest(values: Floats, count: int) -> Floats:
    return values if len(values) <= count else np.partition(values, -count)[-count:]


def _product(queries: Int8s, rows: Int8s) -> Floats | NDArray[np.int32]:
    """[N, E] and [M, E] → [N, M]: sums of products of integers, exact."""
    return (numpy_product if len(rows) < FEW_ROWS else fastest_product(rows.shape[1]))(queries, rows)


def _seconds(product: Callable[..., object], queries: Int8s, rows: Int8s) -> float:
    started = time.perf_counter()
    product(queries, rows)
    return time.perf_counter() - started


def numpy_product(queries: Int8s, rows: Int8s) -> Floats:
    """By float32, which holds integers up to 2^24: sums over as many as 4227 dimensions."""
    kind = np.float32 if queries.shape[1] * LARGEST_CODE**2 < 2**24 else np.float64
    wide, step = queries.astype(kind), 2048  # rows that fit into the cache when widened
    result = np.empty((len(queries), len(rows)), kind)
    for start in range(0, len(rows), step):
        np.matmul(wide, rows[start : start + step].astype(kind).T, out=result[:, start : start + step])
    return result


def _torch_product(queries: Int8s, rows: Int8s) -> NDArray[np.int32]:
    import torch

    result: NDArray[np.int32] = torch._int_mm(torch.from_numpy(queries), torch.from_numpy(rows).t()).numpy()
    return result


@functools.cache
def fastest_product(size: int) -> Callable[[Int8s, Int8s], Floats | NDArray[np.int32]]:
    """torch's integer product where it is right and not slow on this machine: it is not among torch's promises.

    Where it is fast it is so by a factor of ten; where it is a plain loop it is slower by as much. A factor of three
    between the two keeps a busy moment from deciding.
    """
    rng = np.random.default_rng(0)
    try:
        for n, m in ((1, FEW_ROWS), (2, FEW_ROWS + 5), (7, FEW_ROWS + 1)):
            queries, rows = (rng.integers(-LARGEST_CODE, LARGEST_CODE + 1, (k, size), np.int8) for k in (n, m))
            queries[0] = rows[0] = LARGEST_CODE  # the largest sum there can be
            if not np.array_equal(_torch_product(queries, rows), numpy_product(queries, rows)):
                return numpy_product
        # Many times, because the first ones start threads, and wait for them.
        torch_s, numpy_s = (
            min(_seconds(product, queries[:1], rows) for _ in range(20)) for product in (_torch_product, numpy_product)
        )
    except Exception:  # no torch, no such function, or not for this processor
        return numpy_product
    return _torch_product if torch_s < 3 * numpy_s else numpy_product
