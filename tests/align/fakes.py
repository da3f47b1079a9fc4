"""A generator without a model, for the rooms around it, and the plan of a factory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from burnish.align.factory import FactoryPlan
from burnish.align.generators.counts import TokenCounts
from burnish.align.recipe import GeneratorSettings
from burnish.align.records import Answer, Ask, Record, Sampling, make_record, picture_hash
from burnish.align.settings import PairSettings, ViewSettings
from tests.align.models import picture
from tests.align.words import VOCABULARY

THINGS = ("red circle", "blue square", "green cross", "brown dog", "small owl")


def seen(ask: Ask) -> str:
    """An answer that depends on the pixels and the seed: three of five things."""
    assert ask.image is not None
    mixed = int(picture_hash(ask.image), 16) + ask.seed
    return "There is " + " and ".join(f"a {THINGS[(mixed >> 8 * place) % 5]}" for place in range(3)) + "."


@dataclass
class Scripted:
    """Answers by a function; a summary is the first answer of its prompt, cut if so. Keeps what it was asked."""

    script: Callable[[Ask], str | Answer] = seen
    cut: bool = False
    counts: TokenCounts = field(default_factory=TokenCounts)
    asked: list[Ask] = field(default_factory=list)

    def answer(self, asks: Sequence[Ask], sampling: Sampling) -> list[Answer]:
        self.asked += asks
        found = []
        for ask in asks:
            if ask.image is None:
                said: str | Answer = Answer(ask.question.split("Answer 1: ")[-1].split("\n")[0], 1, self.cut)
            else:
                said = self.script(ask)
            found.append(said if isinstance(said, Answer) else Answer(said, len(said.split())))
        pictures = sum(ask.image is not None for ask in asks)
        self.counts += TokenCounts(sum(each.tokens for each in found), len(asks), 0, pictures)
        return found


def plan(records: int = 3, views: dict[str, Any] | None = None, **pairs: Any) -> FactoryPlan:
    return FactoryPlan(
        ViewSettings(**(views or {})),
        PairSettings(**{"winner": "merger", "margin": None, **pairs}),
        GeneratorSettings(records=records, tokens=20),
        VOCABULARY,
        seed=5,
    )


def records(count: int, size: tuple[int, int] = (20, 16), text: str = "A thing.") -> list[Record]:
    return [
        make_record(picture(number, *size), f"What is {number}?", text, f"rows:{number}") for number in range(count)
    ]
