"""One cell of the mint study: a model of one seed, trained and drawn with in all ways that it can. Knows the easel."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from burnish.core.parallel import one_thread
from burnish.generate.artist import DrawSettings, ModelArtist
from burnish.generate.plan import Plan
from burnish.generate.plan_text import to_prompt
from burnish.generate.steps.chain import Policy, act_step, cooler, correct_step, plan_step, reflect_step, run_chain
from burnish.generate.steps.outcome import outcome
from burnish.generate.steps.state import State
from burnish.generate.steps_picture import steps_figure
from burnish.studies.mint.arms import TWINS, UNPLANNED, Spending, world_of
from burnish.studies.mint.records import (
    ACT,
    BLIND,
    FULL,
    MENDED,
    ONCE,
    PLAIN,
    REFINED,
    REPAIRED,
    REWRITTEN,
    TRUE,
    TWICE,
    ModelCell,
    Score,
)
from burnish.studies.mint.training import Taught, teach
from burnish.testbeds.easel import questions
from burnish.testbeds.easel.checker import Found, find, fulfils, judge
from burnish.testbeds.easel.prompts import CATEGORIES, HELD_OUT
from burnish.testbeds.easel.sources import TEST, Drawn, draw, objects
from burnish.testbeds.easel.world import World

FAR = 10_000
"""Between the noise of a first and of a second picture."""
ROUNDS = 2
LONGEST = 40
"""Tokens of a plan or a caption; the longest of this world has 23."""
CHOICE = 3_000_000
"""Seeds of the scenes on which a model's guidance is chosen."""
SHOWN = 7
"""Prompts whose steps the report shows: one of each category."""
GUIDANCES = (1.0, 2.5)
"""To choose from: without any, and the product's default."""


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
    prompts, world = job.spending.prompts, world_of(job.model)
    tried = draw(prompts // 2, CHOICE + job.seed, world)
    artists = {
        weight: ModelArtist(taught.unified, DrawSettings(constrained=False, longest=LONGEST, guidance=weight))
        for weight in GUIDANCES
    }
    guidance = max(GUIDANCES, key=lambda weight: main_score(job.model, artists[weight], tried, world).mean)
    artist = artists[guidance]
    drawn = draw(prompts, TEST + job.seed, world)
    unseen = draw(prompts // 2, TEST + job.seed, world, categories=HELD_OUT, held_out=True)
    ways = {PLAIN: _plain, REFINED: _refined}.get(TWINS.get(job.model, job.model), _planned)
    caption = artist.describe([one.picture for one in drawn])
    right = [questions.describes(said, one.scene.things, world) for said, one in zip(caption, drawn, strict=True)]
    return ModelCell(
        seed=job.seed,
        model=job.model,
        parameters=sum(each.numel() for each in taught.unified.model.parameters()),
        steps=taught.steps,
        seconds=taught.seconds,
        losses=taught.losses,
        transition=taught.transition,
        cosine=taught.cosine,
        scores=ways(artist, drawn, world),
        described=sum(right) / len(right),
        answered=answered(artist, drawn, world, job.seed),
        guidance=guidance,
        held_out=main_score(job.model, artist, unseen, world).mean,
        wrong_drafts=taught.wrong_drafts,
        shown="" if job.model in UNPLANNED else steps_png(artist, drawn[:SHOWN]),
    )


def steps_png(artist: ModelArtist, drawn: Sequence[Drawn]) -> str:
    """All steps of the first prompts side by side, in base64."""
    states = run_chain(asked(drawn), artist, Policy(rounds=ROUNDS))
    memory = io.BytesIO()
    steps_figure(states).savefig(memory, format="png", dpi=100, bbox_inches="tight", metadata={"Software": None})
    return base64.b64encode(memory.getvalue()).decode()


def main_score(model: str, artist: ModelArtist, drawn: Sequence[Drawn], world: World) -> Score:
    """A model's main way of drawing, and no other."""
    if TWINS.get(model, model) == PLAIN:
        return score(_twice(artist, drawn), drawn, world, 0.0)
    if model == REFINED:
        return score(_told(artist, drawn, world), drawn, world, 0.0, [true_plan(one, world) for one in drawn])
    return score(act_step(plan_step(asked(drawn), artist, Policy()), artist), drawn, world, 0.0)


def answered(artist: ModelArtist, drawn: Sequence[Drawn], world: World, seed: int) -> dict[str, float]:
    """One question about each picture; the share of right answers, by kind of question."""
    rng = np.random.default_rng([seed, 73])
    rows = [questions.ask(one.scene.things, world, rng) for one in drawn]
    said = artist.describe([one.picture for one in drawn], [question for _, question, _ in rows])
    found = [(kind, words == answer) for (kind, _, answer), words in zip(rows, said, strict=True)]
    return {kind: _share([right for each, right in found if each == kind]) for kind in questions.KINDS}


def _plain(artist: ModelArtist, drawn: Sequence[Drawn], world: World) -> dict[str, Score]:
    """One picture; the better of two by the model's own reflection; and one that is corrected."""
    clock = _Clock(len(drawn))
    once = act_step(asked(drawn), artist)
    spent = {ONCE: clock()}
    twice = _twice(artist, drawn, once)
    spent[TWICE] = clock()
    mended = _corrected(once, artist)
    spent[MENDED] = spent[ONCE] + clock() - spent[TWICE]
    states = {ONCE: once, TWICE: twice, MENDED: mended}
    return {way: score(found, drawn, world, spent[way]) for way, found in states.items()}


def _twice(artist: ModelArtist, drawn: Sequence[Drawn], once: Sequence[State] | None = None) -> list[State]:
    first = reflect_step(act_step(asked(drawn), artist) if once is None else once, artist)
    second = reflect_step(act_step([replace(state, seed=state.seed + FAR) for state in asked(drawn)], artist), artist)
    return [cooler(*pair) for pair in zip(first, second, strict=True)]


def _refined(artist: ModelArtist, drawn: Sequence[Drawn], world: World) -> dict[str, Score]:
    """The true plan told as a prompt: the most that any planner could give this control (UReason)."""
    clock = _Clock(len(drawn))
    found = _told(artist, drawn, world)
    return {REWRITTEN: score(found, drawn, world, clock(), [true_plan(one, world) for one in drawn])}


def _told(artist: ModelArtist, drawn: Sequence[Drawn], world: World) -> list[State]:
    told = [
        replace(state, prompt=to_prompt(true_plan(one, world), artist.wording))
        for state, one in zip(asked(drawn), drawn, strict=True)
    ]
    return act_step(told, artist)


def _planned(artist: ModelArtist, drawn: Sequence[Drawn], world: World) -> dict[str, Score]:
    """With the model's own plan, with corrections after it, and with the true plan; and from worse drafts."""
    clock = _Clock(len(drawn))
    plans = plan_step(asked(drawn), artist, Policy())
    planning = clock()
    act = act_step(plans, artist)
    spent = {ACT: clock()}
    full = _corrected(act, artist)
    spent[FULL] = clock()
    true = act_step(
        [replace(s, plan=true_plan(one, world)) for s, one in zip(asked(drawn), drawn, strict=True)], artist
    )
    spent[TRUE] = clock() - spent[FULL]
    before = clock()
    blind = act_step(asked(drawn), artist)
    spent[BLIND] = clock() - before
    blind = [replace(draft, plan=planned.plan) for draft, planned in zip(blind, plans, strict=True)]
    repaired = _corrected(blind, artist)
    spent[REPAIRED] = planning + clock() - before
    ways = {ACT: act, FULL: full, TRUE: true, BLIND: blind, REPAIRED: repaired}
    return {way: score(found, drawn, world, spent[way]) for way, found in ways.items()}


def _corrected(states: Sequence[State], artist: ModelArtist) -> list[State]:
    policy = Policy(rounds=ROUNDS)
    found = list(states)
    for _ in range(ROUNDS):
        found = correct_step(found, artist, policy)
    return found


class _Clock:
    """CPU seconds a picture since it was made."""

    def __init__(self, pictures: int) -> None:
        self._start, self._pictures = time.process_time(), pictures

    def __call__(self) -> float:
        return (time.process_time() - self._start) / self._pictures


def asked(drawn: Sequence[Drawn]) -> list[State]:
    """A state a test prompt."""
    return [State(one.scene.prompt, number) for number, one in enumerate(drawn)]


def true_plan(one: Drawn, world: World) -> Plan:
    """That of the scene."""
    return Plan.from_rows(objects(one.scene, world))


def score(
    states: Sequence[State],
    drawn: Sequence[Drawn],
    world: World,
    seconds: float,
    told: Sequence[Plan] | None = None,
) -> Score:
    """Judge what was drawn. ``told``: plans that were not in the states, but in the prompts."""
    pairs = list(zip(states, drawn, strict=True))
    there = {one.scene.category for one in drawn}
    counts = outcome(
        [replace(state, prompt=one.scene.prompt) for state, one in pairs],
        lambda prompt, picture: judge(prompt, picture, world),
    )
    plans = [state.plan for state in states] if told is None else list(told)
    planned = [(plan, *pair) for plan, pair in zip(plans, pairs, strict=True) if plan is not None]
    return Score(
        right={
            category: _share([_right(state, one, world) for state, one in pairs if one.scene.category == category])
            for category in CATEGORIES
            if category in there
        },
        seconds=seconds,
        # a plan that cannot be read is none that is right
        plan_right=sum(fulfils(as_found(plan, world), one.scene.ask) for plan, _, one in planned) / len(states)
        if planned
        else None,
        kept=_share([shows_plan(state, plan, world) for plan, state, _ in planned]) if planned else None,
        fixed=counts.fixed,
        broken=counts.broken,
    )


def as_found(plan: Plan, world: World) -> list[Found]:
    """A plan as if it had been found in a picture."""
    found = []
    for unit in plan.units():
        assert unit.box is not None
        left, top, right, bottom = unit.box
        row, column = (grid * (low + high) / 2 - 0.5 for grid, low, high in (
            (world.grid, top, bottom), (world.grid, left, right)))  # fmt: skip
        found.append(Found(unit.name, unit.attributes[0] if unit.attributes else None, row, column, unit.box))
    return found


def shows_plan(state: State, plan: Plan, world: World) -> bool:
    """Whether a picture has the plan's things in the plan's cells, and nothing else."""
    assert state.picture is not None

    def rounded(found: Sequence[Found]) -> list[tuple[str | None, str | None, int, int]]:
        return sorted(((one.name, one.colour, round(one.row), round(one.column)) for one in found), key=str)

    return rounded(find(state.picture, world)) == rounded(as_found(plan, world))


def _right(state: State, one: Drawn, world: World) -> bool:
    assert state.picture is not None
    return judge(one.scene.prompt, state.picture, world)


def _share(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else 0.0
