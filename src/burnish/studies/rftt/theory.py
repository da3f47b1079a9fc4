"""What can be had in the rftt study's world, before anything is measured: exact, by going through all its questions.

Assumed is a model that carries out every way without a mistake and draws the way at .7, .2 and .1 whatever the question
says. Two ways may end in the same answer by chance, so that a wrong way is right now and then.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

from burnish.testbeds.ways import LENGTH, PRIOR, WAYS, right_way, states


@lru_cache(maxsize=1)
def chances() -> tuple[float, ...]:
    """For each question the chance that one completion is right."""
    found = []
    for digits in product(*[range(10)] * (LENGTH - 1), range(len(WAYS))):
        answer = states(right_way(digits), digits)[-1]
        found.append(sum(share for way, share in zip(WAYS, PRIOR, strict=True) if states(way, digits)[-1] == answer))
    return tuple(found)


def solved_by_draws(completions: int) -> float:
    """Share of questions solved by so many independent completions.

    >>> round(solved_by_draws(1), 3), round(solved_by_draws(5), 3)
    (0.427, 0.759)
    """
    return sum(1 - (1 - chance) ** completions for chance in chances()) / len(chances())


def greedy_before() -> float:
    """Accuracy of a model that always goes the likeliest way.

    >>> round(greedy_before(), 3)
    0.433
    """
    return _agreement(WAYS[0], right_too=True)


def right_by_chance() -> float:
    """How often a wrong way ends in the right answer.

    >>> round(right_by_chance(), 3)
    0.133
    """
    return sum(_agreement(way, right_too=False) for way in WAYS) / len(WAYS)


def _agreement(way: str, *, right_too: bool) -> float:
    """How often a way ends in the right answer, over questions that ask for another one, or over all."""
    found = [
        states(way, digits)[-1] == states(right_way(digits), digits)[-1]
        for digits in product(*[range(10)] * (LENGTH - 1), range(len(WAYS)))
        if right_too or way != right_way(digits)
    ]
    return sum(found) / len(found)
