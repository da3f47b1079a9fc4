"""Which hint levels to try for a question, in which rounds, and what to remember. One interface; the presets are short.

Knows levels and solve rates, nothing of models or text. Sources: Hint-GRPO (``exhaustive``, as released), SAGE
(``self_hint``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from burnish.core.errors import UserError, nearest

SELF = -1
"""The level at which the model writes its hint itself."""

Rounds = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Memory:
    """What is remembered of a question.

    Attributes:
        level: the hint level to which ``rate`` belongs.
        rate: exponential average of the solve rate there, 0 to 1.
    """

    level: int
    rate: float


@dataclass(frozen=True)
class View:
    """What a schedule may look at.

    Attributes:
        levels: the question's hint levels, rising, without duplicates; level 0, the plain prompt, is always the first.
        memory: from earlier attempts; none on the first, or where the recipe remembers nothing.
        progress: how much of the training is done, 0 to 1.
        draw: a uniform number of this attempt, the same after a resume.
    """

    levels: tuple[int, ...]
    memory: Memory | None = None
    progress: float = 0.0
    draw: float = 0.0


@runtime_checkable
class Schedule(Protocol):
    """Decides what to try. A round comes only while none before had a success; its levels are tried together."""

    def rounds(self, view: View) -> Rounds:
        """Levels of ``view.levels`` (or :data:`SELF`) by round; at least one level in all."""
        ...

    def remember(self, memory: Memory | None, rates: Mapping[int, float], selected: int | None) -> Memory | None:
        """What to keep of an attempt.

        Args:
            memory: what was known before.
            rates: the solve rate at each level that was tried.
            selected: the level that the loss is taken from; none where no level had a success.
        """
        ...


class Stateless:
    """A schedule's memory that keeps nothing."""

    def remember(self, _memory: Memory | None, _rates: Mapping[int, float], _selected: int | None) -> Memory | None:
        """Nothing."""
        return None


@dataclass(frozen=True)
class Ladder:
    """Climb from the lowest level until one succeeds; later on start near the level that worked.

    Without memory it selects what ``exhaustive`` would from the same samples, and generates less.

    Attributes:
        remembers: start where memory says; otherwise always at level 0.
        decay: weight of the past in the average of the solve rate.
        withdraw_above: average from which the next attempt starts one level lower: hints go as the model improves.
    """

    remembers: bool = True
    decay: float = 0.5
    withdraw_above: float = 0.5

    def rounds(self, view: View) -> Rounds:
        """One level a round, upwards from the starting level."""
        start = 0
        if self.remembers and view.memory is not None:
            known = [place for place, level in enumerate(view.levels) if level <= view.memory.level]
            start = max(0, known[-1] - (view.memory.rate >= self.withdraw_above))
        return tuple((level,) for level in view.levels[start:])

    def remember(self, memory: Memory | None, rates: Mapping[int, float], selected: int | None) -> Memory | None:
        """The level that worked and its average; after a total failure the highest level tried, at rate 0."""
        if not self.remembers:
            return None
        level = max(rates) if selected is None else selected
        rate = rates[level]
        if memory is not None and memory.level == level:
            rate = self.decay * memory.rate + (1 - self.decay) * rate
        return Memory(level, rate)


class Exhaustive(Stateless):
    """All levels at once, as released: the same groups as the ladder's, for H times the rollouts."""

    def rounds(self, view: View) -> Rounds:
        """One round of every level."""
        return (view.levels,)


@dataclass(frozen=True)
class Fixed(Stateless):
    """One level for every question: the nearest that the question has, from below."""

    level: int = 0

    def rounds(self, view: View) -> Rounds:
        """One round of one level."""
        return ((max(level for level in view.levels if level <= self.level),),)


class Random(Stateless):
    """A level by chance at each attempt."""

    def rounds(self, view: View) -> Rounds:
        """One round of one level."""
        return ((view.levels[min(int(view.draw * len(view.levels)), len(view.levels) - 1)],),)


class SelfHint(Stateless):
    """The plain prompt; where its group collapses the model sees the solution, writes a hint, and tries with it."""

    def rounds(self, _view: View) -> Rounds:
        """Level 0, then the model's own hint."""
        return ((0,), (SELF,))


PRESETS = ("ladder", "exhaustive", "fixed", "random", "self_hint")


def make_schedule(name: str, ladder: Ladder | None = None, level: int = 0) -> Schedule:
    """The schedule called ``name``: a preset, or ``module:OBJECT``, an instance of your own.

    Args:
        name: which.
        ladder: settings of the preset ``ladder``.
        level: of the preset ``fixed``.

    Raises:
        UserError: no such preset, or an object that is no schedule.
    """
    if ":" in name:
        from burnish.core.method import import_object

        found = import_object(name, "hints.schedule")
        if not isinstance(found, Schedule) or isinstance(found, type):
            raise UserError(
                f"hints.schedule: `{name}` has no methods `rounds` and `remember`; see hint_grpo.schedule.Schedule"
            )
        return found
    match name:
        case "ladder":
            return ladder or Ladder()
        case "exhaustive":
            return Exhaustive()
        case "fixed":
            return Fixed(level)
        case "random":
            return Random()
        case "self_hint":
            return SelfHint()
    raise UserError(f"hints.schedule: `{name}` is unknown; {nearest(name, PRESETS)} (your own: `module:OBJECT`)")
