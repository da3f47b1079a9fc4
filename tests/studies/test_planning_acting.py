"""The planning-acting study: verdicts from results made by hand, a smoke run, exact resume, the same world twice."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish.core.errors import Interrupted
from burnish.core.intervals import share_interval
from burnish.core.looks import plan_looks
from burnish.core.run import Run
from burnish.core.study import StudyRecipe
from burnish.studies.planning_acting import study
from burnish.studies.planning_acting.arms import SURROUNDINGS, WAYS, Design, arms, duel, fetching
from burnish.studies.planning_acting.claims import alone, measured_ratio, near_bound, over_bound, ratio
from burnish.studies.planning_acting.experiment import numbers, play
from burnish.studies.planning_acting.fight_claims import judge_worlds, score
from burnish.studies.planning_acting.fight_figures import outcomes
from burnish.studies.planning_acting.figures import gain_figure
from burnish.studies.planning_acting.records import World
from burnish.studies.planning_acting.report import arm_table, typical
from tests.judging import judged

DESIGN = Design()
NUMBERS = {
    "seconds": 100.0,
    "success": 1.0,
    "lost": 0.0,
    "health": 15.0,
    "deaths": 0.0,
    "calls": 9.0,
    "tokens": 9.0,
    "skills": 10.0,
    "skill_seconds": 8.0,
    "bound": 99.0,
}
FASTER = (
    "faster_static",
    "faster_drifting",
    "faster_hostile",
    "faster_on_average",
    "faster_at_equal_horizon",
    "team_static",
    "team_drifting",
)
COST = ("tokens_of_serial", "tokens_of_continuous", "tokens_at_equal_horizon")
HEALTH = ("fewer_deaths", "boss_health", "bare_boss_health")
WINS = ("wins", "wins_three_quarters")


def made(
    serial: float = 200.0,
    elsewhere: float = 1.0,
    won: float = 1.0,
    health: float = 10.0,
    tokens: float = 8.8,
    bound: float = 99.0,
    count: int = 40,
) -> Any:
    """Worlds whose serial team takes ``serial`` seconds (times ``elsewhere`` where L/A is not 1), and all else as said
    of the parallel one."""
    rng, costs = np.random.default_rng(0), np.random.default_rng(1)
    worlds = []
    for seed in range(count):
        played = {}
        for name in arms(seed, DESIGN):
            found = dict(NUMBERS)
            if name.endswith(("/serial", "/serial4", "/continuous")):
                found["seconds"] *= serial / 100
                found["seconds"] *= 1.0 if "/1/" in name or not name.startswith("fetch/") else elsewhere
                found["health"] = health + float(rng.normal(0, 0.5))
                found["deaths"] = (20 - health) / 10 + float(rng.normal(0, 0.1))
            else:
                found |= {"tokens": tokens * float(np.exp(costs.normal(0, 0.005))), "bound": bound, "deaths": 0.5}
            found["seconds"] *= float(np.exp(rng.normal(0, 0.005)))
            if name.startswith("duel/"):
                ours = seed < won * count
                at_home = name.endswith("/home")
                found |= {"success": float(ours == at_home), "lost": float(ours != at_home)}
            if name.endswith("reactive"):
                found["success"] = float(seed % 2)
            played[name] = found
        worlds.append({"seed": seed, "played": played})
    return worlds


def read(worlds: Any) -> list[World]:
    return [World.model_validate(world) for world in worlds]


def verdicts(worlds: Any) -> dict[str, str]:
    return {claim.name: claim.verdict for claim in judged(judge_worlds(read(worlds)))}


def test_verdicts_by_hand() -> None:
    good = verdicts(made())
    bounds = ("slot_bound", "plan_bound")
    expected = (*FASTER, *COST, *HEALTH, *WINS, *bounds, "events_faster_than_continuous", "reactive_tools")
    assert {name: good[name] for name in expected} == dict.fromkeys(expected, "holds")
    assert good["boss_success"] == "undecided", "all won in both modes: forty worlds do not say that none differs"
    bad = verdicts(made(serial=90.0, won=0.1, health=18.0, tokens=15.0, bound=90.0))
    for name in expected[:-1]:
        assert bad[name] == "does not hold", name
    at_one_only = verdicts(made(elsewhere=0.6, won=0.75))
    assert at_one_only["faster_static"] == "holds"
    assert at_one_only["faster_on_average"] == "does not hold"
    assert at_one_only["wins_three_quarters"] == "undecided"
    between = verdicts(made(serial=130.0))
    assert (between["faster_static"], between["faster_at_equal_horizon"]) == ("does not hold", "holds")
    assert verdicts(made(count=1))["faster_static"] == "undecided"


def test_numbers_by_hand() -> None:
    worlds = made(count=2)
    for world, seconds, bound in zip(worlds, (100.0, 400.0), (50.0, 25.0), strict=True):
        world["played"]["boss/4/serial"]["seconds"], world["played"]["boss/4/parallel"]["seconds"] = seconds, 100.0
        world["played"]["fetch/static/1/events"] |= {"seconds": 100.0, "bound": bound}
        world["played"]["fetch/static/1/serial"]["skill_seconds"] = bound / 5
    found = read(worlds)
    assert ratio(found, ["boss/4/serial"], ["boss/4/parallel"]).mean == pytest.approx(2.0), "a geometric mean"
    assert over_bound(found, ["fetch/static/1/events"]) == [2.0, 4.0]
    assert measured_ratio(found, "1") == pytest.approx(8 / 7.5)
    ends = {"win": (1.0, 0.0), "draw": (0.0, 0.0), "loss": (0.0, 1.0)}
    worth = {"win": 0.5, "draw": 0.25, "loss": 0.0}
    swapped = {"win": "loss", "draw": "draw", "loss": "win"}
    for home, away in itertools.product(ends, ends):
        for side, end in (("home", home), ("away", swapped[away])):  # away, the parallel team is the recipe's opponent
            success, lost = ends[end]
            worlds[0]["played"][f"duel/4/{side}"] |= {"success": success, "lost": lost}
        assert score(read(worlds)[0], "4") == worth[home] + worth[away]
    assert sum(outcomes(read(worlds), "4").values()) == 4
    rows = {row["arm"]: row for row in arm_table(found)}
    assert set(rows) == {name.replace("/", ", ") for name in worlds[0]["played"]}
    assert rows["fetch, static, 1, events"]["time / bound"] == "3.000"
    assert rows["fetch, static, 1, events4"]["serial / parallel time"].startswith("2"), "of the same horizon"
    assert typical(found)[0] in found


def test_a_call_that_was_cut_off_costs_its_prompt_here_and_in_the_run() -> None:
    recipe = fetching(3, DESIGN, "static", 1.0, "events", 16, 2)
    played = play(recipe)
    cut = [event.data["tokens"] for event in played.events if event.data.get("status") == "cancelled"]
    assert cut
    assert all(tokens["prompt"] > 0 == tokens["completion"] for tokens in cut)
    assert numbers(recipe, played).tokens == played.outcome.tokens


def test_the_least_time_is_taken_in_a_share_of_worlds() -> None:
    worlds = made(count=48)
    for world in worlds:
        for ratio_ in DESIGN.ratios:
            world["played"][f"fetch/static/{ratio_:g}/events"] |= {"seconds": 100.0, "bound": 100.0}
    found = near_bound(read(worlds), alone(read(worlds), "events"))
    assert found.at(0.975) == share_interval(48, 48, 0.975)
    slot = next(each for each in judge_worlds(read(worlds)) if each.name == "slot_bound")
    assert [slot.judged(look).verdict for look in plan_looks(3, 24)] == ["undecided"] * 3 + ["holds"]
    worlds[7]["played"]["fetch/static/2/events"]["seconds"] = 103.1  # at one L/A of five
    assert near_bound(read(worlds), alone(read(worlds), "events")).at(0.975) == share_interval(47, 48, 0.975)


def test_notes_say_what_speed_costs_and_how_much_of_it_is_cut_off() -> None:
    worlds = made(count=8)
    for number, world in enumerate(worlds):
        played = world["played"]
        played["fetch/hostile/1/serial"]["skill_seconds"] = played["fetch/hostile/1/events"]["skill_seconds"] = 6.0
        played["fetch/hostile/1/serial"]["success"] = float(number >= 4)
        played["fetch/hostile/1/events"]["success"] = float(number >= 2)
        played["fetch/hostile/1/serial"]["tokens"] = 10.0
        played["fetch/hostile/1/events"]["tokens"] = 16.0
        for size, tokens in ((1, 11.0), (8, 27.0)):
            played[f"team/static/{size}/serial"]["tokens"], played[f"team/static/{size}/events"]["tokens"] = (
                10.0,
                tokens,
            )
        for each, tokens in zip((0.125, 0.5, 1, 2, 4), (10.0, 15.0, 13.0, 23.0, 17.0), strict=True):
            played[f"fetch/static/{each:g}/serial4"]["tokens"] = 10.0
            played[f"fetch/static/{each:g}/events4"]["tokens"] = tokens
    claims = {claim.name: claim for claim in judged(judge_worlds(read(worlds)))}
    hostile = claims["faster_hostile"]
    assert "here L/A 1.33" in hostile.claim
    assert "theory allows 1.75" in hostile.note, "(1 + 4/3) / (4/3)"
    assert "25% of its episodes and 50% of those that take turns end at the limit" in hostile.note
    assert "1.60 times the tokens" in hostile.note
    assert "at the limit end 8% of the episodes against 17%" in claims["fewer_deaths"].note, "of three L/A"
    assert "times the tokens by size: 1: 1.10; " in claims["team_static"].note
    assert claims["team_static"].note.endswith("8: 2.70")
    horizon = claims["tokens_at_equal_horizon"]
    assert horizon.note.startswith("by L/A: 0.125: 1.00; 0.5: 1.50; 1: 1.30; 2: 2.30; 4: 1.70. All 8 values are equal")
    assert horizon.interval is not None
    assert horizon.interval.mean == pytest.approx((1.5 * 1.3 * 2.3 * 1.7) ** 0.2)


def test_points_stand_at_the_ratio_of_their_own_kind_of_world() -> None:
    worlds = made(count=3)
    for world in worlds:
        world["played"]["fetch/hostile/0.125/serial"]["skill_seconds"] = 16.0
    panels = gain_figure(read(worlds)).axes[: len(SURROUNDINGS)]
    places = [float(np.asarray(panel.lines[0].get_xdata())[0]) for panel in panels]
    assert places == pytest.approx([1.0, 1.0, 0.5])


def test_ways_of_thinking_differ_in_nothing_else() -> None:
    recipes = arms(7, DESIGN)

    def plain(name: str) -> Any:
        free = {"mode": "parallel", "planning": "events", "horizon": 1}
        return recipes[name].model_copy(update={"runtime": recipes[name].runtime.model_copy(update=free)})

    for around in SURROUNDINGS:
        for asked in DESIGN.ratios_in(around):
            same = [f"fetch/{around}/{asked:g}/{way}" for way in WAYS]
            assert all(plain(name) == plain(same[0]) for name in same)
            assert recipes[same[0]].runtime.reflexes, "the serial team has the reflex too"
    for name, recipe in recipes.items():
        if name.endswith("/serial"):
            other = name.removesuffix("serial") + ("events" if name.startswith(("fetch", "team")) else "parallel")
            assert (recipe.runtime.mode, recipes[other].runtime.mode) == ("serial", "parallel")
            assert plain(name) == plain(other)
    assert len(recipes["team/static/8/serial"].agents) == 8
    assert [recipes[f"fetch/static/{each}/events"].agents[0].goal[-2:] for each in ("0.125", "1", "4")] == [
        "32",
        " 4",
        " 1",
    ]


@pytest.mark.parametrize("way", WAYS)
def test_one_agent_in_a_static_world_takes_what_theory_says(way: str) -> None:
    """Serial and events to the rounding of a tick, with every ratio; planning all the time takes longer."""
    for asked in (0.5, 1.0, 2.0):
        recipe = fetching(3, DESIGN, "static", asked, way, 24)
        found = numbers(recipe, play(recipe))
        assert found.success == 1.0
        assert found.skills == 24 * asked / 4
        assert 0.5 * asked < 8 / found.skill_seconds < 1.5 * asked
        assert found.seconds >= found.bound - 1e-6
        if way in ("serial", "events", "serial4"):
            assert found.seconds == pytest.approx(found.bound, abs=1.0)


def test_an_order_that_changes_is_heard_and_followed() -> None:
    found = {}
    for way in ("serial", "events"):
        recipe = fetching(3, DESIGN, "drifting", 0.125, way, 64)
        played = play(recipe)
        found[way] = numbers(recipe, played)
        orders = [event for event in played.events if event.kind == "world" and event.data["kind"] == "order"]
        assert orders
        calls = [event.time for event in played.events if event.kind == "call_start"]
        if way == "events":
            assert orders[0].time in calls, "it thinks again at once"
    assert found["events"].success == found["serial"].success == 1.0
    assert found["events"].seconds < found["serial"].seconds, "what nobody wants any more is not fetched to the end"


def test_the_same_world_gives_the_same_numbers() -> None:
    recipe = duel(5, Design(limit=360.0), 4.0, "parallel", "serial")
    first = numbers(recipe, play(recipe))
    assert first.calls > 5
    assert numbers(recipe, play(recipe)) == first


@pytest.mark.timeout(240)
def test_smoke_run_resumes_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    design = Design(
        worlds=2,
        ratios=(1.0,),
        moving=(1.0,),
        pieces=4,
        hostile_pieces=4,
        team_pieces=2,
        teams=(2,),
        boss=(4.0,),
        duel=(4.0,),
        limit=45.0,
    )
    monkeypatch.setitem(study.DESIGNS, "smoke", design)
    recipe = StudyRecipe(method="study:planning_acting", size="smoke", seeds=1)
    with Run(recipe, tmp_path / "whole", quiet=True) as run:
        whole = study.run(recipe, run)
    assert len(whole.sections) == 7
    assert {claim.name for claim in judged(whole.questions)} >= {
        "faster_static",
        "boss_success",
        "wins",
        "without_decomposition",
    }
    with pytest.raises(Interrupted), Run(recipe, tmp_path / "cut", quiet=True) as run:
        real = run.log

        def log(step: int, **values: Any) -> None:
            real(step, **values)
            run._signals.number = 15

        monkeypatch.setattr(run, "log", log)
        study.run(recipe, run)
    with Run(recipe, tmp_path / "cut", quiet=True) as run:
        again = study.run(recipe, run)
    assert judged(again.questions) == judged(whole.questions)
    one, other = (tmp_path / name / "artifacts" / "cells.json" for name in ("whole", "cut"))
    assert one.read_bytes() == other.read_bytes()
