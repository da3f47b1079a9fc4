"""An episode in its run folder: played, stopped by a signal and gone on with, refused."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from burnish.act import METHOD
from burnish.act.loop import play
from burnish.act.preflight import check
from burnish.act.recipe import TeamRecipe
from burnish.act.report import agent_rows, read_events, run_sections
from burnish.act.timeline import timeline
from burnish.core.errors import Interrupted, UserError
from burnish.core.report import run_report
from burnish.core.run import Run

TINY = Path(__file__).parents[2] / "recipes" / "planning_acting" / "tiny.yaml"


def recipe(*overrides: str) -> TeamRecipe:
    return TeamRecipe.load(TINY, overrides)


def played(path: Path, *overrides: str) -> bytes:
    asked = recipe(*overrides)
    with Run(asked, path, quiet=True) as run:
        play(asked, run)
    return (path / "artifacts" / "events.jsonl").read_bytes()


def events_so_far(path: Path) -> int:
    memory = path / "artifacts" / "memory.sqlite"
    try:
        with sqlite3.connect(f"file:{memory}?mode=ro", uri=True) as db:
            return int(db.execute("SELECT COUNT(*) FROM events").fetchone()[0])
    except sqlite3.Error:
        return 0


def test_a_stop_signal_ends_it_and_the_same_command_goes_on(tmp_path: Path, tiny_run: Path) -> None:
    whole = (tiny_run / "artifacts" / "events.jsonl").read_bytes()
    asked = recipe()
    with pytest.raises(Interrupted, match="the same command goes on") as caught:  # noqa: SIM117
        with Run(asked, tmp_path / "stopped", quiet=True) as run:
            note, notes = run.note, iter(range(100))

            def stopping(message: str) -> None:
                if next(notes) == 5:
                    os.kill(os.getpid(), signal.SIGTERM)
                note(message)

            run.note = stopping  # type: ignore[method-assign]
            play(asked, run)
    assert caught.value.exit_code == 128 + signal.SIGTERM
    assert 0 < events_so_far(tmp_path / "stopped") < whole.count(b"\n")
    said: list[str] = []
    with Run(asked, tmp_path / "stopped", quiet=True) as run:
        run.note = said.append  # type: ignore[method-assign, assignment]
        play(asked, run)
    assert any("going on after event" in line for line in said)
    assert (tmp_path / "stopped" / "artifacts" / "events.jsonl").read_bytes() == whole


def test_the_tiny_episode_shows_interrupts_and_ends_well(tiny_run: Path) -> None:
    outcome = json.loads((tiny_run / "artifacts" / "outcome.json").read_text())
    assert outcome["reached"] == ["ann", "bob"]
    events = read_events(tiny_run)
    lines = timeline(events)
    assert {agent for agent, _, _ in lines.interrupts} == {"ann", "bob"}
    assert lines.reflexes
    titles = [section.title for section in run_sections(tiny_run)]
    assert titles == [
        "How it ended",
        "Who planned and acted when",
        "Where it ended",
        "Agents",
        "Skills",
        "What happened",
    ]
    html = run_report(tiny_run, run_sections(tiny_run)).read_text()
    assert "Goal reached by ann, bob" in html
    assert "killed a" in html
    assert [row["agent"] for row in agent_rows(events, lines)] == ["ann", "bob"]


def test_serial_mode_is_slower_and_overlaps_nothing(tmp_path: Path) -> None:
    calm = ("world.creatures=none",)
    played(tmp_path / "parallel", *calm)
    played(tmp_path / "serial", *calm, "runtime.mode=serial")
    outcomes = [
        json.loads((tmp_path / mode / "artifacts" / "outcome.json").read_text()) for mode in ("parallel", "serial")
    ]
    assert outcomes[0]["seconds"] < outcomes[1]["seconds"]
    assert set(outcomes[1]["overlap"].values()) == {0.0}
    assert min(outcomes[0]["overlap"].values()) > 0.3  # planning is over long before the skill is


def test_two_teams_fight_until_one_is_dead(tmp_path: Path) -> None:
    overrides = (
        "world.opponents={agents: [eve, dan], policy: fighter, latency: 4.0, mode: serial}",
        "world.goal={opponents: true}",
        "world.size=36",
        "world.respawn=false",
        "world.creatures=none",
        "world.start={stone_sword: 1}",
        "planner={url: 'policy:fighter', latency: 4.0}",
        "runtime.reflexes=[]",
    )
    first = played(tmp_path / "one", *overrides)
    outcome = json.loads((tmp_path / "one" / "artifacts" / "outcome.json").read_text())
    assert bool(outcome["reached"]) != (len(outcome["gone"]) == 2) or outcome["limit"]
    assert "eve" not in outcome["overlap"], "the other team's memory is its own"
    assert played(tmp_path / "two", *overrides) == first


def test_check_counts_reflexes() -> None:
    assert dict(check(recipe()))["reflexes"] == "1 rule"


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("world.goal.team_items={stone_pikaxe: 1}", "world.goal.team_items: item: `stone_pikaxe` is unknown"),
        ("world.start={stik: 1}", "world.start: item: `stik` is unknown"),
        ("world.goal.boss=withr", "is no boss; known"),
        ("planner.url=policy:gatherr", "there is no policy `gatherr`; did you mean `gatherer`"),
        ("planner.url=policy:no_such:thing", "no module named `no_such`"),
        ("runtime.reflexes.0.skill=retret", "runtime.reflexes: there is no skill `retret`"),
        ("world={kind: own, function: 'os:getcwd'}", "failed|returned|takes"),
        ("world={kind: own, function: 'no_such:thing'}", "no module named `no_such`"),
    ],
)
def test_check_refuses_what_does_not_exist(override: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        check(recipe(override))


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("agents.1.name=ann", "two are called ann"),
        ("world.opponents={agents: [ann]}", "two are called ann"),
        ("memory=mysql://here", "memory"),
        ("world.goal.items={stick: 0}", "greater than or equal to 1"),
        ("world.kind=minetest", "kind"),
        ("world.sise=3", "did you mean `size`"),
    ],
)
def test_bad_recipes_are_refused_in_one_line(override: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        recipe(override)


def test_craftworld_on_the_wall_clock_cannot_be_gone_on_with(tmp_path: Path) -> None:
    asked = recipe("runtime.clock=wall", "runtime.limits.seconds=0.5", "planner.latency=0.1")
    with Run(asked, tmp_path / "run", quiet=True) as run:
        play(asked, run)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps(record | {"status": "running"}))
    with pytest.raises(UserError, match="start afresh"), Run(asked, tmp_path / "run", quiet=True) as run:
        play(asked, run)


def test_check_says_what_would_happen() -> None:
    rows = dict(METHOD.load("check")(recipe()))
    assert "8 torch" in rows["world"]
    assert rows["team"] == "ann, bob"


def own(asked: Any) -> Any:
    """A user's own world, for the test below."""
    from tests.act.worlds import SKILLS, Meadow

    return Meadow(goal={"mine": 1}), SKILLS


def wary(known: Any) -> Any:
    """Its policy."""
    from tests.act.worlds import wary as policy

    return policy(known)


def test_a_world_of_ones_own(tmp_path: Path) -> None:
    world = "world={kind: own, function: 'tests.act.test_episode:own', simulated: true}"
    played(tmp_path / "run", world, "planner.url=policy:tests.act.test_episode:wary", "runtime.reflexes=[]")
    outcome = json.loads((tmp_path / "run" / "artifacts" / "outcome.json").read_text())
    assert outcome["reached"] == ["ann", "bob"]
    assert not (tmp_path / "run" / "artifacts" / "map.svg").exists()
