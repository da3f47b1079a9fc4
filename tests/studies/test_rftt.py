"""The rftt study: a smoke run that is drawn again and repeated, every token paid, verdicts from made-up cells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from burnish.core.intervals import share_difference_interval
from burnish.core.run import Run
from burnish.core.study import Claim, StudyRecipe
from burnish.dialogue.models import ChatModel
from burnish.reason.rftt.evaluate import make_prompts
from burnish.reason.rftt.generators.protocol import Prompt
from burnish.reason.rftt.rollouts import Rollout, RolloutGroup
from burnish.reason.rftt.vocabulary import extend
from burnish.studies.rftt import records
from burnish.studies.rftt.claims import judge_cells
from burnish.studies.rftt.mend_part import masked
from burnish.studies.rftt.models import teach
from burnish.studies.rftt.records import Cell, MendCell, ReinforceCell, Sampled, Search, SearchCell, Trained
from burnish.studies.rftt.reinforce_part import ARMS, JUDGED, ReinforceJob, reinforce_arm
from burnish.studies.rftt.report import search_table, sections, training_table
from burnish.studies.rftt.sampling import TagBranching, TokenBranching, any_judge, costs, draw_rows, free_groups
from burnish.studies.rftt.search_part import SearchJob, joined, sampled, search_world
from burnish.studies.rftt.study import DESIGNS, FIRST_SEED, STUDY
from burnish.studies.rftt.theory import solved_by_draws
from burnish.studies.rftt.world import GRAMMAR, ROWS, Shape, Warm, draw_examples, repeat_examples, train_base
from burnish.testbeds.ways import PRIOR, WAYS, digits_of, draw_questions, make_tokenizer, right_way, states
from tests.judging import judged
from tests.once import smoke_study

CLAIMS = (
    *("search", "search_bare", "search_single", "rl", "forced", "siblings", "mended", "no_verify", "no_refine"),
    *("vote", "vote_iid", "order_prm", "order_search", "order_sft"),
)


@pytest.mark.slow
def test_smoke_and_resume(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    path = smoke_study(tmp_path_factory, "rftt", tmp_path / "run")
    claims = json.loads((path / "artifacts" / "claims.json").read_text())
    assert tuple(claim["name"] for claim in claims) == CLAIMS
    assert all(claim["verdict"] == "undecided" and claim["interval"] is not None for claim in claims)
    recipe = StudyRecipe(method="study:rftt", size="smoke", seeds=1)
    with Run(recipe, path, quiet=True) as run:
        again = STUDY.run(recipe, run)  # nothing is left to do: the cells come from the checkpoint
    assert [claim.model_dump(mode="json") for claim in judged(again.questions)] == claims
    # A run that was stopped before a part makes it out of the same files: it must come out the same.
    cells = json.loads((path / "artifacts" / "cells.json").read_text())
    design, folder = DESIGNS["smoke"], path / "artifacts" / "models"
    arm = "bare, least certain"
    twice = [
        search_world(SearchJob(FIRST_SEED, design.search, folder)),
        reinforce_arm(ReinforceJob(FIRST_SEED, arm, design.reinforce, folder)),
    ]
    once = [cells[0], next(cell for cell in cells if cell.get("arm") == arm)]
    for before, after in zip(once, twice, strict=True):
        assert before | {"seconds": 0} == json.loads(after.model_dump_json()) | {"seconds": 0}


# Every token is paid


@pytest.fixture(scope="module")
def warm() -> Warm:
    """Taught just enough to propose every way."""
    model, tokenizer = train_base(Shape(16, 1, 30), 0), make_tokenizer()
    found = Warm(ChatModel(model, tokenizer), extend(model, tokenizer, GRAMMAR, 0))
    teach(found, draw_examples("tags", 20_000, 0, found.chat, found.vocabulary), 0)
    return found


@pytest.fixture(scope="module")
def prompts(warm: Warm) -> list[Prompt]:
    return make_prompts(warm.chat, warm.vocabulary, draw_questions(5, seed=3))


def test_independent_completions_are_paid_whole(warm: Warm, prompts: list[Prompt]) -> None:
    for group in free_groups(warm, prompts, 3, 1.0, seed=1):
        lengths = [len(each.completion_ids) for each in group.rollouts]
        assert costs(group) == np.cumsum(lengths).tolist()
        assert group.generated == sum(lengths)


def test_branches_at_tags_pay_imposed_tags_and_ends(warm: Warm, prompts: list[Prompt]) -> None:
    for group in TagBranching(warm, 1, 1.0)(prompts, any_judge, 1):
        assert sorted(each.steps[0].action for each in group.rollouts) == sorted(WAYS)
        assert group.tree is not None
        written = sum(len(node.ids or ()) for node in group.tree.nodes)
        ended = sum(node.ending == "answer" for node in group.tree.nodes)
        assert group.generated == costs(group)[-1] == written + ended


@pytest.mark.parametrize("where", ["first", "least certain"])
def test_branches_without_tags_share_what_they_share(warm: Warm, prompts: list[Prompt], where: Any) -> None:
    groups = TokenBranching(warm, where, 2, 1.0)(prompts, any_judge, 1)
    greedy = draw_rows(warm, [prompt.ids for prompt in prompts], 0.0, 0).ids
    for prompt, group, first in zip(prompts, groups, greedy, strict=True):
        assert list(group.rollouts[0].completion_ids) == first
        ids = torch.tensor([[*prompt.ids, *first]])
        with torch.no_grad():
            logits = warm.chat.model(ids).logits[0, len(prompt.ids) - 1 : -1, : warm.vocabulary.size]
        entropies = torch.distributions.Categorical(logits=logits).entropy()
        place = 0 if where == "first" else int(entropies.argmax())
        likeliest = logits[place].topk(3).indices.tolist()
        assert [each.completion_ids[place] for each in group.rollouts] == 2 * likeliest
        assert all(list(each.completion_ids[:place]) == first[:place] for each in group.rollouts)
        # the greedy pass, two imposed tokens more, and what follows in the five other completions
        rest = sum(len(each.completion_ids) - place - 1 for each in group.rollouts[1:])
        assert group.generated == costs(group)[-1] == len(first) + 2 + rest


def test_rounds_share_nothing_but_the_question(warm: Warm, prompts: list[Prompt]) -> None:
    rounds = [TagBranching(warm, 1, 1.0)(prompts, any_judge, seed)[0] for seed in (1, 2)]
    both = joined(rounds)
    assert costs(both)[2] == rounds[0].generated
    assert costs(both)[-1] == both.generated == sum(each.generated for each in rounds)


def test_all_forms_read_as_many_tokens(warm: Warm) -> None:
    for rows in ROWS:
        examples = draw_examples(rows, 1000, 5, warm.chat, warm.vocabulary)
        lengths = [len(each.input_ids) for each in examples]
        assert sum(lengths[:-1]) < 1000 <= sum(lengths)
        again = repeat_examples(examples[:7], 1000, 5)
        assert sum(len(each.input_ids) for each in again[:-1]) < 1000
        assert {each.input_ids for each in again} == {each.input_ids for each in examples[:7]}
    first = {rows: draw_examples(rows, 1, 5, warm.chat, warm.vocabulary)[0] for rows in ROWS}
    read = {rows: warm.chat.tokenizer.decode(each.input_ids) for rows, each in first.items()}
    assert {text[:9] for text in read.values()} == {read["bare"][:9]}  # the same question
    assert ("rftt:" in read["tags"], "rftt:" in read["bare"], "rftt:" in read["words"]) == (True, False, False)


def test_a_masked_token_is_free_again_afterwards(warm: Warm) -> None:
    config = warm.chat.model.generation_config
    before = config.suppress_tokens
    with masked(warm, "verify"):
        assert warm.vocabulary.opens["verify"] in config.suppress_tokens
    assert config.suppress_tokens == before


def test_theory_is_what_drawing_gives() -> None:
    rng = np.random.default_rng(0)
    hits = []
    for question in draw_questions(4000, seed=11):
        digits = digits_of(question)
        answer = states(right_way(digits), digits)[-1]
        drawn = rng.choice(WAYS, size=3, p=PRIOR)
        hits.append(any(states(str(way), digits)[-1] == answer for way in drawn))
    assert np.mean(hits) == pytest.approx(solved_by_draws(3), abs=0.025)


# By hand


def completion(ids: tuple[int, ...], nodes: tuple[int, ...]) -> Rollout:
    return Rollout(ids, None, (False,) * len(ids), nodes, (), (), "")


def test_a_budget_by_hand() -> None:
    shared = RolloutGroup(
        Prompt("a", "", ()),
        (completion((1, 2, 3), (1, 1, 2)), completion((1, 2, 4, 5), (1, 1, 3, 3)), completion((6,), (4,))),
        (-1, 0, 1, 1, 0),
        0,
    )
    apart = RolloutGroup(
        Prompt("b", "", ()),
        (completion((1, 2, 3), (1, 1, 1)), completion((1, 2, 3), (2, 2, 2)), completion((1,), (3,))),
        (-1, 0, 0, 0),
        0,
    )
    assert costs(shared) == [3, 5, 6]
    assert costs(apart) == [3, 6, 7]
    right = [[False, False, True], [False, True, True]]
    # 5.5 tokens: the first question's third completion begins at 5, the second's at 6, which is too late
    found = sampled([shared, apart], right, 5.5)
    assert found == Sampled(tokens=(3.0, 5.5, 6.5), solved=(0.0, 0.5, 1.0), within=1.0, paid=6.0)
    # 5 tokens are spent when the first question's third completion would begin
    assert sampled([shared, apart], right, 5.0).within == 0.5
    assert sampled([shared, apart], right, 5.0, exactly=1).within == 0.0


def search(ours: float, arms: dict[str, float]) -> Search:
    names = {records.OURS: ours, **arms}
    return Search(
        questions=100,
        budget=45.0,
        greedy={"tags": 0.4},
        arms={
            name: Sampled(tokens=(15.0, 30.0, 45.0), solved=(0.4, 0.5, value), within=value, paid=46.0)
            for name, value in names.items()
        },
    )


def search_cells() -> list[SearchCell]:
    """`words, least certain` is best in one world only; `bare, iid at 1` on average among the bare ones."""
    rows = [(0.9, 0.5, 0.7, 0.6), (0.8, 0.6, 0.5, 0.9), (0.85, 0.7, 0.6, 0.6)]
    return [
        SearchCell(
            world=world,
            hidden=search(
                ours,
                {
                    "tags, iid at 1": 0.5,
                    "words, iid at 1": 0.1,
                    "bare, iid at 1": iid,
                    "bare, first token": first,
                    "words, least certain": words,
                },
            ),
            single=search(ours - 0.5, {"tags, iid at 1": 0.5, "bare, iid at 1": iid}),
            seconds=1.0,
        )
        for world, (ours, iid, first, words) in enumerate(rows)
    ]


def trained(accuracy: dict[str, float], chosen: dict[str, float] | None = None) -> dict[str, Trained]:
    course = tuple({"tokens": 100.0 * step, "right": 0.5, **{f"steps/{way}": 0.3 for way in WAYS}} for step in (1, 2))
    return {
        rate: Trained(
            tokens=(0.0, 100.0), accuracy=(0.4, after), chosen=(0.4, (chosen or accuracy)[rate]), steps=2, course=course
        )
        for rate, after in accuracy.items()
    }


MOVING = (records.NO_PRM, JUDGED[-1])
"""Arms that differ from world to world; of what is equal in all worlds an interval says little."""


def reinforce_cells(after: dict[str, float]) -> list[ReinforceCell]:
    return [
        ReinforceCell(world=world, arm=arm, runs=trained({"0.0001": value + 0.01 * world * (arm in MOVING)}),
                      seconds=1.0)
        for world in range(3)
        for arm, value in after.items()
    ]  # fmt: skip


def mend_cells() -> list[MendCell]:
    return [
        MendCell(
            world=world,
            rows={"trees": 4},
            mended={"spliced": 0.5 + 0.01 * world, "without": 0.1},
            accuracy={
                "spliced": 0.7,
                "without": 0.8,
                "no verify": 0.4 - 0.02 * world,
                "no refine": 0.75 + 0.01 * world,
            },
            votes={"1": 0.5, "16": 0.5 + (0.1, -0.1, 0.0)[world], "iid": 0.5},
            vote_tokens={"1": 15.0, "16": 150.0, "iid": 155.0},
            seconds=1.0,
        )
        for world in range(3)
    ]


AFTER = dict(zip(JUDGED, (0.5, 0.6, 0.5, 0.5, 0.55, 0.4, 0.3), strict=True))


def same(claim: Claim, differences: list[float]) -> bool:
    """Whether a claim's interval is that of these differences."""
    wanted, found = share_difference_interval(differences), claim.interval
    assert found is not None
    return found.n == wanted.n and [found.mean, found.low, found.high] == pytest.approx(
        [wanted.mean, wanted.low, wanted.high]
    )


def test_claims_by_hand() -> None:
    cells: list[Cell] = [*search_cells(), *mend_cells(), *reinforce_cells(AFTER)]
    found = {claim.name: claim for claim in judged(judge_cells(cells))}
    assert tuple(found) == CLAIMS
    strict = found["search"]
    assert strict.baseline == pytest.approx(0.7)  # (.6 + .9 + .6) / 3: the best on average, not in each world
    assert strict.ours == pytest.approx(0.85)
    assert same(strict, [0.9 - 0.6, 0.8 - 0.9, 0.85 - 0.6])
    assert same(found["search_bare"], [0.9 - 0.5, 0.8 - 0.6, 0.85 - 0.7])
    assert same(found["search_single"], [0.4 - 0.5, 0.3 - 0.6, 0.35 - 0.7])
    assert same(found["rl"], [0.5 - 0.6, 0.51 - 0.6, 0.52 - 0.6])
    assert same(found["siblings"], [0.0, 0.5 - 0.51, 0.5 - 0.52])
    assert same(found["order_sft"], [0.4 - 0.3, 0.4 - 0.31, 0.4 - 0.32])
    verdicts = {name: claim.verdict for name, claim in found.items()}
    assert verdicts == {
        "search": "undecided",
        "search_bare": "undecided",
        "search_single": "undecided",
        "rl": "does not hold",
        "forced": "undecided",
        "siblings": "undecided",
        "mended": "holds",
        "no_verify": "holds",
        "no_refine": "does not hold",
        "vote": "undecided",
        "vote_iid": "undecided",
        "order_prm": "holds",
        "order_search": "holds",
        "order_sft": "holds",
    }


def test_a_claim_whose_arm_is_missing_was_not_run() -> None:
    cells = reinforce_cells({arm: AFTER[arm] for arm in JUDGED[:2]})
    found = {claim.name: claim for claim in judged(judge_cells(cells))}
    assert found["rl"].interval is not None
    for name in ("search", "forced", "mended", "vote", "order_prm"):
        assert found[name].interval is None
        assert found[name].verdict == "undecided"
        assert found[name].note == "not run at this size"


def test_the_learning_rate_is_chosen_on_other_questions() -> None:
    cell = ReinforceCell(
        world=0,
        arm="a",
        runs=trained({"0.0001": 0.9, "0.0003": 0.5, "0.001": 0.7}, {"0.0001": 0.4, "0.0003": 0.6, "0.001": 0.6}),
        seconds=1.0,
    )
    assert cell.rate == "0.0003"  # of equals the smaller, whatever the tests say
    assert cell.best.accuracy[-1] == 0.5


def test_report_of_made_up_cells() -> None:
    cells: list[Cell] = [*search_cells(), *mend_cells(), *reinforce_cells(AFTER)]
    found = sections(cells)
    assert [section.figure is not None for section in found] == [True] * 5
    table = search_table(search_cells())
    assert [row["arm"] for row in table] == list(search_cells()[0].hidden.arms)
    assert table[0]["three ways: solved"] == "0.850"
    assert table[4]["one way: solved"] == "-"
    assert training_table([{cell.arm: cell for cell in reinforce_cells(AFTER)[:7]}])[0]["at 0.0001"].endswith("1x)")


def test_sizes() -> None:
    assert set(JUDGED) <= set(DESIGNS["quick"].reinforce.arms)
    assert DESIGNS["full"].reinforce.arms == tuple(ARMS)
    assert len(DESIGNS["quick"].reinforce.rates) > 1
    assert Shape(*DESIGNS["full"].shape).width > DESIGNS["quick"].shape.width
