"""The sakd study: what its regimes spoil, that arms pay what they must, verdicts from made-up cells, a smoke run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from burnish.core.run import Run
from burnish.core.study import StudyRecipe
from burnish.distill.recipe import SakdRecipe
from burnish.distill.records import Clips
from burnish.studies.sakd.arms import ARMS, PLANS, Spending, recipe_of
from burnish.studies.sakd.claims import ASKED, GATES, judge_cells
from burnish.studies.sakd.experiment import (
    RegimeJob,
    baseline_flops,
    mean_overlap,
    run_regime,
    scrambled,
    set_up,
)
from burnish.studies.sakd.records import (
    CE,
    EASY,
    LONG,
    PERTURBED,
    RANDOM,
    SAKD,
    TRUST,
    Arm,
    Regime,
    RegimeCell,
    Trained,
)
from burnish.studies.sakd.report import advice_table, arm_table, by_regime, gate_table, glance, sections
from burnish.studies.sakd.study import DESIGNS, STUDY
from burnish.studies.sakd.world import (
    World,
    WorldDesign,
    WorldJob,
    duplicated,
    load_world,
    long_tailed,
    make_world,
    smaller,
)
from burnish.testbeds.clip_models import MotionNet, seeded
from tests.judging import judged
from tests.once import smoke_study

TINY = WorldDesign(samples=24, times=1, validation=8, tests=16, student=4, teacher=4, steps=30)
SHORT = Spending(epochs=2, share=0.5, interval=1, batch=6, grid=((4.0, 0.9), (1.0, 0.5)))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    job = WorldJob(3, "clips", TINY, tmp_path_factory.mktemp("worlds"))
    make_world(job)
    return load_world(job)


@pytest.mark.slow
def test_smoke_and_resume(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    path = smoke_study(tmp_path_factory, "sakd", tmp_path / "run")
    claims = json.loads((path / "artifacts" / "claims.json").read_text())
    assert {claim["name"] for claim in claims} == NAMES
    assert all(claim["verdict"] == "undecided" and claim["interval"] is not None for claim in claims)
    recipe = StudyRecipe(method="study:sakd", size="smoke", seeds=1)
    with Run(recipe, path, quiet=True) as run:
        again = STUDY.run(recipe, run)  # nothing is left to do: the cells come from the checkpoint
    assert [claim.model_dump(mode="json") for claim in judged(again.questions)] == claims


# Worlds and regimes


def test_a_world_is_the_same_again(world: World, tmp_path: Path) -> None:
    job = world.job._replace(folder=tmp_path)
    make_world(job)
    again = load_world(job)
    for name, clips in world.sets.items():
        assert (again.sets[name].pixels == clips.pixels).all()
        assert (again.sets[name].labels == clips.labels).all()
    assert again.facts.model_copy(update={"seconds": 0}) == world.facts.model_copy(update={"seconds": 0})
    for mine, other in zip(world.teacher.model.parameters(), again.teacher.model.parameters(), strict=True):
        assert (mine == other).all()
    assert set(world.sets) == {"clean", "duplicates", "long tail", "validation", "test"}
    first, second = (each.student().model.state_dict() for each in (world, again))
    assert all((first[name] == second[name]).all() for name in first)
    untrained = seeded(lambda: MotionNet(4, 8), 3).state_dict()
    assert (first["body.0.weight"] != untrained["body.0.weight"]).any()  # it has learnt other motions


def test_few_scenes_many_times() -> None:
    places = duplicated(200, np.random.default_rng(0))
    counts = np.bincount(places, minlength=200)
    assert counts.sum() == 200
    assert (np.sort(counts)[:-24] <= 1).all()
    assert 30 <= (places == np.arange(200)).sum() <= 50  # 30 are no copies, and a few copies are of themselves


def test_frequencies_fall_fifty_times() -> None:
    counts = np.sort(np.bincount(long_tailed(2400, 8, np.random.default_rng(1))))[::-1]
    assert counts.sum() == 2400
    assert counts[0] / counts[-1] == pytest.approx(50, rel=0.1)
    assert counts[1] / counts[2] == pytest.approx(50 ** (1 / 7), rel=0.05)
    assert np.bincount(long_tailed(20, 8, np.random.default_rng(1))).min() == 1
    assert set(long_tailed(20, 8, np.random.default_rng(1))) == set(range(8))


def test_smaller_by_hand() -> None:
    pixels = np.zeros((1, 1, 4, 4, 3), np.uint8)
    pixels[0, 0, :2, 2:] = [[[4, 0, 0], [8, 0, 0]], [[0, 0, 0], [0, 0, 200]]]
    found = smaller(pixels, 2)
    assert found.shape == (1, 1, 2, 2, 3)
    assert found[0, 0, 0, 1].tolist() == [3, 0, 50]
    assert found.sum() == 53


def same(one: Clips, other: Clips) -> np.ndarray:
    found: np.ndarray = (one.pixels == other.pixels).all((1, 2, 3, 4))
    return found


def test_what_is_spoilt(world: World) -> None:
    clean = world.sets["clean"]
    wrong = set_up(world, "wrong teacher")
    assert wrong.bad.sum() == round(0.4 * 24)
    assert (same(wrong.taught, clean) == ~wrong.bad).all()
    assert same(wrong.clips, clean).all()
    assert sorted(wrong.taught.pixels.sum((1, 2, 3, 4))) == sorted(clean.pixels.sum((1, 2, 3, 4)))
    noise = set_up(world, "label noise")
    assert ((noise.clips.labels == clean.labels) == ~noise.bad).all()
    assert noise.bad.sum() == round(0.4 * 24)
    assert same(noise.taught, clean).all()
    junk = set_up(world, "unusable clips")
    assert (same(junk.clips, clean) == ~junk.bad).all()
    assert junk.bad.sum() == 12
    assert junk.taught is junk.clips
    tail = set_up(world, "long tail")
    assert tail.clips is world.sets["long tail"]
    assert not tail.bad.any()


def test_nothing_is_left_to_see_but_every_pixel() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 2, 4, 4, 3)).astype(np.uint8)
    found = scrambled(pixels, np.random.default_rng(1))
    assert (found != pixels).any((1, 2, 3, 4)).all()
    for one, other in zip(pixels, found, strict=True):
        assert sorted(map(tuple, one.reshape(-1, 3))) == sorted(map(tuple, other.reshape(-1, 3)))
    assert (scrambled(pixels[:1], np.random.default_rng(1)) == found[:1]).all()  # alike in every clip


# Arms


def test_what_arms_change() -> None:
    def recipe(arm: str) -> SakdRecipe:
        return recipe_of(arm, SHORT, 2.0, 0.9, 7, epochs=4, flops=1e9)

    base = recipe(RANDOM)
    assert (base.loss.supervised, base.loss.distilled, base.loss.temperature) == (0.1, 0.9, 2.0)
    assert base.difficulty.strength == "constant"
    text = recipe(SAKD)
    assert (text.selection.kind, text.difficulty.strength, text.evaluation) == ("map", "inverse", "interrupted")
    assert text.selection.share == base.selection.share == 0.5
    assert recipe(PERTURBED).evaluation == "cached"
    assert recipe(CE).loss.distilled == 0
    for name in PLANS:
        plain = recipe(name).model_dump(exclude={"loss", "selection", "difficulty", "evaluation"})
        assert plain == base.model_dump(exclude={"loss", "selection", "difficulty", "evaluation"})
    assert {name for arms in ARMS.values() for name in arms} | {RANDOM} == set(PLANS)


def test_arms_pay_for_what_they_do(world: World) -> None:
    arms = (CE, LONG, SAKD, PERTURBED, TRUST)
    cell = run_regime(RegimeJob(world.job, "clean", SHORT, arms))
    stage = set_up(world, "clean")
    prices = stage.prices
    assert cell.budget == baseline_flops(prices, 24, SHORT) == 2 * 12 * prices.training + 24 * prices.teacher
    assert set(cell.arms) == {RANDOM, *arms}
    assert len(cell.grid) == 2
    step = 6 * prices.training
    for name in (RANDOM, CE, TRUST):
        assert cell.budget - step - 6 * prices.teacher < cell.arms[name].flops.flops <= cell.budget
        assert cell.arms[name].flops.frozen == 0
    assert cell.arms[CE].flops.steps > cell.arms[RANDOM].flops.steps  # nobody asks the teacher
    assert cell.arms[LONG].flops.flops == pytest.approx(2 * cell.budget, rel=0.2)
    text, ours = cell.arms[SAKD], cell.arms[PERTURBED]
    assert text.flops.steps < ours.updates.steps == text.updates.steps == 4
    # two evaluations: the first by the table and the student, the second by both on interrupted clips
    assert text.updates.frozen == 24 * (2 * prices.student + prices.teacher)
    assert ours.updates.frozen == 24 * 2 * prices.student
    assert all(arm.flops.flops <= (2 if name == LONG else 1) * cell.budget for name, arm in cell.arms.items())
    # with what others had asked the teacher, and by itself
    assert run_regime(RegimeJob(world.job, "clean", SHORT, (SAKD,))).arms[SAKD] == text


def test_overlap() -> None:
    first, second, third = np.array([0, 1, 2, 3]), np.array([2, 3, 4, 5]), np.array([2, 3, 4, 9])
    assert mean_overlap([first, second, third]) == pytest.approx((0.5 + 0.75) / 2)
    assert mean_overlap([first]) == 1


# Claims and report, from made-up cells

NAMES = {
    *(f"gate_{regime.replace(' ', '_')}" for regime in GATES),
    *(asked.name for asked in ASKED),
    "junk",
}


def trained(accuracy: float, bad: float = 0.0) -> Trained:
    curve = ((0.0, 0.1), (50.0, accuracy / 2), (100.0, accuracy))
    return Trained(
        accuracy=accuracy,
        curve=curve,
        flops=100.0,
        frozen=10.0,
        steps=9,
        bad=bad,
        overlap=0.5,
        seen=0.8,
        strength=0.6,
    )


def cells(gains: dict[tuple[Regime, str], float], frame: float = 0.12, worlds: int = 5) -> list[RegimeCell]:
    """All arms at .5 but for their gains; at equal updates .1 more; the easiest are junk in nine of ten cases."""
    rng = np.random.default_rng(0)
    found = []
    for world in range(worlds):
        for regime, names in ARMS.items():
            arms = {}
            for name in (RANDOM, *names):
                value = 0.5 + gains.get((regime, name), 0.0) + rng.normal(0, 0.002)
                bad = 0.9 if name == EASY else 0.5
                arms[name] = Arm(flops=trained(value, bad + rng.normal(0, 0.01)), updates=trained(value + 0.1, bad))
            found.append(
                RegimeCell(
                    world=world,
                    regime=regime,
                    arms=arms,
                    grid={"T 1, 0.5": 0.4, "T 4, 0.9": 0.5},
                    setting="T 4, 0.9",
                    budget=100.0,
                    teacher=0.9,
                    bad=0.5 + rng.normal(0, 0.01),
                    single_frame=None if regime == "pictures" else frame,
                    cost_ratio=9.0,
                    seconds=1.0,
                )
            )
    return found


GAINS: dict[tuple[Regime, str], float] = {
    ("duplicates", PERTURBED): 0.03,
    ("duplicates", SAKD): -0.1,
    ("clean", CE): -0.05,
    ("clean", LONG): 0.02,
    ("label noise", TRUST): -0.04,
}


def test_verdicts() -> None:
    claims = {claim.name: claim for claim in judged(judge_cells(cells(GAINS)))}
    assert set(claims) == NAMES
    assert claims["duplicates"].verdict == "holds"
    assert claims["duplicates_text"].verdict == "does not hold"
    assert claims["gate_clean"].verdict == "holds"
    assert claims["gate_duplicates"].verdict == "undecided"
    assert (claims["clean_low"].verdict, claims["clean_high"].verdict) == ("holds", "holds")
    assert claims["half"].verdict == "does not hold"  # .02 below what twice the FLOPs give
    assert claims["noise"].verdict == "does not hold"
    assert claims["junk"].verdict == "holds"
    assert "at equal updates the difference is" in claims["duplicates"].note


def test_a_single_frame_that_tells_refuses_clips_but_not_pictures() -> None:
    claims = {claim.name: claim for claim in judged(judge_cells(cells(GAINS, frame=0.31)))}
    assert "a single frame tells the motion in 0.310" in claims["duplicates"].note
    assert claims["duplicates"].interval is None
    assert claims["gate_pictures"].interval is not None
    assert judged(judge_cells(cells(GAINS, frame=0.3)))[0].interval is not None


def test_report() -> None:
    made = cells(GAINS)
    regimes = by_regime(made)
    gates = {row["regime"]: row for row in gate_table(regimes)}
    assert float(gates["clean"]["difference"].split()[0]) == pytest.approx(0.05, abs=0.004)
    assert gates["clean"]["temperature, weight"] == "T 4, 0.9 (5x)"
    advice = {row["regime"]: row for row in advice_table(regimes)}
    assert advice["duplicates"]["better"].startswith(PERTURBED)
    assert advice["duplicates"]["worse"].startswith(SAKD)
    rows = {row["arm"]: row for row in arm_table(regimes["duplicates"])}
    assert rows[PERTURBED]["equal FLOPs"].startswith("0.5")
    assert float(rows[PERTURBED]["equal updates"]) == pytest.approx(
        float(rows[PERTURBED]["equal FLOPs"]) + 0.1, abs=0.002
    )
    assert len(sections(made)) == 4
    assert len(sections(cells(GAINS, worlds=1))) == 4
    assert "50%" in glance(made).words


def test_the_design_of_quick() -> None:
    quick = DESIGNS["quick"]
    assert quick.world.times == 4
    assert set(quick.arms) == set(GATES)
    assert len(quick.spending.grid) >= 4
