"""What a search asks of an engine, and what it gets: small records, no model. Everything else here implements it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

from burnish.core.errors import UserError


@dataclass(frozen=True)
class Prompt:
    """A question as engines see it.

    Attributes:
        id: its name, unique in a search; with the seed it decides all that is drawn for the question.
        text: the question itself, for engines that write prompts of their own.
        ids: the rendered conversation up to the assistant's turn; empty for engines that know no tokens.
    """

    id: str
    text: str
    ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class PathNode:
    """A step that is written. Engines keep what they know of it under its tokens and those before, not under a name.

    Attributes:
        action: what kind of step.
        ids: the opening token and all that followed, the closing one included; empty where the engine knows no tokens.
        text: the step without its tags.
    """

    action: str
    ids: tuple[int, ...]
    text: str


@dataclass(frozen=True)
class Path:
    """A question and the steps so far, from the first on."""

    prompt: Prompt
    nodes: tuple[PathNode, ...] = ()

    @property
    def actions(self) -> tuple[str, ...]:
        """What kinds of steps."""
        return tuple(node.action for node in self.nodes)

    @cached_property
    def ids(self) -> tuple[int, ...]:
        """All tokens, prompt first."""
        return sum((node.ids for node in self.nodes), self.prompt.ids)

    @property
    def length(self) -> int:
        """How many tokens."""
        return len(self.prompt.ids) + sum(len(node.ids) for node in self.nodes)


@dataclass(frozen=True)
class Proposal:
    """Which actions may come next, most likely first.

    Attributes:
        actions: legal ones only; all legal ones where the model proposes none of them.
        log_probs: natural logarithms of their probabilities, renormalised over ``actions``.
    """

    actions: tuple[str, ...]
    log_probs: tuple[float, ...]


@dataclass(frozen=True)
class Written:
    """The text of a step.

    Attributes:
        ids: tokens sampled after the opening one, the closing one included; empty where the engine knows no tokens.
        log_probs: of each of ``ids``, under the distribution that it was drawn from (temperature, cut-offs and masks
            applied); at temperature 0 under the model's own, masks applied.
        text: without tags.
        closed: whether the closing token came within the limit.
    """

    ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    text: str
    closed: bool


@dataclass(frozen=True)
class Sampling:
    """How the text inside a step is drawn. The defaults are the paper's of phase 2; phase 1 has 0.8, 40 and 0.95.

    Attributes:
        temperature: 0 takes the likeliest token.
        top_k: only the likeliest so many; 0 is no limit.
        top_p: only the likeliest with this much probability together.

    Raises:
        UserError: one of them is out of range.
    """

    temperature: float = 0.1
    top_k: int = 0
    top_p: float = 0.95

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise UserError(f"temperature: {self.temperature}; give 0 or more")
        if self.top_k < 0 or not 0 < self.top_p <= 1:
            raise UserError(f"top_k {self.top_k}, top_p {self.top_p}: give top_k from 0 and top_p above 0, up to 1")


@dataclass(frozen=True)
class TokenCounts:
    """Where tokens went. Of every request, ``encoded`` and ``reused`` sum to the length of what was asked about.

    Attributes:
        generated: drawn one by one.
        encoded: read in: prompts, forced opening tokens, and steps that no cache held any more.
        reused: not read in again, since a cache held them.
    """

    generated: int = 0
    encoded: int = 0
    reused: int = 0

    def __add__(self, other: TokenCounts) -> TokenCounts:
        return TokenCounts(self.generated + other.generated, self.encoded + other.encoded, self.reused + other.reused)

    def __sub__(self, other: TokenCounts) -> TokenCounts:
        return TokenCounts(self.generated - other.generated, self.encoded - other.encoded, self.reused - other.reused)


@runtime_checkable
class Generator(Protocol):
    """An engine."""

    @property
    def counts(self) -> TokenCounts:
        """Tokens since it was made."""
        ...

    @property
    def context(self) -> int | None:
        """The most tokens that a path may have; none where there is no limit, or the engine sees to it itself."""
        ...

    def opening(self, action: str) -> tuple[int, ...]:
        """The tokens that a step of this action starts with; none where the engine knows no tokens."""
        ...

    def propose(self, paths: Sequence[Path]) -> list[Proposal]:
        """What may follow each path; at least one action is legal after each."""
        ...

    def complete(
        self, paths: Sequence[Path], actions: Sequence[str], sampling: Sampling, seeds: Sequence[int]
    ) -> list[Written]:
        """One step more for each path.

        Args:
            paths: what stands before.
            actions: the kind of the step of each.
            sampling: how to draw.
            seeds: of the noise of each row, 0 to 2**63 - 1: what a row draws must not depend on its neighbours.
        """
        ...

    def forget(self) -> None:
        """Drop everything kept of earlier paths: call it when the model's weights have changed."""
        ...
