"""A question's attempt in one step: a rollout group at each level tried, and which one is learnt from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from burnish.reason.hint_grpo.rows import QuestionRow
from burnish.reason.hint_grpo.schedule import Memory, Rounds, Schedule
from burnish.reason.hint_grpo.selection import Outcome, select


@dataclass(frozen=True)
class Prefix:
    """How the assistant's turn starts.

    Attributes:
        text: the prefilled ``<think>`` and the hint.
        ids: the tokens of it that the chat template does not write itself.
    """

    text: str
    ids: list[int]


@dataclass(frozen=True)
class RolloutGroup:
    """The G completions of a question at one level.

    Attributes:
        prefix: how the assistant's turn starts in all of them.
        completion_ids: what the model wrote, [G] lists of tokens.
        logprobs: of these tokens under the sampler; none where it gives none.
        rewards: by reward function, [G][functions]; NaN where a function had nothing to say.
        totals: weighted sums of them, [G]; NaN where no function had anything to say.
        rate: share of the completions that succeed.
        mixed: some completion has an advantage: they are not rewarded all alike.
        extra: columns that reward functions asked to log, [G] values each.
    """

    prefix: Prefix
    completion_ids: list[list[int]]
    logprobs: list[list[Any]] | None
    rewards: list[list[float]]
    totals: tuple[float, ...]
    rate: float
    mixed: bool
    extra: dict[str, list[Any]]


@dataclass
class Attempt:
    """One question of a step: the levels tried so far, and those to come.

    Attributes:
        row: its row of the data set, images opened.
        number: the row's number.
        lengths: steps given at each of its levels.
        rounds: the schedule's plan.
        memory: what was known when it was made.
        groups: the rollout group of each level tried so far, in order.
    """

    row: QuestionRow
    number: int
    lengths: dict[int, int]
    rounds: Rounds
    memory: Memory | None
    groups: dict[int, RolloutGroup] = field(default_factory=dict)

    def due(self, turn: int) -> tuple[int, ...]:
        """The levels to try in round ``turn``: none once a level had a success or the plan is at its end."""
        done = turn >= len(self.rounds) or any(each.rate > 0 for each in self.groups.values())
        return () if done else self.rounds[turn]

    @property
    def rates(self) -> dict[int, float]:
        """Solve rates by level, in the order of trying."""
        return {level: each.rate for level, each in self.groups.items()}

    @property
    def selected(self) -> int:
        """The level to learn from; the first that was tried where none had a success."""
        found = select(self.rates)
        return next(iter(self.groups)) if found is None else found

    @property
    def chosen(self) -> RolloutGroup:
        """The group to learn from."""
        return self.groups[self.selected]

    @property
    def mixed(self) -> bool:
        """Whether the group has any advantage that is not zero."""
        return self.chosen.mixed

    def outcome(self) -> Outcome:
        """For the tally."""
        plain = self.groups.get(0)
        return Outcome(
            level=self.selected,
            rewards=self.chosen.totals,
            rate=self.chosen.rate,
            plain_rate=None if plain is None else plain.rate,
            hintless=not self.row["steps"],
            mixed=self.mixed,
        )

    def remembered(self, schedule: Schedule) -> Memory | None:
        """What the schedule keeps of this attempt."""
        return schedule.remember(self.memory, self.rates, select(self.rates))


@dataclass(frozen=True)
class Job:
    """One group to sample.

    Attributes:
        attempt: of which question.
        level: with which hint.
        real: false where it only keeps the processes in step, and is forgotten.
    """

    attempt: Attempt
    level: int
    real: bool = True
