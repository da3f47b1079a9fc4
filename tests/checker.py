"""Which modules document shapes, and the checker of types that jaxtyping calls for them."""

import re
from pathlib import Path

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""An int may stand for a float, as PEP 484 has it."""

SHAPE = re.compile(r"^(\w+) = (?:Float|Int|Integer|Bool|Shaped|Num|UInt8|Int64)\[", re.MULTILINE)
IMPORTED = re.compile(r"^from (burnish[\w.]*) import (\([^)]*\)|.+)$", re.MULTILINE)


def modules_with_shapes(source: Path) -> list[str]:
    """Modules below ``source`` whose functions say shapes: by jaxtyping, or by a name that another gave to one."""
    texts = {_name(path, source): path.read_text("utf-8") for path in sorted(source.rglob("*.py"))}
    direct = {name for name, text in texts.items() if "from jaxtyping import" in text}
    named = {name: set(SHAPE.findall(texts[name])) for name in direct}
    by_name = {
        name
        for name, text in texts.items()
        for module, imported in IMPORTED.findall(text)
        if named.get(module, set()) & set(re.findall(r"\w+", imported))
    }
    return sorted(direct | by_name)


def _name(path: Path, source: Path) -> str:
    return ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__")
