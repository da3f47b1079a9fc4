"""How a claim is earned: written down before the run, judged by a rule from an interval, stored by one command.

A :class:`Rule` gives both its sentence and its verdict, so that neither can drift from the other. A study measures
(:class:`Measured`); :func:`decide` looks at what it measured, once or until every claim is decided. Knows no study.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from pydantic import Field, model_validator

from burnish.core.findings import Finding
from burnish.core.intervals import LEVEL, SCALES, Interval, Kind, four_figures
from burnish.core.looks import Look, plan_looks, units_needed
from burnish.core.recipe import Recipe, Settings
from burnish.core.report import Section
from burnish.core.run import Run

Size = Literal["smoke", "tour", "quick", "full"]
Verdict = Literal["holds", "does not hold", "undecided"]
JUDGED: tuple[Size, ...] = ("quick", "full")


@dataclass(frozen=True)
class Rule:
    """When a claim holds: the whole interval of a quantity lies on the claimed side of a bound.

    Attributes:
        of: the quantity, in words.
        kind: of its interval.
        bound: what the interval is held against.
        side: where the claim puts the quantity; the bound itself belongs to ``at most``.
        over: the independent units of the interval, in words; none where they are what is counted.
        least: units below which nothing is decided.
    """

    of: str
    kind: Kind = "mean"
    bound: float = 0.0
    side: Literal["above", "at most"] = "above"
    over: str = ""
    least: int = 1

    def sentence(self, level: float = LEVEL) -> str:
        """The rule in words, for an interval of ``level``."""
        over = f" over {self.over}" if self.over else ""
        few = f" ({self.least} or more)" if self.least > 1 else ""
        where = "above" if self.side == "above" else "at or below"
        sure = f"{100 * level:.4g} %"
        return f"{sure} {SCALES[self.kind].words}{over}{few} of the {self.of} lies {where} {self.bound:g}"

    def verdict(self, interval: Interval) -> Verdict:
        """``holds`` if all of the interval lies on the claimed side, ``does not hold`` if on the other, else
        ``undecided``: so are fewer units than the least, and equal values of a quantity without bounds.

        Raises:
            ValueError: an interval of another kind than the sentence speaks of.
        """
        if interval.kind != self.kind:
            raise ValueError(
                f"the rule is about a {self.kind} ({self.sentence()}), the interval is of a {interval.kind}"
            )
        if interval.n < self.least or interval.boundless:
            return "undecided"
        above, below = interval.low > self.bound, interval.high <= self.bound
        holds, fails = (above, below) if self.side == "above" else (below, above)
        return "holds" if holds else "does not hold" if fails else "undecided"


class Claim(Settings):
    """One claim of a paper and what came out here."""

    name: str
    claim: str
    """In words, as written down before the run."""
    paper: str
    """The paper's own figure."""
    rule: str
    """How the verdict follows from the interval."""
    ours: float | None
    baseline: float | None
    interval: Interval | None
    """Of the difference or ratio that the rule speaks of."""
    verdict: Verdict
    note: str = ""
    """What was tried, or what limits the verdict."""
    seeds: int | None = None
    """At which it was judged."""
    lacks: int | None = None
    """Seeds more that it would take to decide it with a probability of .8, if mean and spread stayed as they are; none
    where it is decided, or where no number can be said (one seed, a mean on the bound)."""

    @property
    def open(self) -> bool:
        """Whether more seeds may still decide it: it was run, and is undecided."""
        return self.verdict == "undecided" and (self.interval is not None or self.ours is not None)


@runtime_checkable
class Question(Protocol):
    """A claim, and what was measured for it: to be judged at any look."""

    @property
    def name(self) -> str:
        """Of the claim, within its study."""

    def judged(self, look: Look) -> Claim:
        """The claim with its verdict."""


@dataclass(frozen=True)
class Measured:
    """A claim that a rule judges from an interval; without a finding it is undecided.

    Attributes:
        name: of the claim, within its study.
        claim: in words, as written down before the run.
        paper: the paper's own figure.
        rule: of the verdict.
        found: what was measured; none where it was not run.
        note: what was tried, or what limits the verdict; without a finding the default says that it was not run.
    """

    name: str
    claim: str
    paper: str
    rule: Rule
    found: Finding | None
    note: str = ""

    @property
    def interval(self) -> Interval:
        """At 95 %.

        Raises:
            ValueError: it was not run.
        """
        if self.found is None:
            raise ValueError(f"{self.name}: not run, so it has no interval")
        return self.found.interval

    def judged(self, look: Look) -> Claim:
        """The claim with its verdict, from an interval of the look's level."""
        asked = {"name": self.name, "claim": self.claim, "paper": self.paper, "rule": self.rule.sentence(look.level)}
        if self.found is None:
            nothing = {"ours": None, "baseline": None, "interval": None, "verdict": "undecided"}
            return Claim.model_validate({**asked, **nothing, "note": self.note or "not run at this size"})
        interval = self.found.at(look.level)
        verdict = self.rule.verdict(interval)
        needed = max(self.rule.least, units_needed(interval, self.rule.bound, look.level))
        seeds = needed * look.seeds / interval.n if interval.n else math.inf
        return Claim(
            **asked,
            ours=self.found.ours,
            baseline=self.found.baseline,
            interval=interval,
            verdict=verdict,
            note=_with_reason(self.note, interval),
            seeds=look.seeds,
            lacks=math.ceil(seeds - look.seeds) if verdict == "undecided" and look.seeds < seeds < math.inf else None,
        )


def _with_reason(note: str, interval: Interval) -> str:
    """A note, and why nothing is decided where all values are equal."""
    if interval.n < 2 or not interval.boundless:
        return note
    why = f"All {interval.n} values are equal: without spread there is no interval, and nothing is decided."
    return f"{note.rstrip('. ')}. {why}" if note else why


class StudyRecipe(Recipe):
    """What a study's run folder stores."""

    size: Size = "quick"
    """`smoke` (every line runs), `tour` (how it works), `quick` and `full` (judged)."""
    checkpoint_every: float = Field(default=0.0, ge=0)
    """A study's steps are whole trainings: each is saved as it ends."""
    seeds: int = Field(default=3, ge=1)
    """Repetitions; at least 3 for a verdict in `quick`, 5 in `full`."""
    max_seeds: int | None = Field(default=None, ge=1)
    """Seeds are added, twice as many at each look, until every claim is decided or there are this many; none: one look
    at `seeds`."""

    @property
    def command(self) -> str:
        """What is typed for it."""
        until = f" --until-decided --max-seeds {self.max_seeds}" if self.max_seeds is not None else ""
        return f"burnish study {self.method.removeprefix('study:')} --size {self.size} --seeds {self.seeds}{until}"

    @property
    def looks(self) -> tuple[Look, ...]:
        """When the claims are looked at, and how sure each look must be."""
        return plan_looks(self.seeds, self.seeds if self.max_seeds is None else self.max_seeds)

    @model_validator(mode="after")
    def _in_order(self) -> StudyRecipe:
        _ = self.looks  # refuses fewer seeds at the last look than at the first
        return self


@dataclass(frozen=True)
class Glance:
    """What a study did, for who has one look.

    Attributes:
        words: one sentence with its main figures.
        figure: one small picture of them (:func:`burnish.core.study_picture.small_bars`); none where there are none.
        model: what it was done with, in a few words.
    """

    words: str
    figure: Any
    model: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a study found.

    Attributes:
        questions: its claims, to be judged.
        sections: of its report.
        glance: its row of the tour.
    """

    questions: Sequence[Question]
    sections: list[Section]
    glance: Glance


@dataclass(frozen=True)
class Judgement:
    """What came of a study.

    Attributes:
        claims: judged, each at the look that decided it, or at the last.
        outcome: what the study found with all its seeds.
        look: the last one.
    """

    claims: list[Claim]
    outcome: Outcome
    look: Look

    @property
    def words(self) -> str:
        """How often the claims were looked at, in a sentence; empty for one look."""
        if self.look.of == 1:
            return ""
        left = sum(claim.open for claim in self.claims)
        end = f"{left} of {len(self.claims)} claims stay undecided" if left else "every claim that was run is decided"
        return (
            f"Look {self.look.number} of at most {self.look.of}, at {self.look.seeds} seeds: {end}. Each look k takes "
            "intervals of level 1 - .05 (n_k - n_(k-1)) / n_K, so that all looks at one claim together err with at "
            "most 5 % (union bound); a claim keeps the verdict of the look that decided it."
        )


@dataclass(frozen=True)
class Study:
    """One paper's claim, rebuilt small.

    Attributes:
        title: one line.
        run: the loop, over a run folder like any other. Called again with more seeds it goes on from those it has.
    """

    title: str
    run: Callable[[StudyRecipe, Run], Outcome]


def decide(study: Study, recipe: StudyRecipe, run: Run) -> Judgement:
    """Run a study and judge its claims: once, or (``max_seeds``) with more seeds until every claim is decided.

    Raises:
        Interrupted: a stop signal came; the same call goes on.
    """
    settled: dict[str, Claim] = {}
    for look in recipe.looks:
        outcome = study.run(recipe.model_copy(update={"seeds": look.seeds, "max_seeds": None}), run)
        claims = [settled.get(question.name) or question.judged(look) for question in outcome.questions]
        settled |= {claim.name: claim for claim in claims if claim.verdict != "undecided"}
        if look.last or not any(claim.open for claim in claims):
            break
        run.note(f"{run.path}: {sum(claim.open for claim in claims)} claims undecided at {look.seeds} seeds; more")
    return Judgement(claims, outcome, look)


def claim_rows(claims: Sequence[Claim]) -> list[dict[str, Any]]:
    """Claims as rows of a report's table."""
    return [
        {
            "claim": claim.claim,
            "paper": claim.paper,
            "ours": _shown(claim.ours),
            "baseline": _shown(claim.baseline),
            "interval": "-" if claim.interval is None else str(claim.interval),
            "verdict": claim.verdict + _lacking(claim),
        }
        for claim in claims
    ]


def _shown(value: float | None) -> str:
    return "-" if value is None else four_figures(value)


def _lacking(claim: Claim) -> str:
    """What an undecided claim lacks, in words."""
    return f" (about {claim.lacks:,} more seeds)" if claim.lacks is not None else ""
