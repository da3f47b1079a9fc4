"""What an ownership audit's report shows beyond every audit's: the suspect among its shadows, the power, what was
asked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from burnish.core.files import read_json
from burnish.core.report import Section
from burnish.prove.dov4cl.findings import OwnershipFindings, OwnershipPower
from burnish.prove.evasion import CROWDED, DISTINCT, INCONSISTENT, JUMP, JUMP_LEVEL, SIGNAL, SPREAD, Evasion
from burnish.prove.report import Distribution, audit_sections
from burnish.prove.verdict import said_p

SUBJECT = "this encoder was pre-trained on the owner's public pictures"


def sections(path: Path) -> list[Section]:
    """The report of a run folder; empty until there are findings.

    Raises:
        BurnishError: the findings are damaged.
    """
    findings, asked = (read_json(path / "artifacts" / name) for name in ("findings.json", "asked.json"))
    return [] if findings is None else finding_sections(OwnershipFindings.from_json(findings), asked or {})


def finding_sections(findings: OwnershipFindings, asked: Mapping[str, Mapping[str, Any]]) -> list[Section]:
    """Sections from findings and from the records of who was asked what."""
    parts = audit_sections(SUBJECT, findings, distributions(findings))
    if findings.evasion is not None:
        parts.append(Section("How the suspect answers", evasion_text(findings.evasion)))
    if findings.power is not None:
        parts.append(Section("What the test could have seen", power_text(findings.power)))
    return [*parts, Section("What was asked", table=asked_rows(asked))] if asked else parts


def distributions(findings: OwnershipFindings) -> list[Distribution]:
    """One picture a statistic: shadows that saw neither set, shadows trained on the public one, the suspect."""
    effects = findings.effects
    if effects is None:
        return []
    text = "How much steadier each model is on the public pictures than on the private ones; each dot is a model."
    return [
        Distribution(
            title=f"The suspect among the shadows: {name} relationship",
            axis="public against private: above 0, steadier on the public pictures",
            words=text,
            groups={
                "innocent shadows": [model[name] for model in effects.shadows],
                "guilty shadows": [model[name] for model in effects.guilty],
            },
            suspect=value,
        )
        for name, value in effects.suspect.items()
    ]


def evasion_text(found: Evasion) -> str:
    """What was seen of evasion, in words, with every figure."""
    lines = [
        "Signs that the suspect evades: " + "; ".join(found.signs) + "."
        if found.signs
        else "No sign that the suspect evades.",
        f"Different answers: {found.distinct:.1%} of a shadow's (below {DISTINCT:.0%} is a sign). Spread of the "
        f"answers: {found.spread:.1%} of the smallest of a shadow ({SPREAD:.0%}). Share that the picture explains: "
        f"{found.signal:.1%} of the smallest of a shadow ({SIGNAL:.0%}).",
    ]
    if found.apart is not None:
        lines.append(
            f"Gap from an answer to its nearest: {found.apart:.0%} of the smallest of a shadow (below {CROWDED:.0%} is "
            "a sign: a few answers, up to a small change)."
        )
    if found.inconsistency is None or found.jump is None or found.jump_p is None:
        lines.append("It was not asked anything again, and not about scrambled pictures.")
    else:
        lines.append(
            f"Asked again, it differs by {found.inconsistency:.1%} of the difference between pictures (above "
            f"{INCONSISTENT:.0%} is a sign). While pictures are scrambled, its largest step is {found.jump:.2f} times "
            f"as long near public pictures as near private ones, p = {said_p(found.jump_p)} (above {JUMP:g} and at "
            f"most {JUMP_LEVEL:g} is a sign)."
        )
    return "\n\n".join(lines)


def power_text(power: OwnershipPower) -> str:
    """The power in words: what was found, then a paragraph a statistic."""
    lines = []
    if power.interval is not None:
        low, high = power.interval
        lines.append(
            f"Put to the suspect's very test, {power.found} of {power.models} shadows trained on the public pictures "
            f"are found: {power.reached:.0%}, 95 % interval {low:.0%} to {high:.0%}. What follows are estimates."
        )
    for name, each in power.by.items():
        line = f"{name}: a difference of {each.detectable:.5f} would be found with probability {power.wanted:.0%}"
        if each.expected is not None:
            line += f"; the mean of the shadows trained on the public pictures (how many: {power.models}) is "
            line += f"{each.expected:.5f}"
        if each.images_needed is not None:
            line += f"; for {power.wanted:.0%}, about {each.images_needed:,} pictures of each set are needed"
        lines.append(line + ".")
    return "\n\n".join(lines)


def asked_rows(asked: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """Who was asked: queries, bytes, identity."""
    return [
        {
            "model": name,
            "queries": f"{record['queries']:,}",
            "answered before": f"{record['saved']:,}",
            "views": f"{record['picture_bytes'] / 1e6:.1f} MB",
            "sent": f"{record['sent_bytes'] / 1e6:.1f} MB",
            "identity": record["identity"],
        }
        for name, record in asked.items()
    ]
