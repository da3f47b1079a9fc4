"""The planning-acting study: verdicts from results made by hand, a smoke run, exact resume, the same world twice."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish.core.errors import Interrupted
from burnish.core.run import Run
from burnish.core.study import StudyRecipe
from burnish.studies.planning_acting import study
from burnish.studies.planning_acting.claims import judge_worlds, ratio, score
from burnish.studies.planning_acting.experiment import Design, arms, duel, numbers, play
from burnish.studies.planning_acting.records import World
from burnish.studies.planning_acting.report import arm_table, outcomes
from tests.judging import judged

DESIGN = Design()
NUMBERS = {
    "seconds": 100.0,
    "success": 1.0,
    "lost": 0.0,
    "health": 15.0,
    "deaths": 0.0,
    "interrupts": 1.0,
    "calls": 9.0,
    "tokens": 9.0,
    "overlap": 0.0,
}
FASTER = ("faster", "faster_by_half", "gain_grows", "bare_faster")
HEALTH = ("gather_health", "boss_health", "bare_boss_health")
WINS = ("wins", "wins_three_quarters")


def made(serial: float = 200.0, slow: float = 1.0, won: float = 1.0, health: float = 10.0, count: int = 24) -> Any:
    """Worlds whose serial team takes ``serial`` seconds (times ``slow`` at 16 s) and loses a share ``won`` of duels."""
    rng = np.random.default_rng(0)
    worlds = []
    for seed in range(count):
        played = {}
        for name in arms(seed, DESIGN):
            found = dict(NUMBERS)
            found["seconds"] *= float(np.exp(rng.normal(0, 0.05)))
            if name.endswith("/parallel"):
                found["overlap"] = 0.9
            if name.endswith("/serial"):
                found["seconds"] *= serial / 100 * (slow if "/16/" in name else 1.0)
                found["health"] = health + float(rng.normal(0, 0.5))
            if name.startswith("duel/"):
                ours = seed < won * count
                at_home = name.endswith("/home")
                found |= {"success": float(ours == at_home), "lost": float(ours != at_home)}
            if name.endswith("reactive"):
                found["success"] = float(seed % 2)
            played[name] = found
        worlds.append({"seed": seed, "judged": "8", "played": played})
    return worlds


def read(worlds: Any) -> list[World]:
    return [World.model_validate(world) for world in worlds]


def verdicts(worlds: Any) -> dict[str, str]:
    return {claim.name: claim.verdict for claim in judged(judge_worlds(read(worlds)))}


def test_verdicts_by_hand() -> None:
    good = verdicts(made(slow=1.5))
    assert {good[name] for name in (*FASTER, *HEALTH, *WINS, "overlap", "reactive_gather")} == {"holds"}
    assert good["boss_success"] == "does not hold", "all won in both modes: no difference"
    bad = verdicts(made(serial=90.0, slow=0.5, won=0.1, health=18.0))
    for name in (*FASTER, *HEALTH, *WINS):
        assert bad[name] == "does not hold", name
    between = verdicts(made(serial=130.0, won=0.75))
    assert (between["faster"], between["faster_by_half"]) == ("holds", "does not hold")
    assert between["wins_three_quarters"] == "undecided"
    assert verdicts(made(count=1))["faster"] == "undecided"


def test_numbers_by_hand() -> None:
    worlds = made(count=2)
    for world, seconds in zip(worlds, (100.0, 400.0), strict=True):
        world["played"]["boss/4/serial"]["seconds"], world["played"]["boss/4/parallel"]["seconds"] = seconds, 100.0
    assert ratio(read(worlds), ["boss/4/serial"], ["boss/4/parallel"]).mean == pytest.approx(2.0), "a geometric mean"
    ends = {"win": (1.0, 0.0), "draw": (0.0, 0.0), "loss": (0.0, 1.0)}
    worth = {"win": 0.5, "draw": 0.25, "loss": 0.0}
    swapped = {"win": "loss", "draw": "draw", "loss": "win"}
    for home, away in itertools.product(ends, ends):
        for side, end in (("home", home), ("away", swapped[away])):  # away, the parallel team is the recipe's opponent
            success, lost = ends[end]
            worlds[0]["played"][f"duel/4/{side}"] |= {"success": success, "lost": lost}
        assert score(read(worlds)[0], "4") == worth[home] + worth[away]
    assert sum(outcomes(read(worlds), "4").values()) == 4
    assert {row["arm"] for row in arm_table(read(worlds))} == {name.replace("/", ", ") for name in worlds[0]["played"]}


def test_modes_differ_in_nothing_but_the_mode() -> None:
    recipes = arms(7, DESIGN)
    for name, recipe in recipes.items():
        if name.endswith("/serial"):
            other = recipes[name.removesuffix("serial") + "parallel"]
            assert recipe.runtime.mode == "serial"
            assert (
                recipe.model_copy(update={"runtime": recipe.runtime.model_copy(update={"mode": "parallel"})}) == other
            )
    assert len(recipes["gather/3/8/serial"].agents) == 3
    assert recipes["gather/2/8/serial"].runtime.reflexes, "the serial team has the reflex too"


def test_the_same_world_gives_the_same_numbers() -> None:
    recipe = duel(5, Design(limit=120.0), 4.0, "parallel", "serial")
    first = numbers(play(recipe))
    assert first.overlap > 0.5
    assert numbers(play(recipe)) == first


@pytest.mark.timeout(240)
def test_smoke_run_resumes_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = Design(worlds=2, latencies=(4.0,), judged=4.0, teams=(2,), limit=40.0, duel=(4.0,))
    monkeypatch.setitem(study.DESIGNS, "smoke", small)
    recipe = StudyRecipe(method="study:planning_acting", size="smoke", seeds=1)
    with Run(recipe, tmp_path / "whole", quiet=True) as run:
        whole = study.run(recipe, run)
    assert len(whole.sections) == 5
    assert {claim.name for claim in judged(whole.questions)} >= {
        "faster",
        "boss_success",
        "wins",
        "without_decomposition",
    }
    with Run(recipe, tmp_path / "cut", quiet=True) as run:
        real = run.log

        def log(step: int, **values: Any) -> None:
            real(step, **values)
            run._signal = 15

        monkeypatch.setattr(run, "log", log)
        with pytest.raises(Interrupted):
            study.run(recipe, run)
    with Run(recipe, tmp_path / "cut", quiet=True) as run:
        again = study.run(recipe, run)
    assert judged(again.questions) == judged(whole.questions)
    one, other = (tmp_path / name / "artifacts" / "cells.json" for name in ("whole", "cut"))
    assert one.read_bytes() == other.read_bytes()
