"""What one regime of one world of the sakd study gave: plain numbers between experiment, claims and report."""

from __future__ import annotations

from typing import Literal

from burnish.core.cells import Record

RANDOM = "KD, random each epoch"
"""The baseline of record: what every arm is held against."""
CE, FULL, LONG = "CE, random each epoch", "KD, all samples", "KD, all samples, twice the FLOPs"
EVERY, INFOBATCH = "KD, random every 5th", "KD, InfoBatch"
DIVERSE, STRENGTH, SELECTED = "diversity only", "strength only", "selection only"
SAKD, PERTURBED, OFFICIAL = "SAKD (text)", "SAKD perturbed", "official sign"
TRUST, POOL, EASY = "trust as strength", "trust pool", "easiest only"
DRAWN = (RANDOM, CE, LONG, SAKD, PERTURBED)
"""Arms whose accuracy is drawn over their FLOPs."""

Regime = Literal[
    "clean", "duplicates", "long tail", "wrong teacher", "label noise", "unusable clips", "pre-trained", "pictures"
]
Column = Literal["flops", "updates"]
"""What the arms spend alike: FLOPs in all, frozen passes and the teacher's table included; or updates."""
SINGLE_FRAME = 0.3
"""A net that sees a single frame must not be more accurate, or the clips are no test of motion."""


class Trained(Record):
    """One training of a student."""

    accuracy: float
    """On the test samples."""
    curve: tuple[tuple[float, float], ...]
    """FLOPs spent and test accuracy then; of clean clips and the arms that are drawn alone."""
    flops: float
    """In all."""
    frozen: float
    """Of these, for measuring difficulty."""
    steps: int
    bad: float
    """Share of samples with a wrong label, a wrong teacher or no content among those chosen, mean over choices."""
    overlap: float
    """Share of a choice that was in the one before, mean over choices."""
    seen: float
    """Share of the set that was ever chosen."""
    strength: float
    """Mean over samples at the end."""


class Arm(Record):
    """One arm in one regime of one world."""

    flops: Trained
    """At the budget of FLOPs that all arms of the regime have."""
    updates: Trained
    """With as many updates as the baseline; the same training, where an arm pays for nothing else."""

    def at(self, column: Column) -> Trained:
        """One of both."""
        return self.flops if column == "flops" else self.updates


class RegimeCell(Record):
    """All arms in one regime of one world."""

    world: int
    regime: Regime
    arms: dict[str, Arm]
    grid: dict[str, float]
    """Validation accuracy of the baseline, by temperature and weight of the teacher."""
    setting: str
    """The one of the grid that all arms have."""
    budget: float
    """FLOPs of the column ``flops``."""
    teacher: float
    """The teacher's accuracy on the test samples."""
    bad: float
    """Share of the training set that is spoilt."""
    single_frame: float | None
    """Accuracy of a net that learnt from as many clips as the teacher, a single frame of each; none of pictures."""
    cost_ratio: float
    """FLOPs of the teacher over those of the student."""
    seconds: float
    """Of CPU time, world and teacher not included."""
