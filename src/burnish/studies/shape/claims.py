"""Claims of the shape study, written down before any judged run. Knows numbers only.

The unit of every interval is the world: its own start, records and test scenes; all arms of a world are compared within
it. Recall and precision are of facts (things and their colours) in greedy descriptions of scenes not trained on.

Theory (``theory.py``), for a captioner without a fault: the supervised texts name .63 of the things, the likeliest
caption .44 of them, two of four views and the text .85 or more. So there is recall to gain, and it can come from
nowhere but the agreement of views, since no text of the training data names more than another.

In a world below the judged ones a fit start hardly ever named what is not there: what any single view says is then
mostly true, and SHAPE as published, which keeps all of it, reached a higher recall and F1 than the vote, at a lower
precision and with two mentions in five said before. So the vote is held against it in three ways.

Expected not to hold: the vote's F1 against SHAPE as published (for that reason), POPE (no pair asks a question of yes
or no), recall within the start's length (a start that is hardly ever wrong says nothing that a truth could take the
place of: a fact costs its words), the claims on a weak start. Open: whether DPO on the winners is more than supervised
training on them, and whether a second round is more than one round on as many records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from burnish.core.findings import Finding, paired
from burnish.core.study import Measured, Rule
from burnish.studies.shape.records import (
    CAPTIONS,
    GATED,
    LONGEST,
    PUBLISHED,
    RANDOM,
    SECOND,
    SEVA,
    START,
    TWICE,
    WINNERS,
    ArmCell,
    Cell,
    Regime,
    StartCell,
    Texts,
    Worth,
)

MORE = Rule("paired difference", kind="share difference", over="worlds")
NOT_LESS = Rule("paired difference", kind="share difference", bound=-0.01, over="worlds")
NOT_IN_PAPER = "not in the paper"

World = Mapping[str, Cell]
"""The cells of a world, by arm."""


def judge_cells(cells: Sequence[Cell]) -> list[Measured]:
    """All claims. Where a fit start lies outside its bounds, none about fit starts is judged."""
    fit, weak = by_world(cells, "fit"), by_world(cells, "weak")
    outside = [why for world in fit for why in start_of(world).out_of_bounds]
    refusal = f"refused: the start's {'; '.join(outside)}" if outside else ""
    return [*_fit_claims([] if outside else fit, refusal), *_weak_claims(weak)]


def by_world(cells: Sequence[Cell], regime: Regime) -> list[dict[str, Cell]]:
    """Arms of each world that is whole, worlds in order."""
    mine = [cell for cell in cells if cell.regime == regime]
    names = {cell.arm for cell in mine}
    found: dict[int, dict[str, Cell]] = {}
    for cell in mine:
        found.setdefault(cell.world, {})[cell.arm] = cell
    return [arms for _, arms in sorted(found.items()) if set(arms) == names]


def start_of(world: World) -> StartCell:
    """The start of a world."""
    found = world[START]
    assert isinstance(found, StartCell)
    return found


def _fit_claims(worlds: Sequence[World], refusal: str) -> list[Measured]:
    def claim(
        name: str,
        words: str,
        ours: str,
        other: str,
        number: Callable[[Worth], float],
        rule: Rule = MORE,
        paper: str = NOT_IN_PAPER,
    ) -> Measured:
        return Measured(name, words, paper, rule, _compared(worlds, ours, other, number), refusal)

    return [
        Measured(
            "winners",
            "Before training: what two of the texts say is truer than the supervised text it is to beat (F1 of facts "
            "of winners and losers, SHAPE with vote and gate)",
            NOT_IN_PAPER,
            MORE,
            _of_pairs(worlds, GATED),
            refusal,
        ),
        claim(
            "recall",
            "SHAPE with vote and gate names more of what is there than its start",
            GATED,
            START,
            _recall,
            paper="MM-Vet +11.3 points (7B)",
        ),
        claim(
            "pope",
            "It answers questions of yes and no better: F1, mean of the three splits (expected not to hold)",
            GATED,
            START,
            lambda worth: worth.pope,
            paper="POPE +8.0 points (7B)",
        ),
        claim(
            "precision",
            "It is no less precise than its start, by a margin of .01",
            GATED,
            START,
            lambda worth: worth.precision,
            NOT_LESS,
        ),
        claim(
            "length",
            "The gain in recall remains when each description is cut to its start's length (expected not to hold)",
            GATED,
            START,
            lambda worth: worth.within,
        ),
        claim(
            "facts_a_word",
            "Its descriptions hold no fewer true facts a word than its start's, by a margin of .01",
            GATED,
            START,
            lambda worth: worth.right_a_word,
            NOT_LESS,
        ),
        claim(
            "published_recall",
            "SHAPE as published names more of what is there than its start",
            PUBLISHED,
            START,
            _recall,
            paper="MM-Vet +11.3 points (7B)",
        ),
        claim(
            "gate", "Vote and gate are better than SHAPE as published: F1 (expected not to hold)", GATED, PUBLISHED, _f1
        ),
        claim(
            "gate_precision",
            "Vote and gate are more precise than SHAPE as published",
            GATED,
            PUBLISHED,
            lambda worth: worth.precision,
        ),
        claim(
            "gate_a_word",
            "Descriptions hold more true facts a word with vote and gate than as published",
            GATED,
            PUBLISHED,
            lambda worth: worth.right_a_word,
        ),
        claim("captions", "F1 is above supervised training on the captions for as many steps", GATED, CAPTIONS, _f1),
        claim(
            "sft_winners",
            "Preferring the winners is better than supervised training on them: F1 (open)",
            GATED,
            WINNERS,
            _f1,
        ),
        claim("random", "F1 is above DPO in which another picture's caption loses", GATED, RANDOM, _f1),
        claim("seva", "F1 is above DPO of the answer on the picture over that on a changed view", GATED, SEVA, _f1),
        claim("longest", "F1 is above DPO in which the longest answer wins", GATED, LONGEST, _f1),
        claim("second", "A second round adds: F1 above the first round", SECOND, GATED, _f1),
        claim(
            "second_twice",
            "A second round is better than one round on as many records, steps and generated answers: F1 (open)",
            SECOND,
            TWICE,
            _f1,
        ),
    ]


def _weak_claims(worlds: Sequence[World]) -> list[Measured]:
    return [
        Measured(
            "weak_winners",
            "With a weak start too, winners are truer than the texts they are to beat (expected not to hold)",
            NOT_IN_PAPER,
            MORE,
            _of_pairs(worlds, GATED),
        ),
        Measured(
            "weak",
            "With a weak start too, SHAPE with vote and gate is better than its start: F1 (expected not to hold)",
            NOT_IN_PAPER,
            MORE,
            _compared(worlds, GATED, START, _f1),
        ),
        Measured(
            "weak_precision",
            "With a weak start too, it is no less precise, by a margin of .01 (expected not to hold)",
            NOT_IN_PAPER,
            NOT_LESS,
            _compared(worlds, GATED, START, lambda worth: worth.precision),
        ),
    ]


def _recall(worth: Texts) -> float:
    return worth.recall


def _f1(worth: Texts) -> float:
    return worth.f1


def _compared(worlds: Sequence[World], ours: str, other: str, number: Callable[[Worth], float]) -> Finding | None:
    if not worlds or not {ours, other} <= set(worlds[0]):
        return None
    return paired(worlds, lambda arms: number(arms[ours].worth), lambda arms: number(arms[other].worth), MORE.kind)


def _of_pairs(worlds: Sequence[World], arm: str) -> Finding | None:
    """Winners against losers; a world whose gate keeps no pair counts as a draw."""

    def f1(arms: World, which: str) -> float:
        cell = arms[arm]
        assert isinstance(cell, ArmCell)
        texts = getattr(cell.pairs, which)
        assert isinstance(texts, Texts)
        return texts.f1

    if not worlds or arm not in worlds[0]:
        return None
    return paired(worlds, lambda arms: f1(arms, "chosen"), lambda arms: f1(arms, "rejected"), MORE.kind)
