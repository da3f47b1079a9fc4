"""What one seed of the TrainProVe study measured: plain numbers between measures, claims and report."""

from __future__ import annotations

from typing import Any

from burnish.core.cells import Record


class Suspect(Record):
    """One suspect under every rule. "hidden": its source is hidden from the shadows; else all shadows are there."""

    source: str
    kind: str
    """Architecture."""
    fair: bool
    """No shadow has its architecture."""
    guilty: bool
    """Trained on the defender's pictures only."""
    innocent: bool
    """Trained on an innocent source."""
    fraction: float
    """Share of the defender's pictures among its own."""
    shared: float | None
    """Share of the real pictures behind its source that the defender's generator learned from too; none for mixtures
    and twin."""
    score: float
    """Kernel ridge score: high means guilty."""
    novelty_p: float
    convicted: bool
    closed_pooled: float
    """Pooled closed-world p."""
    hidden_convicted: float
    """1 or 0; for suspects without a source to hide, the mean over the innocent sources hidden."""
    hidden_novel: float
    hidden_pooled: float
    accuracy: float
    published: dict[str, bool | None]
    """By published rule, whether it convicts; none where it cannot be applied (batches too few, or equal)."""


class Area(Record):
    """Area under the curve of guilty against innocent suspects, mean over hidden sources."""

    hidden: float
    """All suspects."""
    fair: float
    """Those with an architecture that no shadow has."""


class Estimate(Record):
    """Estimated share of the defender's pictures; none where the suspect is outside what is calibrated."""

    truth: float
    estimate: float | None
    low: float | None
    high: float | None

    @property
    def error(self) -> float | None:
        """Distance from the truth."""
        return None if self.estimate is None else abs(self.estimate - self.truth)

    @property
    def width(self) -> float | None:
        """Length of the interval."""
        return None if self.low is None or self.high is None else self.high - self.low

    @property
    def covers(self) -> bool:
        """Whether there is an interval and the truth is in it."""
        return self.low is not None and self.high is not None and self.low <= self.truth <= self.high


class Audit(Record):
    """One suspect as a user's audit would see it."""

    source: str
    settings: dict[str, Any]
    findings: dict[str, Any]
    """As ``burnish.prove.trainprove.analysis.analyse`` gives them."""


class SeedCell(Record):
    """All suspects of a seed."""

    seed: int
    alpha: float
    """Nominal level."""
    sources: int
    """Innocent ones."""
    least_p: float
    """The least open-world p that the sources left can give."""
    shadows: int
    queries: int
    """Images that suspects are asked about."""
    suspects: tuple[Suspect, ...]
    auc: dict[str, Area]
    """By statistic."""
    fractions: tuple[Estimate, ...]
    audits: dict[str, Audit]
    """A ``guilty`` and an ``innocent`` suspect."""
