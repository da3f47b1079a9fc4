"""The search as users meet it: candidates, subsets, a whole session, the run folder, and what it says to bad input."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from burnish.core.errors import UserError
from burnish.core.run import Run
from burnish.merge.methods import registry
from burnish.merge.rmm import METHOD, search
from burnish.merge.rmm.architecture import Blocks
from burnish.merge.rmm.candidates import PUBLISHED, merge
from burnish.merge.rmm.data import TaskData, images, load_task
from burnish.merge.rmm.evaluate import choice_items, token_nll
from burnish.merge.rmm.layout import ModuleLayout, Slot, scaled
from burnish.merge.rmm.problem import Problem
from burnish.merge.rmm.recipe import MergeCandidate, PPOSettings, SearchRecipe
from burnish.merge.rmm.remote import absolute, fingerprint
from burnish.merge.rmm.session import Session
from burnish.merge.rmm.tuning import best_of, grid, tuned_uniform
from tests.merge.rmm.conftest import bert, drifted, llama, problem_for, recipe, t5, task_for, vit

PPO = {"epochs": 3}
ARMS = [
    {"search": "rmm_published", "actions": "blocks", "objective": "score", "dynamic_average": True, "ppo": PPO},
    {"search": "ppo", "actions": "blocks", "subset": "cycling", "subset_fraction": 0.2, "ppo": PPO},
    {"search": "ppo", "actions": "scales", "ppo": PPO},
    {"search": "cma", "subset": "same", "subset_fraction": 0.5},
    {"search": "cma", "actions": "blocks", "subset": "irt", "subset_fraction": 0.4, "objective": "score"},
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
    for cost in ("evaluated", "blocks_run", "blocks_saved"):
        assert getattr(found, cost) == getattr(expected, cost), cost
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


def test_repeats_and_finalists_are_not_run_again(vit_problem):
    settings = recipe(budget=40, search="greedy", actions="blocks", candidates=[])
    outcome = Session(settings, vit_problem, np.random.default_rng(0)).run()
    distinct = {episode.architecture for episode in outcome.episodes}
    assert outcome.evaluated == len(distinct) < 40
    assert outcome.blocks_saved > 0


@pytest.mark.parametrize("make", [vit, t5], ids=["vit", "t5"])
@pytest.mark.parametrize("cache", [2**29, 40_000], ids=["roomy", "tight"])
@pytest.mark.parametrize("fraction", [1, 0.5])
def test_the_ledger_counts_what_one_process_runs(make, cache, fraction):
    subset = {"subset": "full" if fraction == 1 else "cycling", "subset_fraction": fraction}
    settings = recipe(budget=30, search="greedy", actions="blocks", chunk=5, **subset)
    session = Session(settings, problem_for(make), np.random.default_rng(0))
    session.evaluator.assembly.cache.limit = session.ledger._cache.limit = cache
    while session.done < session.total:
        session.step()
    assembly, ledger = session.evaluator.assembly, session.ledger
    assert (ledger.blocks_run, ledger.blocks_saved) == (assembly.block_evaluations, assembly.block_hits)
    assert ledger.blocks_saved > 0 or cache == 40_000


def text_task(tmp_path, columns, name="data"):
    path = tmp_path / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in columns))
    return str(path)


def score_rows(model, rows):
    """A user's scorer: the model can be called like any other."""
    ids = torch.tensor([[row["n"]] for row in rows])
    return (model(input_ids=ids).logits[:, -1].softmax(-1).max(-1).values).tolist()


def test_a_scorer_of_ones_own(tmp_path):
    base = llama()
    path = text_task(tmp_path, [{"n": n} for n in range(3, 9)])
    score = f"{__name__}:score_rows"
    task = load_task("own", path, score, None, base, tmp_path, 16)
    problem = Problem.from_models(base, [drifted(base, 1), drifted(base, 2)], [task], [task])
    outcome = Session(recipe(objective="score", budget=4), problem, np.random.default_rng(0)).run()
    assert 0 < outcome.test.scores[0] < 1
    with pytest.raises(UserError, match="a module:function has a score only"):
        Session(recipe(budget=4), problem, np.random.default_rng(0))


def save_run(tmp_path, **settings):
    base = vit()
    base.save_pretrained(tmp_path / "base")
    tasks = []
    for number in range(2):
        drifted(base, number + 1).save_pretrained(tmp_path / f"expert{number}")
        task = {"name": f"task {number}"}
        for part in ("validation", "test"):
            data = task_for(base, items=20, seed=number + 7 * (part == "test"))
            path = tmp_path / f"{part}{number}.npz"
            np.savez(path, images=data.inputs["pixel_values"].numpy(), labels=data.labels.numpy())
            task[part] = str(path)
        tasks.append(task)
    experts = [str(tmp_path / f"expert{number}") for number in range(2)]
    settings = {"tuning_budget": 6, **settings}
    return SearchRecipe(base=str(tmp_path / "base"), experts=experts, tasks=tasks, **settings)


TWINS = [{"method": "task_arithmetic", "weight": weight} for weight in (0.2, 0.9)]


@pytest.mark.parametrize(
    "arm",
    [
        {"budget": 12},
        {"budget": 12, "search": "random", "actions": "blocks"},
        {"budget": 12, "search": "random", "actions": "blocks", "tuning_budget": 0, "candidates": TWINS, "seed": 7},
    ],
    ids=["scales", "blocks", "two of one method"],
)
def test_run_leaves_a_plain_checkpoint_that_merge_rebuilds(tmp_path, arm):
    from burnish.merge import merge as burnish_merge

    settings = save_run(tmp_path, **arm)
    spent = f"{settings.tuning_budget} tuning the uniform merges, {settings.budget} searching, 10 again in full"
    assert METHOD.check(settings)[2] == ("evaluations", spent)
    with Run(settings, tmp_path / "run", quiet=True) as run:
        folder = search(settings, run)
    outcome = json.loads((tmp_path / "run/artifacts/outcome.json").read_text())
    if arm.get("candidates"):
        assert {2, 3} <= {block[2] for block in outcome["architecture"]["blocks"]}, "pick a seed that takes both"
        assert outcome["candidates"][2:] == ["task_arithmetic 1", "task_arithmetic 2"]
    exported = type(vit()).from_pretrained(folder).eval()
    for number, task in enumerate(settings.tasks):
        held = np.load(task.test)
        start, stop = exported.config.burnish_heads[f"expert{number}"]
        with torch.no_grad():
            logits = exported(torch.tensor(held["images"])).logits[:, start:stop]
        accuracy = 100 * float((logits.argmax(-1).numpy() == held["labels"]).mean())
        assert accuracy == pytest.approx(outcome["test"][task.name])
    rebuilt = type(vit()).from_pretrained(
        burnish_merge(tmp_path / "run/artifacts/architecture.yaml", tmp_path / "rebuilt", progress=False)
    )
    own = dict(exported.named_parameters())
    for name, parameter in rebuilt.named_parameters():
        if not name.startswith("classifier"):
            torch.testing.assert_close(parameter, own[name], rtol=0, atol=1e-6)
    titles = [section.title for section in METHOD.report(tmp_path / "run")]
    assert titles == ["Result", "Architecture", "Rewards"]


@pytest.mark.parametrize(
    "arm",
    [
        {"search": "ppo", "actions": "blocks", "subset": "cycling", "subset_fraction": 0.5},
        pytest.param({"search": "cma"}, marks=pytest.mark.slow),
    ],
    ids=["ppo", "cma"],
)
def test_a_run_that_died_ends_like_one_that_did_not(tmp_path, monkeypatch, arm):
    settings = save_run(tmp_path, budget=24, checkpoint_every=0, ppo=PPO, **arm)
    with Run(settings, tmp_path / "whole", quiet=True) as run:
        search(settings, run)
    step, calls = Session.step, []

    def dies(session, *args):
        calls.append(1)
        if len(calls) == 9:
            raise RuntimeError("power cut")
        return step(session, *args)

    monkeypatch.setattr(Session, "step", dies)
    for again in (False, True):
        with Run(settings, tmp_path / "cut", quiet=True) as run:
            if again:
                search(settings, run)
            else:
                with pytest.raises(RuntimeError):
                    search(settings, run)
    assert len(calls) > 9
    for name in ("outcome.json", "model/model.safetensors"):
        one, other = (tmp_path / each / "artifacts" / name for each in ("whole", "cut"))
        assert one.read_bytes() == other.read_bytes()
    steps = [json.loads(line)["step"] for line in (tmp_path / "cut/metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))


@pytest.mark.slow
def test_workers_find_what_one_process_finds(tmp_path):
    found = []
    for workers in (1, 2):
        arm = {"search": "greedy", "actions": "blocks", "subset": "irt", "subset_fraction": 0.5}
        settings = save_run(tmp_path, budget=10, workers=workers, **arm)
        with Run(settings, tmp_path / f"run{workers}", quiet=True) as run:
            search(settings, run)
        found.append((tmp_path / f"run{workers}/artifacts/outcome.json").read_bytes())
    assert found[0] == found[1]
    assert json.loads(found[0])["blocks_saved"] > 0


def relative(settings, folder):
    """The same recipe, as a user in ``folder`` would write it."""
    return SearchRecipe.model_validate(json.loads(settings.model_dump_json().replace(f"{folder}/", "")))


def test_workers_get_absolute_paths_and_see_changed_files(tmp_path, monkeypatch):
    settings = save_run(tmp_path, budget=1)
    monkeypatch.chdir(tmp_path)
    written = relative(settings, tmp_path)
    assert written.base == "base"
    assert absolute(written).model_dump() == settings.model_dump()
    hub = written.model_copy(update={"base": "org/name", "experts": ["base+expert0", "org/other"]})
    assert absolute(hub).base == "org/name"
    assert absolute(hub).experts == [f"{tmp_path}/base+{tmp_path}/expert0", "org/other"]
    before = fingerprint(absolute(written))
    drifted(vit(), 9).save_pretrained(tmp_path / "expert1")
    assert fingerprint(absolute(written)) != before


@pytest.mark.slow
def test_ray_finds_what_one_process_finds(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    settings = save_run(tmp_path, budget=4, search="random", actions="blocks", tuning_budget=0)
    monkeypatch.chdir(tmp_path)  # Ray's workers stand elsewhere
    found = []
    for executor in ("local", "ray"):
        here = relative(settings, tmp_path).model_copy(update={"executor": executor})
        with Run(here, f"run-{executor}", quiet=True) as run:
            search(here, run)
        found.append(Path(f"run-{executor}/artifacts/outcome.json").read_bytes())
    assert found[0] == found[1]


def wrong_recipe(**settings):
    from pydantic import ValidationError

    with pytest.raises(ValidationError) as caught:
        recipe(**settings)
    return str(caught.value)


def test_settings_that_do_not_go_together():
    assert "set actions: blocks" in wrong_recipe(search="rmm_published")
    assert "needs actions: scales" in wrong_recipe(actions="blocks", scale_per="model")
    assert "subset: full uses everything" in wrong_recipe(subset_fraction=0.5)
    tasks = [{"name": "t", "validation": "v", "test": "t", "head": 2}]
    assert "head 2 of 2 experts" in wrong_recipe(tasks=tasks)


def test_bad_data_is_one_line(tmp_path):
    base = vit()

    def message(call):
        with pytest.raises(UserError) as caught:
            call()
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def read(path, score="auto", model=base):
        return load_task("t", str(path), score, 0, model, tmp_path, 16)

    assert "no such file" in message(lambda: read(tmp_path / "absent.npz"))
    (tmp_path / "bad.jsonl").write_text('{"text": "a"}\nnot json\n')
    assert "bad.jsonl:2: not JSON" in message(lambda: read(tmp_path / "bad.jsonl"))
    (tmp_path / "empty.jsonl").write_text("")
    assert "no examples" in message(lambda: read(tmp_path / "empty.jsonl"))
    np.savez(tmp_path / "half.npz", images=np.zeros((2, 1, 8, 8), np.float32))
    assert "expected arrays `images` and `labels`" in message(lambda: read(tmp_path / "half.npz"))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 cut")
    assert "broken.npz: cannot be read" in message(lambda: read(tmp_path / "broken.npz"))
    empty = TaskData("t", "classes", {}, torch.zeros(0, dtype=torch.long), 0)
    experts = [drifted(base, 1), drifted(base, 2)]
    assert "no validation" in message(lambda: Problem.from_models(base, experts, [empty], [empty]))
    high = images("t", torch.zeros(2, 1, 8, 8), torch.tensor([0, 9]), 0)
    assert "label 9, but its head has 3 classes" in message(lambda: Problem.from_models(base, experts, [high], [high]))
    unknown = recipe(candidates=[{"method": "tise"}])
    problem = problem_for(vit)
    assert "did you mean `ties`" in message(lambda: Session(unknown, problem, np.random.default_rng(0)))
    tiny = recipe(subset="same", subset_fraction=0.01)
    assert "no whole item" in message(lambda: Session(tiny, problem, np.random.default_rng(0)))


def test_images_and_labels_that_no_model_can_take_are_one_line(tmp_path):
    pixels, labels = np.zeros((3, 1, 8, 8), np.float32), np.array([0, 1, 2])
    hole = pixels.copy()
    hole[1, 0, 0, 0] = np.nan
    bad = [
        (hole, labels, "NaN or infinity in pixel_values"),
        (pixels, labels - 3, "label -3; classes count from 0"),
        (pixels, labels / 2, "labels are float64; expected whole numbers"),
        (pixels, labels[:, None], r"labels of shape \[3, 1\]; expected one number an example"),
        (np.zeros((3, 1, 9, 9), np.float32), labels, "the model cannot take the first example"),
        (np.zeros((3, 2, 8, 8), np.float32), labels, "the model cannot take the first example"),
    ]
    for images_, labels_, expected in bad:
        np.savez(tmp_path / "bad.npz", images=images_, labels=labels_)
        with pytest.raises(UserError, match=rf"tasks: t: .*bad.npz: {expected}") as caught:
            load_task("t", str(tmp_path / "bad.npz"), "auto", 0, vit(), tmp_path, 16)
        assert "\n" not in str(caught.value)
    word_tokenizer(tmp_path)
    path = text_task(tmp_path, [{"text": "two", "label": 0.5}])
    with pytest.raises(UserError, match=r"example 1: label 0\.5; expected a whole number"):
        load_task("t", path, "auto", 0, bert(), tmp_path, 16)
    negative = images("t", torch.zeros(2, 1, 8, 8), torch.tensor([-1, -1]), 0)
    with pytest.raises(UserError, match="label -1; classes count from 0"):
        Problem.from_models(vit(), [vit(1), vit(2)], [negative], [negative])


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


def test_a_search_that_does_not_fit_is_refused_before_it_starts(tmp_path, monkeypatch):
    import psutil

    from burnish.merge.rmm.estimate import memory

    blocks = save_run(tmp_path, search="random", actions="blocks", cache_mb=0, budget=1)
    scales = blocks.model_copy(update={"actions": "scales"})
    numbers = sum(parameter.numel() for parameter in vit().parameters())
    assert memory(blocks) == 4 * numbers * (3 + 2 + 2 * 3)  # base thrice, two experts, three merges made into rows
    assert memory(scales) == 4 * numbers * (2 + 3 * 2)  # reading takes more than searching
    free = psutil.virtual_memory()._replace(available=memory(blocks) - 1)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    with (
        pytest.raises(UserError, match=r"needs up to .* GB .*: set actions: scales, or fewer candidates"),
        Run(blocks, tmp_path / "large", quiet=True) as run,
    ):
        search(blocks, run)
    with Run(scales, tmp_path / "small", quiet=True) as run:
        search(scales, run)
    assert len(json.loads((tmp_path / "small/artifacts/outcome.json").read_text())["candidates"]) == 2


def test_a_search_that_only_ever_fails_says_so():
    problem = problem_for(vit)
    session = Session(
        recipe(search="rmm_published", actions="blocks", budget=1, ppo=PPO), problem, np.random.default_rng(0)
    )
    session.searcher.env.step = None  # never reached: ask is replaced
    session.searcher.ask = lambda count: [None] * count
    session.searcher.tell = lambda rewards: None
    session.step()
    assert session.episodes[0].raw == -10
    with pytest.raises(UserError, match="all 1 episodes stepped back"):
        session.outcome()
    assert Blocks(()) not in {episode.architecture for episode in session.episodes}


@pytest.mark.parametrize("name", ["paper", "tiny", "scales"])
def test_shipped_recipes_are_what_they_say(name):
    shipped = SearchRecipe.load(Path(__file__).parents[3] / f"recipes/rmm/{name}.yaml")
    if name == "paper":
        assert tuple(shipped.candidates) == PUBLISHED
        assert shipped.ppo == PPOSettings()
        assert shipped.search == "rmm_published"
    elif name == "tiny":
        assert (shipped.search, shipped.actions, shipped.ppo.skip_and_back) == ("ppo", "blocks", False)
    else:
        defaults = SearchRecipe(base="b", experts=["x", "y"], tasks=shipped.tasks)
        assert shipped.model_dump(exclude={"base", "experts"}) == defaults.model_dump(exclude={"base", "experts"})


def word_tokenizer(folder):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {word: number for number, word in enumerate(["<pad>", "<unk>", "two", "plus", "is", "four", "five"])}
    core = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", unk_token="<unk>").save_pretrained(folder)


def test_language_files(tmp_path):
    word_tokenizer(tmp_path)
    base = llama()

    def read(rows, score="auto", model=base):
        return load_task("t", text_task(tmp_path, rows), score, None, model, tmp_path, 16)

    text = read([{"text": "two plus two"}, {"text": "five"}])
    assert text.kind == "text"
    assert text.targets.tolist() == [[3, 2, -100], [-100, -100, -100]]
    question = {"prompt": "two plus two is", "choices": ["four", "five five"], "answer": 0}
    asked = read([question, {**question, "answer": "five five"}])
    assert (asked.labels.tolist(), asked.offsets) == ([0, 1], (0, 2, 4))
    assert asked.targets.tolist()[1] == [-100, -100, -100, 6, 6, -100]
    shuffled = asked.reordered(np.array([1, 0]))
    assert shuffled.targets.tolist() == [asked.targets.tolist()[row] for row in (2, 3, 0, 1)]
    encoded = read([question], model=t5())
    assert encoded.inputs["decoder_input_ids"].tolist() == [[0, 5], [0, 6]]
    assert encoded.targets.tolist() == [[5, -100], [6, 6]]
    with pytest.raises(UserError, match="answer 7 is none of its 2 choices"):
        read([{**question, "answer": 7}])
    with pytest.raises(UserError, match="columns prompt do not fit"):
        read([{"prompt": "two"}])
    problem = Problem.from_models(base, [drifted(base, 1), drifted(base, 2)], [text, asked], [text, asked])
    outcome = Session(recipe(budget=3), problem, np.random.default_rng(0)).run()
    assert outcome.test.scores[0] == pytest.approx(np.exp(-outcome.test.cross_entropies[0]))


def test_a_folder_of_pictures(tmp_path):
    from PIL import Image
    from transformers import ViTImageProcessor

    ViTImageProcessor(size={"height": 8, "width": 8}).save_pretrained(tmp_path)
    for label, name in enumerate(["cat", "dog"]):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        Image.new("RGB", (10, 10), (label * 255, 0, 0)).save(tmp_path / "pictures" / name / "1.png")
    task = load_task("t", str(tmp_path / "pictures"), "auto", 0, vit(channels=3), tmp_path, 16)
    assert task.inputs["pixel_values"].shape == (2, 3, 8, 8)
    assert task.labels.tolist() == [0, 1]
    (tmp_path / "pictures" / "dog" / "2.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"2\.png: not an image"):
        load_task("t", str(tmp_path / "pictures"), "auto", 0, vit(channels=3), tmp_path, 16)
