"""Second part of the rftt study: phase 1 by the product's search and splices; what verify, refine and a vote add."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from burnish.core.parallel import one_thread
from burnish.dialogue.rows import Question
from burnish.dialogue.verify import Verifier
from burnish.reason.rftt.evaluate import make_prompts, plain_accuracy
from burnish.reason.rftt.generators.protocol import Prompt, Sampling
from burnish.reason.rftt.generators.transformers_reuse import PrefixReuse
from burnish.reason.rftt.rewards import Judge, Rewards
from burnish.reason.rftt.rollouts import plain_group
from burnish.reason.rftt.search import search
from burnish.reason.rftt.sft import Example, make_examples
from burnish.reason.rftt.voting import count_votes, search_answers
from burnish.reason.rftt.walk import SearchRules
from burnish.reason.rftt.warmup import Row, rows_of_trees
from burnish.studies.rftt.models import teach
from burnish.studies.rftt.records import MendCell
from burnish.studies.rftt.sampling import BRANCHES, ROWS_AT_ONCE, draw_rows, free_groups
from burnish.studies.rftt.world import GRAMMAR, LONGEST, Warm, last_digit, load, repeat_examples, wrong_ways
from burnish.testbeds.ways import WAYS, draw_questions


class MendDesign(NamedTuple):
    """What a world of phase 1 costs.

    Attributes:
        searched: questions whose trees become rows.
        tokens: of supervised training on these rows, with splices and without.
        questions: of tests.
        voted: questions that are answered by a vote.
        rollouts: of a search that votes; the first is one.
    """

    searched: int = 400
    tokens: int = 192_000
    questions: int = 300
    voted: int = 150
    rollouts: tuple[int, ...] = (1, 4, 16)


class MendJob(NamedTuple):
    """One item for the executor."""

    world: int
    design: MendDesign
    folder: Path


def mend_world(job: MendJob) -> MendCell:
    """Trees, rows, two models, and what they do."""
    started = time.process_time()
    design = job.design
    tests = draw_questions(design.questions, seed=500_000 + job.world)
    with one_thread(), Verifier() as verifier:
        judge = Judge(verifier, last_digit)
        start = load(job.folder / f"{job.world}-tags")
        rows, counts = searched_rows(start, design.searched, job.world, judge)
        mended: dict[str, float] = {}
        accuracy: dict[str, float] = {}
        for name, own in (("without", [row for row in rows if row.kind == "path"]), ("spliced", rows)):
            warm = load(job.folder / f"{job.world}-tags")
            if own:  # where the search solved nothing there is nothing to learn
                examples = _examples(warm, own, job.world, design)
                teach(warm, repeat_examples(examples, design.tokens, job.world), job.world)
            mended[name] = mended_share(warm, tests, judge)
            accuracy[name] = _accuracy(warm, tests, judge)
        # the last one, which has splices, answers the rest
        for action in ("verify", "refine"):
            with masked(warm, action):
                accuracy[f"no {action}"] = _accuracy(warm, tests, judge)
        votes, spent = _votes(warm, tests[: design.voted], design, job.world, judge)
    return MendCell(
        world=job.world,
        rows=counts,
        mended=mended,
        accuracy=accuracy,
        votes=votes,
        vote_tokens=spent,
        seconds=time.process_time() - started,
    )


def searched_rows(warm: Warm, count: int, world: int, judge: Judge) -> tuple[list[Row], dict[str, int]]:
    """Phase 1's rows: two texts of each way are searched, and judged by the answers."""
    questions = draw_questions(count, seed=world)
    prompts = make_prompts(warm.chat, warm.vocabulary, questions)
    references = {prompt.id: question.answer for prompt, question in zip(prompts, questions, strict=True)}
    trees = search(
        prompts,
        engine(warm),
        GRAMMAR,
        Rewards("outcome", judge).of_paths(references, GRAMMAR, warm.vocabulary),
        SearchRules(rollouts=2 * BRANCHES, samples=dict.fromkeys(WAYS, 2), sampling=Sampling(0.8, 40, 0.95)),
        seed=world,
        width=ROWS_AT_ONCE,
    )
    rows, counts = rows_of_trees(trees, GRAMMAR)
    return rows, asdict(counts)


def engine(warm: Warm) -> PrefixReuse:
    """The product's engine for a search with this model."""
    return PrefixReuse(warm.chat.model, warm.chat.tokenizer, warm.vocabulary, GRAMMAR, batch=ROWS_AT_ONCE)


def _examples(warm: Warm, rows: Sequence[Row], world: int, design: MendDesign) -> list[Example]:
    prompts = make_prompts(warm.chat, warm.vocabulary, draw_questions(design.searched, seed=world))
    return make_examples(rows, {each.id: each.ids for each in prompts}, warm.chat.tokenizer, warm.vocabulary)[0]


def mended_share(warm: Warm, questions: Sequence[Question], judge: Judge) -> float:
    """How often a greedy trace ends right although a wrong way was imposed as its first step."""
    prompts = make_prompts(warm.chat, warm.vocabulary, questions)
    rows = [
        (prompt, question, warm.vocabulary.opens[way])
        for prompt, question in zip(prompts, questions, strict=True)
        for way in wrong_ways(question)
    ]
    texts = draw_rows(warm, [(*prompt.ids, tag) for prompt, _, tag in rows], 0.0, 0).ids
    answers = [
        plain_group(prompt, [[tag, *ids]], None, warm.chat.tokenizer, warm.vocabulary, GRAMMAR).rollouts[0].answer
        for (prompt, _, tag), ids in zip(rows, texts, strict=True)
    ]
    verdicts = judge.judge(answers, [question.answer for _, question, _ in rows])
    return float(np.mean([verdict.correct for verdict in verdicts]))


@contextmanager
def masked(warm: Warm, action: str) -> Iterator[None]:
    """A model that never opens a step of this kind."""
    config = warm.chat.model.generation_config
    before = config.suppress_tokens
    config.suppress_tokens = [*(before or ()), warm.vocabulary.opens[action]]
    try:
        yield
    finally:
        config.suppress_tokens = before


def _accuracy(warm: Warm, questions: Sequence[Question], judge: Judge) -> float:
    prompts = make_prompts(warm.chat, warm.vocabulary, questions)
    answers = [question.answer for question in questions]
    found = plain_accuracy(
        warm.chat, warm.vocabulary, GRAMMAR, prompts, answers, judge, tokens=LONGEST, batch=ROWS_AT_ONCE
    )
    return found.accuracy


def _votes(
    warm: Warm, questions: Sequence[Question], design: MendDesign, world: int, judge: Judge
) -> tuple[dict[str, float], dict[str, float]]:
    """Accuracy and tokens of majorities."""
    prompts = make_prompts(warm.chat, warm.vocabulary, questions)
    right = [question.answer for question in questions]
    votes: dict[str, float] = {}
    spent: dict[str, float] = {}
    for rollouts in design.rollouts:
        rules = SearchRules(rollouts=rollouts, sampling=Sampling(0.0))
        found = search_answers(prompts, engine(warm), GRAMMAR, rules, find=last_digit, seed=world, width=ROWS_AT_ONCE)
        verdicts = judge.judge([each.answer or "" for each in found], right)
        votes[str(rollouts)] = float(np.mean([verdict.correct for verdict in verdicts]))
        spent[str(rollouts)] = float(np.mean([_cost(each.tree) for each in found]))
    votes["iid"], spent["iid"] = _majority(warm, prompts, right, spent[str(design.rollouts[-1])], world, judge)
    return votes, spent


def _cost(tree: dict[str, object]) -> int:
    """Tokens of a tree's steps, tags included."""
    nodes = tree["nodes"]
    assert isinstance(nodes, list)
    return sum(len(node.get("ids", ())) for node in nodes)


def _majority(
    warm: Warm, prompts: Sequence[Prompt], right: Sequence[str], tokens: float, world: int, judge: Judge
) -> tuple[float, float]:
    """Independent completions, as many as begin before so many tokens are spent, one vote each."""
    length = float(np.mean([group.generated for group in free_groups(warm, prompts, 1, 1.0, world)]))
    groups = free_groups(warm, prompts, max(1, int(np.ceil(tokens / length))), 1.0, world + 1)
    winners = []
    for group in groups:
        candidates = count_votes([last_digit(each.answer) for each in group.rollouts], "majority")
        winners.append(candidates[0].answer if candidates else "")
    verdicts = judge.judge(winners, right)
    return (
        float(np.mean([verdict.correct for verdict in verdicts])),
        float(np.mean([group.generated for group in groups])),
    )
