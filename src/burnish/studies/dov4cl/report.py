"""Tables and pictures of the DOV4CL study, from its judged owners. Knows matplotlib, no models."""

from __future__ import annotations

from typing import Any

import numpy as np

from burnish.core.intervals import Interval
from burnish.core.report import Section, subplots
from burnish.core.study import Glance
from burnish.core.study_picture import Dots, draw_dots, small_bars
from burnish.prove.dov4cl.findings import OwnershipFindings
from burnish.prove.dov4cl.report import SUBJECT, distributions
from burnish.prove.report import audit_sections
from burnish.studies.dov4cl.claims import WANTED, Cells, false_interval, power_interval, rows_of
from burnish.studies.dov4cl.records import ALPHA

TESTS = {
    "image": "images permuted, unary and binary (default)",
    "unary": "images permuted, unary alone",
    "binary": "images permuted, binary alone",
    "mean unary": "mean test against the shadows, unary",
    "rank unary": "rank among the shadows, unary",
    "mean binary": "mean test against the shadows, binary",
    "rank binary": "rank among the shadows, binary",
    "published": "published t-test",
}
WORDS = {
    "owner": "someone with a public and a private set of pictures, drawn at random from one collection",
    "thief": "the encoder that was trained on the owner's public set",
    "innocent": "an encoder that was trained on another owner's public set",
    "shadow": "an encoder that the suspect is compared with: of other owners, never the thief's nor the suspect's own",
    "unary relationship": "cosine between views of one picture",
    "binary relationship": "how much the cosine between two pictures changes from view to view",
}


def sections(cells: Cells) -> list[Section]:
    """The report's parts."""
    return [
        Section(
            "Thieves found, innocents accused",
            "Shares at the level .05, with 95 % intervals (thieves: Clopper-Pearson; innocents: Korn-Graubard over "
            "suspects). A test that keeps its word accuses at most one innocent in twenty.",
            table=test_table(cells),
            figure=share_figure(cells),
        ),
        Section(
            "p-values",
            "Sorted p-values of thieves and of innocents. Innocents should follow the diagonal or lie above it; "
            "thieves should lie far below.",
            figure=p_figure(cells),
        ),
        Section(
            "Effects",
            "The suspect's difference from its shadows, public against private.",
            figure=effect_figure(cells),
        ),
        Section("By method, collection and length of training", table=cell_table(cells)),
        *_audit_sections(cells),
        Section("Words", table=[{"word": word, "meaning": meaning} for word, meaning in WORDS.items()]),
    ]


def _audit_sections(cells: Cells) -> list[Section]:
    """What a user's audit would say of a thief and of an innocent of the first owner."""
    audits: dict[str, Any] = next((cell.audits for cell in cells if cell.audits is not None), {})
    parts = []
    for kind, stored in audits.items():
        findings = OwnershipFindings.from_json(stored)
        verdict, picture, *_ = audit_sections(SUBJECT, findings, distributions(findings))
        text = f"{picture.text} Here the suspect is {kind}."
        parts.append(Section(f"One audit: a suspect that is {kind}", text, figure=picture.figure, html=verdict.html))
    return parts


def test_table(cells: Cells) -> list[dict[str, str]]:
    """One row a test."""
    thieves, innocents = rows_of(cells, guilty=True), rows_of(cells, guilty=False)
    return [
        {
            "test": words,
            "thieves found": _shown(power_interval(thieves, name)),
            "innocents accused": _shown(false_interval(innocents, name)),
        }
        for name, words in TESTS.items()
    ]


def share_figure(cells: Cells) -> Any:
    """Dots and intervals of both shares, one row a test."""
    thieves, innocents = rows_of(cells, guilty=True), rows_of(cells, guilty=False)
    figure, grid = subplots(2, 1, height=1.8 + 0.72 * len(TESTS))
    above, below = grid[:, 0]
    draw_dots(above, [Dots(words, power_interval(thieves, name)) for name, words in TESTS.items()], lines=(WANTED,))
    draw_dots(below, [Dots(words, false_interval(innocents, name)) for name, words in TESTS.items()], lines=(ALPHA,))
    above.set(xlim=(-0.02, 1.02), xlabel="share of thieves found")
    below.set(xlim=(-0.02, 1.02), xlabel="share of innocents accused")
    return figure


def _shown(interval: Interval) -> str:
    return f"{interval.mean:.2f} [{interval.low:.2f}, {interval.high:.2f}] of {interval.n}"


def p_figure(cells: Cells) -> Any:
    """Sorted p-values of the default, its unary part and the published test."""
    figure, grid = subplots(3, 1, height=7.8)
    for axes, name in zip(grid[:, 0], ("unary", "mean unary", "published"), strict=True):
        for guilty, colour, label in ((True, "tab:red", "thieves"), (False, "tab:blue", "innocents")):
            values = np.sort([each.row.p[name] for each in rows_of(cells, guilty=guilty) if name in each.row.p])
            axes.plot((np.arange(len(values)) + 0.5) / max(1, len(values)), values, ".", color=colour, label=label)
        axes.plot([0, 1], [0, 1], color="tab:gray", linewidth=1)
        axes.axhline(0.05, color="tab:gray", linewidth=0.8, linestyle=":")
        axes.set_title(TESTS[name], fontsize=9)
        axes.set(xlabel="share of suspects", ylabel="p")
    grid[0, 0].legend(frameon=False, fontsize=8)
    return figure


def effect_figure(cells: Cells) -> Any:
    """Histograms of the two effects."""
    figure, grid = subplots(2, 1, height=4.8)
    for axes, name in zip(grid[:, 0], ("unary", "binary"), strict=True):
        values = {g: [each.row.effects[name] for each in rows_of(cells, guilty=g)] for g in (False, True)}
        edges = np.histogram_bin_edges(values[False] + values[True], bins=30)
        axes.hist(values[False], edges, density=True, color="tab:blue", alpha=0.6, label="innocents")
        axes.hist(values[True], edges, density=True, color="tab:red", alpha=0.6, label="thieves")
        axes.set_title(f"{name} relationship", fontsize=9)
        axes.set_yticks([])
    grid[0, 0].legend(frameon=False, fontsize=8)
    return figure


def cell_table(cells: Cells) -> list[dict[str, str]]:
    """Power and false accusations of the default and of the mean test, for each kind of cell."""
    rows = []
    for setting in dict.fromkeys(cell.setting for cell in cells):
        data, objective, epochs = setting
        part = [cell for cell in cells if cell.setting == setting]
        thieves, innocents = rows_of(part, guilty=True), rows_of(part, guilty=False)
        rows.append(
            {
                "pictures": data,
                "method": objective,
                "epochs": str(epochs),
                "default: thieves": _shown(power_interval(thieves, "image")),
                "innocents": _shown(false_interval(innocents, "image")),
                "mean test: thieves": _shown(power_interval(thieves, "mean unary")),
                "innocents ": _shown(false_interval(innocents, "mean unary")),
            }
        )
    return rows


def glance(cells: Cells) -> Glance:
    """How many thieves and innocents the test accused."""
    rows = [row for cell in cells for row in cell.suspects]
    accused = {guilty: [row.accused("image") for row in rows if row.guilty is guilty] for guilty in (True, False)}
    words = (
        f"Asked small encoders whether an owner's pictures trained them: of {len(accused[True])} that were, "
        f"{sum(accused[True])} are found; of {len(accused[False])} innocent ones, {sum(accused[False])} are accused."
    )
    shares = {"thieves found": float(np.mean(accused[True])), "innocents accused": float(np.mean(accused[False]))}
    return Glance(words, small_bars(shares), "image encoders, contrastive, trained here")
