"""What every audit finds, as frozen records: the tests, the one that decides, the verdict. Knows no method.

A method's findings subclass :class:`Findings` and add their own fields. Their JSON (:meth:`Record.to_json`) is what an
evidence folder keeps and a verification computes again, so a field's name is part of that format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_serializer

from burnish.core.errors import BurnishError

R = TypeVar("R", bound="Record")
Outcome = Literal["evidence", "no evidence", "inconclusive", "cannot be judged"]
Interval = tuple[float, float]


class Record(BaseModel):
    """Base of all records: frozen, and a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
    only_if_set: ClassVar[frozenset[str]] = frozenset()
    """Fields that the JSON has only where they differ from their default."""

    def to_json(self) -> dict[str, Any]:
        """The record as plain data, as evidence keeps it."""
        return self.model_dump()

    @classmethod
    def from_json(cls: type[R], data: Any) -> R:
        """The record from what :meth:`to_json` gave.

        Raises:
            BurnishError: a key is missing, unknown, or of another type.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            raise BurnishError(f"findings: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None

    @model_serializer(mode="wrap")
    def _plain(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        fields = type(self).model_fields
        absent = {name for name in self.only_if_set if getattr(self, name) == fields[name].default}
        return {name: value for name, value in handler(self).items() if name not in absent}


class StatisticalTest(Record):
    """One test that was made, whatever it gave."""

    only_if_set = frozenset({"adjusted_p"})

    name: str
    """What it is called in the report."""
    statistic: float | None = None
    """The test statistic."""
    p: float | None
    """Its p-value; none for a rule without one, and for a test that only gives the size of an effect."""
    effect: float | None = None
    """The size of the effect, in the statistic's own unit."""
    interval: Interval | None = None
    """95 % interval of the effect."""
    assumption: str = ""
    """What the p-value, or the interval, stands on."""
    adjusted_p: float | None = None
    """p corrected for the other tests beside it (Holm), where there are several."""


class Verdict(Record):
    """What an audit decides."""

    only_if_set = frozenset({"calibrated"})

    outcome: Outcome
    """`evidence` accuses; none of the others clears. `cannot be judged`: the suspect evades,
    or its answers say too little of the pictures."""
    alpha: float
    """The level: a p up to it counts as evidence."""
    because: str
    """Why, as a clause."""
    calibrated: bool = True
    """Whether the p-values are known not to be too small."""


class Power(Record):
    """How often the audit would find what it looks for, were it there: what every method's report says of it."""

    reached: float | None = None
    """That share; none if it was not measured."""
    wanted: float | None = None
    """The share aimed at, if there was one."""
    needed: str = ""
    """What the wanted share would take, in words; empty if unknown."""
    interval: Interval | None = None
    """95 % interval of `reached`, if it has one."""
    models: int | None = None
    """How many models trained to be guilty it rests on."""

    @property
    def said(self) -> str:
        """The share in words, with what it rests on."""
        assert self.reached is not None
        between = f" (95 % interval {self.interval[0]:.0%} to {self.interval[1]:.0%})" if self.interval else ""
        by = f", by {self.models} such model{'s' * (self.models != 1)}" if self.models else ""
        return f"about {self.reached:.0%} of models that the auditor trained to be guilty{between}{by}"


class Findings(Record):
    """The part of an audit's findings that every method has."""

    only_if_set = frozenset({"p"})

    tests: tuple[StatisticalTest, ...]
    """Every test that was made."""
    verdict: Verdict
    """The outcome."""
    deciding: str | None = None
    """Name of the test that the verdict rests on; none: no single one, and the first is shown."""
    p: float | None = None
    """The p-value that the verdict rests on, where it is no test's own: a mean over repetitions, say."""
    assumptions: tuple[str, ...] = ()
    """What the verdict stands on, as sentences."""

    @property
    def deciding_test(self) -> StatisticalTest | None:
        """The test that the verdict rests on, else the first."""
        named = (test for test in self.tests if test.name == self.deciding)
        return next(named, next(iter(self.tests), None))

    @property
    def deciding_p(self) -> float | None:
        """The p-value that the verdict rests on; none for a rule without one."""
        if self.p is not None:
            return self.p
        test = self.deciding_test
        return None if test is None else test.p if test.adjusted_p is None else test.adjusted_p

    @property
    def sized_test(self) -> StatisticalTest | None:
        """The test that gives the size of the effect: the deciding one, else the first that has an effect."""
        found = (test for test in (self.deciding_test, *self.tests) if test is not None)
        return next((test for test in found if test.effect is not None), None)

    @property
    def power_reached(self) -> Power:
        """The power of the audit, in the form that every report shows. A method that measures it says so here."""
        return Power()


def smallest(tests: Sequence[StatisticalTest]) -> str:
    """Name of the test whose raw p is smallest, the first of equal ones: what decides after Holm's correction.

    Corrected p-values tie where the raw ones do not, so they cannot tell which test it was.
    """
    return min((test for test in tests if test.p is not None), key=lambda test: float(test.p or 0.0)).name


def needed_in_words(counts: Mapping[str, int | None]) -> str:
    """What more power would take: "1,240 images of each set or 38 shadow models"; what is none is left out."""
    return " or ".join(f"{count:,} {what}" for what, count in counts.items() if count is not None)
