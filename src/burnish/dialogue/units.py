"""Units after a number: what they measure, and how they convert. A table and two rules (powers, quotients)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

_TABLE: dict[str, tuple[str, Fraction | int]] = {
    "mm millimeter millimetre": ("length", Fraction(1, 1000)),
    "cm centimeter centimetre": ("length", Fraction(1, 100)),
    "dm decimeter decimetre": ("length", Fraction(1, 10)),
    "m meter metre": ("length", 1),
    "km kilometer kilometre": ("length", 1000),
    "in inch inche": ("length", Fraction(254, 10000)),
    "ft foot feet": ("length", Fraction(3048, 10000)),
    "yd yard": ("length", Fraction(9144, 10000)),
    "mile": ("length", Fraction(1609344, 1000)),
    "mg milligram": ("mass", Fraction(1, 1000)),
    "g gram": ("mass", 1),
    "kg kilogram": ("mass", 1000),
    "s sec second": ("time", 1),
    "min minute": ("time", 60),
    "h hr hour": ("time", 3600),
    "day": ("time", 86400),
    "week": ("time", 604800),
    "year yr": ("years", 1),
    "mL ml milliliter millilitre": ("volume", Fraction(1, 1000)),
    "L l liter litre": ("volume", 1),
    "deg degree ^\\circ ^{\\circ} \\degree": ("angle", 1),
    "$ dollar usd": ("dollars", 1),
    "cent": ("dollars", Fraction(1, 100)),
    "€ euro eur": ("euros", 1),
    "£ gbp": ("pounds", 1),
    "unit": ("", 1),
}
_UNITS = {name: (dimension, Fraction(scale)) for names, (dimension, scale) in _TABLE.items() for name in names.split()}
_POWER = re.compile(r"(?:(?P<word>square|sq\.?|cubic)\s+)?(?P<name>.+?)\s*(?:\^?\s*\{?(?P<power>[23])\}?)?")


@dataclass(frozen=True)
class Unit:
    """What a unit measures, and how many of that dimension's base unit it is; ``""`` and 1 for no unit."""

    dimension: str = ""
    scale: Fraction = Fraction(1)


def read_unit(text: str) -> Unit | None:
    """The unit that a text names; ``None`` where it names none that is known.

    >>> read_unit("km/h").dimension, read_unit("square cm").scale
    ('length/time', Fraction(1, 10000))
    """
    parts = re.split(r"\s*/\s*|\s+per\s+", text.strip())
    if parts == [""]:
        return Unit()
    found = [_single(part) for part in parts]
    if len(found) > 2 or None in found:
        return None
    units = [unit for unit in found if unit is not None]
    if len(units) == 1:
        return units[0]
    return Unit(f"{units[0].dimension}/{units[1].dimension}", units[0].scale / units[1].scale)


def _single(text: str) -> Unit | None:
    match = _POWER.fullmatch(text.strip())
    if match is None:
        return None
    name = match["name"].strip()
    word = name.lower() if len(name) > 2 else name  # MG and M are no milligrams and metres
    known = _UNITS.get(word) or _UNITS.get(word.removesuffix("s"))
    if known is None or (match["word"] and match["power"]):
        return None
    power = int(match["power"] or {"c": 3, "s": 2}.get((match["word"] or " ")[0], 1))
    dimension, scale = known
    if power == 1 or not dimension:
        return Unit(dimension, scale)
    return Unit(f"{dimension}^{power}", scale**power)
