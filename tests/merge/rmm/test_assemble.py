import copy

import numpy as np
import pytest
import torch

from burnish.core.errors import UserError
from burnish.merge.rmm.architecture import Blocks, Scales, uniform
from burnish.merge.rmm.candidates import whole
from burnish.merge.rmm.export import build
from burnish.merge.rmm.layout import flatten, read_modules
from burnish.merge.rmm.problem import Problem
from burnish.merge.rmm.recipe import MergeCandidate
from tests.merge.rmm.conftest import bart, bert, drifted, gpt2, llama, problem_for, t5, task_for, vit

FAMILIES = [vit, bert, llama, gpt2, t5, bart]
MERGES = [MergeCandidate(method="task_arithmetic", weight=0.4)]


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda make: make.__name__)
def problem(request):
    return problem_for(request.param)


def some_architectures(problem, count=6):
    rng = np.random.default_rng(0)
    lengths = problem.layout.lengths
    made = [uniform(lengths, 0), uniform(lengths, 2)]
    for _ in range(count):
        blocks = [b._replace(candidate=int(rng.integers(3))) for b in uniform(lengths, 0).blocks if rng.random() < 0.8]
        made.append(Blocks(tuple(blocks)))
    deeper = [block for block in uniform(lengths, 1).blocks for _ in range(2)]
    return [*made, Blocks(tuple(deeper))]


def logits(evaluator, architecture):
    task = evaluator.tasks[0]
    return evaluator.assembly.run(evaluator.pool.weights(architecture), task.inputs, task.head)


def test_an_expert_taken_whole_is_the_expert(problem):
    pool = problem.pool(MERGES, seed=0, stem=1)
    evaluator = problem.evaluator(pool, 200)
    expert = drifted(problem.model, 2)
    with torch.no_grad():
        expected = expert(**evaluator.tasks[0].inputs).logits
    weights = whole(pool.flat(1), problem.layout)
    head = None if evaluator.tasks[0].head is None else 1
    found = evaluator.assembly.run(weights, evaluator.tasks[0].inputs, head)
    assert torch.equal(found, expected)


def test_what_ran_before_leaves_no_trace(problem):
    pool = problem.pool(MERGES, seed=0)
    used = problem.evaluator(pool, 5)
    for architecture in some_architectures(problem):
        fresh = problem.evaluator(pool, 5)
        expected = fresh.compute(architecture, fresh.full)
        for ours, theirs in zip(used.compute(architecture, used.full), expected, strict=True):
            assert np.array_equal(ours.nll, theirs.nll)


def test_chunks_add_up_to_one_pass(problem):
    pool = problem.pool(MERGES, seed=0)
    chunks, at_once = problem.evaluator(pool, 5), problem.evaluator(pool, 200)
    assert (len(chunks.full), len(at_once.full)) == (3, 1)  # 12 items
    for architecture in some_architectures(problem, count=2):
        for ours, theirs in zip(*(each.compute(architecture, each.full) for each in (chunks, at_once)), strict=True):
            np.testing.assert_allclose(ours.nll, theirs.nll, rtol=1e-4, atol=1e-5)


def test_exported_model_is_the_assembled_one(problem, tmp_path):
    pool = problem.pool(MERGES, seed=0)
    evaluator = problem.evaluator(pool, 200)
    for number, architecture in enumerate(some_architectures(problem, count=2)):
        build(problem, pool.weights(architecture)).save_pretrained(tmp_path / str(number))
        again = type(problem.model).from_pretrained(tmp_path / str(number)).eval()
        task = evaluator.tasks[0]
        with torch.no_grad():
            found = again(**task.inputs).logits
        expected = logits(evaluator, architecture)
        if hasattr(again.config, "burnish_heads"):
            start, stop = again.config.burnish_heads["expert 0"]
            found = found[..., start:stop]
        torch.testing.assert_close(found, expected, rtol=0, atol=3e-6)


def test_scales_of_one_and_zero_are_the_experts(problem):
    pool = problem.pool([], seed=0)
    evaluator = problem.evaluator(pool, 200)
    layers = sum(problem.layout.lengths)
    one = logits(evaluator, Scales(((0.0, 1.0),) * layers))
    head = evaluator.tasks[0].head
    expert = evaluator.assembly.run(whole(pool.flat(1), problem.layout), evaluator.tasks[0].inputs, head)
    torch.testing.assert_close(one, expert, rtol=1e-4, atol=1e-5)


def test_the_original_model_is_left_alone(problem):
    before = flatten(problem.model, problem.layout).clone()
    pool = problem.pool(MERGES, seed=0)
    problem.evaluator(pool, 200).result(uniform(problem.layout.lengths, 1))
    build(problem, pool.weights(uniform(problem.layout.lengths, 1)))
    assert torch.equal(flatten(problem.model, problem.layout), before)


def test_an_empty_model_scores_zero():
    problem = problem_for(vit)
    evaluator = problem.evaluator(problem.pool([], seed=0), 200)
    result = evaluator.result(Blocks(()))
    assert result.reward("score") == 0.0
    assert np.isfinite(result.reward("cross_entropy"))


def test_experts_of_other_shapes_are_named():
    base = vit()
    with pytest.raises(UserError, match=r"expert 1: vit.layers.2.* missing, the base has"):
        Problem.from_models(base, [vit(1), vit(1, layers=2)], [task_for(base)], [task_for(base)])
    wide = copy.deepcopy(base)
    wide.vit.layers[1].mlp.fc1 = torch.nn.Linear(16, 30)
    with pytest.raises(UserError, match="blocks of one stack must have one shape"):
        read_modules(wide)


def test_nan_weights_are_named():
    model = vit()
    with torch.no_grad():
        model.vit.layernorm.bias[0] = float("nan")
    with pytest.raises(UserError, match=r"expert: vit.layernorm.bias holds NaN"):
        flatten(model, read_modules(vit()), "expert")
