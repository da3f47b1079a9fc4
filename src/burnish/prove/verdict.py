"""What findings mean, in words, by rule from the numbers and never stronger than they are. Knows no method.

Of the findings of a method it reads:

- ``verdict``: ``outcome`` (``evidence``, ``no evidence`` or ``inconclusive``), ``alpha``, ``because``, and ``calibrated:
  False`` for a rule whose p-values are known to be too small;
- ``tests``: each ``name``, ``p`` (or none, for a rule without one), ``effect``, ``interval``, and ``adjusted_p`` where
  several are corrected for one another; ``p``: the one that decides, else the first test's;
- ``power``: none, a number, or a mapping with ``reached`` (or ``value``), ``interval``, ``models`` (how many guilty models
  it rests on), ``wanted``, ``images_needed``, ``shadows_needed``;
- ``sources`` and ``sources_needed``, where a verdict needs so many innocent sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from burnish.core.errors import BurnishError

Outcome = Literal["evidence", "no evidence", "inconclusive"]
OUTCOMES: tuple[Outcome, ...] = ("evidence", "no evidence", "inconclusive")
NEEDED = {
    "images_needed": "images of each set",
    "shadows_needed": "shadow models",
}


@dataclass(frozen=True)
class Power:
    """How often the audit would find what it looks for, were it there.

    Attributes:
        reached: that share; none if it was not measured.
        wanted: the share aimed at, if there was one.
        needed: what the wanted share would take, in words; empty if unknown.
        interval: of ``reached``, if it has one.
        models: how many models trained to be guilty it rests on.
    """

    reached: float | None
    wanted: float | None
    needed: str
    interval: tuple[float, float] | None = None
    models: int | None = None

    @property
    def said(self) -> str:
        """The share in words, with what it rests on."""
        assert self.reached is not None
        between = f" (95 % interval {self.interval[0]:.0%} to {self.interval[1]:.0%})" if self.interval else ""
        by = f", by {self.models} such model{'s' * (self.models != 1)}" if self.models else ""
        return f"about {self.reached:.0%} of models that the auditor trained to be guilty{between}{by}"


def wording(method_subject: str, findings: Mapping[str, Any]) -> str:
    """The verdict for someone who is no statistician: paragraphs, apart by an empty line.

    Args:
        method_subject: what would be so if the suspect were guilty, as a clause: "this encoder was pre-trained on the
            owner's published pictures".
        findings: of the method's ``analyse``.

    Raises:
        BurnishError: findings without a verdict that this knows.
    """
    verdict = findings.get("verdict")
    if not isinstance(verdict, Mapping) or verdict.get("outcome") not in OUTCOMES:
        raise BurnishError(f"findings: no verdict among {', '.join(OUTCOMES)}")
    p, alpha = deciding_p(findings), float(verdict["alpha"])
    because = str(verdict.get("because") or "").strip().rstrip(".")
    power = power_of(findings)
    if verdict["outcome"] == "inconclusive":
        return _inconclusive(method_subject, because, power)
    if verdict.get("calibrated") is False and verdict["outcome"] == "no evidence":
        return _rule_silent(method_subject, because, p)
    if verdict["outcome"] == "evidence":
        # The margin of rounding: 1 / 20 may come out a digit above .05.
        if p is None or p > alpha + 1e-12 or verdict.get("calibrated") is False:
            return _rule_only(method_subject, because, p, alpha)
        return _evidence(method_subject, findings, because, p, alpha)
    return _no_evidence(method_subject, because, p, alpha, power)


def headline(findings: Mapping[str, Any]) -> str:
    """The verdict in two or three words; a rule without calibration never gives evidence."""
    outcome = str(findings["verdict"]["outcome"])
    if findings["verdict"].get("calibrated") is False and outcome != "inconclusive":
        return "the rule accuses" if outcome == "evidence" else "the rule does not accuse"
    return outcome


def deciding_p(findings: Mapping[str, Any]) -> float | None:
    """The p-value that the verdict rests on; none for a rule without one."""
    if findings.get("p") is not None:
        return float(findings["p"])
    test = deciding_test(findings)
    p = None if test is None else test.get("adjusted_p", test.get("p"))
    return None if p is None else float(p)


def deciding_test(findings: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The test that the verdict rests on: the one with the deciding p-value, else the first."""
    tests = list(findings.get("tests") or [])
    p = findings.get("p")
    return next(
        (test for test in tests if p is not None and test.get("adjusted_p", test.get("p")) == p),
        next(iter(tests), None),
    )


def sized_test(findings: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The test that gives the size of the effect: the deciding one, else the first that has an effect."""
    found = (test for test in (deciding_test(findings), *(findings.get("tests") or [])) if test is not None)
    return next((test for test in found if test.get("effect") is not None), None)


def power_of(findings: Mapping[str, Any]) -> Power:
    """The power among the findings, in one form."""
    power = findings.get("power")
    if not isinstance(power, Mapping):
        power = {"reached": power}
    needed = [f"{power[key]:,} {what}" for key, what in NEEDED.items() if power.get(key) is not None]
    sources = findings.get("sources_needed")
    if sources is not None and sources > findings["sources"]:
        needed.append(f"{sources:,} innocent sources")
    reached, wanted = power.get("reached", power.get("value")), power.get("wanted")
    interval, models = power.get("interval"), power.get("models")
    return Power(
        None if reached is None else float(reached),
        None if wanted is None else float(wanted),
        " or ".join(needed),
        None if interval is None else (float(interval[0]), float(interval[1])),
        None if models is None else int(models),
    )


def said_p(p: float) -> str:
    """A p-value as people write it."""
    return "below .0001" if p < 1e-4 else f"{p:.2g}".removeprefix("0") if p < 0.995 else "1"


def _often(p: float) -> str:
    """A probability as a frequency that can be pictured."""
    if p < 1e-4:
        return "less than once in 10,000"
    return f"about once in {round(1 / p):,}" if p <= 0.2 else f"about {p:.0%} of the time"


def _evidence(subject: str, findings: Mapping[str, Any], because: str, p: float, alpha: float) -> str:
    first = (
        f"There is evidence that {subject}. Were it not so, and did the assumptions below hold, an audit like this one would "
        f"still give a result this strong {_often(p)} (p = {said_p(p)}; {said_p(alpha)} or less was to count as evidence)."
    )
    last = (
        f"This is evidence, not proof: the rule is made to accuse about {100 * alpha:.3g} % of innocent suspects, and it is worth no "
        "more than the assumptions it stands on."
    )
    return _paragraphs(first, _effect(findings), _reason(because), last)


def _no_evidence(subject: str, because: str, p: float | None, alpha: float, power: Power) -> str:
    shown = (
        ""
        if p is None
        else (
            f" Where it is not so, a result this strong or stronger comes up {_often(p)} (p = {said_p(p)}; {said_p(alpha)} or "
            "less was to count as evidence)."
        )
    )
    first = f"This audit found no evidence that {subject}.{shown}"
    if power.reached is None:
        last = (
            "That does not clear the suspect: how often this audit would find a guilty one was not measured, so nothing "
            "follows from its having found nothing."
        )
    else:
        last = (
            f"That does not clear the suspect: this audit finds {power.said}, and a guilty model that was trained otherwise may "
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


def _rule_only(subject: str, because: str, p: float | None, alpha: float) -> str:
    """A rule that convicts without a small p-value, as the published ones may; said as what it is."""
    if p is not None and p > alpha + 1e-12:
        shown = f"its p-value, {said_p(p)}, is above {said_p(alpha)}"
    else:
        shown = _uncalibrated(p)
    first = (
        f"The rule that this audit was told to use decides that {subject}. It is no evidence in the sense of this report: "
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


def _effect(findings: Mapping[str, Any]) -> str:
    test = sized_test(findings)
    if test is None:
        return ""
    between = ""
    if test.get("interval"):
        low, high = test["interval"]
        between = f" (95 % interval {low:.3g} to {high:.3g})"
    return f"The size of the effect, by the test called {test['name']}: {test['effect']:.3g}{between}."


def _reason(because: str) -> str:
    return f"Why: {because}." if because else ""


def _paragraphs(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)
