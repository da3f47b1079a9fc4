"""Preflight of an episode: what its recipe would do, without playing or asking anything."""

from __future__ import annotations

from typing import Any

from burnish.act.episode import AgentPool, set_up_episode
from burnish.act.recipe import CraftworldSettings, MinecraftSettings, TeamRecipe
from burnish.core.forecast import PAGE, PLAIN, Forecast

EVENT_BYTES = 330
"""A second of one agent's episode in the log, the memory's and the artifact's together (measured)."""
CELL_BYTES = 105
"""A cell of craftworld on the map and on the report's copy of it (measured)."""
SHARE = 0.5
"""How much of its seconds an episode lasts: a guess."""
WORK_SECONDS = 0.01
"""Computing for a second of one agent's episode, where the clock jumps over waiting (measured: 0.01 to 0.03)."""


def check(recipe: TeamRecipe) -> list[tuple[str, Any]]:
    """Rows for ``burnish check``: world, team, planner, clock, limits.

    Raises:
        UserError: an item, boss, policy, reflex or function that does not exist.
    """
    setup = set_up_episode(recipe)
    AgentPool(recipe, setup.library)
    runtime, planner = recipe.runtime, recipe.planner
    rules = len(runtime.reflexes)
    skills = sorted(skill.name for skill in setup.library)
    asked = f"{planner.url}, {planner.latency:g} s a call" if planner.url.startswith("policy:") else planner.url
    limits = runtime.limits
    kept = "played again to where it was" if setup.simulated else "taken to have gone on"
    return [
        ("world", _world(recipe)),
        ("team", ", ".join(agent.name for agent in recipe.agents)),
        ("skills", ", ".join(skills)),
        ("planner", "none: reflexes alone" if runtime.mode == "reactive" else asked),
        ("mode", f"{runtime.mode}, interrupts {'allowed' if runtime.interrupts else 'not allowed'}"),
        ("planning", f"{runtime.planning}, {runtime.horizon} step{'s' * (runtime.horizon > 1)} a plan"),
        ("reflexes", f"{rules} rule{'s' * (rules != 1)}" if runtime.reactive == "rule" else runtime.reactive),
        ("clock", f"{runtime.clock}; after a kill the world is {kept}"),
        ("limits", f"{limits.seconds:g} s, {limits.steps:,} skills, {limits.tokens:,} tokens"),
        ("event log", recipe.memory.rpartition("@")[2]),
        *forecast(recipe).rows(),
    ]


def forecast(recipe: TeamRecipe) -> Forecast:
    """What the episode will take if it ends half-way to its limit. A chat model's server takes its own."""
    lived = SHARE * recipe.runtime.limits.seconds * len(recipe.agents)
    cells = recipe.world.size**2 if isinstance(recipe.world, CraftworldSettings) else 0
    seconds = SHARE * recipe.runtime.limits.seconds if recipe.runtime.clock == "wall" else WORK_SECONDS * lived
    log = EVENT_BYTES * lived
    return Forecast(
        memory_bytes=int(PLAIN + 2 * log + CELL_BYTES * cells),
        disk_bytes=int(PAGE + log + CELL_BYTES * cells),
        seconds=seconds,
    )


def _world(recipe: TeamRecipe) -> str:
    world = recipe.world
    if isinstance(world, MinecraftSettings):
        wanted = [f"{count} {item} each" for item, count in world.goal.items.items()]
        wanted += [f"{count} {item}" for item, count in world.goal.team_items.items()]
        where = f"minecraft {world.version} at {world.host}:{world.port}, auth: {world.auth}"
        return f"{where}; goal: {', '.join(wanted) or 'none'}"
    if not isinstance(world, CraftworldSettings):
        return f"{world.function}, your own"
    goal = world.goal
    asked = [f"{count} {item} each" for item, count in goal.items.items()]
    asked += [f"{count} {item}" for item, count in goal.team_items.items()]
    asked += [f"{goal.boss} dead"] if goal.boss else []
    asked += ["the other team dead"] if goal.opponents else []
    return (
        f"craftworld, {world.size} x {world.size} cells, creatures: {world.creatures}; goal: "
        f"{', '.join(asked) or 'none'}"
    )
