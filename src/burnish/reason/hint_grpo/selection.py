"""Which level a question learns from, and what a batch of such choices amounts to. Pure.

Source: Hint-GRPO: the smallest level with a right completion is selected; data utilisation S_valid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


def solve_rate(successes: Sequence[float], above: float = 0.0) -> float:
    """Share of a group's completions that succeed: whose value is above the threshold.

    A threshold, not a positive sum: with negative or shaped rewards a sum may be at most 0 with a right completion in
    it.
    """
    return sum(value > above for value in successes) / len(successes)


def select(rates: Mapping[int, float]) -> int | None:
    """The first level, in the order of the mapping, at which any completion succeeded; ``None`` if there is none.

    The published rule: a level that is all correct is selected too, though nothing is learnt from it (it is too easy,
    and a hint could only make it easier).
    """
    return next((level for level, rate in rates.items() if rate > 0), None)


def is_mixed(rewards: Sequence[float]) -> bool:
    """Whether a group's rewards differ at all, so that some advantage is not zero.

    Equality, not a small standard deviation: a shaped reward may vary little and mean it. NaN, a completion that no
    function could score, has no part in it: TRL leaves it out of the group's mean and gives it no advantage.
    """
    scored = [reward for reward in rewards if not math.isnan(reward)]
    return any(reward != scored[0] for reward in scored)


@dataclass(frozen=True)
class Outcome:
    """What became of one question.

    Attributes:
        level: the selected one; the first tried where none had a success.
        rewards: total rewards of the selected group; NaN for what could not be scored.
        rate: its solve rate.
        plain_rate: the solve rate without hint; none where level 0 was not tried.
        hintless: the question has no steps to give hints from.
        mixed: some completion of the selected group has an advantage.
    """

    level: int
    rewards: tuple[float, ...]
    rate: float
    plain_rate: float | None
    hintless: bool
    mixed: bool


def tally(outcomes: Sequence[Outcome], places: int) -> list[float]:
    """Sums over questions that add up over processes; :func:`tally_metrics` reads them.

    Args:
        outcomes: of this process's questions.
        places: hint levels H; a self-written hint counts in one place more.
    """
    sums = [0.0] * (6 + 3 * (places + 1))
    for outcome in outcomes:
        place = places if outcome.level < 0 else outcome.level
        sums[0] += 1
        sums[1] += outcome.rate == 1
        sums[2] += outcome.rate == 0
        sums[3] += outcome.hintless
        sums[4] += outcome.plain_rate is not None
        sums[5] += outcome.plain_rate or 0.0
        sums[6 + place] += 1
        sums[6 + (places + 1) + place] += outcome.mixed
        sums[6 + 2 * (places + 1) + place] += sum(reward for reward in outcome.rewards if not math.isnan(reward))
    return sums


def tally_metrics(sums: Sequence[float], places: int) -> dict[str, float]:
    """The numbers to log from the sums of :func:`tally`; what has nothing to divide by is left out.

    Returns:
        ``utilisation`` (S_valid) and by level, ``all_correct`` (no advantage either, counted apart) and ``all_wrong``,
        ``hintless``, ``selected/LEVEL`` (the histogram), ``plain_accuracy`` (solve rate where level 0 was tried) and
        ``reward_without_hint``, the share of the training reward that was earned at level 0.
    """
    count = sums[0]
    groups, mixed, rewards = (sums[6 + part * (places + 1) : 6 + (part + 1) * (places + 1)] for part in range(3))
    found = {
        "utilisation": sum(mixed) / count,
        "all_correct": sums[1] / count,
        "all_wrong": sums[2] / count,
        "hintless": sums[3] / count,
    }
    if sums[4]:
        found["plain_accuracy"] = sums[5] / sums[4]
    if sum(rewards) > 0:
        found["reward_without_hint"] = rewards[0] / sum(rewards)
    for place in range(places + 1):
        name = "self" if place == places else str(place)
        if place < places or groups[place]:
            found[f"selected/{name}"] = groups[place] / count
        if groups[place]:
            found[f"utilisation/{name}"] = mixed[place] / groups[place]
    return found
