"""EER and minDCF of more scores than fit in memory: counts in bins, and how far the bins can have moved the result.

All scores of a bin pass a threshold together. At the edges of the bins the rates are therefore exact, and what happens
between the edges is bounded: with rates FNR⁻, FPR⁻ at the lower and FNR⁺, FPR⁺ at the upper edge of a bin,

    the EER lies between max(FNR⁻, FPR⁺) and min(FNR⁺, FPR⁻) of the bin in which the curves cross;
    no cost within a bin is lower than p·FNR⁻ + (1 - p)·FPR⁺.

Most bins are spent where that matters: around the crossing and the lowest costs, as a small sample places them. Where
the bound is still above MOST_ERROR the scores are counted again, with bins only where the true result may lie.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mvector.metrics.detection import eer_point, min_dcf_point

P_TARGETS = (0.01, 0.05, 0.001)
MOST_ERROR = 1e-5  # of the EER and of the normalised minDCF at P_TARGETS
BINS = 1 << 18  # few enough for the counts to stay in cache
COARSE_BINS = BINS // 8  # over the whole range; the others share the windows
MOST_PASSES = 4
MOST_WINDOWS = 16
# A window from a sample takes in costs this much above the lowest one found there.
SAMPLE_TOLERANCE = 0.25
CHUNK = 1 << 15  # scores binned at a time, for the same reason

FIRST_BIN, LAST_BIN = np.float32(0), np.float32(BINS)

Window = tuple[float, float]
Rates = NDArray[np.float64]


class ScoreHistogram:
    """Counts of all scores and of the target scores, in bins over [low, high] that are finer within `windows`.

    The bin of a score s is the whole part of  c·(s - low) + f·Σ (clip(s, a_w, b_w) - a_w),  which rises with s slowly
    everywhere and fast within the windows [a_w, b_w]. Scores outside [low, high] count in the first and last bin.
    `cleared` says what has been shown before: for each of P_TARGETS a cost that nothing outside the windows is below.
    """

    def __init__(self, low: float, high: float, windows: Sequence[Window] = (), cleared: Sequence[float] = ()) -> None:
        self.low, self.high = np.float32(low), np.float32(high)
        self.windows = [(np.float32(a), np.float32(b)) for a, b in (windows or [(low, high)])]
        self._coarse = np.float32(COARSE_BINS / float(self.high - self.low))
        # Equally fine in all of them: half of the bins for a narrow one would be missing where a wide one needs them.
        self._fine = np.float32((BINS - COARSE_BINS) / sum(float(b) - float(a) for a, b in self.windows))
        self.trials = np.zeros(BINS + 1, dtype=np.int64)
        self.targets = np.zeros(BINS + 1, dtype=np.int64)
        self._cleared = cleared
        self._lock = threading.Lock()

    def add(self, scores: NDArray[np.float32], targets: Iterable[NDArray[np.float32]] = ()) -> None:
        """Count scores of any shape; `targets` holds once more those of them that are of target trials."""
        self._count(self.trials, scores)
        for target_scores in targets:
            self._count(self.targets, target_scores)

    def _count(self, counts: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        scores = scores.ravel()
        size = min(CHUNK, len(scores))
        position, part = np.empty((2, size), np.float32)
        short, bins = np.empty(size, np.int32), np.empty(size, np.int64)
        for start in range(0, len(scores), CHUNK):
            s = scores[start : start + CHUNK]
            n = len(s)
            self._place(s, position[:n], part[:n])
            # In two steps, because the direct conversion of float32 to int64 takes twice as long.
            np.copyto(short[:n], position[:n], casting="unsafe")
            np.copyto(bins[:n], short[:n])
            with self._lock:
                np.add.at(counts, bins[:n], 1)

    def _place(self, s: NDArray[np.float32], position: NDArray[np.float32], part: NDArray[np.float32]) -> None:
        np.subtract(s, self.low, out=position)
        np.multiply(position, self._coarse, out=position)
        for a, b in self.windows:
            np.clip(s, a, b, out=part)
            np.subtract(part, a, out=part)  # before the product: exact where the window is narrow
            np.multiply(part, self._fine, out=part)
            np.add(position, part, out=position)
        np.clip(position, FIRST_BIN, LAST_BIN, out=position)

    def edges(self, bins: NDArray[np.integer] | NDArray[np.floating]) -> Rates:
        """The scores at which bins of these numbers begin."""
        knots = np.array([self.low, *np.ravel(self.windows), self.high], dtype=np.float64)
        positions = (knots - float(self.low)) * float(self._coarse)
        for a, b in self.windows:
            positions += (np.clip(knots, float(a), float(b)) - float(a)) * float(self._fine)
        return np.interp(bins, positions, knots)

    def curves(self) -> tuple[Rates, Rates, Rates]:
        """(thresholds, FNR, FPR), each [K], at the K bins that hold scores.

        The rates are those at the upper edge of a bin, exactly; as its threshold the middle of the bin is given.
        """
        occupied = np.flatnonzero(self.trials)
        missed = np.cumsum(self.targets[occupied])
        rejected = np.cumsum(self.trials[occupied])
        rejected -= missed
        fnr, fpr = missed / missed[-1], (rejected[-1] - rejected) / rejected[-1]
        return self.edges(occupied + 0.5), fnr, fpr

    def counted_scores(self) -> tuple[Rates, NDArray[np.bool_], NDArray[np.int64]]:
        """(score in the middle of a bin, whether of target trials, how many of these it holds), each [K]."""
        target_bins = np.flatnonzero(self.targets)
        nontargets = self.trials - self.targets
        nontarget_bins = np.flatnonzero(nontargets)
        bins = np.concatenate([nontarget_bins, target_bins])
        counts = np.concatenate([nontargets[nontarget_bins], self.targets[target_bins]])
        return self.edges(bins + 0.5), np.arange(len(bins)) >= len(nontarget_bins), counts

    def has_both_kinds(self) -> bool:
        return 0 < self.targets.sum() < self.trials.sum()

    def error_bound(self) -> float:
        """How far the EER and the normalised minDCF at P_TARGETS can be from those of the scores themselves."""
        return float(max(error for error, _ in self._operating_points(0.0)))

    def windows_around(self, most: int, tolerance: float = 0.0) -> list[Window]:
        """Where the EER and the lowest costs lie, as far as the bins tell, in at most so many windows.

        With a `tolerance` also where the costs are higher by that share.
        """
        bins = np.unique(np.concatenate([near for _, near in self._operating_points(tolerance)]))
        gaps = np.diff(bins)
        cuts = np.flatnonzero(gaps > 1)
        cuts = np.sort(cuts[np.argsort(-np.diff(self.edges(bins))[cuts], kind="stable")[: most - 1]])
        # A little more on both sides, because bins are found in float32; but windows must not overlap.
        begin = self.edges(bins[np.append(0, cuts + 1)] - 0.1).astype(np.float32)
        end = self.edges(bins[np.append(cuts, len(bins) - 1)] + 1.1).astype(np.float32)
        begin, end = np.nextafter(begin, np.float32(-np.inf)), np.nextafter(end, np.float32(np.inf))
        begin[1:] = np.maximum(begin[1:], end[:-1])
        return [(float(a), float(b)) for a, b in zip(begin, end, strict=True) if a < b]

    def _operating_points(self, tolerance: float) -> Iterator[tuple[float, NDArray[np.intp]]]:
        """For the EER and each minDCF: (its largest error, numbers of the bins that may hold the point)."""
        occupied = np.flatnonzero(self.trials)
        thresholds, fnr, fpr = self.curves()
        fnr_before, fpr_before = np.append(0.0, fnr[:-1]), np.append(1.0, fpr[:-1])
        rate, _ = eer_point(thresholds, fnr, fpr)
        crossing = int(np.argmax(fnr >= fpr))
        lowest = max(fnr_before[crossing], fpr[crossing])
        highest = min(fnr[crossing], fpr_before[crossing])
        near = occupied[np.maximum(fnr_before, fpr) <= rate * (1 + tolerance)]
        yield 0.0 if self._is_one_score(occupied[[crossing]])[0] else max(rate - lowest, highest - rate), near
        for number, p_target in enumerate(P_TARGETS):
            cost = min_dcf_point(thresholds, fnr, fpr, p_target)[0]
            optimistic = p_target * fnr_before
            optimistic += (1 - p_target) * fpr
            optimistic /= min(p_target, 1 - p_target)
            if self._cleared:
                inside = np.logical_or.reduce([(a <= thresholds) & (thresholds <= b) for a, b in self.windows])
                np.maximum(optimistic, self._cleared[number], out=optimistic, where=~inside)
            near = occupied[optimistic <= cost * (1 + tolerance)]
            unsure = optimistic[optimistic <= cost][~self._is_one_score(occupied[optimistic <= cost])]
            yield float(cost - unsure.min(initial=cost)), near

    def _is_one_score(self, bins: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which bins are narrower than the distance of two float32 numbers, so that scores in them are equal."""
        begin, end = self.edges(bins), self.edges(bins + 1)
        inside = (bins > 0) & (bins < BINS - 1)
        return inside & (end - begin < np.spacing(np.abs(begin).astype(np.float32)))


def count_scores(
    count: Callable[[ScoreHistogram], None], count_sample: Callable[[ScoreHistogram], None], low: float, high: float
) -> tuple[ScoreHistogram, float]:
    """(histogram of all scores, bound on its error), with bins placed as a sample of the scores suggests.

    `count` adds all scores to a histogram and is called once more for each time the bound turns out above MOST_ERROR
    (at most MOST_PASSES times); `count_sample` adds some of them.
    """
    sample = ScoreHistogram(low, high)
    count_sample(sample)
    windows = sample.windows_around(2, SAMPLE_TOLERANCE) if sample.has_both_kinds() else []
    cleared: list[float] = []
    best, lowest_error = sample, np.inf
    for _ in range(MOST_PASSES):
        histogram = ScoreHistogram(low, high, windows, cleared)
        count(histogram)
        error = histogram.error_bound() if histogram.has_both_kinds() else 0.0
        if error < lowest_error:  # finer bins here are coarser ones there: the next count can turn out worse
            best, lowest_error = histogram, error
        if error <= MOST_ERROR:
            break
        windows = histogram.windows_around(MOST_WINDOWS)
        curves = histogram.curves()
        cleared = [min_dcf_point(*curves, p_target)[0] for p_target in P_TARGETS]
    return best, lowest_error
