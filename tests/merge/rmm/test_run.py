"""A search in its run folder: what it leaves, cut off, over processes, and what settings it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from burnish.core.errors import UserError
from burnish.core.run import Run
from burnish.merge.rmm import METHOD
from burnish.merge.rmm.candidates import PUBLISHED
from burnish.merge.rmm.loop import search
from burnish.merge.rmm.recipe import PPOSettings, SearchRecipe
from burnish.merge.rmm.remote import absolute, fingerprint
from burnish.merge.rmm.session import Session
from tests.merge.rmm.conftest import drifted, save_run, vit, wrong_recipe

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
    assert METHOD.load("check")(settings)[2] == ("evaluations", spent)
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
    titles = [section.title for section in METHOD.load("report")(tmp_path / "run")]
    assert titles == ["Result", "Architecture", "Rewards"]


def test_a_run_by_cma_that_died_ends_like_one_that_did_not(tmp_path, monkeypatch):
    """The contract suite kills a search by PPO."""
    settings = save_run(tmp_path, budget=24, checkpoint_every=0, search="cma")
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


def test_settings_that_do_not_go_together():
    for policy in ("rmm_published", "ppo"):  # the default of `actions` is scales
        assert f"search {policy} chooses blocks: set actions: blocks" in wrong_recipe(search=policy)
        assert "set actions: blocks" in wrong_recipe(search=policy, actions="scales")
    assert "needs actions: scales" in wrong_recipe(actions="blocks", scale_per="model")
    assert "subset: full uses everything" in wrong_recipe(subset_fraction=0.5)
    tasks = [{"name": "t", "validation": "v", "test": "t", "head": 2}]
    assert "head 2 of 2 experts" in wrong_recipe(tasks=tasks)


def test_a_search_that_does_not_fit_is_refused_before_it_starts(tmp_path, monkeypatch):
    import psutil

    from burnish.merge.rmm.preflight import memory, refuse_too_large

    blocks = save_run(tmp_path, search="random", actions="blocks", budget=1)
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
    with pytest.raises(UserError, match="set search: cma and actions: scales, or fewer candidates"):
        refuse_too_large(blocks.model_copy(update={"search": "ppo"}))
    with Run(scales, tmp_path / "small", quiet=True) as run:
        search(scales, run)
    assert len(json.loads((tmp_path / "small/artifacts/outcome.json").read_text())["candidates"]) == 2


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
