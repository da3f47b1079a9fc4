"""What one world of the rftt study gave: plain numbers between experiment, claims and report."""

from __future__ import annotations

from burnish.core.cells import Record

OURS = "tags, functional token"
"""The arm that the claims about search speak of."""
FULL, NO_PRM, NO_SEARCH, NO_SFT = "tags, branch, PRM", "tags, branch", "tags, iid", "no SFT, branch"
"""Arms of reinforcement, in the order in which the paper has them fall."""
BARE, MASKED, SIBLINGS = "bare, iid", "tags, branch, masked", "tags, branch, siblings"


class Sampled(Record):
    """Completions of the same questions by one arm, in the order in which they were drawn."""

    tokens: tuple[float, ...]
    """Paid for a question once each completion is there, mean over questions."""
    solved: tuple[float, ...]
    """Share of questions with a right one among them by then."""
    within: float
    """Share solved by the completions that were begun before the budget was spent."""
    paid: float
    """Tokens of these completions, mean over questions; not below the budget unless the arm had no more to draw."""


class Search(Record):
    """All arms in one kind of world."""

    questions: int
    budget: float
    """Tokens a question that ours takes to try every way once."""
    greedy: dict[str, float]
    """Accuracy of plain greedy answers, by form of the rows."""
    arms: dict[str, Sampled]


class SearchCell(Record):
    """Search in one world."""

    world: int
    part: str = "search"
    hidden: Search
    """Three ways, one of them right."""
    single: Search
    """One way."""
    seconds: float
    """Of CPU time, models not included."""


class MendCell(Record):
    """One world's model after phase 1 by the product's own search and splices, and the same without splices."""

    world: int
    part: str = "mend"
    rows: dict[str, int]
    """What became of trees and paths."""
    mended: dict[str, float]
    """Share of right answers after an imposed wrong way: ``spliced``, ``without``."""
    accuracy: dict[str, float]
    """Plain greedy: ``spliced``, ``without``, and ``spliced`` with one functional token masked: ``no verify``,
    ``no refine``."""
    votes: dict[str, float]
    """Accuracy of the majority of a search, by number of rollouts, and of ``iid`` completions that cost as much."""
    vote_tokens: dict[str, float]
    """Tokens a question of each."""
    seconds: float


class Trained(Record):
    """One run of reinforcement."""

    tokens: tuple[float, ...]
    """Generated when it was measured; the first is before training."""
    accuracy: tuple[float, ...]
    """Plain greedy, on the test questions."""
    chosen: tuple[float, ...]
    """The same on other questions, by which the learning rate is chosen."""
    steps: int
    course: tuple[dict[str, float], ...]
    """One a step: tokens so far, share of right completions, steps of each action a completion."""


class ReinforceCell(Record):
    """One arm of reinforcement in one world, at every learning rate of the grid."""

    world: int
    part: str = "reinforce"
    arm: str
    runs: dict[str, Trained]
    """By learning rate."""
    seconds: float

    @property
    def rate(self) -> str:
        """The learning rate of the best accuracy on the questions for choosing; of equals the smaller."""
        return max(self.runs, key=lambda rate: (self.runs[rate].chosen[-1], -float(rate)))

    @property
    def best(self) -> Trained:
        """The run at that rate."""
        return self.runs[self.rate]


Cell = SearchCell | MendCell | ReinforceCell
