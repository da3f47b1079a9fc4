"""mkdocs hook: the claims page shows what ``docs/claims/*.json`` holds. Knows the files, not the package."""

import json
from pathlib import Path
from typing import Any

MARK = "<!-- claims -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the mark by one table for every stored study."""
    if MARK not in markdown:
        return markdown
    found = [json.loads(path.read_text("utf-8")) for path in sorted(Path(__file__).with_name("claims").glob("*.json"))]
    return markdown.replace(MARK, "\n\n".join(map(section, found)) or "No result has been stored yet.")


def section(stored: dict[str, Any]) -> str:
    """One study: how it was judged, and its claims."""
    hardware = stored["hardware"]
    lines = [
        f"## {stored['study']}",
        "",
        f"`{stored['command']}`, {stored['date']}, {stored['seeds']} seeds, {stored['wall_seconds'] / 60:.1f} min on "
        f"{hardware.get('cores', '?')} cores ({hardware.get('processor', '?')}).",
        "",
        "| claim | paper | rule | ours | baseline | mean and 95 % interval | verdict |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    notes = []
    for claim in stored["claims"]:
        interval = claim["interval"]
        between = f"{interval['mean']:+.3g} [{interval['low']:+.3g}, {interval['high']:+.3g}]" if interval else "-"
        cells = [claim["claim"], claim["paper"], claim["rule"], number(claim["ours"]), number(claim["baseline"])]
        cells += [between, f"**{claim['verdict']}**"]
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
        if claim.get("note"):
            notes.append(f"- {claim['name']}: {claim['note']}")
    return "\n".join([*lines, "", *notes])


def number(value: float | None) -> str:
    """Four digits, or a dash."""
    return "-" if value is None else f"{value:.4g}"
