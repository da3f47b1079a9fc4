"""mkdocs hooks: the claims page shows what ``docs/claims/*.json`` holds, the methods page what the manifests say.

A page that ``nav`` does not name is a method's own and appears under Methods: a method adds its page and nothing else.
"""

import html
import json
import re
from collections import Counter
from collections.abc import Iterable
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
    for mark, drawn in {"claims": claims, "glance": glance, "example": example, "methods": methods}.items():
        if f"<!-- {mark} -->" in markdown:
            markdown = markdown.replace(f"<!-- {mark} -->", drawn() or "No result has been stored yet.")
    return markdown


def on_page_content(content: str, **_: Any) -> str:
    """Say of every header of a table that it is its column's."""
    return re.sub(r"<th(?![a-z])(?![^>]*scope=)", '<th scope="col"', content)


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


STYLE = """<style>
.counts { font-size: .68rem; border-collapse: collapse; }
.counts th, .counts td { text-align: left; padding: .2em .9em .2em 0; font-weight: 400; white-space: nowrap; }
.counts thead th { color: var(--md-default-fg-color--light); }
.claims { width: 100%; border-collapse: collapse; font-size: .68rem; line-height: 1.45; }
.claims th, .claims td { text-align: left; vertical-align: top; padding: .5em .9em .5em 0; font-weight: 400;
  border-bottom: .05rem solid var(--md-default-fg-color--lightest); }
.claims thead th { font-weight: 700; color: var(--md-default-fg-color--light); }
.claims tbody th { min-width: 12rem; }
.claims td { white-space: nowrap; font-variant-numeric: tabular-nums; }
.claims small { display: block; font-size: .62rem; opacity: .8; white-space: normal; }
.verdict { display: inline-block; padding: 0 .7em; border-radius: 1em; font-weight: 700; }
.verdict { background: #fdeecb; color: #7a5200; }
.verdict.holds { background: #d8f0de; color: #12592a; }
.verdict.does-not-hold { background: #fbdcd8; color: #8a1f14; }
[data-md-color-scheme="slate"] .verdict { background: #40330f; color: #f0d48a; }
[data-md-color-scheme="slate"] .verdict.holds { background: #12381f; color: #a6e3b8; }
[data-md-color-scheme="slate"] .verdict.does-not-hold { background: #47201d; color: #f7b4ac; }
@media (max-width: 700px) {
  .counts { font-size: .6rem; }
  .counts th, .counts td { padding-right: .5em; }
  .claims thead { display: none; }
  .claims tr, .claims tbody th, .claims td { display: block; border: 0; padding: .1em 0; white-space: normal; }
  .claims tbody th { min-width: 0; }
  .claims tr { padding: .6em 0; border-bottom: .05rem solid var(--md-default-fg-color--lightest); }
  .claims td br { display: none; }
  .claims td::before { content: attr(data-label) ": "; color: var(--md-default-fg-color--light); }
}
</style>"""
COLUMNS = ("claim", "ours", "baseline", "mean and interval", "verdict")
EXAMPLE = ("secpe", "clean")
"""The study and the claim that the page reads aloud."""
MEANING = {
    "holds": "all of it lies on the claimed side, so the claim **holds**",
    "does not hold": "all of it lies on the other side, so the claim **does not hold**",
    "undecided": "the bound lies within it, so the claim stays **undecided**",
}


def stored() -> list[dict[str, Any]]:
    """All stored studies, by name."""
    return [json.loads(path.read_text("utf-8")) for path in sorted((HERE / "claims").glob("*.json"))]


def claims() -> str:
    """One table for every stored study."""
    return "\n\n".join(map(section, stored()))


def glance() -> str:
    """One row a study: how many of its claims came out how."""
    names = ("study", *MEANING, "judged")
    lines = [STYLE, "", f'<table class="counts"><thead><tr>{cells(names)}</tr></thead><tbody>']
    for one in stored():
        count = Counter(claim["verdict"] for claim in one["claims"])
        numbers = "".join(f"<td>{value}</td>" for value in (*(count[each] for each in MEANING), one["date"]))
        lines.append(f'<tr><th scope="row"><a href="#{one["study"]}">{one["study"]}</a></th>{numbers}</tr>')
    return "\n".join([*lines, "</tbody></table>"])


def cells(names: Iterable[str]) -> str:
    """The head of a table."""
    return "".join(f'<th scope="col">{name}</th>' for name in names)


def example() -> str:
    """One row of one table, read aloud."""
    study, name = EXAMPLE
    (claim,) = (claim for one in stored() if one["study"] == study for claim in one["claims"] if claim["name"] == name)
    found = claim["interval"]
    lacks = claim.get("lacks")
    more = f" If mean and spread stayed as they are, about {lacks:,} more seeds would decide it." if lacks else ""
    return "\n".join(
        [
            f"- **Claim.** {claim['claim']}. What the paper says of it: {claim['paper']}.",
            f"- **Ours, baseline.** {number(claim['ours'])} is the ensemble's accuracy, {number(claim['baseline'])} "
            "that of the single prompt, each the mean over seeds.",
            f"- **Mean and interval.** Seed by seed the two differ by {found['mean']:+.3g} in the mean of {found['n']} "
            f"seeds; with {found['level']:.0%} confidence the true difference lies between {found['low']:+.3g} and "
            f"{found['high']:+.3g}.",
            f"- **Rule.** It was written down before the run: {claim['rule']}. Here {MEANING[claim['verdict']]}.{more}",
        ]
    )


def section(one: dict[str, Any]) -> str:
    """One study: how it was judged, and its claims."""
    hardware = one["hardware"]
    lines = [
        f"### {one['study']}",
        "",
        f"`{one['command']}`, {one['date']}, {one['seeds']} seeds, {one['wall_seconds'] / 60:.1f} min on "
        f"{hardware.get('cores', '?')} cores ({hardware.get('processor', '?')}). {one.get('looks', '')}".rstrip(),
        "",
        f'<table class="claims"><thead><tr>{cells(COLUMNS)}</tr></thead><tbody>',
        *map(row, one["claims"]),
        "</tbody></table>",
    ]
    return "\n".join(lines)


def row(claim: dict[str, Any]) -> str:
    """One claim; below it its rule, what the paper says and what is to be noted."""
    interval = claim["interval"]
    between = f"{interval['mean']:+.3g} <br>[{interval['low']:+.3g}, {interval['high']:+.3g}]" if interval else "-"
    found = {"ours": number(claim["ours"]), "baseline": number(claim["baseline"]), "mean and interval": between}
    small = [f"Rule: {claim['rule']}.", f"Paper: {claim['paper']}.", *([claim["note"]] if claim.get("note") else [])]
    lacks = f"<small>about {claim['lacks']:,} more seeds</small>" if claim.get("lacks") else ""
    verdict = f'<span class="verdict {claim["verdict"].replace(" ", "-")}">{claim["verdict"]}</span>{lacks}'
    words = "".join(f"<small>{plain(each)}</small>" for each in small)
    numbers = "".join(f'<td data-label="{name}">{value}</td>' for name, value in found.items())
    return (
        f'<tr><th scope="row">{plain(claim["claim"])}{words}</th>{numbers}<td data-label="verdict">{verdict}</td></tr>'
    )


def plain(text: str) -> str:
    """A text as markup; what stands between backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


def number(value: float | None) -> str:
    """Four digits, or a dash; no power of ten where whole numbers say it."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if 10_000 <= abs(value) < 10_000_000 else f"{value:.4g}"
