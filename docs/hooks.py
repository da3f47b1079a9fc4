"""mkdocs hooks: the claims page shows what ``docs/claims/*.json`` holds, the methods page what the manifests say.

A page that ``nav`` does not name is a method's own and appears under Methods: a method adds its page and nothing else.
"""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def on_config(config: Any) -> Any:
    """Put the pages that ``nav`` leaves out under Methods, by their headings."""
    named = json.dumps(config.nav)
    pages = sorted(path for path in HERE.glob("*.md") if f'"{path.name}"' not in named)
    (methods,) = (group["Methods"] for group in config.nav if "Methods" in group)
    methods.extend({heading(path): path.name} for path in pages)
    return config


def heading(path: Path) -> str:
    """The title of a page."""
    return path.read_text("utf-8").partition("\n")[0].lstrip("# ").strip()


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the marks by tables."""
    if "<!-- claims -->" in markdown:
        markdown = markdown.replace("<!-- claims -->", claims() or "No result has been stored yet.")
    if "<!-- methods -->" in markdown:
        markdown = markdown.replace("<!-- methods -->", methods())
    return markdown


def methods() -> str:
    """One row a method of the house, from its manifest."""
    from burnish.core.method import all_methods

    lines = ["| method | capability | what the paper claims | paper | state |", "| --- | --- | --- | --- | --- |"]
    for method in all_methods()[0]:
        page = f"{method.name}.md"
        name = f"[{method.shown}]({page})" if (HERE / page).exists() else method.shown
        state = "**built**" if method.built else "planned"
        lines.append(f"| {name} | {method.capability} | {method.claim} | {method.paper} | {state} |")
    return "\n".join(lines)


def claims() -> str:
    """One table for every stored study."""
    found = [json.loads(path.read_text("utf-8")) for path in sorted((HERE / "claims").glob("*.json"))]
    return "\n\n".join(map(section, found))


def section(stored: dict[str, Any]) -> str:
    """One study: how it was judged, and its claims."""
    hardware = stored["hardware"]
    lines = [
        f"## {stored['study']}",
        "",
        f"`{stored['command']}`, {stored['date']}, {stored['seeds']} seeds, {stored['wall_seconds'] / 60:.1f} min on "
        f"{hardware.get('cores', '?')} cores ({hardware.get('processor', '?')}). {stored.get('looks', '')}".rstrip(),
        "",
        "| claim | paper | rule | ours | baseline | mean and interval | verdict |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    notes = []
    for claim in stored["claims"]:
        interval = claim["interval"]
        between = f"{interval['mean']:+.3g} [{interval['low']:+.3g}, {interval['high']:+.3g}]" if interval else "-"
        cells = [claim["claim"], claim["paper"], claim["rule"], number(claim["ours"]), number(claim["baseline"])]
        lacks = f" (about {claim['lacks']:,} more seeds)" if claim.get("lacks") else ""
        cells += [between, f"**{claim['verdict']}**{lacks}"]
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
        if claim.get("note"):
            notes.append(f"- {claim['name']}: {claim['note']}")
    return "\n".join([*lines, "", *notes])


def number(value: float | None) -> str:
    """Four digits, or a dash."""
    return "-" if value is None else f"{value:.4g}"
