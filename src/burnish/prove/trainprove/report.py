"""What an audit's report shows of TrainProVe: who looks how guilty, source by source, and what the verdict rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from burnish.core.errors import UserError
from burnish.core.files import read_json
from burnish.core.report import Section, subplots
from burnish.prove.report import Distribution, audit_sections
from burnish.prove.trainprove.findings import ProvenanceFindings, Rate, Scores

SUBJECT = "this classifier was trained on pictures of the owner's generator, or of a derivative of it"


def evidence_sections(
    findings: ProvenanceFindings, settings: Mapping[str, Any], shadows: Sequence[Mapping[str, str]]
) -> list[Section]:
    """Verdict in words, where the suspect stands, tests and assumptions, then what this method adds."""
    scores, names = findings.scores, settings["sources"]
    source, values = np.array(scores.source), np.array(scores.shadows)
    shown = Distribution(
        title="The suspect among the shadows",
        axis="score: do its mistakes agree with those of models trained on my pictures?",
        groups={"innocent shadows": values[source != 0], "shadows of my generator": values[source == 0]},
        suspect=scores.suspect,
        words="Score of every shadow, from a fit without it, and of the suspect.",
    )
    needed = f"{findings.sources} innocent sources; alpha {settings['alpha']:g} needs {findings.sources_needed}."
    found = [
        *audit_sections(SUBJECT, findings, [shown]),
        Section("The shadows, source by source", needed, figure=score_figure(scores, names)),
        Section(
            "Source by source",
            "Share of each innocent source's shadows that look at least as guilty as the suspect, scored by a fit "
            "without that "
            "source. The open-world p is one plus their sum over one plus their number.",
            table=[{"source": name, "share": f"{share:.2f}"} for name, share in findings.shares.items()],
        ),
        Section("What the audit is worth", table=worth_rows(findings)),
        Section(
            "The published rule",
            "Kept for comparison: not being a low outlier among batches of one shadow convicts. The batch size sets "
            "its verdict.",
            table=[
                {
                    "rule": name,
                    "statistic": f"{each.statistic:.3f}",
                    "critical": f"{each.critical:.3f}",
                    "says": "not from my generator" if each.rejected else "from my generator",
                }
                for name, each in findings.published.items()
                if each is not None
            ]
            or None,
        ),
        Section("Shadows", "Accuracy is on all validation pictures.", table=list(shadows)),
    ]
    return found


def run_sections(path: Path) -> list[Section]:
    """Sections of a finished run's report, from its ``findings.json``.

    Raises:
        UserError: the findings are missing or damaged.
    """
    found = read_json(path / "artifacts" / "findings.json")
    if not isinstance(found, dict):
        raise UserError(f"{path}/artifacts/findings.json: missing or damaged; run the recipe again")
    return evidence_sections(ProvenanceFindings.from_json(found["findings"]), found["settings"], found["shadows"])


def worth_rows(findings: ProvenanceFindings) -> list[dict[str, str]]:
    """Power, false accusations, novelty, fraction and queries, in words and numbers."""
    rows = [
        {"what": "queries", "value": f"{findings.queries:,}"},
        {"what": "accuracy on my generator's pictures", "value": f"{findings.accuracy.mine:.3f}"},
        {"what": "accuracy on the reference sets", "value": f"{findings.accuracy.references:.3f}"},
        {"what": "novelty p (small: unlike any shadow)", "value": f"{findings.novelty_p:.3f}"},
    ]
    if findings.power is not None and findings.false_accusation is not None:
        power, false = findings.power, findings.false_accusation
        rows += [
            {"what": "power: my own shadows, each left out, convicted", "value": _with_interval(power)},
            {
                "what": f"innocent shadows convicted with their source hidden (at level {false.level:.3f})",
                "value": _with_interval(false),
            },
        ]
    if findings.fraction is not None:
        low, high = findings.fraction.low, findings.fraction.high
        outside = low is None or high is None
        rows.append(
            {
                "what": "share of my pictures in the training set: rough 95 % interval, if its mixtures were made "
                "like mine",
                "value": "outside the calibrated range: no estimate" if outside else f"{low:.2f} to {high:.2f}",
            }
        )
    return rows


def _with_interval(rate: Rate) -> str:
    low, high = rate.interval
    return f"{rate.value:.3f} [{low:.3f}, {high:.3f}] of {rate.models}"


def score_figure(scores: Scores, names: Sequence[str]) -> Any:
    """Dots of the shadows by source, the suspect as a line."""
    figure, grid = subplots(height=1.0 + 0.26 * len(names))
    axes = grid[0, 0]
    source, values = np.array(scores.source), np.array(scores.shadows)
    for place in range(len(names)):
        rows = source == place
        color = "tab:red" if place == 0 else "tab:blue"
        axes.plot(values[rows], np.full(int(rows.sum()), place), "o", markersize=4, alpha=0.6, color=color)
    axes.axvline(scores.suspect, color="black", linewidth=1.4, label="suspect")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("score")
    axes.legend(frameon=False, fontsize=8)
    return figure
