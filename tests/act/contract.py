"""The row of planning-acting in the contract suite: an episode on the virtual clock, without a model."""

from pathlib import Path
from typing import Any

METHOD = "planning_acting"
CLOCKS = ()


def recipe(folder: Path) -> dict[str, Any]:
    return {
        "method": METHOD,
        "agents": [{"name": "ann", "goal": "what is missing"}, {"name": "bob", "goal": "what is missing"}],
        "planner": {"url": "policy:gatherer", "latency": 8.0},
        "world": {
            "kind": "craftworld",
            "size": 48,
            "day_seconds": 240.0,
            "starts_at": 0.46,
            "start": {"wooden_sword": 1, "bread": 2},
            "goal": {"team_items": {"stone_pickaxe": 1, "furnace": 1, "torch": 4}},
        },
        "runtime": {
            "clock": "virtual",
            "reflexes": [
                {"event": "damage", "where": "health", "below": 6, "skill": "retreat", "arguments": {"cells": 12}}
            ],
            "limits": {"seconds": 600.0},
        },
    }
