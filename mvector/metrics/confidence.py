"""How far a metric would move with other speakers: intervals and comparisons from resampling the speakers.

Trials of one speaker are not independent (a hard voice is hard in all of them), so intervals from the number of trials
alone are far too narrow. Here whole speakers are drawn with replacement (Bolle, Ratha, Pankanti, "Error analysis of
pattern recognition systems: the subsets bootstrap", 2004): a speaker drawn w times counts in its target trials w
times, and a non-target trial of speakers drawn v and w times counts v·w times.

Metrics are asked for by name: eer, min_dcf_P, act_dcf_P, frr_at_far_F, cllr, min_cllr, roc_auc, average_precision and
accuracy, where P is a p_target and F a FAR, as in min_dcf_0.01.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mvector.errors import MVectorError
from mvector.metrics.detection import check_trials, eer, nontargets_needed, nontargets_needed_for_cost
from mvector.metrics.resampling import RankedTrials, draws, measure_of, numbered_people, parse_metric, thinned

# With fewer speakers the drawn ones vary less than new ones would, and the interval is too narrow.
FEWEST_SPEAKERS = 20


class TooFewSpeakersError(MVectorError):
    """So few speakers that no draw of them has both target and non-target trials."""


@dataclass(frozen=True)
class PairedDifference:
    """A metric of two systems on the same trials; low and high bound the difference at the level asked for."""

    metric: str
    value_a: float
    value_b: float
    difference: float  # value_a - value_b
    low: float
    high: float
    p_value: float
    speakers: int

    @property
    def larger_than_chance(self) -> bool:
        """Whether zero lies outside the interval, with speakers enough to trust it."""
        return not self.low <= 0 <= self.high and not self.interval_too_narrow

    @property
    def interval_too_narrow(self) -> bool:
        return self.speakers < FEWEST_SPEAKERS


def confidence_intervals(
    scores: ArrayLike,
    labels: ArrayLike,
    enroll_speakers: ArrayLike,
    test_speakers: ArrayLike,
    p_target: float = 0.01,
    level: float = 0.95,
    resamples: int = 200,
    seed: int = 0,
    metrics: Sequence[str] = ("eer", "min_dcf"),
    llrs: ArrayLike | None = None,
    threshold: float | None = None,
) -> dict[str, tuple[float, float]]:
    """{metric: (low, high)}: percentile intervals over resampled speakers, by default of "eer" and "min_dcf".

    scores, labels [n]; enroll_speakers, test_speakers [n] integers that number the person on each side of a trial.
    `p_target` is that of a plain "min_dcf" or "act_dcf"; `llrs` [n] are needed for cllr and act_dcf. The accuracy is
    that at `threshold` (default: the EER's), which is not chosen anew for each resample. From fewer than
    FEWEST_SPEAKERS people the intervals are too narrow; from two or three there may be none: TooFewSpeakersError.
    """
    score, target, _ = check_trials(scores, labels)
    llr = None if llrs is None else check_trials(llrs, labels)[0]
    people, enroll, test = numbered_people(enroll_speakers, test_speakers, score.size)
    if threshold is None:
        threshold = eer(score, target)[1] if "accuracy" in metrics else 0.0
    rng = np.random.default_rng(seed)
    few, copies = thinned(target, rng, [score])
    trials = RankedTrials(
        score[few], target[few], enroll[few], test[few], copies, None if llr is None else llr[few], threshold
    )
    measures = [measure_of(name, trials, p_target) for name in metrics]
    results = [
        [measure(resample) for measure in measures]
        for times in draws(people, resamples, rng)
        if (resample := trials.resample(times)) is not None
    ]
    if not results:
        raise TooFewSpeakersError(f"no confidence interval can be had from {people} speakers.")
    low, high = np.quantile(results, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(metrics)}


def paired_difference(
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    labels: ArrayLike,
    enroll_speakers: ArrayLike,
    test_speakers: ArrayLike,
    metric: str = "eer",
    level: float = 0.95,
    resamples: int = 500,
    seed: int = 0,
) -> PairedDifference:
    """Whether two systems differ by more than the choice of speakers explains (paired bootstrap).

    scores_a, scores_b [n]: the two systems' scores of the same trials in the same order (LLRs where the metric is
    cllr or act_dcf); the rest as for `confidence_intervals`. Each resample measures both on the same speakers, so what
    makes a speaker hard for both cancels out. `p_value` is twice the smaller of the shares of resamples in which the
    difference is not above and not below zero (at least 2 / (resamples + 1), at most 1). The accuracy is that at each
    system's own EER threshold.
    """
    score_a, target, _ = check_trials(scores_a, labels)
    score_b = check_trials(scores_b, labels)[0]
    needed, found_trials = _nontargets_needed(metric), int(np.count_nonzero(~target))
    if found_trials < needed:
        raise MVectorError(
            f"{metric} is not measurable: it needs {needed:,} non-target trials, found {found_trials:,}."
        )
    people, enroll, test = numbered_people(enroll_speakers, test_speakers, target.size)
    rng = np.random.default_rng(seed)
    few, copies = thinned(target, rng, [score_a, score_b])
    values, systems = [], []
    for score in (score_a, score_b):
        threshold = eer(score, target)[1] if metric == "accuracy" else 0.0
        whole = RankedTrials(score, target, enroll, test, np.ones(target.size), score, threshold)
        everybody_once = whole.resample(np.ones(people))
        assert everybody_once is not None  # check_trials has seen both kinds
        values.append(measure_of(metric, whole)(everybody_once))
        ranked = RankedTrials(score[few], target[few], enroll[few], test[few], copies, score[few], threshold)
        systems.append((ranked, measure_of(metric, ranked)))
    found = []
    for times in draws(people, resamples, rng):
        resamples_of_both = [ranked.resample(times) for ranked, _ in systems]
        pair = [m(resample) for (_, m), resample in zip(systems, resamples_of_both, strict=True) if resample]
        if pair:  # a kind of trial that is missing is missing for both
            found.append(pair[0] - pair[1])
    if not found:
        raise TooFewSpeakersError(f"two systems cannot be compared on {people} speakers; more are needed.")
    differences = np.array(found)
    low, high = np.quantile(differences, [(1 - level) / 2, (1 + level) / 2])
    fewer = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
    return PairedDifference(
        metric=metric,
        value_a=values[0],
        value_b=values[1],
        difference=values[0] - values[1],
        low=float(low),
        high=float(high),
        p_value=min(1.0, 2 * (fewer + 1) / (len(differences) + 1)),
        speakers=people,
    )


def _nontargets_needed(metric: str) -> int:
    base, point = parse_metric(metric, p_target=0.01)
    if base == "frr_at_far":
        return nontargets_needed(point)
    return nontargets_needed_for_cost(point) if base in ("min_dcf", "act_dcf") else 1
