"""Identification: who of the enrolled people spoke (closed set), and whether it was any of them (open set).

Scores are a matrix [M, N] of M probes (test recordings) against N gallery entries (enrolled voices). Several entries
of one person count as that person's best one, so ranks are among people, not among entries. `probe_ids` [M] and
`gallery_ids` [N] name the persons, by integers or strings.

Ties are resolved against the system: a person who scores no higher than another stands behind that other. A system
that gives everybody one score identifies nobody, and results never depend on the order of the gallery.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mvector.errors import MVectorError
from mvector.metrics.detection import Floats, false_accepts_allowed, nontargets_needed

# So many scores are ranked at a time, which keeps the extra memory at a few tens of MB.
BLOCK_SCORES = 2_000_000
RANKS, FARS = (1, 5), (0.01, 0.001)


@dataclass(frozen=True)
class DirPoint:
    """Detection and identification rate at the lowest threshold whose false-alarm rate is at most `far`.

    When not `measurable`, rate and threshold are None and it takes `probes_needed` probes of people outside the
    gallery to measure them.
    """

    far: float
    rank: int
    rate: float | None
    threshold: float | None
    measurable: bool
    probes_needed: int


@dataclass(frozen=True)
class IdentificationMetrics:
    """Identification of probes among the people of a gallery; rates are fractions.

    probes          of people in the gallery, `strangers`: of others
    top             {k: share of the probes whose own person is among the best k}
    dir             DIR at FARS with rank 1; empty without strangers
    intervals_95    by "top_1", "top_5", "dir_0.01" …: percentile intervals over resampled probe speakers, the gallery
                    being what it is; None from fewer than two speakers
    """

    people: int
    probes: int
    strangers: int
    top: dict[int, float]
    dir: list[DirPoint]
    intervals_95: dict[str, tuple[float, float]] | None

    def lines(self) -> list[str]:
        """What a person reads, English sentences with figures in per cent."""
        lines = [f"identification of {self.probes:,} recordings among {self.people:,} people"]
        lines += [f"top-{k} {100 * rate:.3f} %{self._interval(f'top_{k}')}" for k, rate in self.top.items()]
        for point in self.dir:
            far = 100 * point.far
            if point.rate is None:
                lines.append(f"DIR at FAR {far:g} % not measurable: needs {point.probes_needed:,} recordings of others")
            else:
                interval = self._interval(f"dir_{point.far:g}")
                lines.append(
                    f"DIR {100 * point.rate:.3f} %{interval} at FAR {far:g} %, threshold {point.threshold:.4f}"
                )
        if self.dir:
            lines.append(f"others: {self.strangers:,} recordings of people who are not enrolled")
        return lines

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self) | {"top": {str(k): rate for k, rate in self.top.items()}}

    def _interval(self, name: str) -> str:
        if self.intervals_95 is None or name not in self.intervals_95:
            return ""
        low, high = (100 * bound for bound in self.intervals_95[name])
        return f" [{low:.3f}, {high:.3f}]"


def identification_metrics(
    scores: ArrayLike, probe_ids: ArrayLike, gallery_ids: ArrayLike, resamples: int = 500, seed: int = 0
) -> IdentificationMetrics:
    """Top-1, top-5 and DIR at FARS of scores [M, N]; people outside the gallery take part in the DIR only.

    Probes of one speaker are not independent, so whole speakers are drawn with replacement for the intervals, and the
    threshold of a DIR is chosen anew in each draw. Raises MVectorError when no probe is of anybody in the gallery.
    """
    score, probe, gallery = _checked(scores, probe_ids, gallery_ids)
    own, own_rank, best = _own_score_and_rank(score, probe, gallery)
    is_stranger = np.isnan(own)
    n_strangers = int(np.count_nonzero(is_stranger))
    if n_strangers == len(own):
        raise MVectorError("identification needs recordings of enrolled people; none of the recordings is of one.")
    known = ~is_stranger
    points = [dir_at_far(score, probe, gallery, far) for far in FARS] if n_strangers else []
    measured = [point.far for point in points if point.rate is not None]

    def rates(times: NDArray[np.floating]) -> list[float]:
        weights = times[probe]
        total = weights[known].sum()
        found = [weights[known] @ (own_rank[known] <= k) / total for k in RANKS]
        order = np.argsort(-best[is_stranger], kind="stable")
        passed = np.cumsum(weights[is_stranger][order])  # strangers with a score at least as high as each
        for far in measured:
            first = int(np.searchsorted(passed, far * passed[-1] * (1 + 1e-12), side="right"))
            threshold = best[is_stranger][order[min(first, n_strangers - 1)]]
            found.append(weights[known] @ ((own > threshold) & (own_rank <= 1))[known] / total)
        return found

    top = dict(zip(RANKS, rates(np.ones(len(probe) + len(gallery))), strict=False))
    names = [*(f"top_{k}" for k in RANKS), *(f"dir_{far:g}" for far in measured)]
    speakers = np.unique(probe)
    intervals = None
    if len(speakers) > 1:
        rng = np.random.default_rng(seed)
        draws = []
        for times in rng.multinomial(len(speakers), np.full(len(speakers), 1 / len(speakers)), resamples):
            of_person = np.zeros(int(probe.max()) + 1)
            of_person[speakers] = times
            if of_person[probe[known]].any() and (not measured or of_person[probe[is_stranger]].any()):
                draws.append(rates(of_person))
        if draws:
            low, high = np.quantile(draws, [0.025, 0.975], axis=0)
            intervals = {name: (float(low[i]), float(high[i])) for i, name in enumerate(names)}
    return IdentificationMetrics(
        people=len(np.unique(gallery)),
        probes=int(np.count_nonzero(known)),
        strangers=n_strangers,
        top={k: float(rate) for k, rate in top.items()},
        dir=points,
        intervals_95=intervals,
    )


def closed_set_accuracy(
    scores: ArrayLike, probe_ids: ArrayLike, gallery_ids: ArrayLike, ranks: Sequence[int] = (1, 5)
) -> dict[int, float]:
    """{k: share of the probes whose own person is among the best k}, for top-1 and top-5 by default.

    These are points of the cumulative match characteristic. Every probe must be of a person in the gallery; a gallery
    of no more than k people gives 1 only for lack of others. A fraction, not per cent.
    """
    if any(rank < 1 for rank in ranks):
        raise MVectorError(f"ranks count from 1, found {min(ranks)}.")
    own, own_rank, _ = _own_score_and_rank(*_checked(scores, probe_ids, gallery_ids))
    strangers = int(np.count_nonzero(np.isnan(own)))
    if strangers:
        raise MVectorError(
            f"{strangers} of {len(own)} probes are of people who are not in the gallery; leave them out of closed-set "
            "identification (dir_at_far measures how well they are rejected)."
        )
    return {rank: float(np.mean(own_rank <= rank)) for rank in ranks}


def dir_at_far(scores: ArrayLike, probe_ids: ArrayLike, gallery_ids: ArrayLike, far: float, rank: int = 1) -> DirPoint:
    """The detection and identification rate (DIR) of an open set at a false-alarm rate.

    As defined by P. J. Phillips, P. Grother, R. Micheals, "Evaluation methods in face recognition", Handbook of Face
    Recognition, 2011, but for "above the threshold" (score > t) where they write "at or above":
    FAR(t) = share of the probes of people outside the gallery with any score > t,
    DIR(t) = share of the probes of people in the gallery whose own score is > t and among the best `rank` people.
    The threshold is the lowest with FAR(t) ≤ `far` on these probes. `far` is a rate of probes and not of trials: with
    N people enrolled a stranger has N chances, so it is far above the FAR of verification at the same threshold.
    """
    if rank < 1:
        raise MVectorError(f"ranks count from 1, found {rank}.")
    needed = nontargets_needed(far)
    own, own_rank, best = _own_score_and_rank(*_checked(scores, probe_ids, gallery_ids))
    is_stranger = np.isnan(own)
    n_strangers = int(np.count_nonzero(is_stranger))
    if not n_strangers or n_strangers == len(own):
        raise MVectorError(
            "open-set identification needs probes of people in the gallery and of people outside it, found "
            f"{len(own) - n_strangers} and {n_strangers}."
        )
    if n_strangers < needed:
        return DirPoint(far, rank, None, None, False, needed)
    # Above the score of the (allowed + 1)-th highest stranger lie at most the allowed ones.
    allowed = false_accepts_allowed(far, n_strangers)
    threshold = np.partition(best[is_stranger], n_strangers - 1 - allowed)[n_strangers - 1 - allowed]
    hits = (own > threshold) & (own_rank <= rank)
    return DirPoint(far, rank, float(np.mean(hits[~is_stranger])), float(threshold), True, needed)


def _own_score_and_rank(
    scores: Floats, probe: NDArray[np.intp], gallery: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.float64]]:
    """For each probe [M]: its own person's score (NaN if not enrolled), that person's rank from 1, the best score."""
    order = np.argsort(gallery, kind="stable")
    people, first_entry = np.unique(gallery[order], return_index=True)
    column = np.searchsorted(people, probe).clip(0, len(people) - 1)
    is_enrolled = people[column] == probe
    own, rank, best = np.full(len(probe), np.nan), np.zeros(len(probe), np.intp), np.empty(len(probe))
    step = max(1, BLOCK_SCORES // len(gallery))
    for start in range(0, len(probe), step):
        rows = slice(start, start + step)
        by_person = np.maximum.reduceat(scores[rows][:, order], first_entry, axis=1)  # [rows, people]
        of_probe = np.take_along_axis(by_person, column[rows, None], axis=1)
        own[rows] = np.where(is_enrolled[rows], of_probe[:, 0], np.nan)
        rank[rows] = np.count_nonzero(by_person >= of_probe, axis=1)  # the person itself is counted, as rank 1
        best[rows] = by_person.max(axis=1)
    return own, rank, best


def _checked(
    scores: ArrayLike, probe_ids: ArrayLike, gallery_ids: ArrayLike
) -> tuple[Floats, NDArray[np.intp], NDArray[np.intp]]:
    """Scores as floats, and the persons of probes and gallery as numbers."""
    score, probe, gallery = np.asarray(scores), np.asarray(probe_ids), np.asarray(gallery_ids)
    if not np.issubdtype(score.dtype, np.floating):
        score = score.astype(np.float64)
    if probe.ndim != 1 or gallery.ndim != 1 or score.shape != (len(probe), len(gallery)) or not score.size:
        raise MVectorError(
            "identification needs scores [M, N] with M probe ids and N gallery ids, found shapes "
            f"{score.shape}, {probe.shape} and {gallery.shape}."
        )
    bad = score.size - int(np.count_nonzero(np.isfinite(score)))
    if bad:
        raise MVectorError(f"{bad} of {score.size} scores are NaN or infinite; leave those recordings out.")
    number = np.unique(np.concatenate([probe, gallery]), return_inverse=True)[1]
    return score, number[: len(probe)], number[len(probe) :]
