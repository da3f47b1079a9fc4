"""What one world of the shape study gave: plain numbers between experiment, claims and report."""

from __future__ import annotations

from typing import Literal

from burnish.core.cells import Record

Regime = Literal["fit", "weak"]
"""Of the start: trained until it hardly names what is not there, or broken off long before."""

START = "start"
CAPTIONS, WINNERS = "SFT on captions", "SFT on winners"
RANDOM, SEVA, LONGEST = "DPO, other caption loses", "DPO, changed view loses", "DPO, longest answer wins"
PUBLISHED, GATED = "SHAPE as published", "SHAPE, vote and gate"
TWICE, SECOND = "vote and gate, twice the records", "vote and gate, second round"

RECALL, PRECISION, POPE = (0.45, 0.8), (0.9, 1.0), (0.6, 0.97)
"""Where a fit start must lie, ends included: below there is nothing to agree on, above nothing to gain."""


class Texts(Record):
    """Texts against the truth of their pictures; facts are things and their attributes."""

    recall: float
    precision: float
    words: float
    """A text."""

    @property
    def f1(self) -> float:
        """Harmonic mean of recall and precision."""
        both = self.recall + self.precision
        return 2 * self.recall * self.precision / both if both else 0.0


class Worth(Texts):
    """A model on scenes that it did not see: its greedy descriptions, and its answers of yes and no."""

    within: float
    """Recall of the descriptions when each is cut to as many words as the start's own."""
    right_a_word: float
    """True facts named, each once, a word."""
    repeated: float
    """Share of mentions that say nothing new."""
    pope: float
    """F1 of yes, mean over the three splits."""
    pope_yes: float
    """Share of yeses, likewise; .5 is right."""


class Pairs(Record):
    """What an arm was trained on."""

    kept: int
    dropped: dict[str, int]
    """Records without a pair, by reason."""
    chosen: Texts
    rejected: Texts


class Trained(Record):
    """One model at one learning rate."""

    chosen_by: float
    """F1 of the descriptions of other scenes, by which the learning rate is chosen."""
    recall: float
    """Of the same."""
    precision: float


class ArmCell(Record):
    """One arm in one world."""

    world: int
    regime: Regime
    arm: str
    runs: dict[str, Trained]
    """By learning rate; none of the start."""
    worth: Worth
    """On the test scenes, of the rate that was chosen."""
    pairs: Pairs | None
    """None where nothing was trained on pairs."""
    generated: int
    """Tokens that were generated for what it learnt from."""
    seconds: float
    """Of CPU time, the start and its answers not included."""

    @property
    def rate(self) -> str:
        """The learning rate of the best F1 on the scenes for choosing; of equals the smaller."""
        return max(self.runs, key=lambda rate: (self.runs[rate].chosen_by, -float(rate)))


class StartCell(Record):
    """A world's start, and what its answers on views would allow."""

    world: int
    regime: Regime
    arm: str = START
    worth: Worth
    originals: Texts
    """The supervised texts of the records."""
    answers: Texts
    """The answers on their views, one by one."""
    families: dict[str, Texts]
    """The same by what was changed."""
    ceiling: float
    """Recall of a perfect vote over the views: of all true facts that at least one of a picture's answers names."""
    voted: dict[str, Texts]
    """By threshold, what so many views agree on, records without anything agreed included."""
    seconds: float
    """Of CPU time, its training and its answers."""

    @property
    def out_of_bounds(self) -> list[str]:
        """Why this start must not be judged, in words; empty for a fit one."""
        measured = {
            "recall": (self.worth.recall, RECALL),
            "precision": (self.worth.precision, PRECISION),
            "POPE F1": (self.worth.pope, POPE),
        }
        return [
            f"{name} {value:.3f} of world {self.world} is not in {low:g} to {high:g}"
            for name, (value, (low, high)) in measured.items()
            if not low <= value <= high
        ]


Cell = ArmCell | StartCell
