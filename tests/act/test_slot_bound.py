"""One agent in a calm craftworld: planning on events reaches the bound of the slot, and a plan of all steps its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from burnish.act import clock
from burnish.act.episode import AgentPool, set_up_episode
from burnish.act.memory.sqlite import SQLiteMemory
from burnish.act.recipe import TeamRecipe
from burnish.act.runtime import Runtime

ITEMS = {"stone_pickaxe": 1, "stone_sword": 1, "furnace": 1, "torch": 8, "shield": 1, "bucket": 1}
LATENCIES = (1.0, 4.0, 8.0, 16.0)


def gathered(policy: str, latency: float, **runtime: Any) -> tuple[float, list[float], int]:
    """Seconds to the goal, the lengths of the skills on the way, and planning calls."""
    recipe = TeamRecipe.model_validate(
        {
            "seed": 3000,
            "agents": [{"name": "ann", "goal": "what is missing"}],
            "planner": {"url": f"policy:{policy}", "latency": latency, "stream": False},
            "world": {
                "kind": "craftworld",
                "size": 96,
                "creatures": "none",
                "start": {"wooden_sword": 1, "bread": 2},
                "goal": {"team_items": ITEMS},
            },
            "runtime": {"clock": "virtual", "limits": {"seconds": 3000.0}, **runtime},
        }
    )

    async def main() -> tuple[float, list[float], int]:
        setup, memory = set_up_episode(recipe), SQLiteMemory(Path(":memory:"))
        pool = AgentPool(recipe, setup.library)
        outcome = await Runtime(recipe.runtime, setup.world, memory, pool.agents).run()
        assert outcome.reached == ("ann",)
        events = [event async for event in memory.since(0)]
        await pool.close()
        await memory.close()
        begun = [event.time for event in events if event.kind == "skill_start"]
        ended = [event.time for event in events if event.kind == "skill_end"]
        lengths = [end - start for start, end in zip(begun, ended, strict=True)]
        return outcome.seconds, lengths, sum(event.kind == "call_end" for event in events)

    return clock.run(main, "virtual")


@pytest.mark.parametrize("latency", LATENCIES)
@pytest.mark.parametrize("policy", ["gatherer", "stepper"])
def test_the_bound_is_reached_with_few_calls(policy: str, latency: float) -> None:
    """Within 3 % of L + sum over i < n of max(A_i, L) + A_n, and with a plan of all steps within 5 % of L + sum A_i."""
    _, _, serial_calls = gathered(policy, latency, mode="serial")
    seconds, lengths, calls = gathered(policy, latency)
    assert seconds <= 1.03 * (latency + sum(max(each, latency) for each in lengths[:-1]) + lengths[-1])
    assert calls <= 1.2 * serial_calls
    _, _, serial_calls = gathered(policy, latency, mode="serial", horizon=64)
    seconds, lengths, calls = gathered(policy, latency, horizon=64)
    assert seconds <= 1.05 * (latency + sum(lengths))
    assert calls <= 1.2 * serial_calls
