"""The sections that every audit's report has: verdict, where the suspect stands, tests, assumptions. Knows no
method."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from burnish.core.report import Section, subplots
from burnish.prove.findings import Findings
from burnish.prove.verdict import headline, said_p, wording

COLORS = ("#3b6ea8", "#c2571a", "#5b8c5a", "#8a6fb0", "#7a7a7a")
INK = "#1d2330"
STYLE = {  # badge: ink and ground; amber accuses, green and blue would clear, which no audit does
    "evidence": ("#7a2e00", "#fbdcc0"),
    "no evidence": ("#344054", "#e4e7ec"),
    "inconclusive": ("#6b5200", "#fdeecb"),
    "cannot be judged": ("#6b5200", "#fdeecb"),
}
DOTS = 300  # values drawn one by one; more are told by their density alone


@dataclass(frozen=True)
class Distribution:
    """One statistic: what models known to be innocent or guilty have, and what the suspect has.

    Attributes:
        title: heading of the section.
        axis: what the statistic is, with its unit.
        groups: by what the models are ("innocent shadows"), the statistic of each; the first are the innocent.
        suspect: the suspect's.
        words: a sentence on how to read it.
    """

    title: str
    axis: str
    groups: Mapping[str, Sequence[float] | np.ndarray]
    suspect: float
    words: str = ""


def audit_sections(subject: str, findings: Findings, distributions: Sequence[Distribution] = ()) -> list[Section]:
    """The report of an audit.

    Args:
        subject: what would be so if the suspect were guilty, as a clause; see :func:`burnish.prove.verdict.wording`.
        findings: of the method's ``analyse``.
        distributions: the statistics to draw, the deciding one first.
    """
    words = "".join(f"<p>{html.escape(each)}</p>" for each in wording(subject, findings).split("\n\n"))
    parts = [Section("Verdict", html=_tiles(findings) + words)]
    parts += [
        Section(one.title, one.words, figure=distribution_figure(one))
        for one in distributions
        if any(map(len, one.groups.values()))
    ]
    if findings.tests:
        words = "Every test that was made, whatever it gave."
        if _corrected(findings):
            words += " A corrected p allows for there being several."
        parts.append(Section("Tests", words, table=table_of_tests(findings)))
    if findings.assumptions:
        items = "".join(f"<li>{html.escape(one)}</li>" for one in findings.assumptions)
        words = "The verdict is worth what these are worth. The numbers above prove none of them."
        parts.append(Section("What is assumed", words, html=f'<ul style="margin:0;padding-left:1.2em">{items}</ul>'))
    return parts


def table_of_tests(findings: Findings) -> list[dict[str, str]]:
    """The tests as a table."""
    corrected = _corrected(findings)
    rows = []
    for test in findings.tests:
        row = {
            "test": test.name,
            "statistic": _number(test.statistic),
            "p": "-" if test.p is None else said_p(test.p),
        }
        if corrected:
            row["corrected p"] = "-" if test.adjusted_p is None else said_p(test.adjusted_p)
        row["effect"] = _number(test.effect)
        row["95 % interval"] = "-" if test.interval is None else f"{test.interval[0]:.3g} to {test.interval[1]:.3g}"
        row["assumes"] = test.assumption or "-"
        rows.append(row)
    return rows


def _corrected(findings: Findings) -> bool:
    """Whether tests are corrected for there being several."""
    return any(test.adjusted_p is not None for test in findings.tests)


def distribution_figure(one: Distribution) -> Any:
    """A density and the single values of each group, and the suspect as a line across all of them.

    The part of the first group at or beyond the suspect is filled darker: innocents that look at least as guilty.
    """
    groups = {name: np.asarray(values, float) for name, values in one.groups.items() if len(values)}
    figure, grid = subplots(height=1.3 + 0.95 * len(groups))
    axes = grid[0, 0]
    everything = np.concatenate([*groups.values(), [one.suspect]])
    margin = 0.12 * (np.ptp(everything) or abs(one.suspect) or 1.0)
    left, right = everything.min() - margin, everything.max() + margin
    points = np.linspace(left, right, 400)
    for row, values in enumerate(groups.values()):
        base, color = float(len(groups) - 1 - row), COLORS[row % len(COLORS)]
        curve = density(values, points)
        if curve is not None:
            curve = np.where(curve < 0.004 * curve.max(), np.nan, curve)
            height = base + 0.12 + 0.6 * curve / np.nanmax(curve)
            axes.fill_between(points, base + 0.12, height, color=color, alpha=0.25, linewidth=0)
            axes.plot(points, height, color=color, linewidth=1.1)
            if row == 0:
                beyond = points >= one.suspect
                axes.fill_between(points[beyond], base + 0.12, height[beyond], color=color, alpha=0.55, linewidth=0)
        if len(values) <= DOTS:
            # A fixed spread that keeps neighbours apart: the same report every time.
            spread = 0.16 * ((np.arange(len(values)) * 0.618034) % 1)
            axes.plot(
                np.sort(values), base + 0.03 - spread, "o", color=color, markersize=3.6, alpha=0.7, markeredgewidth=0
            )
    axes.axvline(one.suspect, color=INK, linewidth=1.8)
    side = "right" if one.suspect > (left + right) / 2 else "left"
    axes.annotate(
        f"the suspect: {one.suspect:.3g}",
        (one.suspect, len(groups) - 0.12),
        xytext=(-6 if side == "right" else 6, 0),
        textcoords="offset points",
        ha=side,
        va="center",
        fontsize=9,
        fontweight="bold",
        color=INK,
    )
    axes.set_yticks(
        [len(groups) - 1 - row + 0.3 for row in range(len(groups))], [f"{n}\n({len(v)})" for n, v in groups.items()]
    )
    axes.set_ylim(-0.25, len(groups) + 0.05)
    axes.set_xlim(left, right)
    axes.set_xlabel(one.axis, fontsize=9.5)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0, labelsize=9.5)
    return figure


def density(values: np.ndarray, points: np.ndarray) -> np.ndarray | None:
    """A Gaussian kernel estimate at ``points``; none where there are too few different values for one."""
    if len(np.unique(values)) < 8:
        return None
    from scipy.stats import gaussian_kde

    curve: np.ndarray = gaussian_kde(values)(points)
    return curve


def _tiles(findings: Findings) -> str:
    """The badge and the numbers that a reader looks for first."""
    verdict = findings.verdict
    named, calibrated = headline(findings), verdict.calibrated
    ink, ground = STYLE[verdict.outcome if calibrated else "inconclusive"]
    p, test, power = findings.deciding_p, findings.sized_test, findings.power_reached
    tiles = [
        (
            "p-value",
            "none" if p is None else said_p(p),
            f"evidence at {said_p(verdict.alpha)} or less" if calibrated else "not calibrated",
        )
    ]
    if test is not None:
        between = f"95 %: {test.interval[0]:.3g} to {test.interval[1]:.3g}" if test.interval else "no interval"
        name = "effect" if test is findings.deciding_test else test.name
        tiles.append((name, f"{test.effect:.3g}", between))
    reached = "not measured" if power.reached is None else f"{power.reached:.0%}"
    tiles.append(("guilty models found", reached, f"needed: {power.needed}" if power.needed else "power of this audit"))
    box = "border:1px solid var(--line);border-radius:8px;padding:10px 16px;min-width:150px"
    cells = "".join(
        f'<div style="{box}"><div style="color:var(--soft);font-size:.84rem">{html.escape(name)}</div>'
        f'<div style="font-size:1.5rem;font-weight:650;font-variant-numeric:tabular-nums">{html.escape(value)}</div>'
        f'<div style="color:var(--soft);font-size:.84rem">{html.escape(below)}</div></div>'
        for name, value, below in tiles
    )
    badge = (
        f'<div style="display:inline-block;background:{ground};color:{ink};font-weight:700;border-radius:8px;'
        f'padding:6px 16px;font-size:1.05rem">{html.escape(named)}</div>'
    )
    return f'{badge}<div style="display:flex;flex-wrap:wrap;gap:12px;margin:14px 0 18px">{cells}</div>'


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
