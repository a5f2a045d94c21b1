"""Drawing trials: pairs of recordings of one speaker (targets) and of two (non-targets), in exact numbers."""

import math
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mvector.errors import DataListError

DEFAULT_TARGETS = 10_000
DEFAULT_NON_TARGETS = 20_000


@dataclass(frozen=True)
class Voice:
    """A recording that trials may be made of. Only voices of one `group` (corpus) meet in a trial: two corpora
    differ in their microphones, which would make a non-target trial too easy."""

    path: str
    speaker: str
    gender: str | None = None
    group: str = ""


Trial = tuple[bool, str, str]  # is target, enrollment, test
Key = tuple[int, ...]


@dataclass(frozen=True)
class _Block:
    """Pairs are drawn from its two sides; `within`: both sides are the same recordings and a pair has no order."""

    left: list[int]
    right: list[int]
    within: bool

    @property
    def pairs(self) -> int:
        return len(self.left) * (len(self.left) - 1) // 2 if self.within else len(self.left) * len(self.right)

    def pair(self, k: int) -> tuple[int, int]:
        if not self.within:
            return self.left[k // len(self.right)], self.right[k % len(self.right)]
        j = (1 + math.isqrt(8 * k + 1)) // 2  # pairs in the order (0,1) (0,2) (1,2) (0,3) …
        return self.left[k - j * (j - 1) // 2], self.left[j]


def make_trials(
    tests: Sequence[Voice],
    enroll: Sequence[Voice] | None = None,
    targets: int | None = None,
    non_targets: int | None = None,
    same_sex_share: float | None = None,
    seed: int = 0,
) -> list[Trial]:
    """Exactly `targets` target and `non_targets` non-target trials, each pair once, in random order.

    Pairs are drawn from `tests`, or with one side from `enroll` if that is given. Targets are spread evenly
    over the speakers. `same_sex_share` of the non-targets are of one sex, the others of two; None does not look at sex.
    None for a number takes 10,000 targets and 20,000 non-targets or as many as there are.
    Raises DataListError which says how many there are when that is too few.
    """
    voices = list({voice.path: voice for voice in [*(enroll or []), *tests]}.values())
    index = {voice.path: i for i, voice in enumerate(voices)}
    test_rows = np.array(sorted({index[voice.path] for voice in tests}), np.int64)
    enroll_rows = test_rows if enroll is None else np.array(sorted({index[voice.path] for voice in enroll}), np.int64)
    if enroll is not None and np.intersect1d(test_rows, enroll_rows).size:
        raise ValueError("a recording is on both sides")
    rng = random.Random(seed)
    pairs = _Pairs(voices, enroll_rows, test_rows, one_side=enroll is None)

    chosen = [(True, pair) for pair in pairs.draw_targets(targets, rng)]
    if same_sex_share is None:
        chosen += [(False, pair) for pair in pairs.draw_non_targets(non_targets, rng, "any")]
    else:
        same, different = _shares(pairs, non_targets, same_sex_share)
        chosen += [(False, pair) for pair in pairs.draw_non_targets(same, rng, "same")]
        chosen += [(False, pair) for pair in pairs.draw_non_targets(different, rng, "different")]
    rng.shuffle(chosen)
    return [(target, voices[a].path, voices[b].path) for target, (a, b) in chosen]


def _shares(pairs: "_Pairs", non_targets: int | None, same_sex_share: float) -> tuple[int, int]:
    if not 0 <= same_sex_share <= 1:
        raise DataListError(f"the share of same-sex trials must be between 0 and 1, found {same_sex_share}.")
    unknown = sum(voice.gender is None for voice in pairs.voices)
    if unknown:
        raise DataListError(
            f"the sex of the speakers of {unknown} of {len(pairs.voices)} recordings is not known, so that no share of "
            "same-sex trials can be kept: leave --same_sex_share out, or give --genders FILE ('speaker<TAB>m|f')."
        )
    if non_targets is None:
        most_same = pairs.count("same") / same_sex_share if same_sex_share > 0 else math.inf
        most_different = pairs.count("different") / (1 - same_sex_share) if same_sex_share < 1 else math.inf
        non_targets = int(min(DEFAULT_NON_TARGETS, most_same, most_different))
    same = min(round(non_targets * same_sex_share), non_targets)
    return same, non_targets - same


class _Pairs:
    """The pairs that can be made: counted without listing them, drawn without replacement."""

    def __init__(
        self, voices: Sequence[Voice], enroll: NDArray[np.int64], tests: NDArray[np.int64], one_side: bool
    ) -> None:
        self.voices, self.enroll, self.tests, self.one_side = voices, enroll, tests, one_side
        self.speaker = _numbers([(voice.group, voice.speaker) for voice in voices])
        group, gender = _numbers([voice.group for voice in voices]), _numbers([voice.gender for voice in voices])
        speakers = self._blocks(lambda i: (int(self.speaker[i]),))
        sexes = self._blocks(lambda i: (int(group[i]), int(gender[i])))
        self.target_blocks = list(speakers.values())
        # Blocks of non-target pairs by kind; target pairs among them are passed over.
        self.blocks = {
            "any": list(self._blocks(lambda i: (int(group[i]),)).values()),
            "same": list(sexes.values()),
            "different": [
                _Block(block.left, other.right, within=False)
                for key, block in sexes.items()
                for other_key, other in sexes.items()
                # With one side a pair is the same both ways round: take it once.
                if key[0] == other_key[0] and (key[1] < other_key[1] if one_side else key[1] != other_key[1])
            ],
        }

    def count(self, kind: str) -> int:
        """How many non-target pairs there are; kind: 'same' or 'different' sex, or 'any'."""
        pairs = sum(block.pairs for block in self.blocks[kind])
        return pairs - (0 if kind == "different" else sum(block.pairs for block in self.target_blocks))

    def draw_targets(self, wanted: int | None, rng: random.Random) -> list[tuple[int, int]]:
        available = sum(block.pairs for block in self.target_blocks)
        wanted = min(DEFAULT_TARGETS, available) if wanted is None else wanted
        if wanted > available:
            raise DataListError(
                f"{wanted} target trials were asked for, but {available} can be made of {len(self.tests)} recordings "
                f"of {len(set(self.speaker[self.tests].tolist()))} speakers: ask for at most that many with --targets."
            )
        quotas = _even_quotas([block.pairs for block in self.target_blocks], wanted, rng)
        return [
            block.pair(k)
            for block, quota in zip(self.target_blocks, quotas, strict=True)
            for k in rng.sample(range(block.pairs), quota)
        ]

    def draw_non_targets(self, wanted: int | None, rng: random.Random, kind: str) -> list[tuple[int, int]]:
        available = self.count(kind)
        wanted = min(DEFAULT_NON_TARGETS, available) if wanted is None else wanted
        if wanted > available:
            names = {"same": "same-sex non-target", "different": "different-sex non-target", "any": "non-target"}
            raise DataListError(
                f"{wanted} {names[kind]} trials were asked for, but {available} can be made of {len(self.tests)} "
                "recordings: ask for fewer with --nontargets, or for another --same_sex_share."
            )
        seen = self._draw(kind, wanted, rng) if wanted * 2 <= available else set()
        if len(seen) < wanted:  # most of the pairs are wanted, or pairs of two speakers are rare: list all of them
            rest = sorted(set(self._all_pairs(kind)) - seen)
            seen |= set(rng.sample(rest, wanted - len(seen)))
        return sorted(seen)

    def _draw(self, kind: str, wanted: int, rng: random.Random) -> set[tuple[int, int]]:
        """Different pairs of two speakers by rejection; may stop short where such pairs are rare."""
        blocks = self.blocks[kind]
        sizes = [block.pairs for block in blocks]
        seen: set[tuple[int, int]] = set()
        for _ in range(20):
            if len(seen) == wanted:
                break
            for number in rng.choices(range(len(blocks)), sizes, k=2 * (wanted - len(seen)) + 16):
                pair = blocks[number].pair(rng.randrange(sizes[number]))
                if self.speaker[pair[0]] != self.speaker[pair[1]]:
                    seen.add(pair)
                    if len(seen) == wanted:
                        break
        return seen

    def _all_pairs(self, kind: str) -> list[tuple[int, int]]:
        pairs = []
        for block in self.blocks[kind]:
            right = np.array(block.right, np.int64)
            for position, i in enumerate(block.left):
                others = right[position + 1 :] if block.within else right  # the earlier one first, as in `pair`
                pairs += [(i, j) for j in others[self.speaker[others] != self.speaker[i]].tolist()]
        return pairs

    def _blocks(self, key: Callable[[int], Key]) -> dict[Key, _Block]:
        """The recordings of each key: pairs inside it."""
        left: dict[Key, list[int]] = defaultdict(list)
        right: dict[Key, list[int]] = defaultdict(list)
        for i in self.enroll.tolist():
            left[key(i)].append(i)
        for i in self.tests.tolist():
            right[key(i)].append(i)
        return {k: _Block(left[k], right[k], self.one_side) for k in {**left, **right}}


def _even_quotas(capacity: list[int], wanted: int, rng: random.Random) -> list[int]:
    """How many of `wanted` each takes: equal shares as far as the capacities allow, the odd ones at random."""
    quotas = [0] * len(capacity)
    order = list(range(len(capacity)))
    rng.shuffle(order)
    order.sort(key=lambda i: capacity[i])  # a small one cannot take its share; the rest is spread over the larger ones
    for position, i in enumerate(order):
        remaining = len(order) - position
        # Rounding up or down by position keeps the sum exact and the odd ones random within equal capacities.
        quotas[i] = min(capacity[i], -(-wanted // remaining) if position % 2 else wanted // remaining)
        wanted -= quotas[i]
    return quotas


def _numbers(values: Sequence[object]) -> NDArray[np.int64]:
    table: dict[object, int] = {}
    return np.array([table.setdefault(value, len(table)) for value in values], np.int64)
