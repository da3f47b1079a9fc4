"""What findings mean, in words, by rule from the numbers and never stronger than they are. Knows no method."""

from __future__ import annotations

from burnish.prove.findings import Findings, Power
from burnish.prove.statistics import significant


def wording(method_subject: str, findings: Findings) -> str:
    """The verdict for someone who is no statistician: paragraphs, apart by an empty line.

    Args:
        method_subject: what would be so if the suspect were guilty, as a clause: "this encoder was pre-trained on the
            owner's published pictures".
        findings: of the method's ``analyse``.
    """
    verdict = findings.verdict
    p, alpha = findings.deciding_p, verdict.alpha
    because = verdict.because.strip().rstrip(".")
    power = findings.power_reached
    if verdict.outcome == "cannot be judged":
        return _evades(method_subject, because)
    if verdict.outcome == "inconclusive":
        return _inconclusive(method_subject, because, power)
    if not verdict.calibrated and verdict.outcome == "no evidence":
        return _rule_silent(method_subject, because, p)
    if verdict.outcome == "evidence":
        if p is None or not significant(p, alpha) or not verdict.calibrated:
            return _rule_only(method_subject, because, p, alpha)
        return _evidence(method_subject, findings, because, p, alpha)
    return _no_evidence(method_subject, because, p, alpha, power)


def headline(findings: Findings) -> str:
    """The verdict in two or three words; a rule without calibration never gives evidence."""
    outcome = findings.verdict.outcome
    if outcome == "cannot be judged":
        evades = findings.verdict.because.startswith("the suspect evades")
        return f"cannot be judged: {'the suspect evades' if evades else 'too little in the answers'}"
    if not findings.verdict.calibrated and outcome != "inconclusive":
        return "the rule accuses" if outcome == "evidence" else "the rule does not accuse"
    return outcome


def said_p(p: float) -> str:
    """A p-value as people write it."""
    return "below .0001" if p < 1e-4 else f"{p:.2g}".removeprefix("0") if p < 0.995 else "1"


def _often(p: float) -> str:
    """A probability as a frequency that can be pictured."""
    if p < 1e-4:
        return "less than once in 10,000"
    return f"about once in {round(1 / p):,}" if p <= 0.2 else f"about {p:.0%} of the time"


def _evidence(subject: str, findings: Findings, because: str, p: float, alpha: float) -> str:
    first = (
        f"There is evidence that {subject}. Were it not so, and did the assumptions below hold, an audit like this one "
        "would "
        f"still give a result this strong {_often(p)} (p = {said_p(p)}; {said_p(alpha)} or less was to count as "
        "evidence)."
    )
    last = (
        f"This is evidence, not proof: the rule is made to accuse about {100 * alpha:.3g} % of innocent suspects, and "
        "it is worth no "
        "more than the assumptions it stands on."
    )
    return _paragraphs(first, _effect(findings), _reason(because), last)


def _no_evidence(subject: str, because: str, p: float | None, alpha: float, power: Power) -> str:
    shown = (
        ""
        if p is None
        else (
            f" Where it is not so, a result this strong or stronger comes up {_often(p)} (p = {said_p(p)}; "
            f"{said_p(alpha)} or "
            "less was to count as evidence)."
        )
    )
    first = f"This audit found no evidence that {subject}.{shown}"
    if power.reached is None:
        last = (
            "That does not clear the suspect: how often this audit would find a guilty one was not measured, so "
            "nothing "
            "follows from its having found nothing."
        )
    else:
        last = (
            f"That does not clear the suspect: this audit finds {power.said}, and a guilty model that was trained "
            "otherwise may "
            "well be missed."
        )
    return _paragraphs(first, _reason(because), last)


def _inconclusive(subject: str, because: str, power: Power) -> str:
    first = f"This audit is inconclusive because {because or 'it could not be carried out as meant'}."
    parts = [first, f"It neither accuses nor clears the suspect: whether {subject} remains open."]
    if power.reached is not None:
        wanted = "" if power.wanted is None else f"; {power.wanted:.0%} was aimed at"
        parts.append(f"As it stands, it finds {power.said}{wanted}.")
    if power.needed and power.needed not in because:
        parts.append(f"About {power.needed} would be needed.")
    return _paragraphs(" ".join(parts[:2]), " ".join(parts[2:]))


def _evades(subject: str, because: str) -> str:
    first = (
        f"This suspect cannot be judged, because it does not answer as a model that is asked about pictures does: "
        f"{because}."
    )
    last = (
        f"Whether {subject} remains open, and no test can tell while it answers so. Having found nothing here speaks "
        "for nobody's innocence: ask for access to the model itself, or for answers that speak of the pictures."
    )
    return _paragraphs(first, last)


def _rule_only(subject: str, because: str, p: float | None, alpha: float) -> str:
    """A rule that convicts without a small p-value, as the published ones may; said as what it is."""
    if p is not None and not significant(p, alpha):
        shown = f"its p-value, {said_p(p)}, is above {said_p(alpha)}"
    else:
        shown = _uncalibrated(p)
    first = (
        f"The rule that this audit was told to use decides that {subject}. It is no evidence in the sense of this "
        "report: "
        f"{shown}, so how often it would accuse an innocent suspect is unknown."
    )
    return _paragraphs(first, _reason(because))


def _rule_silent(subject: str, because: str, p: float | None) -> str:
    """The same rule when it does not convict."""
    first = (
        f"The rule that this audit was told to use does not decide that {subject}. That does not clear the suspect: "
        f"{_uncalibrated(p)}, so how often it would miss a guilty suspect is unknown."
    )
    return _paragraphs(first, _reason(because))


def _uncalibrated(p: float | None) -> str:
    return "it gives no p-value" if p is None else f"its p-value, {said_p(p)}, is not calibrated"


def _effect(findings: Findings) -> str:
    test = findings.sized_test
    if test is None:
        return ""
    between = f" (95 % interval {test.interval[0]:.3g} to {test.interval[1]:.3g})" if test.interval else ""
    return f"The size of the effect, by the test called {test.name}: {test.effect:.3g}{between}."


def _reason(because: str) -> str:
    return f"Why: {because}." if because else ""


def _paragraphs(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)
