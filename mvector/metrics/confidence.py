"""How far EER and minDCF would move with other speakers: intervals from resampling the speakers.

Trials of one speaker are not independent (a hard voice is hard in all of them), so intervals from the number of trials
alone are far too narrow. Here whole speakers are drawn with replacement (Bolle, Ratha, Pankanti, "Error analysis of
pattern recognition systems: the subsets bootstrap", 2004): a speaker drawn w times counts in its target trials w
times, and a non-target trial of speakers drawn v and w times counts v·w times.
"""

import numpy as np
from numpy.typing import ArrayLike

from mvector.errors import MVectorError
from mvector.metrics.detection import check_trials, eer_point, min_dcf_point, rates_of_sorted

# Of each kind of trial so many are drawn at most: their sampling error is far below that of the speakers.
MOST_TRIALS = 200_000


def confidence_intervals(
    scores: ArrayLike,
    labels: ArrayLike,
    enroll_speakers: ArrayLike,
    test_speakers: ArrayLike,
    p_target: float = 0.01,
    level: float = 0.95,
    resamples: int = 200,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """{"eer": (low, high), "min_dcf": (low, high)}: percentile intervals over resampled speakers.

    scores, labels [n]; enroll_speakers, test_speakers [n] integers that number the person on each side of a trial.
    """
    score, target, _ = check_trials(scores, labels)
    people, number = np.unique(
        np.concatenate([np.asarray(enroll_speakers), np.asarray(test_speakers)]), return_inverse=True
    )
    if number.shape != (2 * score.size,):
        raise MVectorError(f"a speaker is needed for each side of the {score.size} trials, found {number.size} in all.")
    rng = np.random.default_rng(seed)
    drawn = np.concatenate([_at_most(np.flatnonzero(target == kind), rng) for kind in (True, False)])
    drawn = drawn[np.argsort(score[drawn])]
    enroll, test = number[: score.size][drawn], number[score.size :][drawn]
    score, target = score[drawn], target[drawn]

    results = []
    for _ in range(resamples):
        times = np.bincount(rng.integers(0, len(people), len(people)), minlength=len(people))
        weight = times[enroll] * np.where(target, 1, times[test])
        if not weight[target].any() or not weight[~target].any():
            continue  # possible with a handful of speakers
        rates = rates_of_sorted(score, target, weight)
        results.append((eer_point(*rates)[0], min_dcf_point(*rates, p_target)[0]))
    if not results:
        raise MVectorError(f"no confidence interval can be had from {len(people)} speakers.")
    low, high = np.quantile(results, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return {"eer": (float(low[0]), float(high[0])), "min_dcf": (float(low[1]), float(high[1]))}


def _at_most(index: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return index if len(index) <= MOST_TRIALS else rng.choice(index, MOST_TRIALS, replace=False)
