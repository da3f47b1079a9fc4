"""Skills of living, fighting and working together: kill, eat, equip, retreat, chests, give, explore, build, chat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from burnish.act.skills.gathering import wield_best
from burnish.act.skills.library import Hands, Skill, skill
from burnish.act.world import ActionFailed

PATIENCE = 10  # seconds for a chest that somebody else holds open


async def kill(hands: Hands, target: str, seconds: float = 15.0) -> None:
    """Fight a kind of creature, a boss, or an agent of another team, named `target`, until it is dead or `seconds` have passed."""
    seen = await hands.observe()
    until = seen.get("time", 0.0) + seconds
    await wield_best(hands, seen.get("inventory", {}), seen.get("hand"))
    while seen.get("time", 0.0) < until:
        await hands.act("approach", target=target)
        if (await hands.act("attack", target=target)).get("dead"):
            return
        seen = await hands.observe()


async def eat(hands: Hands, item: str) -> None:
    """Eat one `item` from the inventory."""
    await hands.act("eat", item=item)


def _no_such(seen: Mapping[str, Any], item: str, **other: Any) -> str | None:
    return None if seen.get("inventory", {}).get(item, 0) else f"has no {item}"


async def equip(hands: Hands, item: str) -> None:
    """Take `item` into the hand, or wear it if it is armour."""
    await hands.act("equip", item=item)


async def retreat(hands: Hands, cells: int = 10) -> None:
    """Get away from what threatens, up to `cells` steps."""
    await hands.act("flee", cells=cells)


async def explore(hands: Hands, times: int = 1) -> None:
    """Look at `times` parts of the map that were not seen before; go around in it when all has been seen."""
    for _ in range(times):
        try:
            await hands.act("explore")
        except ActionFailed as error:
            if "has seen the whole map" not in str(error):
                raise
            await hands.act("patrol")


async def give(hands: Hands, to: str, item: str, count: int = 1) -> None:
    """Walk to the teammate `to`, who must be in sight, and hand over items."""
    await hands.act("approach", target=to)
    await hands.act("give", to=to, item=item, count=count)


async def chest_get(hands: Hands, item: str, count: int = 1, at: list[int] | None = None) -> None:
    """Take items out of the chest at [x, y], or of the nearest one."""
    await _open(hands, at)
    await hands.act("take", item=item, count=count)


async def chest_deposit(hands: Hands, item: str, count: int = 1, at: list[int] | None = None) -> None:
    """Put items into the chest at [x, y], or into the nearest one."""
    await _open(hands, at)
    await hands.act("put", item=item, count=count)


async def _open(hands: Hands, at: list[int] | None) -> None:
    if at is None:
        hands.on_leaving("release")  # a skill that is stopped right here must not keep others from the chest
        at = list((await hands.act("claim", blocks=["chest"]))["at"])
        await hands.act("release")
    await hands.act("walk", to=at, near=2)
    hands.on_leaving("close")
    for _ in range(PATIENCE):
        try:
            await hands.act("open", at=at)
            return
        except ActionFailed as error:
            if "holds the chest open" not in str(error):
                raise
            await hands.act("wait", seconds=1.0)
    raise ActionFailed(f"the chest was held open by others for {PATIENCE} s")


async def build(hands: Hands, item: str, at: list[list[int]]) -> None:
    """Put one `item` (a block) onto each of the places [[x, y], ...]."""
    for place in at:
        await hands.act("walk", to=place, near=2)
        await hands.act("place", item=item, at=place)


async def chat(hands: Hands, text: str) -> None:
    """Say something to the team."""
    await hands.say(text)


LIVING: tuple[Skill, ...] = (
    skill(kill),
    skill(eat, precondition=_no_such),
    skill(equip, precondition=_no_such),
    skill(retreat),
    skill(explore),
    skill(give, precondition=_no_such),
    skill(chest_get),
    skill(chest_deposit, precondition=_no_such),
    skill(build, precondition=_no_such),
    skill(chat),
)
