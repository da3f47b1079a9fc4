"""What corrections did, counted: fixed and broken pictures where a judge knows, accepted ones where none does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from burnish.generate.steps.state import Picture, State


@dataclass(frozen=True)
class Outcome:
    """Counts over states.

    Attributes:
        pictures: all.
        planned: with a plan that could be read.
        corrected: in which the guard accepted a correction.
        refused: corrections that it did not accept.
        right_before: of the drafts, by the judge; none without one.
        fixed: wrong before, right after; none without a judge.
        broken: right before, wrong after; none without a judge.
    """

    pictures: int
    planned: int
    corrected: int
    refused: int
    right_before: int | None = None
    fixed: int | None = None
    broken: int | None = None

    def row(self) -> dict[str, int]:
        """For a table; what is not known is left out."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def outcome(states: Sequence[State], judge: Callable[[str, Picture], bool] | None = None) -> Outcome:
    """Count what happened.

    Args:
        states: after the chain.
        judge: whether a picture is what a prompt asks for, by other means than the model.
    """
    corrections = [event for state in states for event in state.events if event.step == "correct"]
    counts = Outcome(
        pictures=len(states),
        planned=sum(state.plan is not None for state in states),
        corrected=sum(any(event.accepted for event in state.events) for state in states),
        refused=sum(event.accepted is False for event in corrections),
    )
    if judge is None:
        return counts
    before = [judge(state.prompt, draft) for state in states if (draft := draft_of(state)) is not None]
    after = [judge(state.prompt, state.picture) for state in states if state.picture is not None]
    return Outcome(
        **{key: value for key, value in asdict(counts).items() if value is not None},
        right_before=sum(before),
        fixed=sum(new and not old for old, new in zip(before, after, strict=True)),
        broken=sum(old and not new for old, new in zip(before, after, strict=True)),
    )


def draft_of(state: State) -> Picture | None:
    """The first picture that was drawn; the picture itself where it was given."""
    return next((event.picture for event in state.events if event.step == "act"), state.picture)
