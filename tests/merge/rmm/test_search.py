"""The search itself: candidates, subsets, a whole session, what it counts and what it remembers."""

import json

import numpy as np
import pytest
import torch

from burnish.core.errors import UserError
from burnish.merge.methods import registry
from burnish.merge.rmm.architecture import Blocks
from burnish.merge.rmm.candidates import PUBLISHED, merge
from burnish.merge.rmm.evaluate import choice_items, token_nll
from burnish.merge.rmm.layout import ModuleLayout, Slot, scaled
from burnish.merge.rmm.recipe import MergeCandidate
from burnish.merge.rmm.session import Session
from burnish.merge.rmm.tuning import best_of, grid, tuned_uniform
from tests.merge.rmm.conftest import PPO, problem_for, recipe, vit, wrong_recipe

ARMS = [
    {"search": "rmm_published", "actions": "blocks", "objective": "score", "dynamic_average": True, "ppo": PPO},
    {"search": "ppo", "actions": "blocks", "subset": "cycling", "subset_fraction": 0.2, "ppo": PPO},
    {"search": "cma", "subset": "same", "subset_fraction": 0.5},
    {"search": "cma", "actions": "blocks", "subset": "same", "subset_fraction": 0.4, "objective": "score"},
    {"search": "greedy"},
    {"search": "random"},
]


def flat_layout(*shapes):
    slots, offset = [], 0
    for number, size in enumerate(shapes):
        slots.append(Slot(str(number), offset, torch.Size([size])))
        offset += size
    return ModuleLayout((), tuple(slots), (0,) * len(slots), (), offset)


def merged(deltas, trim="model", sizes=None, **settings):
    deltas = torch.tensor(deltas)
    layout = flat_layout(*(sizes or [deltas.shape[1]]))
    spec = MergeCandidate(method="ties", trim=trim, **settings)
    return merge(spec, torch.zeros(deltas.shape[1]), deltas, layout).tolist()


def test_ties_by_hand():
    deltas = [[4.0, 2.0], [2.0, -1.0]]
    assert merged(deltas) == [6.0, 2.0]  # published: agreeing deltas summed
    assert merged(deltas, normalize=True) == [3.0, 2.0]
    assert merged(deltas, normalize=True, weight=0.5) == [1.5, 1.0]  # the weight scales the result


def test_global_trimming_by_hand():
    deltas = [[10.0, 9.0, 1.0, 2.0]]  # tensors A = [10, 9], B = [1, 2]
    assert merged(deltas, sizes=[2, 2], density=0.5) == [10.0, 9.0, 0.0, 0.0]
    assert merged(deltas, sizes=[2, 2], density=0.5, trim="tensor") == [10.0, 0.0, 0.0, 2.0]


@pytest.mark.parametrize("method", ["iso_c", "tsv"])
def test_matrix_methods_see_matrices(vit_problem, method):
    problem, spec = vit_problem, MergeCandidate(method=method)
    flat = merge(spec, problem.base, problem.experts, problem.layout)
    slot = next(slot for slot in problem.layout.slots() if slot.name.endswith("mlp.fc1.weight"))
    expected = registry.get(method)(
        slot.view(problem.base),
        [slot.view(expert) for expert in problem.experts],
        model_parameters={"weight": [1.0, 1.0]},
        parameters={},
    )
    torch.testing.assert_close(slot.view(flat), expected)
    assert (expected - problem.base.new_tensor(0) - slot.view(problem.experts.mean(0))).abs().max() > 1e-3


def test_candidates_that_a_search_cannot_mean_are_refused():
    assert "needs statistics" in wrong_recipe(candidates=[{"method": "fisher"}])
    assert "set trim: tensor" in wrong_recipe(candidates=[{"method": "iso_c", "trim": "model"}])
    assert [MergeCandidate(method=name).trim for name in ("ties", "task_arithmetic", "tsv")] == ["model"] * 2 + [
        "tensor"
    ]


def test_published_candidates():
    assert [(each.method, each.weight, each.normalize, each.trim) for each in PUBLISHED] == [
        ("dare_ties", 1.0, False, "model"),
        ("ties", 1.0, False, "model"),
        ("dare_linear", 1.0, False, "model"),
    ]


def test_scaled_layers_by_hand(vit_problem):
    problem = vit_problem
    rows = torch.tensor([[0.5, 0.0], [0.0, 1.0], [0.0, 0.25]])
    vectors = problem.experts - problem.base
    flat = scaled(problem.base, vectors, rows, problem.layout)
    stack = problem.layout.stacks[0]
    for layer in range(3):
        expected = problem.base + rows[layer] @ vectors
        torch.testing.assert_close(stack.block(flat, layer), stack.block(expected, layer))
    first, last = problem.base + rows[0] @ vectors, problem.base + rows[2] @ vectors
    for slot in problem.layout.stem:
        expected = last if slot.name.startswith("vit.layernorm") else first
        torch.testing.assert_close(slot.view(flat), slot.view(expected))


def test_language_scores_by_hand():
    # two tokens of probability 1/2 and 1/4, then one that is not scored
    logits = torch.log(torch.tensor([[[0.5, 0.5], [0.25, 0.75], [0.5, 0.5]]]))
    nll, count = token_nll(logits, torch.tensor([[1, 0, -100]]))
    assert nll.item() == pytest.approx(np.log(8))
    assert count.item() == 2
    items = choice_items(torch.tensor([np.log(8), np.log(8 / 3), 1.0, 2.0]), [0, 2, 4], torch.tensor([1, 1]))
    assert items.score.tolist() == [1.0, 0.0]
    assert items.nll[0] == pytest.approx(-np.log(0.75))


def test_tuning_shares_the_budget():
    settings = grid(recipe(tuning_budget=60))
    assert {
        method: sum(each.method == method for each in settings) for method in ("task_arithmetic", "ties", "dare_ties")
    } == {
        "task_arithmetic": 20,
        "ties": 20,
        "dare_ties": 20,
    }
    assert {each.density for each in settings if each.method == "ties"} == {1.0, 0.6, 0.3, 0.1}
    assert best_of([]) == []


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: "-".join(str(v) for v in arm.values() if isinstance(v, str)))
def test_a_resumed_search_is_the_same_search(arm, vit_problem):
    settings = recipe(budget=20, tuning_budget=3, **arm)
    rng = np.random.default_rng(0)
    whole = Session(settings, vit_problem, rng)
    for _ in range(5):
        whole.step()
    saved = json.loads(json.dumps(whole.state_dict(), default=lambda leaf: leaf.tolist()))
    tensors = torch.utils._pytree.tree_map(
        lambda leaf: leaf.clone() if isinstance(leaf, torch.Tensor) else leaf, whole.state_dict()
    )
    assert saved.keys() == tensors.keys()
    state = rng.bit_generator.state
    expected = whole.run()
    other = np.random.default_rng(5)
    resumed = Session(settings, vit_problem, other)
    resumed.load_state_dict(tensors)
    other.bit_generator.state = state
    found = resumed.run()
    assert found.episodes == expected.episodes
    assert found.architecture == expected.architecture
    assert found.test == expected.test
    assert found.evaluated == expected.evaluated
    assert len(found.episodes) == 20
    if arm["search"] != "rmm_published":
        assert found.sampled is None


def test_every_search_begins_with_the_best_merge_and_never_ends_below_it(vit_problem):
    settings = recipe(budget=12, tuning_budget=6, search="greedy", actions="blocks")
    outcome = Session(settings, vit_problem, np.random.default_rng(0)).run()
    best = outcome.tuned[0].validation.reward("cross_entropy")
    assert outcome.episodes[0].raw == pytest.approx(best, abs=1e-6)
    assert outcome.validation.reward("cross_entropy") >= best - 1e-6


def test_merges_tuned_once_serve_several_searches(vit_problem):
    settings = recipe(budget=3, tuning_budget=6)
    first = Session(settings, vit_problem, np.random.default_rng(0))
    first.run()
    second = Session(settings, vit_problem, np.random.default_rng(0), tuned=first.tuned)
    assert second.run().tuned == first.outcome().tuned


def test_repeats_and_finalists_are_not_run_again(vit_problem, monkeypatch):
    settings = recipe(budget=40, search="greedy", actions="blocks", candidates=[])
    session = Session(settings, vit_problem, np.random.default_rng(0))
    ran, compute = [], session.evaluator.compute

    def counted(architecture, subset):
        ran.append(architecture)
        return compute(architecture, subset)

    monkeypatch.setattr(session.evaluator, "compute", counted)
    outcome = session.run()
    distinct = {episode.architecture for episode in outcome.episodes}
    assert outcome.evaluated == len(ran) == len(distinct) < 40


def test_a_whole_budget_for_uniform_merges(vit_problem):
    settings = recipe(budget=8, tuning_budget=4)
    found = tuned_uniform(vit_problem, settings, 12)
    assert [each.validation.reward("cross_entropy") for each in found] == sorted(
        (each.validation.reward("cross_entropy") for each in found), reverse=True
    )
    assert {each.spec.method for each in found} == {"task_arithmetic", "ties", "dare_ties"}
    session = Session(settings.model_copy(update={"tuning_budget": 12}), vit_problem, np.random.default_rng(0))
    assert tuple(found) == session.run().tuned
    with pytest.raises(UserError, match="2 evaluations cannot tune 3 candidates"):
        tuned_uniform(vit_problem, settings, 2)


def test_a_search_that_only_ever_fails_says_so(monkeypatch):
    problem = problem_for(vit)
    session = Session(
        recipe(search="rmm_published", actions="blocks", budget=1, ppo=PPO), problem, np.random.default_rng(0)
    )
    monkeypatch.setattr(session.searcher, "ask", lambda count: [None] * count)
    monkeypatch.setattr(session.searcher, "tell", lambda rewards: None)
    session.step()
    assert session.episodes[0].raw == -10
    with pytest.raises(UserError, match="all 1 episodes stepped back"):
        session.outcome()
    assert Blocks(()) not in {episode.architecture for episode in session.episodes}
