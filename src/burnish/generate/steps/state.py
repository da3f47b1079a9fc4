"""What goes from step to step, and what a step needs of a model. Knows plans and arrays, no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from burnish.generate.plan import Plan, Wording

Picture = UInt8[np.ndarray, "height width 3"]
Heat = Float32[np.ndarray, "rows columns"]
"""How likely each patch of a picture needs repair, in 0..1."""
Mask = Bool[np.ndarray, "rows columns"]
"""Patches to be drawn again."""
Validator = Callable[[Picture], Plan]
"""Reads what is in a picture, by other means than the model."""


@dataclass(frozen=True, eq=False)
class Event:
    """One step as it happened to one state.

    Attributes:
        step: ``plan``, ``act``, ``reflect`` or ``correct``.
        said: in a few words, for a person.
        seconds: the state's share of the step's wall time.
        picture: the step's picture, also one that was not accepted.
        heat: of it, where it was looked at.
        mask: what was to be repaired.
        accepted: whether the guard let a correction in; none for other steps.
    """

    step: str
    said: str
    seconds: float
    picture: Picture | None = None
    heat: Heat | None = None
    mask: Mask | None = None
    accepted: bool | None = None


@dataclass(frozen=True, eq=False)
class State:
    """A picture under way.

    Attributes:
        prompt: what was asked for.
        seed: of all its noise.
        plan: none before planning, and where no valid plan was written: then the prompt alone is drawn.
        written: the plan as the model wrote it, valid or not.
        picture: none before acting.
        heat: of the picture.
        rounds: of correction that were tried.
        settled: whether there is nothing (more) to correct.
        events: all that happened.
    """

    prompt: str
    seed: int = 0
    plan: Plan | None = None
    written: str = ""
    picture: Picture | None = None
    heat: Heat | None = None
    rounds: int = 0
    settled: bool = False
    events: tuple[Event, ...] = ()

    def told(self, event: Event) -> State:
        """With one more event."""
        return replace(self, events=(*self.events, event))

    def noise(self, step: str, number: int = 0) -> int:
        """The seed of a step's noise: no two steps or rounds share it, and no other state has part in it."""
        words = np.random.SeedSequence([self.seed, number, *step.encode()]).generate_state(2)
        return int(words[0]) << 31 ^ int(words[1])


@runtime_checkable
class Artist(Protocol):
    """What the steps need of a model. Rows do not depend on their neighbours; plans are none where there is none."""

    @property
    def wording(self) -> Wording:
        """How it writes plans."""

    @property
    def patches(self) -> tuple[int, int]:
        """Rows and columns of a picture's patches."""

    def write_plans(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[str]:
        """A plan in words for each prompt, up to its ``end`` or where it was cut off."""

    def draw(self, prompts: Sequence[str], plans: Sequence[Plan | None], seeds: Sequence[int]) -> list[Picture]:
        """Pictures from noise."""

    def look(self, prompts: Sequence[str], plans: Sequence[Plan | None], pictures: Sequence[Picture]) -> list[Heat]:
        """Where pictures need repair."""

    def repaint(
        self,
        prompts: Sequence[str],
        plans: Sequence[Plan | None],
        pictures: Sequence[Picture],
        masks: Sequence[Mask],
        seeds: Sequence[int],
    ) -> list[Picture]:
        """Pictures whose masked patches are drawn again, the others as they were."""
