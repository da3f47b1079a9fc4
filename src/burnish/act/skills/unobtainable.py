"""Why an item cannot be had. Pure."""

from __future__ import annotations

from burnish.act.skills.crafting import Collect, Craft, Crafting, Mine, Production, parts
from burnish.core.errors import UserError


class Unobtainable(UserError):
    """No way leads to the item.

    Attributes:
        item: the item.
        reason: why.
    """

    def __init__(self, item: str, reason: str) -> None:
        super().__init__(f"{item}: cannot be had: {reason}")
        self.item = item
        self.reason = reason


def why_unobtainable(item: str, crafting: Crafting) -> str | None:
    """Why nothing leads to ``item``; ``None`` if something does. Names the part that is out of reach."""
    seen, wanted = {item}, [item]
    if item in crafting.costs:
        return None
    for name in wanted:  # grows: what is out of reach, breadth first, until something says why
        if name in crafting.withheld:
            reason = crafting.withheld[name]
            return reason if name == item else f"needs {name}: {reason}"
        for production in crafting.productions.get(name, ()):
            missing = [part for part in sorted(_demands(production)) if part not in crafting.costs and part not in seen]
            seen.update(missing)
            wanted.extend(missing)
    return f"every way to it needs {', '.join(sorted(seen - {item})) or 'itself'}, which leads back to it"


def _demands(production: Production) -> set[str]:
    """All that a production cannot do without, where there is no choice."""
    found = {name for name, _ in parts(production)}
    if isinstance(production, Craft) and production.at:
        found.add(production.at)
    if isinstance(production, Mine | Collect) and len(production.tools) == 1:
        found.update(production.tools)
    return found
