"""What an agent can do in craftworld: each command is a process that takes ticks, with its effect at the end.

A command that is given up in between has done nothing (a smelting of several items: nothing to the item under way).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from burnish.act.skills.crafting import FURNACE, Craft, Mine, Smelt
from burnish.act.world import ActionFailed
from burnish.act.worlds.craftworld import creatures, rules
from burnish.act.worlds.craftworld.bodies import Body, Chest
from burnish.act.worlds.craftworld.exchange import close_chest, give, open_chest, put, take
from burnish.act.worlds.craftworld.moving import approach, explore, flee, in_reach, in_sight, patrol, place_of, walk
from burnish.act.worlds.craftworld.processes import Process
from burnish.act.worlds.craftworld.rules import REACH, TICKS, Cell, distance
from burnish.act.worlds.craftworld.simulation import Simulation

SET_UP = ("crafting_table", FURNACE, "smithing_table")


def claim(world: Simulation, body: Body, blocks: Sequence[str], near: Sequence[int] | None = None) -> Process:
    """Choose the nearest known block of these kinds that nobody else goes for, and keep others from it."""
    creatures.release(world, body)
    start = body.at if near is None else place_of(near)
    if near is not None:
        body.known.update(world.grid.chunks_around(rules.chunk_of(start), 0))
    cell = world.grid.nearest(start, blocks, body.known, world.claims)
    if cell is None:
        raise ActionFailed(f"knows of no {' or '.join(blocks[:3])}")
    world.claims[cell] = body.name
    body.claim = cell
    yield 1
    return {"at": list(cell), "block": world.grid.blocks[cell]}


def release(world: Simulation, body: Body) -> Process:
    """Let go of what was claimed."""
    creatures.release(world, body)
    yield 1
    return {}


def mine(world: Simulation, body: Body, at: Sequence[int]) -> Process:
    """Break the block at a place within reach, with the fastest tool that fits, and take what it gives."""
    cell = in_reach(body, at)
    block = world.grid.blocks.get(cell)
    drops = () if block is None else world.tables.drops.get(block, ())
    if block is None or (not drops and block not in SET_UP and block != "chest"):
        raise ActionFailed(f"there is nothing to mine at {list(cell)}")
    if world.claims.get(cell, body.name) != body.name:
        raise ActionFailed(f"{world.claims[cell]} means to take it")
    needed = drops[0].tools if drops else ()
    hardness = max(0.0, min((production.hardness for production in drops), default=2.5))
    tool = _best_tool(world, body, block, needed)
    if needed and tool not in needed:
        raise ActionFailed(f"{block} needs one of {', '.join(needed[:3])}")
    yield rules.break_ticks(block, tool, needed, hardness)
    _take_up(world, body, cell, block)
    if tool is not None and hardness:
        world.wear(body, tool)
    if body.claim == cell:
        creatures.release(world, body)
    got = _drawn(world, cell, block, drops, tool)
    for item, count in got.items():
        world.make(body.stock, item, count)
    return {"got": dict(got)}


def _take_up(world: Simulation, body: Body, cell: Cell, block: str) -> None:
    """The block goes, if it is still there, and no chest that is in use."""
    if world.grid.blocks.get(cell) != block:
        raise ActionFailed("somebody else took it")
    chest = world.chests.get(cell)
    if chest is not None and (chest.stock or chest.held_by not in (None, body.name)):
        raise ActionFailed("the chest is not empty, or somebody holds it open")
    world.grid.clear(cell)
    world.chests.pop(cell, None)


def _drawn(world: Simulation, cell: Cell, block: str, drops: Sequence[Mine], tool: str | None) -> Counter[str]:
    """What a broken block gives."""
    got: Counter[str] = Counter()
    for number, production in enumerate(drops):
        count = int(production.chance) + (world.chance(*cell, number) < production.chance % 1)
        if count and (not production.tools or tool in production.tools):
            got[production.item] += count
    if not drops:
        got[block] += 1
    return got


def _best_tool(world: Simulation, body: Body, block: str, needed: Sequence[str]) -> str | None:
    tools = [item for item in body.stock if world.crafting.items[item].uses is not None]
    fit = [item for item in tools if item in needed or (not needed and rules.fits(item, block))]
    return max(fit, key=lambda item: (rules.SPEED.get(item.partition("_")[0], 1.0), item), default=None)


def attack(world: Simulation, body: Body, target: str) -> Process:
    """One blow at a creature or an agent of another team within reach, with what is in the hand."""
    weapon = body.wields()
    damage, pause = rules.blow(weapon)
    yield max(1, body.ready - world.tick)
    prey = in_sight(world, body, target)
    if distance(prey.at, body.at) > REACH:
        raise ActionFailed(f"the {target} is out of reach")
    if isinstance(prey, Body) and prey.team == body.team:
        raise ActionFailed(f"{target} is of the same team")
    body.ready = world.tick + pause
    if weapon is not None and body.wields() == weapon:
        world.wear(body, weapon)
    if isinstance(prey, Body):
        creatures.hurt(world, prey, damage, body.name)
        return {"dead": not prey.alive}
    before = Counter(body.stock)
    creatures.strike(world, body, prey, damage)
    return {"dead": prey.health <= 0, "got": dict(body.stock - before) if prey.health <= 0 else {}}


def craft(world: Simulation, body: Body, item: str, times: int, uses: Mapping[str, int]) -> Process:
    """Craft by the recipe with these ingredients, so many times; its station is in reach or in the inventory."""
    recipe = next(
        (
            production
            for production in world.crafting.productions.get(item, ())
            if isinstance(production, Craft) and dict(production.uses) == dict(uses)
        ),
        None,
    )
    if recipe is None or times < 1:
        raise ActionFailed(f"there is no recipe for {item} from {dict(uses)}")
    yield rules.CRAFT_TICKS * times + _set_up(world, body, recipe.at)
    _set_up(world, body, recipe.at)
    for name, need in uses.items():
        if body.stock[name] < need * times:
            raise ActionFailed(f"{item}: needs {need * times} {name}, has {body.stock[name]}")
    for name, need in uses.items():
        world.use(body.stock, name, need * times)
        _remainder(world, body, name, need * times)
    world.make(body.stock, item, recipe.makes * times)
    return {"got": {item: recipe.makes * times}}


def _set_up(world: Simulation, body: Body, station: str | None) -> int:
    """Ticks until a station can be used: none if one stands in reach, a second to set up one's own."""
    if station is None:
        return 0
    x, y = body.at
    for dx in range(-REACH, REACH + 1):
        for dy in range(-REACH, REACH + 1):
            if world.grid.blocks.get((x + dx, y + dy)) == station:
                return 0
    if body.stock[station] < 1:
        raise ActionFailed(f"needs a {station}, in the inventory or within {REACH} cells")
    return rules.SET_UP_TICKS


def _remainder(world: Simulation, body: Body, item: str, count: int) -> None:
    left = world.crafting.remainders.get(item)
    if left is not None:
        world.make(body.stock, left, count)


def smelt(world: Simulation, body: Body, item: str, source: str, count: int, fuel: Sequence[str]) -> Process:
    """Smelt so many, one after another, burning of these fuels what is there; each is done when it is done."""
    if Smelt(item, source) not in world.crafting.productions.get(item, ()):
        raise ActionFailed(f"{source} does not smelt to {item}")
    yield _set_up(world, body, FURNACE)
    for _ in range(count):
        while body.heat < 1:  # bamboo burns for a quarter of an item
            burnt = next((name for name in fuel if body.stock[name] > (name == source)), None)
            if burnt is None:
                raise ActionFailed(f"no fuel: needs {' or '.join(fuel[:4])}")
            world.use(body.stock, burnt, 1)
            _remainder(world, body, burnt, 1)
            body.heat += world.crafting.fuel[burnt]
        yield rules.SMELT_TICKS
        _set_up(world, body, FURNACE)
        world.use(body.stock, source, 1)
        body.heat -= 1
        world.make(body.stock, item, 1)
    return {"got": {item: count}}


def collect(world: Simulation, body: Body, item: str) -> Process:
    """Take something from water, a bush or an animal without breaking it: buckets, eggs, wool, berries."""
    production = world.tables.collected.get(item)
    if production is None:
        raise ActionFailed(f"{item} cannot be collected")
    yield TICKS
    if production.source in rules.BOSSES:
        raise ActionFailed(f"the {production.source} gives it only when it is dead")
    if production.source != "placed_block" and not _beside(world, body, production.source):
        raise ActionFailed(f"no {production.source} within {REACH} cells")
    tool = next((name for name in production.tools if body.stock[name] > 0), None)
    if production.tools and tool is None:
        raise ActionFailed(f"{item} needs one of {', '.join(production.tools[:3])}")
    for name, need in production.uses.items():
        world.use(body.stock, name, need)
    if tool is not None:
        world.wear(body, tool)
    world.make(body.stock, item, 1)
    return {"got": {item: 1}}


def _beside(world: Simulation, body: Body, source: str) -> bool:
    x, y = body.at
    reach = range(-REACH, REACH + 1)
    if any(world.grid.blocks.get((x + dx, y + dy)) == source for dx in reach for dy in reach):
        return True
    return any(each.name == source for each in world.creatures_near(body.at, REACH))


def eat(world: Simulation, body: Body, item: str) -> Process:
    """Eat one."""
    about = world.crafting.items.get(item)
    if about is None or about.food is None:
        raise ActionFailed(f"{item} is no food")
    yield rules.EAT_TICKS
    world.use(body.stock, item, 1)
    body.fed, body.fed_at = min(rules.HUNGER, creatures.hunger(world, body) + about.food), world.tick
    if "golden_apple" in item:
        body.health = min(rules.HEALTH, body.health + 8)
    _remainder(world, body, item, 1)
    return {"hunger": body.fed}


def equip(_world: Simulation, body: Body, item: str) -> Process:
    """Take an item into the hand, or put it on if it is armour."""
    yield 5
    if body.stock[item] < 1:
        raise ActionFailed(f"has no {item}")
    slot = rules.slot_of(item)
    if slot is None:
        body.hand = item
    else:
        body.worn[slot] = item
    return {}


def place(world: Simulation, body: Body, item: str, at: Sequence[int]) -> Process:
    """Put a block from the inventory onto a free cell in reach."""
    cell = in_reach(body, at)
    yield 5
    if cell in world.grid.blocks or not world.grid.inside(cell) or world.bodies_near(cell, 0):
        raise ActionFailed(f"{list(cell)} is not free")
    if item not in world.tables.drops and item not in (*SET_UP, "chest"):
        raise ActionFailed(f"{item} cannot be placed")
    world.use(body.stock, item, 1)
    world.grid.put(cell, item)
    if item == "chest":
        world.chests[cell] = Chest()
    return {"at": list(cell)}


def wait(_world: Simulation, _body: Body, seconds: float) -> Process:
    """Do nothing."""
    yield max(1, round(min(seconds, 600.0) * TICKS))
    return {}


COMMANDS: Mapping[str, Callable[..., Process]] = {
    "walk": walk,
    "explore": explore,
    "patrol": patrol,
    "claim": claim,
    "release": release,
    "mine": mine,
    "approach": approach,
    "attack": attack,
    "flee": flee,
    "craft": craft,
    "smelt": smelt,
    "collect": collect,
    "eat": eat,
    "equip": equip,
    "place": place,
    "open": open_chest,
    "close": close_chest,
    "put": put,
    "take": take,
    "give": give,
    "wait": wait,
}
