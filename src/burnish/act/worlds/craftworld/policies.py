"""Scripted planners for craftworld: the same function plays in parallel and in serial mode.

A policy reads what a chat model would read (the prompt's JSON) and replies as one would. While a skill runs, its reply
names the skill to run after it; it asks for an interrupt only for danger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from burnish.act.policies import Policy
from burnish.act.skills import decompose
from burnish.act.skills.algebra import Step
from burnish.act.skills.crafting import Kill, load_crafting
from burnish.act.skills.gathering import WEAPONS
from burnish.core.errors import UserError

Known = Mapping[str, Any]
Reply = dict[str, Any]
ARMOUR = ("iron_chestplate", "iron_leggings", "iron_helmet", "iron_boots", "shield")
CLOSE = 6  # cells; nearer than this a hunter is dealt with
LOW, HUNGRY = 8.0, 10.0


def gatherer(known: Known) -> Reply:
    """Obtain what is missing, each agent something else; fight or leave what hunts it; eat when hungry."""
    urgent = survive(known)
    if urgent is not None:
        return urgent
    wanted = _share(known)
    if not wanted:
        return nothing("all is under way")
    calls = [call("obtain_item", item=item, count=count) for item, count in wanted[: known.get("horizon", 1)]]
    return plan(f"{wanted[0][0]} is missing", calls)


def stepper(known: Known) -> Reply:
    """A gatherer without ``obtain_item``: decomposes by itself, with a planning call for every single step."""
    urgent = survive(known)
    if urgent is not None:
        return urgent
    doing, have = known["you"]["doing"], known["you"]["see"]["inventory"]
    wanted = _share(known, {})
    if not wanted:
        return nothing("nothing is missing")
    calls = _decomposed(wanted, have)
    # The step under way is still in the plan, which was made on an inventory without its result: the next one follows
    # it.
    if doing is not None:
        names = [(each["name"], each["arguments"].get("item")) for each in calls]
        now = (doing["name"], doing["arguments"].get("item"))
        calls = calls[names.index(now) + 1 :] if now in names else []
    return plan("step by step", calls[: known.get("horizon", 1)]) if calls else nothing("one step after the other")


def _decomposed(wanted: Sequence[tuple[str, int]], have: Mapping[str, int]) -> list[dict[str, Any]]:
    """Every step to all that is wanted, on an inventory that the steps before change."""
    tables, stock, calls = load_crafting(), dict(have), []
    for item, count in wanted:
        try:
            found = decompose.plan(item, count, stock, tables)
        except UserError:
            continue
        calls += [_step(step) for step in found.steps]
        stock = dict(found.left)
    return calls


def slayer(known: Known) -> Reply:
    """Fight a boss: strike while it is open, be out of its reach when it bursts, eat and heal in between."""
    you, see = known["you"], known["you"]["see"]
    boss, doing = see.get("boss"), _doing(known)
    if see.get("threat") and boss is None:
        urgent = survive(known)
        if urgent is not None:
            return urgent
    if boss is None:
        return nothing("on its way") if doing else _seek_boss(you)
    name, radius = boss["name"], boss["radius"]
    danger = boss["phase"] == "charging" and boss["distance"] <= radius + 1
    if danger:
        return _now(you, "retreat", "it is about to burst", cells=radius + 3)
    if see["health"] <= LOW:
        apples = see["inventory"].get("golden_apple", 0)
        if apples and doing != "eat":
            return _now(you, "eat", "wounded", item="golden_apple")
        if boss["distance"] <= radius + 1:
            return _now(you, "retreat", "wounded", cells=radius + 3)
        return nothing("healing")
    if boss["phase"] == "charging":
        return nothing("waiting for the burst")
    return nothing("at it") if doing == "kill" else _do("kill", "it is open", target=name, seconds=12.0)


def _seek_boss(you: Mapping[str, Any]) -> Reply:
    last = you["last"] or {}
    if last.get("name") == "kill" and last.get("status") == "failed":
        return _do("explore", "it is not in sight")
    return _do("kill", "where is it?", target=you["see"]["goal"].get("kill", "wither"))


def fighter(known: Known) -> Reply:
    """Against another team: arm, look for them, strike when they are near, eat or leave when wounded."""
    you, see, doing = known["you"], known["you"]["see"], _doing(known)
    threat, have = see.get("threat"), see["inventory"]
    if threat is not None:
        if see["health"] <= LOW and have.get("golden_apple", 0):
            return _now(you, "eat", "wounded", item="golden_apple")
        if see["health"] <= LOW / 2:
            return _now(you, "retreat", "badly wounded", cells=12)
        return (
            nothing("at it")
            if doing == "kill"
            else _now(you, "kill", f"{threat['name']} is near", target=threat["name"])
        )
    bare = [item for item in ARMOUR if have.get(item, 0)]
    if bare and see["armour"] == 0 and doing is None:
        return _do("equip", "armour on", item=bare[0])
    last = you["last"] or {}
    for item in ("wooden_sword", "stone_sword", "iron_sword"):
        better = WEAPONS[: WEAPONS.index(item) + 1]
        tried = last.get("status") == "failed" and last.get("arguments", {}).get("item") == item
        if doing != "obtain_item" and not tried and not any(have.get(weapon, 0) for weapon in better):
            return _do("obtain_item", "a weapon first", item=item, count=1)
    return _do("explore", "where are they?", times=2)


def survive(known: Known) -> Reply | None:
    """What cannot wait: a hunter at hand, hunger."""
    you, see = known["you"], known["you"]["see"]
    threat, have, doing = see.get("threat"), see["inventory"], _doing(known)
    if threat is not None and threat["distance"] <= CLOSE:
        armed = any(have.get(weapon, 0) for weapon in WEAPONS)
        if armed and see["health"] > LOW:
            return nothing("at it") if doing == "kill" else _now(you, "kill", "a hunter is near", target=threat["name"])
        return _now(you, "retreat", "a hunter is near", cells=12)
    if see["hunger"] <= HUNGRY and doing != "eat":
        foods = load_crafting().items
        food = next((item for item in have if item in foods and foods[item].food), None)
        if food is not None:
            return _do("eat", "hungry", item=food)
    return None


def _share(known: Known, doing: Mapping[str, Any] | None = None) -> list[tuple[str, int]]:
    """The items that this agent goes for next, in order, and how many it is to have then: what nobody in the team does
    yet."""
    you, team = known["you"], known["team"]
    goal, have = you["see"]["goal"], you["see"]["inventory"]
    doing = you["doing"] if doing is None else doing
    if "missing" in goal:  # each for itself
        left = [item for item in goal["missing"] if item != _item(doing)]
        return [(item, have.get(item, 0) + goal["missing"][item]) for item in left]
    missing = goal.get("team_missing", {})
    taken = {_item(mate.get("doing")) for mate in team.values()} | {_item(doing)}
    left = [item for item in missing if item not in taken]
    # Those who think at the same moment know nothing of each other's choice: by rank, each takes another.
    rank = sorted([you["name"], *team]).index(you["name"]) % max(1, len(left))
    return [(item, have.get(item, 0) + missing[item]) for item in left[rank:] + left[:rank]]


def _item(doing: Mapping[str, Any] | None) -> str | None:
    return None if not doing else doing.get("arguments", {}).get("item")


def _doing(known: Known) -> str | None:
    doing = known["you"]["doing"]
    return None if doing is None else doing["name"]


def _step(step: Step) -> dict[str, Any]:
    if isinstance(step.production, Kill):
        return call("kill", target=step.production.creature)
    return call(step.skill, item=step.item, count=step.count)


def call(skill: str, **arguments: Any) -> dict[str, Any]:
    """A skill's call as a reply names it."""
    return {"name": skill, "arguments": arguments}


def plan(reason: str, calls: Sequence[Mapping[str, Any]]) -> Reply:
    """A plan of one or more steps."""
    then = {"then": list(calls[1:])} if len(calls) > 1 else {}
    return {"reason": reason, "skill": calls[0], **then, "interrupt": False}


def _do(skill: str, reason: str, **arguments: Any) -> Reply:
    return plan(reason, [call(skill, **arguments)])


def _now(you: Mapping[str, Any], skill: str, reason: str, **arguments: Any) -> Reply:
    """At once, unless it is what is being done."""
    doing = you["doing"]
    if doing is not None and doing["name"] == skill:
        return nothing(reason)
    return {**_do(skill, reason, **arguments), "interrupt": True}


def nothing(reason: str) -> Reply:
    """Go on with what is done and planned."""
    return {"reason": reason, "skill": None, "interrupt": False}


POLICIES: Mapping[str, Policy] = {
    "gatherer": gatherer,
    "stepper": stepper,
    "slayer": slayer,
    "fighter": fighter,
}
