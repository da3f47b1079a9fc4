"""What happens by itself: hunters, bosses, nights, hunger, healing, death. Each is a process of the simulation."""

from __future__ import annotations

from burnish.act.worlds.craftworld import rules
from burnish.act.worlds.craftworld.bodies import Body, Creature
from burnish.act.worlds.craftworld.paths import around
from burnish.act.worlds.craftworld.processes import LIFE, Process
from burnish.act.worlds.craftworld.rules import TICKS, Cell, distance
from burnish.act.worlds.craftworld.simulation import Simulation

NIGHT_PAUSE = 10 * TICKS
MOST_HUNTERS = 1  # of the night, around one chunk


def hunt(world: Simulation, creature: Creature) -> Process:
    """Go for the nearest agent in range; sleep again when none is near."""
    if creature.kind.period:
        yield from _stand(world, creature)
        return
    noticed: int | None = None  # whom it threatens, and who was told so
    while True:
        near = world.bodies_near(creature.at, rules.SIGHT + rules.CHUNK)
        if not near:
            return
        prey = next((body for body in near if creature.hunts(body.at)), None)
        if prey is None:
            yield TICKS
            continue
        gap = distance(prey.at, creature.at)
        if gap > rules.THREAT_RANGE:
            noticed = None
        elif noticed != prey.index:
            noticed = prey.index
            world.tell("threat", prey.name, name=creature.name, distance=gap)
        if gap <= creature.kind.reach:
            if world.tick >= creature.ready:
                creature.ready = world.tick + creature.kind.pause
                hurt(world, prey, creature.kind.damage, creature.name)
        elif gap <= rules.HUNT_RANGE:
            _step_towards(world, creature, prey.at)
        yield rules.WAKE_TICKS if gap <= rules.HUNT_RANGE else TICKS


def _step_towards(world: Simulation, creature: Creature, goal: Cell) -> None:
    free = [cell for cell in around(creature.at) if world.grid.free(cell)]
    best = min(free, key=lambda cell: (distance(cell, goal), cell), default=None)
    if best is not None and distance(best, goal) < distance(creature.at, goal):
        world.move_creature(creature, best)


def _stand(world: Simulation, boss: Creature) -> Process:
    """A boss holds its ground: it strikes who is in reach, then gathers strength, visibly, and bursts."""
    kind = boss.kind
    boss.born = world.tick
    world.tell("boss", "", name=boss.name, phase="awake")
    while True:
        if not world.bodies_near(boss.at, rules.SIGHT + rules.CHUNK):
            return
        here = (world.tick - boss.born) % kind.period
        if here == 0 and world.tick > boss.born:
            for body in world.bodies_near(boss.at, kind.radius):
                hurt(world, body, kind.burst, boss.name)
            world.tell("boss", "", name=boss.name, phase="burst")
        left = kind.period - here
        if left > kind.charge:
            prey = next(iter(world.bodies_near(boss.at, kind.reach)), None)
            if prey is not None and world.tick >= boss.ready:
                boss.ready = world.tick + kind.pause
                hurt(world, prey, kind.damage, boss.name)
            yield min(rules.WAKE_TICKS, left - kind.charge)
        else:
            if left == kind.charge:
                world.tell("boss", "", name=boss.name, phase="charging", seconds=left / TICKS)
            yield left


def phase(world: Simulation, boss: Creature) -> tuple[str, float]:
    """What a boss does now (``open`` to blows, or ``charging``), and seconds until its next burst."""
    left = boss.kind.period - (world.tick - boss.born) % boss.kind.period
    return ("charging" if left <= boss.kind.charge else "open"), left / TICKS


def strike(world: Simulation, by: Body, creature: Creature, damage: float) -> None:
    """An agent hits a creature; what the dead one gives goes to it."""
    creature.health -= damage * creature.kind.hide
    if creature.health > 0:
        return
    world.remove_creature(creature)
    for production in world.tables.loot.get(creature.name, ()):
        count = int(production.chance) + (world.chance(creature.index, len(production.item)) < production.chance % 1)
        if count:
            world.make(by.stock, production.item, count)
    if creature.name in rules.BOSSES:
        world.dead_bosses.add(creature.name)
        world.tell("boss", "", name=creature.name, phase="dead")
    world.tell("kill", by.name, what=creature.name)


def hurt(world: Simulation, body: Body, damage: float, by: str) -> None:
    """An agent takes a blow: armour takes some of it, and wears."""
    worn = body.wears()
    taken = damage * (1 - rules.armour(worn))
    for item in worn:
        world.wear(body, item)
    body.health = round(body.health - taken, 3)
    if body.health <= 0:
        _die(world, body, by)
        return
    world.tell("damage", body.name, by=by, amount=round(taken, 2), health=round(body.health, 2))
    world.start((LIFE, body.index), life(world, body))


def _die(world: Simulation, body: Body, by: str) -> None:
    """What it carried lies where it fell; its command fails; it comes back, if the dead do."""
    body.alive, body.health = False, 0.0
    body.deaths += 1
    world.remove_body(body)
    release(world, body)
    close(world, body)
    if body.stock:
        world.piles.setdefault(body.at, type(body.stock)()).update(body.stock)
    body.stock.clear()
    body.opened.clear()
    body.worn.clear()
    body.hand, body.heat = None, 0.0
    world.tell("death", body.name, by=by)
    world.fail(body, f"died, by {by}")
    world.stop((LIFE, body.index))
    if world.respawn:
        world.start((LIFE, body.index), _respawn(world, body))
    else:
        body.gone = True
        world.left[body.team] -= 1


def _respawn(world: Simulation, body: Body) -> Process:
    yield rules.RESPAWN_TICKS
    body.alive, body.health = True, rules.HEALTH
    body.fed, body.fed_at = rules.HUNGER, world.tick
    world.put_body(body, body.home)
    world.tell("respawn", body.name)
    yield from life(world, body)


def hunger(world: Simulation, body: Body) -> float:
    """Points left before starving: one less every 40 s."""
    return max(0.0, body.fed - (world.tick - body.fed_at) // rules.HUNGER_TICKS)


def life(world: Simulation, body: Body) -> Process:
    """Heal while fed, starve while not (never to death); nothing to compute in between."""
    while True:
        fed = hunger(world, body)
        if fed == 0 or body.health < rules.HEALTH:
            yield rules.HEAL_TICKS
            if hunger(world, body) == 0:
                body.health = max(1.0, body.health - 1)
            elif hunger(world, body) >= rules.HEALS_FROM:
                body.health = min(rules.HEALTH, body.health + 1)
        else:
            yield int(body.fed_at + body.fed * rules.HUNGER_TICKS) - world.tick


def nights(world: Simulation) -> Process:
    """Hunters come out of the dark near agents, and burn at dawn."""
    while True:
        if not world.night:
            for creature in [each for each in world.creatures.values() if each.lair is None]:
                world.remove_creature(creature)
            share = (world.first + world.tick / world.day_ticks) % 1.0
            yield max(1, round(((rules.NIGHT[0] - share) % 1.0) * world.day_ticks))
            continue
        for chunk in world.inhabited():
            centre = (chunk[0] * rules.CHUNK + rules.CHUNK // 2, chunk[1] * rules.CHUNK + rules.CHUNK // 2)
            hunters = [each for each in world.creatures_near(centre, rules.SIGHT) if each.lair is None]
            if len(hunters) < MOST_HUNTERS and world.chance(1, *chunk) < 0.3:
                _come(world, centre, chunk)
        yield NIGHT_PAUSE


def _come(world: Simulation, centre: Cell, chunk: Cell) -> None:
    """One hunter, ten cells away in a direction of chance, unless something stands there."""
    dx, dy = ((10, 0), (-10, 0), (0, 10), (0, -10))[int(world.chance(2, *chunk) * 4)]
    cell = (centre[0] + dx, centre[1] + dy)
    if world.grid.free(cell):
        name = rules.NIGHT_HUNTERS[int(world.chance(3, *chunk) * len(rules.NIGHT_HUNTERS))]
        world.add_creature(name, cell, lair=False)
        for body in world.bodies_near(cell, rules.SIGHT):
            world.wake_near(body)
            break


def release(world: Simulation, body: Body) -> None:
    """Let go of the block that an agent means to take."""
    if body.claim is not None:
        del world.claims[body.claim]
        body.claim = None


def close(world: Simulation, body: Body) -> None:
    """Close the chest that an agent holds open."""
    if body.chest is not None:
        world.chests[body.chest].held_by = None
        body.chest = None
