"""The study's own planner: fetches what the team is to hold in portions, whose size sets how long a skill lasts.

So the length A of a skill beside the length L of a planning call is a setting of the study, and not the luck of a task.
The size of a portion stands in the agent's goal, where a chat model would read it. Plays in every mode, with any
horizon, alone or in a team, and follows an order that changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from burnish.act.skills.gathering import WEAPONS
from burnish.act.worlds.craftworld.policies import Known, Reply, call, nothing, plan, survive
from burnish.act.worlds.craftworld.rules import HEALS_FROM

SWORD = "wooden_sword"
WOUNDED = 12.0  # points of health, of 20


def goal_words(portion: int) -> str:
    """What an agent is told to reach."""
    return f"what the team is missing, in portions of {portion}"


def fetcher(known: Known) -> Reply:
    """Fetch the next portions of what nobody in the team has or is about to have; first of all, stay alive.

    A skill asks for how many its agent is to hold then, so that a plan says the same whenever it is carried out.
    """
    urgent = survive(known) or _recover(known["you"])
    if urgent is not None:
        return urgent
    you, portion, horizon = known["you"], int(known["goal"].rpartition(" ")[2]), known.get("horizon", 1)
    goal = you["see"]["goal"]
    calls: list[dict[str, Any]] = []
    for item, wanted in goal["team_items"].items():
        if item in goal["team_missing"]:
            held = _will_hold(you, item)
            left = wanted - held - sum(_will_hold(mate, item) for mate in known["team"].values())
            left -= portion * _idle_before(known)
            while left > 0 and len(calls) < horizon:
                held, left = held + min(portion, left), left - portion
                calls.append(call("obtain_item", item=item, count=held))
    if not calls:
        return nothing("all is under way")
    under_way = _item(you)
    useless = under_way is not None and under_way not in goal["team_missing"]
    return {**plan("still missing", calls), "interrupt": useless}


def _recover(you: Mapping[str, Any]) -> Reply | None:
    """Heal before going on, be armed, and go elsewhere: what hurt it is still where it was."""
    see, have = you["see"], you["see"]["inventory"]
    if see["health"] <= WOUNDED and see["hunger"] >= HEALS_FROM:
        return nothing("healing")
    if see["health"] <= WOUNDED and have.get("bread", 0):
        return plan("heals when fed", [call("eat", item="bread")])
    if (you["doing"] or you["last"] or {}).get("name") == "retreat":
        return plan("not there", [call("explore", times=2)])
    if not any(have.get(weapon, 0) for weapon in WEAPONS) and _item(you) != SWORD:
        return plan("a weapon first", [call("obtain_item", item=SWORD, count=1)])
    return None


def _will_hold(agent: Mapping[str, Any], item: str) -> int:
    """How many of an item an agent holds once it has done what it does."""
    have: int = agent["see"]["inventory"].get(item, 0)
    return max(have, agent["doing"]["arguments"]["count"]) if _item(agent) == item else have


def _item(agent: Mapping[str, Any]) -> str | None:
    """What an agent fetches."""
    doing = agent["doing"]
    return doing["arguments"]["item"] if doing is not None and doing["name"] == "obtain_item" else None


def _idle_before(known: Known) -> int:
    """Mates of a lower rank that do nothing: those who think at one moment know nothing of each other's choice."""
    return sum(name < known["you"]["name"] and mate["doing"] is None for name, mate in known["team"].items())
