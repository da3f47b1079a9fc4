"""One cell of the mint study: a model of one seed, trained and drawn with in all ways that it can. Knows the easel."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from burnish.core.parallel import one_thread
from burnish.generate.artist import DrawSettings, ModelArtist
from burnish.generate.plan import Plan
from burnish.generate.plan_text import to_prompt
from burnish.generate.steps.chain import Policy, act_step, cooler, correct_step, plan_step, reflect_step
from burnish.generate.steps.outcome import outcome
from burnish.generate.steps.state import State
from burnish.studies.mint.arms import Spending
from burnish.studies.mint.records import (
    ACT,
    FULL,
    ONCE,
    PLAIN,
    REFINED,
    REWRITTEN,
    TRUE,
    TWICE,
    ModelCell,
    Score,
)
from burnish.studies.mint.training import Taught, teach
from burnish.testbeds.easel import questions
from burnish.testbeds.easel.checker import Found, find, fulfils, judge
from burnish.testbeds.easel.prompts import CATEGORIES
from burnish.testbeds.easel.sources import TEST, Drawn, draw, objects
from burnish.testbeds.easel.world import SHAPE_WORLD

FAR = 10_000
"""Between the noise of a first and of a second picture."""
ROUNDS = 2
LONGEST = 40
"""Tokens of a plan or a caption; the longest of this world has 23."""


class ModelJob(NamedTuple):
    """One item for the executor."""

    seed: int
    model: str
    spending: Spending


def run_model(job: ModelJob) -> ModelCell:
    """Train a model, draw in all its ways, describe."""
    with one_thread():
        taught = teach(job.model, job.spending, job.seed)
        return judged(job, taught)


def judged(job: ModelJob, taught: Taught) -> ModelCell:
    """What a trained model can do, on scenes that training has not seen."""
    drawn = draw(job.spending.prompts, TEST + job.seed)
    artist = ModelArtist(taught.unified, DrawSettings(constrained=False, longest=LONGEST))
    ways = {PLAIN: _plain, REFINED: _refined}.get(job.model, _planned)
    caption = artist.describe([one.picture for one in drawn])
    right = [questions.describes(said, one.scene.things, SHAPE_WORLD) for said, one in zip(caption, drawn, strict=True)]
    return ModelCell(
        seed=job.seed,
        model=job.model,
        parameters=sum(each.numel() for each in taught.unified.model.parameters()),
        steps=taught.steps,
        seconds=taught.seconds,
        losses=taught.losses,
        transition=taught.transition,
        cosine=taught.cosine,
        scores=ways(artist, drawn),
        described=sum(right) / len(right),
    )


def _plain(artist: ModelArtist, drawn: Sequence[Drawn]) -> dict[str, Score]:
    """One picture, and the better of two by the model's own reflection."""
    clock = _Clock(len(drawn))
    one = act_step(asked(drawn), artist)
    once = score(one, drawn, clock())
    first = reflect_step(one, artist)
    second = reflect_step(act_step([replace(state, seed=state.seed + FAR) for state in asked(drawn)], artist), artist)
    twice = [cooler(*pair) for pair in zip(first, second, strict=True)]
    return {ONCE: once, TWICE: score(twice, drawn, clock())}


def _refined(artist: ModelArtist, drawn: Sequence[Drawn]) -> dict[str, Score]:
    """The true plan told as a prompt: the most that any planner could give this control (UReason)."""
    clock = _Clock(len(drawn))
    told = [
        replace(state, prompt=to_prompt(true_plan(one), artist.wording))
        for state, one in zip(asked(drawn), drawn, strict=True)
    ]
    found = act_step(told, artist)
    return {REWRITTEN: score(found, drawn, clock(), [true_plan(one) for one in drawn])}


def _planned(artist: ModelArtist, drawn: Sequence[Drawn]) -> dict[str, Score]:
    """With the model's own plan, with corrections after it, and with the true plan."""
    clock = _Clock(len(drawn))
    policy = Policy(rounds=ROUNDS)
    states = act_step(plan_step(asked(drawn), artist, policy), artist)
    act = score(states, drawn, clock())
    for _ in range(ROUNDS):
        states = correct_step(states, artist, policy)
    full = score(states, drawn, clock())
    clock = _Clock(len(drawn))
    true = [replace(state, plan=true_plan(one)) for state, one in zip(asked(drawn), drawn, strict=True)]
    return {ACT: act, FULL: full, TRUE: score(act_step(true, artist), drawn, clock())}


class _Clock:
    """CPU seconds a picture since it was made."""

    def __init__(self, pictures: int) -> None:
        self._start, self._pictures = time.process_time(), pictures

    def __call__(self) -> float:
        return (time.process_time() - self._start) / self._pictures


def asked(drawn: Sequence[Drawn]) -> list[State]:
    """A state a test prompt."""
    return [State(one.scene.prompt, number) for number, one in enumerate(drawn)]


def true_plan(one: Drawn) -> Plan:
    """That of the scene."""
    return Plan.from_rows(objects(one.scene, SHAPE_WORLD))


def score(states: Sequence[State], drawn: Sequence[Drawn], seconds: float, told: Sequence[Plan] | None = None) -> Score:
    """Judge what was drawn. ``told``: plans that were not in the states, but in the prompts."""
    pairs = list(zip(states, drawn, strict=True))
    right = {
        category: _share([_right(state, one) for state, one in pairs if one.scene.category == category])
        for category in CATEGORIES
    }
    plans = [state.plan for state in states] if told is None else list(told)
    planned = [(plan, *pair) for plan, pair in zip(plans, pairs, strict=True) if plan is not None]
    if not planned:
        return Score(right=right, seconds=seconds)
    fulfilled = [fulfils(as_found(plan), one.scene.ask) for plan, _, one in planned]
    kept = [shows_plan(state, plan) for plan, state, _ in planned]
    counts = outcome(
        [replace(state, prompt=one.scene.prompt) for state, one in pairs],
        lambda prompt, picture: judge(prompt, picture, SHAPE_WORLD),
    )
    return Score(
        right=right,
        seconds=seconds,
        plan_right=sum(fulfilled) / len(states),  # a plan that cannot be read is none that is right
        kept=_share(kept),
        fixed=counts.fixed,
        broken=counts.broken,
    )


def as_found(plan: Plan) -> list[Found]:
    """A plan as if it had been found in a picture."""
    found = []
    for unit in plan.units():
        assert unit.box is not None
        left, top, right, bottom = unit.box
        row, column = (grid * (low + high) / 2 - 0.5 for grid, low, high in (
            (SHAPE_WORLD.grid, top, bottom), (SHAPE_WORLD.grid, left, right)))  # fmt: skip
        found.append(Found(unit.name, unit.attributes[0] if unit.attributes else None, row, column, unit.box))
    return found


def shows_plan(state: State, plan: Plan) -> bool:
    """Whether a picture has the plan's things in the plan's cells, and nothing else."""
    assert state.picture is not None

    def rounded(found: Sequence[Found]) -> list[tuple[str | None, str | None, int, int]]:
        return sorted(((one.name, one.colour, round(one.row), round(one.column)) for one in found), key=str)

    return rounded(find(state.picture, SHAPE_WORLD)) == rounded(as_found(plan))


def _right(state: State, one: Drawn) -> bool:
    assert state.picture is not None
    return judge(one.scene.prompt, state.picture, SHAPE_WORLD)


def _share(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else 0.0
