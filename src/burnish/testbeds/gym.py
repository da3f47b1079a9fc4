"""Problems of reasoning-gym with answers that a verifier of mathematics can check. Knows the package and questions.

The package's own scorers give part marks; what is asked here has one number for an answer, and is right or not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from burnish.core.errors import UserError
from burnish.core.packages import Need, not_installed
from burnish.dialogue.rows import Question

FAMILIES = ("chain_sum", "gcd", "simple_equations", "gsm_symbolic")
EACH = 10
NEEDS = (Need(("reasoning_gym",)),)


def draw_problems(count: int, seed: int, families: Sequence[str] = FAMILIES) -> list[Question]:
    """So many problems of each family, in turn.

    The package seeds problem k with seed + k: seeds that are closer than ``count`` share problems.

    Raises:
        UserError: the package is not installed, or knows no such family.
    """
    sets = [draw_family(name, count, seed) for name in families]
    return [found[place] for place in range(count) for found in sets]


def draw_family(name: str, count: int, seed: int, **settings: Any) -> list[Question]:
    """So many problems of one family, as easy as its settings make them.

    Raises:
        UserError: the package is not installed, or knows no such family or setting.
    """
    try:
        import reasoning_gym
    except ImportError:
        raise not_installed("data", *NEEDS) from None
    try:
        found = list(reasoning_gym.create_dataset(name, size=count, seed=seed, **settings))
    except (ValueError, TypeError) as error:
        raise UserError(f"data: reasoning-gym has no problems `{name}` ({error})") from None
    return [
        Question(str(row["question"]), str(row["answer"]), row=f"{name}:{seed}:{place}")
        for place, row in enumerate(found)
    ]


def training() -> Iterator[Question]:
    """40 problems, ten of each family; a recipe names them `burnish.testbeds.gym:training`."""
    yield from draw_problems(EACH, seed=0)


def test() -> Iterator[Question]:
    """40 others; `burnish.testbeds.gym:test`."""
    yield from draw_problems(EACH, seed=10_000)


def last_number(text: str) -> str | None:
    """The last whole number of a text, for models too small to put their answer into a box; none if it has none.

    >>> last_number("so 12 - 20 is -8."), last_number("I do not know.")
    ('-8', None)
    """
    found = re.findall(r"(?<![\d.,])-?\d[\d,]*(?!\.?\d)", text)
    return found[-1].replace(",", "") if found else None
