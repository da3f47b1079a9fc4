"""Tables and pictures of the TrainProVe study, from its cells and stored pictures. Knows matplotlib, no models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from burnish.core.intervals import mean_share_interval
from burnish.core.report import Section, subplots
from burnish.core.study import Glance
from burnish.core.study_picture import Dots, draw_dots, small_bars
from burnish.prove.report import audit_sections
from burnish.prove.trainprove.findings import ProvenanceFindings
from burnish.prove.trainprove.report import SUBJECT
from burnish.prove.trainprove.report import score_figure as shadow_scores
from burnish.studies.trainprove.claims import (
    Cells,
    Keep,
    balanced,
    best_published,
    clustered,
    fair,
    guilty,
    innocent,
    published,
    published_balanced,
    rate,
    suspects,
)
from burnish.studies.trainprove.experiment import CLASSES, MINE, MIXED, TWIN, Design, load, picture_path
from burnish.studies.trainprove.records import Audit

WORDS = {
    "defender": "the owner of a generator; here a DDPM trained on real digits",
    "suspect": "a classifier whose training pictures are in question; it answers labels only",
    "shadow": "a classifier that the auditor trains: on the defender's pictures, or on an innocent source's",
    "source hidden": "no shadow has seen pictures of the suspect's source: what an audit meets in the world",
    "fair": "source hidden, and an architecture that no shadow has",
    "open-world p": "(1 + sum over innocent sources of the share of their shadows that look at least as "
    "guilty) / (sources + 1)",
    "novelty gate": "a suspect unlike every shadow is not judged",
    "twin": "the defender's generator, distilled to a few steps: a derivative, hidden from the audit",
}


def sections(cells: Cells, design: Design, folder: Path) -> list[Section]:
    """The report's parts."""
    level = f"nominal level {design.alpha:g}"
    return [
        Section(
            "Who is convicted",
            f"Share of suspects convicted with their source hidden, at {level} (dashed). Innocent sources in blue, "
            "mixtures by their share of the defender's pictures in orange, the defender's generator and its twin in "
            "red; with the number of models. Lines: 95 % Korn-Graubard intervals over seeds (none for one seed). The "
            "crosses are the published rule with batches of 128.",
            figure=conviction_figure(cells, design),
        ),
        Section(
            "The statistic",
            "Kernel ridge score of every suspect, all shadows present: high means that it shares the mistakes of "
            "models trained on the defender's pictures. One dot a suspect.",
            figure=score_figure(cells, design),
        ),
        Section(
            "Rules side by side",
            f"Shares convicted and balanced accuracy, sources hidden, at {level}; the published rules know no source "
            "and no level of their own. In brackets a 95 % interval clustered by source.",
            table=rule_table(cells),
        ),
        Section(
            "Areas under the curve",
            "Guilty against innocent suspects, mean over hidden sources and seeds. Random guessing: .5.",
            table=[
                {"statistic": name}
                | {p: f"{np.mean([getattr(c.auc[name], p) for c in cells]):.3f}" for p in ("hidden", "fair")}
                for name in cells[0].auc
            ],
        ),
        Section(
            "How much of it was mine",
            "Estimated share of the defender's pictures, with its 95 % interval, over the true share; models unlike "
            "any mixture have no estimate and are not drawn.",
            figure=fraction_figure(cells),
        ),
        Section(
            "What the sources look like",
            "Ten pictures of each: classes 0 to 9. The trained generators learned from the same half of the real "
            "digits, each cheap source has a random half of its own; no source knows the real pictures that suspects "
            "are asked about.",
            figure=picture_figure(cells[0].seed, design, folder),
        ),
        *(_audit_section(kind, cells[0].audits[kind]) for kind in ("guilty", "innocent")),
        Section("Words", table=[{"word": word, "meaning": meaning} for word, meaning in WORDS.items()]),
    ]


def _audit_section(kind: str, audit: Audit) -> Section:
    """What a user's audit would say of one suspect of the first seed."""
    findings = ProvenanceFindings.from_json(audit.findings)
    verdict = audit_sections(SUBJECT, findings)[0]
    return Section(
        f"One audit: a suspect that is {kind}",
        f"Trained on {audit.source}; no shadow has seen that source unless it is the defender's. Dots: the shadows' "
        "scores.",
        html=verdict.html,
        figure=shadow_scores(findings.scores, audit.settings["sources"]),
    )


def _of(source: str, fraction: float | None = None) -> Keep:
    return lambda row: row.source == source and fraction in (None, row.fraction)


def conviction_figure(cells: Cells, design: Design) -> Any:
    """Dots and intervals of the conviction rate by source; crosses for the published rule."""
    groups: list[tuple[str, str, Keep]] = [(name, "tab:blue", _of(name)) for name in design.innocents]
    groups += [(f"{each:.0%} mine", "tab:orange", _of(MIXED, each)) for each in design.fractions]
    groups += [(name, "tab:red", _of(name)) for name in (TWIN, MINE)]
    figure, grid = subplots(height=0.9 + 0.3 * len(groups))
    axes = grid[0, 0]
    rows, crosses = [], []
    for label, colour, keep in groups:
        found = suspects(cells, keep)
        rates = [rate(cell, "hidden_convicted", keep) for cell in cells]
        rows.append(Dots(f"{label} ({len(found)})", mean_share_interval(rates, len(found)), colour=colour))
        crosses.append(np.mean([bool(row.published["batch 128"]) for row in found]))
    draw_dots(axes, rows, lines=(design.alpha,))
    axes.plot(crosses, range(len(rows)), "x", color="black", markersize=5, label="published rule")
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("share convicted")
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def score_figure(cells: Cells, design: Design) -> Any:
    """Dots of the score by source."""
    names = [*design.innocents, TWIN, MINE]
    figure, grid = subplots(height=0.9 + 0.24 * len(names))
    axes = grid[0, 0]
    for place, name in enumerate(names):
        rows = suspects(cells, _of(name))
        color = "tab:red" if name in (MINE, TWIN) else "tab:blue"
        for marker, strange in (("o", False), ("^", True)):
            values = [row.score for row in rows if row.fair == strange]
            label = "architecture unseen" if strange else "architecture among the shadows"
            axes.plot(
                values,
                [place] * len(values),
                marker,
                markersize=4,
                alpha=0.6,
                color=color,
                label=label if name == MINE else None,
            )
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("score")
    axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1))
    return figure


def rule_table(cells: Cells) -> list[dict[str, str]]:
    """One row a rule."""
    rows = [
        {
            "rule": "ours, open-world p with novelty gate",
            "innocents convicted": str(clustered(cells, "hidden_convicted", innocent)),
            "fair innocents convicted": str(clustered(cells, "hidden_convicted", fair(innocent))),
            "guilty convicted": f"{np.mean([rate(c, 'hidden_convicted', guilty) for c in cells]):.2f}",
            "balanced accuracy": f"{np.mean([balanced(c) for c in cells]):.2f}",
        },
        {
            "rule": "closed-world p, pooled",
            "innocents convicted": str(clustered(cells, "hidden_pooled", innocent)),
            "fair innocents convicted": str(clustered(cells, "hidden_pooled", fair(innocent))),
            "guilty convicted": f"{np.mean([rate(c, 'hidden_pooled', guilty) for c in cells]):.2f}",
            "balanced accuracy": "-",
        },
    ]
    return rows + [
        {
            "rule": f"published, {name}",
            "innocents convicted": f"{np.mean([published(c, name, innocent) for c in cells]):.2f}",
            "fair innocents convicted": f"{np.mean([published(c, name, fair(innocent)) for c in cells]):.2f}",
            "guilty convicted": f"{np.mean([published(c, name, guilty) for c in cells]):.2f}",
            "balanced accuracy": f"{np.mean([published_balanced(c, name) for c in cells]):.2f}",
        }
        for name in cells[0].suspects[0].published
    ]


def fraction_figure(cells: Cells) -> Any:
    """Estimates over the truth, jittered so that they can be told apart."""
    given = [each for cell in cells for each in cell.fractions if each.estimate is not None]
    figure, grid = subplots(height=3.4)
    axes = grid[0, 0]
    place = np.array([each.truth for each in given]) + np.random.default_rng(0).uniform(-0.05, 0.05, len(given))
    estimate = np.array([each.estimate for each in given])
    reach = np.abs(np.array([[each.low, each.high] for each in given]).reshape(-1, 2).T - estimate)
    axes.errorbar(place, estimate, yerr=reach, fmt="o", markersize=3, linewidth=0.6, alpha=0.5)
    axes.plot([0, 1], [0, 1], color="tab:gray", linewidth=1, linestyle="--")
    axes.set_xlabel("true share of the defender's pictures")
    axes.set_ylabel("estimated share")
    return figure


def picture_figure(seed: int, design: Design, folder: Path) -> Any:
    """Ten pictures of each source in rows."""
    names = [MINE, TWIN, *design.innocents]
    strips = [np.concatenate(list(load(picture_path(folder, seed, n))["suspect"][:CLASSES, ..., 0]), 1) for n in names]
    figure, grid = subplots(width=5.0, height=0.35 * len(names))
    axes = grid[0, 0]
    axes.imshow(np.concatenate(strips), cmap="gray", vmin=0, vmax=255, aspect="equal")
    side = len(strips[0])
    axes.set_yticks([side * (place + 0.5) for place in range(len(names))], names)
    axes.set_xticks([])
    axes.grid(visible=False)
    return figure


def glance(cells: Cells) -> Glance:
    """Ours against the best published rule, sources hidden."""
    ours = float(np.mean([balanced(cell) for cell in cells]))
    rule = best_published(cells)
    theirs = float(np.mean([published_balanced(cell, rule) for cell in cells]))
    count = sum(row.guilty or row.innocent for cell in cells for row in cell.suspects)
    words = (
        f"Were they trained on my generator's pictures? {ours:.0%} are judged right although their source was never "
        f"seen, {theirs:.0%} by the best published rule (balanced accuracy)."
    )
    return Glance(
        words,
        small_bars({"agreement, calibrated": ours, "published rule": theirs}),
        f"{count} image classifiers, trained here",
    )
