"""First part of the rftt study: how many questions each arm solves for the same tokens."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from burnish.core.parallel import one_thread
from burnish.dialogue.rows import Question
from burnish.dialogue.verify import Verifier
from burnish.reason.rftt.evaluate import make_prompts, plain_accuracy
from burnish.reason.rftt.generators.protocol import Prompt
from burnish.reason.rftt.rewards import Judge
from burnish.reason.rftt.rollouts import RolloutGroup
from burnish.studies.rftt.models import SINGLE
from burnish.studies.rftt.records import OURS, Sampled, Search, SearchCell
from burnish.studies.rftt.sampling import BRANCHES, TagBranching, TokenBranching, any_judge, costs, free_groups
from burnish.studies.rftt.world import GRAMMAR, LONGEST, ROWS, Rows, Warm, last_digit, load
from burnish.testbeds.ways import draw_questions


class SearchDesign(NamedTuple):
    """What a world of search costs.

    Attributes:
        questions: in either kind of world.
        temperatures: of independent completions.
        samples: independent completions of each question.
        rounds: of branching; each tries three branches.
        late_rounds: of bare rows where a greedy pass is least certain: its branches are so short that more are paid.
        cool: temperature of the first round of branching, as the paper has it.
    """

    questions: int = 300
    temperatures: tuple[float, ...] = (0.7, 1.0, 1.4)
    samples: int = 6
    rounds: int = 2
    late_rounds: int = 6
    cool: float = 0.1


class SearchJob(NamedTuple):
    """One item for the executor."""

    world: int
    design: SearchDesign
    folder: Path


def search_world(job: SearchJob) -> SearchCell:
    """All arms in both kinds of world."""
    started = time.process_time()
    with one_thread(), Verifier() as verifier:
        judge = Judge(verifier, last_digit)
        hidden = _search(job, judge, ROWS, single=False)
        single = _search(job, judge, ("tags", "bare"), single=True)
    return SearchCell(world=job.world, hidden=hidden, single=single, seconds=time.process_time() - started)


def _search(job: SearchJob, judge: Judge, rows: Sequence[Rows], *, single: bool) -> Search:
    design = job.design
    questions = draw_questions(design.questions, seed=500_000 + job.world, single=single)
    drawn: dict[str, list[RolloutGroup]] = {}
    greedy: dict[str, float] = {}
    answers = [question.answer for question in questions]
    for form in rows:
        warm = load(job.folder / f"{job.world}-{form}{SINGLE if single else ''}")
        prompts = make_prompts(warm.chat, warm.vocabulary, questions)
        found = plain_accuracy(warm.chat, warm.vocabulary, GRAMMAR, prompts, answers, judge, tokens=LONGEST, batch=512)
        greedy[form] = found.accuracy
        for name, draw in _arms(warm, form, design).items():
            drawn[name] = draw(prompts, job.world)
    budget = float(np.mean([costs(group)[BRANCHES - 1] for group in drawn[OURS]]))
    return Search(
        questions=len(questions),
        budget=budget,
        greedy=greedy,
        arms={
            name: sampled(groups, _right(groups, questions, judge), budget, BRANCHES if name == OURS else None)
            for name, groups in drawn.items()
        },
    )


Draw = Callable[[Sequence[Prompt], int], list[RolloutGroup]]


def _arms(warm: Warm, form: Rows, design: SearchDesign) -> dict[str, Draw]:
    """Ways to draw completions of a model; a functional token is the first token of a trace with tags."""

    def free(temperature: float) -> Draw:
        return lambda prompts, seed: free_groups(warm, prompts, design.samples, temperature, seed)

    def tags(prompts: Sequence[Prompt], seed: int) -> list[RolloutGroup]:
        rounds = [
            TagBranching(warm, 1, 1.0 if number else design.cool)(prompts, any_judge, 1000 * seed + number)
            for number in range(design.rounds)
        ]
        return [joined(groups) for groups in zip(*rounds, strict=True)]

    arms: dict[str, Draw] = {f"{form}, iid at {each:g}": free(each) for each in design.temperatures}
    late = design.late_rounds if form == "bare" else design.rounds
    branching = TokenBranching(warm, "least certain", late, design.cool)
    arms[f"{form}, least certain"] = lambda prompts, seed: branching(prompts, any_judge, 1000 * seed)
    if form == "tags":
        return {OURS: tags, **arms}
    first = TokenBranching(warm, "first", design.rounds, design.cool)
    return {**arms, f"{form}, first token": lambda prompts, seed: first(prompts, any_judge, 1000 * seed)}


def joined(groups: Sequence[RolloutGroup]) -> RolloutGroup:
    """Rounds of one question as one group: they share nothing but the question."""
    rollouts = []
    parents = [-1]
    for group in groups:
        first = len(parents) - 1
        rollouts += [replace(each, nodes=tuple(first + node for node in each.nodes)) for each in group.rollouts]
        parents += [0 if parent <= 0 else first + parent for parent in group.parents[1:]]
    return RolloutGroup(groups[0].prompt, tuple(rollouts), tuple(parents), sum(group.generated for group in groups))


def _right(groups: Sequence[RolloutGroup], questions: Sequence[Question], judge: Judge) -> list[list[bool]]:
    rows = [
        (each.answer, question.answer)
        for group, question in zip(groups, questions, strict=True)
        for each in group.rollouts
    ]
    verdicts = iter(judge.judge([answer for answer, _ in rows], [right for _, right in rows]))
    return [[next(verdicts).correct for _ in group.rollouts] for group in groups]


def sampled(
    groups: Sequence[RolloutGroup], right: Sequence[Sequence[bool]], budget: float, exactly: int | None = None
) -> Sampled:
    """An arm's curve, and what it solves by completions that begin before a budget is spent.

    So no arm is cut off in a completion, and each that has enough to draw pays the budget or more.

    Args:
        groups: of each question.
        right: whether each completion is.
        budget: tokens a question.
        exactly: completions that count instead, for the arm that sets the budget.
    """
    paid = np.array([costs(group) for group in groups], dtype=float)
    solved = np.maximum.accumulate(np.array(right, dtype=float), axis=1)
    begun = np.concatenate([np.zeros((len(paid), 1)), paid[:, :-1]], axis=1) < budget - 1e-9
    last = begun.sum(axis=1) - 1 if exactly is None else np.full(len(paid), exactly - 1)
    every = np.arange(len(paid))
    return Sampled(
        tokens=tuple(paid.mean(axis=0).tolist()),
        solved=tuple(solved.mean(axis=0).tolist()),
        within=float(solved[every, last].mean()),
        paid=float(paid[every, last].mean()),
    )
