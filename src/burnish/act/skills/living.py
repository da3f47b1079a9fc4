"""Skills of living, fighting and working together: kill, eat, equip, retreat, chests, give, explore, build, chat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from burnish.act.skill_context import SkillContext
from burnish.act.skills.gathering import wield_best
from burnish.act.skills.library import Skill, skill
from burnish.act.world import ActionFailed

PATIENCE = 10  # seconds for a chest that somebody else holds open


async def kill(context: SkillContext, target: str, seconds: float = 15.0) -> None:
    """Fight a kind of creature, a boss, or an agent of another team, named `target`, until it is dead or
    `seconds` have passed.
    """
    seen = await context.observe()
    until = seen.get("time", 0.0) + seconds
    await wield_best(context, seen.get("inventory", {}), seen.get("hand"))
    while seen.get("time", 0.0) < until:
        await context.act("approach", target=target)
        if (await context.act("attack", target=target)).get("dead"):
            return
        seen = await context.observe()


async def eat(context: SkillContext, item: str) -> None:
    """Eat one `item` from the inventory."""
    await context.act("eat", item=item)


def _no_such(seen: Mapping[str, Any], item: str, **_other: Any) -> str | None:
    return None if seen.get("inventory", {}).get(item, 0) else f"has no {item}"


async def equip(context: SkillContext, item: str) -> None:
    """Take `item` into the hand, or wear it if it is armour."""
    await context.act("equip", item=item)


async def retreat(context: SkillContext, cells: int = 10) -> None:
    """Get away from what threatens, up to `cells` steps."""
    await context.act("flee", cells=cells)


async def explore(context: SkillContext, times: int = 1) -> None:
    """Look at `times` parts of the map that were not seen before; go around in it when all has been seen."""
    for _ in range(times):
        try:
            await context.act("explore")
        except ActionFailed as error:
            if "has seen the whole map" not in str(error):
                raise
            await context.act("patrol")


async def give(context: SkillContext, to: str, item: str, count: int = 1) -> None:
    """Walk to the teammate `to`, who must be in sight, and hand over items."""
    await context.act("approach", target=to)
    await context.act("give", to=to, item=item, count=count)


async def chest_get(context: SkillContext, item: str, count: int = 1, at: list[int] | None = None) -> None:
    """Take items out of the chest at [x, y], or of the nearest one."""
    await _open(context, at)
    await context.act("take", item=item, count=count)


async def chest_deposit(context: SkillContext, item: str, count: int = 1, at: list[int] | None = None) -> None:
    """Put items into the chest at [x, y], or into the nearest one."""
    await _open(context, at)
    await context.act("put", item=item, count=count)


async def _open(context: SkillContext, at: list[int] | None) -> None:
    if at is None:
        context.on_leaving("release")  # a skill that is stopped right here must not keep others from the chest
        at = list((await context.act("claim", blocks=["chest"]))["at"])
        await context.act("release")
    await context.act("walk", to=at, near=2)
    context.on_leaving("close")
    for _ in range(PATIENCE):
        try:
            await context.act("open", at=at)
            return
        except ActionFailed as error:
            if "holds the chest open" not in str(error):
                raise
            await context.act("wait", seconds=1.0)
    raise ActionFailed(f"the chest was held open by others for {PATIENCE} s")


async def build(context: SkillContext, item: str, at: list[list[int]]) -> None:
    """Put one `item` (a block) onto each of the places [[x, y], ...]."""
    for place in at:
        await context.act("walk", to=place, near=2)
        await context.act("place", item=item, at=place)


async def chat(context: SkillContext, text: str) -> None:
    """Say something to the team."""
    await context.say(text)


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
