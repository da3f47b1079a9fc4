"""The mint study: verdicts from made-up cells, what a plan is in a picture, and a smoke run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from burnish.core.parallel import one_thread
from burnish.core.run import Run
from burnish.core.study import StudyRecipe
from burnish.generate.plan import Plan
from burnish.generate.steps.state import State
from burnish.generate.training.samples import Sample
from burnish.studies.mint.arms import Spending, recipe_of
from burnish.studies.mint.claims import ASKED, judge_cells
from burnish.studies.mint.experiment import as_found, score, shows_plan, true_plan
from burnish.studies.mint.records import (
    ACT,
    BLIND,
    DENSE,
    FULL,
    FUNCTION,
    MENDED,
    ONCE,
    PLAIN,
    REAL,
    REAL_PLAIN,
    REFINED,
    REPAIRED,
    REWRITTEN,
    TRUE,
    TWICE,
    WIDE,
    ModelCell,
    Score,
)
from burnish.studies.mint.report import category_table, sections
from burnish.studies.mint.study import DESIGNS, STUDY
from burnish.studies.mint.training import _transition, _unasked, begun, drafts_of, scenes
from burnish.testbeds.easel.checker import fulfils
from burnish.testbeds.easel.prompts import CATEGORIES
from burnish.testbeds.easel.sources import draw
from burnish.testbeds.easel.world import SHAPE_WORLD, Thing, render
from tests.forked import in_child
from tests.judging import judged

WAYS = {PLAIN: (ONCE, TWICE, MENDED), REAL_PLAIN: (ONCE, TWICE, MENDED), REFINED: (REWRITTEN,)}


def cell(seed: int, model: str, right: dict[str, float], loss: float = 0.03) -> ModelCell:
    return ModelCell(
        seed=seed,
        model=model,
        parameters=1000,
        steps=100,
        seconds=1.0,
        losses={"text_loss": 1.0, "image_loss": loss, "heat_loss": 0.1},
        transition=None,
        cosine=0.1 if model == DENSE else None,
        scores={
            way: Score(right=dict.fromkeys(CATEGORIES, right.get(way, 0.3)), seconds=0.1, fixed=2, broken=1)
            for way in WAYS.get(model, (ACT, FULL, TRUE, BLIND, REPAIRED))
        },
        described=0.5,
        answered={"count": 0.5, "place": 1.0},
        guidance=2.5,
        held_out=0.6 if model == FUNCTION else 0.1 + 0.01 * seed,
        wrong_drafts=0.5,
    )


def test_verdicts_from_made_up_cells() -> None:
    cells = []
    for seed in range(4):
        jitter = 0.01 * seed
        cells += [
            cell(seed, PLAIN, {TWICE: 0.5 + jitter}),
            cell(seed, FUNCTION, {ACT: 0.85 + 2 * jitter, FULL: 0.85 + jitter}, loss=0.04),
            cell(seed, REFINED, {REWRITTEN: 0.8 + jitter}),
            cell(seed, DENSE, {ACT: 0.9 + jitter}),
            cell(seed, REAL, {ACT: 0.7 + jitter}),
            cell(seed, REAL_PLAIN, {TWICE: 0.2}),
        ]
    found = {claim.name: claim for claim in judged(judge_cells(cells))}
    assert found["plan"].verdict == "holds"
    assert found["plan"].ours == pytest.approx(0.88)
    assert found["full"].verdict != "holds"
    assert "fixed 8, broken 4" in found["full"].note
    assert found["held_out"].verdict == "holds"
    assert found["repaired"].verdict != "holds"
    assert found["real"].verdict == "holds"
    assert found["modality"].interval is None
    assert "cosine of text and image gradients in the dense model: +0.100" in found["losses"].note
    assert sections(cells)[0].title == "What it draws"
    assert {row["drawn"] for row in category_table(cells)} >= {ACT, f"{ACT}, real pictures"}


def test_a_wide_dense_model_has_the_parameters_of_three_experts() -> None:
    width = 96
    wide = recipe_of(WIDE, Spending(), 0).model
    experts = 3 * (4 * width**2 + 2 * width * 4 * width)
    assert 4 * width**2 + 2 * width * wide.intermediate == experts


def test_plans_and_pictures_are_judged_alike() -> None:
    rng = np.random.default_rng(0)
    drawn = draw(14, 5)
    for one in drawn:
        plan = true_plan(one, SHAPE_WORLD)
        assert fulfils(as_found(plan, SHAPE_WORLD), one.scene.ask)
        assert shows_plan(State(one.scene.prompt, picture=one.picture), plan, SHAPE_WORLD)
        moved = Plan(plan.elements[1:])
        assert not shows_plan(State(one.scene.prompt, picture=one.picture), moved, SHAPE_WORLD)
    empty = render((), SHAPE_WORLD, rng)
    states = [State(one.scene.prompt, plan=true_plan(one, SHAPE_WORLD), picture=one.picture) for one in drawn]
    states[0] = State(drawn[0].scene.prompt, plan=None, picture=empty)
    found = score(states, drawn, SHAPE_WORLD, 0.0)
    assert found.right["single"] == 0.5  # two prompts a category
    assert found.mean == pytest.approx(13 / 14)
    assert found.plan_right == pytest.approx(13 / 14)
    assert found.kept == 1.0
    alone = score([State(drawn[1].scene.prompt, picture=drawn[1].picture)], drawn[1:2], SHAPE_WORLD, 0.0)
    assert alone.right == {"two": 1.0}  # a category that was not asked for is in no mean
    assert alone.plan_right is None


def test_a_draft_without_a_plan_is_marked_where_things_stand_if_it_is_wrong() -> None:
    sample = scenes(PLAIN, Spending(), "training", 1)[0]  # of one thing
    assert not _unasked(SHAPE_WORLD, sample, sample.picture((32, 32))).any()
    two = render((Thing("circle", "red", 0, 1), Thing("cross", "red", 3, 2)), SHAPE_WORLD, np.random.default_rng(0))
    assert np.argwhere(_unasked(SHAPE_WORLD, sample, two)).tolist() == [[0, 1], [3, 2]]
    assert _unasked(SHAPE_WORLD, sample, np.zeros((32, 32, 3), dtype=np.uint8)).all()


def test_reflection_learns_from_drafts_of_both_kinds_that_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: dict[str, list[bool]] = {}

    def drafts(_artist: object, samples: list[Sample], _marker: object, _seed: int, planned: bool) -> list[Sample]:
        kinds.update({sample.row: [planned] for sample in samples})
        return samples

    monkeypatch.setattr("burnish.studies.mint.training.own_drafts", drafts)
    spending = DESIGNS["smoke"].spending
    samples = scenes(FUNCTION, spending, "training", 12)
    for model, expected in ((FUNCTION, [True, False, True, False]), (PLAIN, [False] * 4)):
        kinds.clear()
        found = drafts_of(model, begun(recipe_of(model, spending, 0), model), samples, spending, 0)
        assert len(found) == spending.drafts  # of every model as many
        assert [kinds[sample.row] for sample in samples[:4]] == [[planned] for planned in expected]


def test_the_transition_is_the_first_window_below_the_mark() -> None:
    images = [0.05] * 60 + [0.03] * 60
    assert _transition(images) == 60 + 26  # 25 of 50 are at the mark, not below
    assert _transition(images[:70]) is None


def test_every_claim_is_of_models_that_some_size_trains() -> None:
    full = DESIGNS["full"].models
    assert {asked.ours[0] for asked in ASKED} | {asked.baseline[0] for asked in ASKED} <= set(full)
    assert set(DESIGNS["quick"].models) <= set(full)  # so that a stored result of full answers all that quick's does
    assert {PLAIN, FUNCTION} <= set(DESIGNS["quick"].models) & set(DESIGNS["tour"].models)


@pytest.mark.slow
def test_smoke(tmp_path: Path) -> None:
    """In a child: the checks of shapes would take as long as the trainings, and those of `generate` have them."""
    in_child(smoke, tmp_path / "run")


def smoke(path: Path) -> None:
    recipe = StudyRecipe(method="study:mint", size="smoke", seeds=1)
    with one_thread(), Run(recipe, path, quiet=True) as run:
        outcome = STUDY.run(recipe, run)
    cells = json.loads((path / "artifacts" / "cells.json").read_text())
    assert [each["model"] for each in cells] == list(DESIGNS["smoke"].models)
    assert len(outcome.questions) == len(ASKED) + 2


def test_losses_are_measured_on_scenes_that_training_has_not_seen() -> None:
    seen, other = (scenes(FUNCTION, Spending(), part, 64) for part in ("training", "test"))
    pictures, others = ({sample.picture((32, 32)).tobytes() for sample in part} for part in (seen, other))
    assert len(pictures) > 60
    assert len(others) > 60
    # a picture of one thing may come twice by chance; scenes of many do not
    assert len(others & pictures) <= 3
