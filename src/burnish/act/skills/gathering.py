"""Skills that turn a world into items: mine, kill, collect, craft, smelt, and obtain_item, which plans all of them.

Written over the commands of ``worlds/craftworld/commands.py``; every world with these commands can use them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from burnish.act.skill_context import SkillContext
from burnish.act.skills import decompose
from burnish.act.skills.algebra import Step
from burnish.act.skills.crafting import Collect, Craft, Crafting, Kill, Mine, Smelt, load_crafting
from burnish.act.skills.library import Skill, skill
from burnish.act.world import ActionFailed
from burnish.core.errors import UserError

SEARCHES = 16  # new parts of the map looked at for one thing
STEPS = 300  # of one obtain_item; the longest plan of the data has fewer than a hundred
FAILURES = 4  # steps of one obtain_item that fail one after another
WEAPONS = tuple(
    f"{material}_{kind}"
    for material in ("netherite", "diamond", "iron", "stone", "golden", "wooden")
    for kind in ("sword", "axe")
)


async def inventory(context: SkillContext) -> dict[str, int]:
    """What the agent carries now."""
    return dict((await context.observe()).get("inventory", {}))


async def mine(context: SkillContext, item: str, count: int = 1, near: list[int] | None = None) -> None:
    """Mine blocks until `count` more of `item` are in the inventory, exploring if none is known; `near`:
    [x, y] to look first.
    """
    context.on_leaving("release")
    await _mine(context, item, count, near)


async def _mine(context: SkillContext, item: str, count: int, near: list[int] | None = None) -> None:
    productions = [
        production for production in _crafting(item).productions.get(item, ()) if isinstance(production, Mine)
    ]
    if not productions:
        raise ActionFailed(f"{item} is not mined from any block")
    have = await inventory(context)
    wanted = have.get(item, 0) + count
    place = near
    while have.get(item, 0) < wanted:
        blocks = [
            production.block
            for production in productions
            if not production.tools or any(have.get(tool, 0) for tool in production.tools)
        ]
        if not blocks:
            raise ActionFailed(f"{productions[0].block} needs one of {', '.join(productions[0].tools[:3])}")
        if place is not None:
            await context.act("walk", to=place, near=4)
            place = None
        at = await _find(context, blocks)
        try:
            await context.act("walk", to=at, near=2)
        except ActionFailed:
            # No way to it: its claim keeps it from being found again, so look elsewhere first.
            await context.act("explore")
            continue
        await context.act("mine", at=at)
        have = await inventory(context)


async def _find(context: SkillContext, blocks: list[str]) -> list[int]:
    """Claim the nearest block of these; explore while none is known."""
    for _ in range(SEARCHES):
        try:
            return list((await context.act("claim", blocks=blocks))["at"])
        except ActionFailed:
            await context.act("explore")
    raise ActionFailed(f"found no {' or '.join(blocks[:3])}")


async def _meet(context: SkillContext, target: str) -> None:
    """Get within reach of a creature; explore while none is in sight."""
    for _ in range(SEARCHES):
        try:
            await context.act("approach", target=target)
            return
        except ActionFailed:
            await context.act("explore")
    raise ActionFailed(f"found no {target}")


async def wield_best(context: SkillContext, have: Mapping[str, int], hand: str | None) -> None:
    """Take the best weapon into the hand."""
    best = next((weapon for weapon in WEAPONS if have.get(weapon, 0)), None)
    if best is not None and best != hand:
        await context.act("equip", item=best)


async def hunt_for(context: SkillContext, item: str, count: int, creature: str) -> None:
    """Kill creatures of a kind until ``count`` more of ``item`` are in the inventory."""
    seen = await context.observe()
    have = seen.get("inventory", {})
    wanted = have.get(item, 0) + count
    await wield_best(context, have, seen.get("hand"))
    for _ in range(20 * count + 20):
        if (await inventory(context)).get(item, 0) >= wanted:
            return
        await _meet(context, creature)
        while not (await context.act("attack", target=creature)).get("dead"):
            await context.act("approach", target=creature)
    raise ActionFailed(f"{creature}: killed many, none gave {item}")


async def collect(context: SkillContext, item: str, count: int = 1) -> None:
    """Take `item` from water, a bush or an animal without breaking it: buckets of water or milk, eggs,
    wool, berries.
    """
    context.on_leaving("release")
    await _collect(context, item, count)


async def _collect(context: SkillContext, item: str, count: int) -> None:
    production = next(
        (production for production in _crafting(item).productions.get(item, ()) if isinstance(production, Collect)),
        None,
    )
    if production is None:
        raise ActionFailed(f"{item} is not collected from anything")
    for _ in range(count):
        if production.source != "placed_block":
            await _beside(context, production.source)
        await context.act("collect", item=item)


async def _beside(context: SkillContext, source: str) -> None:
    """Get within reach of a source: an animal if there is one in sight, otherwise a block."""
    for _ in range(SEARCHES):
        try:
            await context.act("approach", target=source)
            return
        except ActionFailed:
            pass
        try:
            at = (await context.act("claim", blocks=[source]))["at"]
            await context.act("walk", to=at, near=1)
            return
        except ActionFailed:
            await context.act("explore")
    raise ActionFailed(f"found no {source}")


async def craft(context: SkillContext, item: str, count: int = 1) -> None:
    """Craft at least `count` more of `item` from what is in the inventory; a crafting table must be in it
    or in reach.
    """
    productions = [
        production for production in _crafting(item).productions.get(item, ()) if isinstance(production, Craft)
    ]
    have = await inventory(context)
    for production in productions:
        times = -(-count // production.makes)
        if all(have.get(name, 0) >= need * times for name, need in production.uses.items()):
            await context.act("craft", item=item, times=times, uses=dict(production.uses))
            return
    needs = dict(productions[0].uses) if productions else "no recipe"
    raise ActionFailed(f"{item}: its parts are not in the inventory ({needs})")


async def smelt(context: SkillContext, item: str, count: int = 1) -> None:
    """Smelt `count` of `item` in a furnace, with the raw item and fuel from the inventory."""
    crafting = _crafting(item)
    have = await inventory(context)
    for production in crafting.productions.get(item, ()):
        if isinstance(production, Smelt) and have.get(production.source, 0) >= count:
            await context.act("smelt", item=item, source=production.source, count=count, fuel=_fuels(crafting, have))
            return
    raise ActionFailed(f"{item}: what it is smelted from is not in the inventory")


def _fuels(crafting: Crafting, have: Mapping[str, int]) -> list[str]:
    """Fuel in the inventory: what is good for nothing else first."""
    order = ["coal", "charcoal", *crafting.fuel]
    return [name for number, name in enumerate(order) if have.get(name, 0) and name not in order[:number]]


async def obtain_item(context: SkillContext, count: int, item: str) -> None:
    """Have at least `count` of `item` in the inventory, whatever that takes: plans all of mining,
    crafting, smelting, hunting.
    """
    crafting = _crafting(item)
    context.on_leaving("release")  # once for all steps: who is interrupted shall not let go of it thirty times
    failures, why = 0, ""
    for _ in range(STEPS):
        # Planned anew on what is there after every step: what was given, lost, or wore out in between is taken into
        # account.
        have = await inventory(context)
        try:
            steps = decompose.plan(item, count, have, crafting).steps
        except UserError as error:
            raise ActionFailed(str(error)) from None
        if not steps:
            return
        try:
            await _carry_out(context, steps[0], crafting)
            failures = 0
        except ActionFailed as error:
            failures, why = failures + 1, str(error)
            if failures == FAILURES or "dead" in why or "died" in why:
                raise
    raise ActionFailed(f"{item}: not done after {STEPS} steps ({why})")


async def _carry_out(context: SkillContext, step: Step, crafting: Crafting) -> None:
    production = step.production
    if isinstance(production, Mine):
        await _mine(context, step.item, step.count)
    elif isinstance(production, Kill):
        await hunt_for(context, step.item, step.count, production.creature)
    elif isinstance(production, Collect):
        await _collect(context, step.item, step.count)
    elif isinstance(production, Craft):
        await context.act("craft", item=step.item, times=step.count // production.makes, uses=dict(production.uses))
    else:
        have = await inventory(context)
        fuel = [name for name, _ in step.fuel] + _fuels(crafting, have)
        await context.act(
            "smelt", item=step.item, source=production.source, count=step.count, fuel=list(dict.fromkeys(fuel))
        )


def _crafting(item: str) -> Crafting:
    crafting = load_crafting()
    if item not in crafting.items:
        try:
            crafting.known(item)
        except UserError as error:
            raise ActionFailed(str(error)) from None
    return crafting


def _has_it(seen: Mapping[str, Any], count: int, item: str) -> str | None:
    have = seen.get("inventory", {}).get(item, 0)
    return f"has {have} {item} already" if have >= count else None


OBTAIN = skill(obtain_item, precondition=_has_it)
STEPWISE: tuple[Skill, ...] = (skill(mine), skill(collect), skill(craft), skill(smelt))
