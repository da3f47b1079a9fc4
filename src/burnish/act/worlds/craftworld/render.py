"""Pictures of the world: text for a terminal, SVG for a report."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from burnish.act.worlds.craftworld.rules import BOSSES, Cell
from burnish.act.worlds.craftworld.simulation import Simulation

PIXELS = 9  # a cell
TEAM_COLOURS = ("#c2410c", "#1d4ed8", "#15803d", "#7e22ce", "#be123c", "#0e7490")
_GROUND, _NIGHT_GROUND = "#dfe8c8", "#9aa58c"
_COLOURS = {
    "log": "#4d7c3a",
    "leaves": "#7fae5b",
    "stone": "#9a9a98",
    "coal_ore": "#3f3f3f",
    "iron_ore": "#c9a183",
    "gold_ore": "#e8c33c",
    "diamond_ore": "#58d6d2",
    "redstone_ore": "#c0342b",
    "lapis_ore": "#2f55b5",
    "emerald_ore": "#2fb55a",
    "copper_ore": "#c8743f",
    "ore": "#8d7f74",
    "water": "#6fa8dc",
    "lava": "#e8621e",
    "sand": "#eadfa8",
    "gravel": "#b3aca6",
    "clay": "#b6bccb",
    "dirt": "#9c7653",
    "wheat": "#d8b84a",
    "grass": "#b5cf86",
    "sugar_cane": "#9fd07a",
    "crafting_table": "#a5672f",
    "furnace": "#6d6d6d",
    "chest": "#b98138",
    "obsidian": "#2a1f3d",
    "snow": "#f4f7fa",
    "poppy": "#d84b4b",
    "dandelion": "#ecd13f",
}
_LETTERS = {"log": "T", "stone": "s", "ore": "o", "water": "~", "lava": "%", "chest": "C", "furnace": "F"}


def ascii_map(world: Simulation) -> str:
    """One character a cell: agents by the first letter of their name, hunters ``!``, animals ``a``, blocks by kind."""

    marks = {cell: _letter(block) for cell, block in world.grid.blocks.items()}
    marks |= {
        each.at: "B" if each.name in BOSSES else "!" if each.kind.damage else "a" for each in world.creatures.values()
    }
    marks |= {body.at: body.name[0].upper() for body in world.bodies.values() if body.alive}
    size = range(world.grid.size)
    return "\n".join("".join(marks.get((x, y), ".") for x in size) for y in size)


def _letter(block: str) -> str:
    return next((letter for word, letter in _LETTERS.items() if word in block), ",")


def svg(world: Simulation) -> str:
    """The whole map from above: deposits, water, creatures, agents with names and health, and a legend."""
    side = world.grid.size * PIXELS
    legend = _legend(world)
    height = max(side, 40 + 20 * len(legend))
    ground = _NIGHT_GROUND if world.night else _GROUND
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side + 190} {height}" font-family="system-ui, '
        'sans-serif" style="max-width:100%;height:auto" role="img" aria-label="Map of the world">',
        f'<rect width="{side}" height="{side}" rx="10" fill="{ground}"/>',
    ]
    parts += [_block(cell, colour_of(block), block) for cell, block in sorted(world.grid.blocks.items())]
    parts += [_pile(cell) for cell in sorted(world.piles)]
    for creature in world.creatures.values():
        parts.append(_creature(creature.at, creature.name, creature.kind.damage > 0))
    teams = list(world.left)
    for body in world.bodies.values():
        colour = TEAM_COLOURS[teams.index(body.team) % len(TEAM_COLOURS)]
        parts += _agent(body.at, body.name, colour, body.health / 20, body.alive)
    for row, (name, colour, shape) in enumerate(legend):
        parts += _legend_row(side + 16, 22 + 20 * row, name, colour, shape)
    return "".join([*parts, "</svg>"])


def colour_of(block: str) -> str:
    """A block's colour; one of its own for every block that has no customary one."""
    if block in _COLOURS:
        return _COLOURS[block]
    for word, colour in _COLOURS.items():
        if block.endswith(word) or word in block.split("_"):
            return colour
    return f"hsl({hashlib.blake2b(block.encode(), digest_size=2).digest()[0] * 360 // 256} 35% 55%)"


def _corner(cell: Cell) -> tuple[int, int]:
    return cell[0] * PIXELS, cell[1] * PIXELS


def _block(cell: Cell, colour: str, block: str) -> str:
    x, y = _corner(cell)
    if block.endswith("_log"):
        return (
            f'<circle cx="{x + PIXELS / 2}" cy="{y + PIXELS / 2}" r="{PIXELS * 0.62:.2f}" fill="{colour}" opacity=".9">'
            f"<title>{block}</title></circle>"
        )
    inset, radius = (0, 1) if block not in ("wheat", "grass", "poppy", "dandelion") else (2, 3)
    return (
        f'<rect x="{x + inset}" y="{y + inset}" width="{PIXELS - 2 * inset}" height="{PIXELS - 2 * inset}" '
        f'rx="{radius}" fill="{colour}"><title>{block}</title></rect>'
    )


def _pile(cell: Cell) -> str:
    x, y = _corner(cell)
    return (
        f'<rect x="{x + 2}" y="{y + 2}" width="5" height="5" fill="#7c2d12" transform="rotate(45 {x + 4.5} '
        f'{y + 4.5})"/>'
    )


def _creature(cell: Cell, name: str, hunts: bool) -> str:
    x, y = cell[0] * PIXELS + PIXELS / 2, cell[1] * PIXELS + PIXELS / 2
    if name in BOSSES:
        return (
            f'<g><circle cx="{x}" cy="{y}" r="15" fill="#581c87" stroke="#f5d0fe" stroke-width="2"/><text x="{x}" '
            f'y="{y - 19}" font-size="11" text-anchor="middle" fill="#581c87">{name.replace("_", " ")}</text></g>'
        )
    if hunts:
        points = f"{x},{y - 5} {x + 5},{y + 4} {x - 5},{y + 4}"
        return f'<polygon points="{points}" fill="#991b1b"><title>{name}</title></polygon>'
    return f'<circle cx="{x}" cy="{y}" r="3.2" fill="#fff7ed" stroke="#78716c"><title>{name}</title></circle>'


def _agent(cell: Cell, name: str, colour: str, health: float, alive: bool) -> list[str]:
    x, y = cell[0] * PIXELS + PIXELS / 2, cell[1] * PIXELS + PIXELS / 2
    fade = "1" if alive else ".35"
    return [
        f'<g opacity="{fade}"><circle cx="{x}" cy="{y}" r="8" fill="{colour}" stroke="#fff" stroke-width="2"/>',
        f'<rect x="{x - 11}" y="{y + 11}" width="22" height="4" rx="2" fill="#fff" opacity=".85"/>',
        f'<rect x="{x - 11}" y="{y + 11}" width="{22 * max(0.0, health):.1f}" height="4" rx="2" fill="{colour}"/>',
        f'<text x="{x}" y="{y - 12}" font-size="12" font-weight="600" text-anchor="middle" fill="#1c1917" '
        f'stroke="#fff" stroke-width="3" paint-order="stroke">{name}</text></g>',
    ]


def _legend(world: Simulation) -> list[tuple[str, str, str]]:
    """The commonest blocks, and what the marks mean."""
    counts: dict[str, int] = {}
    for block in world.grid.blocks.values():
        counts[block] = counts.get(block, 0) + 1
    common = sorted(counts, key=lambda block: (-counts[block], block))[:16]
    rows = [(block.replace("_", " "), colour_of(block), "block") for block in common]
    marks = [("animal", "#fff7ed", "animal"), ("hunter", "#991b1b", "hunter")]
    named = [team if "team" in team else f"team {team}" for team in world.left]
    teams = [(name, TEAM_COLOURS[n % len(TEAM_COLOURS)], "agent") for n, name in enumerate(named)]
    return [*teams, *marks, *rows]


def _legend_row(x: int, y: int, name: str, colour: str, shape: str) -> Iterator[str]:
    if shape == "block":
        yield f'<rect x="{x}" y="{y - 9}" width="11" height="11" rx="2" fill="{colour}"/>'
    elif shape == "hunter":
        yield f'<polygon points="{x + 5},{y - 9} {x + 11},{y + 2} {x},{y + 2}" fill="{colour}"/>'
    else:
        yield f'<circle cx="{x + 5.5}" cy="{y - 3.5}" r="5" fill="{colour}" stroke="#78716c"/>'
    yield f'<text x="{x + 20}" y="{y}" font-size="12" fill="currentColor">{name}</text>'
