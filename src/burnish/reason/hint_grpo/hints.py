"""Hint levels: how many of a solution's steps each level gives away. Pure; integers only.

Source: Hint-GRPO, section on adaptive hints. Level h of H gives the first floor(h n / H) of n steps, joined by a space;
the whole solution is never given.
"""

from __future__ import annotations

from collections.abc import Sequence


def hint_lengths(steps: int, levels: int) -> list[int]:
    """Steps given at each level, the plain prompt (0) first.

    In integers: ``int(steps * (h / levels))`` is wrong for 90 steps at level 7 of 10.

    >>> hint_lengths(5, 3)
    [0, 1, 3]
    """
    return [level * steps // levels for level in range(levels)]


def distinct_levels(steps: int, levels: int, most: int | None = None) -> dict[int, int]:
    """The levels worth trying and how many steps each gives, in rising order; level 0 is always there.

    A level that would repeat a lower one is left out: with few steps the floor makes several levels equal.

    Args:
        steps: of the solution.
        levels: H.
        most: steps that may be given at all; the guard against leaks cuts longer hints to them. None: no such limit.

    >>> distinct_levels(2, 3)
    {0: 0, 2: 1}
    """
    kept: dict[int, int] = {}
    for level, length in enumerate(hint_lengths(steps, levels)):
        length = length if most is None else min(length, most)
        if length not in kept.values():
            kept[level] = length
    return kept


def hint_text(steps: Sequence[str], length: int) -> str:
    """The first ``length`` steps joined by one space."""
    return " ".join(steps[:length])


def steps_before_answer(leaks: Sequence[bool]) -> int:
    """How many steps come before the first that gives the answer away.

    >>> steps_before_answer([False, False, True, False])
    2
    """
    return list(leaks).index(True) if True in leaks else len(leaks)
