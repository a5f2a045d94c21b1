"""Approximate search among a million people: only those around the nearest of about a thousand centres are compared.

Spherical k-means makes √N centres, everybody is in the list of the centre nearest to them, and a search scans the lists
whose centres are nearest to the query: an inverted file (Jégou, Douze and Schmid 2011), with the 8-bit codes of the
exact search. Who is found is the nearest in those lists, by the same bound; who lies in none of them is overlooked.
How many lists are scanned depends on the query: few where one centre is clearly the nearest, more where many are about
as near, because then the nearest person may be around any of them.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from mvector.store import matrix
from mvector.store.matrix import FEW_ROWS, ROUNDING, Floats, Ids, Int8s, largest, quantize, surely_reached

FEWEST = 65_536  # fewer people are all compared
# The lists scanned: those whose centres are nearer than the nearest's cosine less NEAR, at least and at most so many.
# More find more and take longer; see benchmarks/identification.py.
NEAR, LEAST, MOST = 0.2, 8, 96
GROWTH = 4  # centres are made anew when so many times more people are there
SAMPLE = 64  # embeddings for each centre, from which it is made
ROUNDS = 8  # of k-means


class _List:
    """People around one centre, or, where there are no centres, some people."""

    def __init__(self, ids: Ids, codes: Int8s, scales: Floats):
        self.ids, self.codes, self.scales = ids, codes, scales

    def embeddings(self, rows: Ids | slice = slice(None)) -> Floats:
        return self.codes[rows].astype(np.float32) * self.scales[rows, None]

    def append(self, ids: Ids, codes: Int8s, scales: Floats) -> None:
        self._become(np.concatenate([self.ids, ids]), np.concatenate([self.codes, codes]), [self.scales, scales])

    def drop(self, ids: Ids) -> None:
        keep = np.isin(self.ids, ids, invert=True)
        if not keep.all():
            self._become(self.ids[keep], self.codes[keep], [self.scales[keep]])

    def _become(self, ids: Ids, codes: Int8s, scales: Sequence[Floats]) -> None:
        self.codes[:] = 0  # nothing is left of somebody who was deleted
        self.ids, self.codes, self.scales = ids, codes, np.concatenate(scales)


class InvertedLists:
    """Embeddings of unit length by id, as 8-bit codes in lists. In memory only: a file would outlive who was deleted.

    The centres are made by the first search among more than FEWEST people. Who is added later goes to the list of the
    nearest centre, so the lists stay right, and centres are made anew only after the people have become GROWTH times as
    many. Up to FEWEST people the search is exact.
    """

    def __init__(self, size: int):
        self._size, self._count, self._last = size, 0, -1
        self._lists: list[_List] = []
        self._centres: Floats | None = None  # [lists, E], of unit length
        self._enough = FEWEST  # for the centres there are
        self._residual = 0.0  # the largest length of x - s c

    def __len__(self) -> int:
        return self._count

    def put(self, ids: Ids, embeddings: Floats) -> None:
        """Add or replace embeddings [N, E] of unit length under `ids` [N], ascending."""
        if not len(ids):
            return
        self.drop(ids[ids <= self._last].tolist())
        self._last = max(self._last, int(ids[-1]))
        self._count += len(ids)
        codes, scales, residuals = quantize(embeddings)
        self._residual = max(self._residual, float(residuals.max()))
        if self._centres is not None:
            for number, rows in _groups(_nearest(embeddings, self._centres)[0]):
                self._lists[number].append(ids[rows], codes[rows], scales[rows])
        elif self._lists and len(self._lists[-1].ids) < FEW_ROWS:
            self._lists[-1].append(ids, codes, scales)
        else:
            self._lists.append(_List(ids, codes, scales))

    def drop(self, ids: Iterable[int]) -> None:
        """Forget `ids`; those that are not there are ignored."""
        gone = np.fromiter(ids, np.int64)
        if len(gone):
            for one in self._lists:
                one.drop(gone)
            self._count = sum(len(one.ids) for one in self._lists)

    def candidates(self, queries: Floats, top_k: int) -> list[Ids]:
        """For each of the queries [N, E] of unit length some ids, among them nearly always its `top_k` nearest."""
        if len(self) > self._enough:
            self._make_centres()
        product = matrix.numpy_product if len(self) < FEW_ROWS else matrix.fastest_product(self._size)
        return [self._search(query, self._probed(query, top_k), product, top_k) for query in queries]

    def _probed(self, query: Floats, top_k: int) -> list[_List]:
        """The lists to scan: those around the nearest centres, or all where there are no centres or too few people."""
        if self._centres is None:
            return self._lists
        cosines = self._centres @ query
        count = min(MOST, max(LEAST, np.count_nonzero(cosines >= cosines.max() - NEAR)))
        lists = [self._lists[number] for number in np.argsort(-cosines)[:count]]
        return lists if sum(len(one.ids) for one in lists) >= top_k else self._lists

    def _search(self, query: Floats, lists: list[_List], product: Callable[..., np.ndarray], top_k: int) -> Ids:
        """Ids in `lists`, among them the `top_k` nearest of those lists; the bounds are those of ExactMatrix."""
        lists = [one for one in lists if len(one.ids)]
        if not lists:
            return np.empty(0, np.int64)
        codes, scales, residuals = quantize(query[None])
        bound = self._residual + float(residuals[0]) * (1.0 + self._residual) + ROUNDING
        products = np.concatenate([product(codes, one.codes)[0] for one in lists])
        scores = np.multiply(products, np.concatenate([one.scales for one in lists]) * scales[0], dtype=np.float32)
        near = np.flatnonzero(scores >= surely_reached(scores, top_k) - 2 * bound)
        near = near[scores[near] >= largest(scores[near], top_k).min() - 2 * bound]
        ends = np.cumsum([len(one.ids) for one in lists])
        ids, exact = [], []
        for number, rows in _groups(np.searchsorted(ends, near, side="right")):
            one = lists[number]
            rows = near[rows] - (ends[number] - len(one.ids))
            ids.append(one.ids[rows])
            exact.append(one.embeddings(rows) @ query)
        every, score = np.concatenate(ids), np.concatenate(exact)
        return every[score >= largest(score, top_k).min() - 2 * (self._residual + ROUNDING)]

    def _make_centres(self) -> None:
        """√N centres from a sample of the embeddings, and the lists around them in place of the lists so far."""
        number = round(len(self) ** 0.5)
        chosen = np.sort(np.random.default_rng(0).choice(len(self), min(len(self), SAMPLE * number), replace=False))
        ends = np.cumsum([len(one.ids) for one in self._lists])
        parts = np.split(chosen, np.searchsorted(chosen, ends))[:-1]
        starts = ends - [len(one.ids) for one in self._lists]
        centres = _k_means(
            np.concatenate([o.embeddings(p - s) for o, p, s in zip(self._lists, parts, starts, strict=True)]), number
        )
        nearest = np.concatenate([_nearest(one.embeddings(), centres)[0] for one in self._lists])
        place = np.empty(len(self), np.int64)  # of each row when they are sorted by their centre
        place[np.argsort(nearest, kind="stable")] = np.arange(len(self))
        ids, codes = np.empty(len(self), np.int64), np.empty((len(self), self._size), np.int8)
        scales = np.empty(len(self), np.float32)
        for one, start, end in zip(self._lists, starts, ends, strict=True):
            ids[place[start:end]], codes[place[start:end]] = one.ids, one.codes
            scales[place[start:end]] = one.scales
        ends = np.cumsum(np.bincount(nearest, minlength=number))[:-1]
        self._lists = [
            _List(*each)
            for each in zip(np.split(ids, ends), np.split(codes, ends), np.split(scales, ends), strict=True)
        ]
        self._centres, self._enough = centres, GROWTH * len(self)


def _groups(numbers: Ids) -> list[tuple[int, Ids]]:
    """Each of the `numbers` and where it stands, ascending."""
    order = np.argsort(numbers, kind="stable")
    found, starts = np.unique(numbers[order], return_index=True)
    return list(zip(found.tolist(), np.split(order, starts[1:]), strict=True))


def _nearest(rows: Floats, centres: Floats) -> tuple[Ids, Floats]:
    """The number of the nearest of the centres [C, E] for each of the rows [N, E], and the product with it."""
    numbers, scores = np.empty(len(rows), np.int64), np.empty(len(rows), np.float32)
    for start in range(0, len(rows), 2048):
        products = rows[start : start + 2048] @ centres.T
        best = numbers[start : start + 2048] = products.argmax(axis=1)
        scores[start : start + 2048] = products[np.arange(len(best)), best]
    return numbers, scores


def _k_means(rows: Floats, number: int) -> Floats:
    """Centres [number, E] of unit length of the rows [N, E], by spherical k-means (Dhillon and Modha 2001)."""
    centres = rows[np.random.default_rng(0).choice(len(rows), number, replace=False)]
    for _ in range(ROUNDS):
        numbers, scores = _nearest(rows, centres)
        worst = iter(np.argsort(scores, kind="stable")[:number])
        groups = dict(_groups(numbers))
        # A centre that nobody is near to goes to one of those who are far from all.
        centres = np.stack([rows[groups[n]].sum(axis=0) if n in groups else rows[next(worst)] for n in range(number)])
        centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), np.float32(1e-30))
    return centres
