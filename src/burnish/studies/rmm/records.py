"""What one regime and seed of the RMM study gave: plain numbers between experiment, claims and report."""

from __future__ import annotations

from typing import Any

from burnish.core.cells import Record

ONE_PASS = "1.0, one pass a task"
"""Key of the time of a full evaluation that ignores the processor's caches."""


class Merge(Record):
    """A uniform merge."""

    what: str
    """Its rule and settings, in words."""
    validation: float
    """Mean task accuracy in percent, on the images that tuned it."""
    test: float
    """Mean task accuracy in percent, on images that nothing saw."""
    tasks: tuple[float, ...]
    """Test accuracy of each task in percent."""


class Arm(Record):
    """A search and what it found."""

    cpu_seconds: float
    validation: float
    """Mean task accuracy in percent, on the images of the final choice."""
    test: float
    """Mean task accuracy in percent, on images that nothing saw."""
    tasks: tuple[float, ...]
    """Test accuracy of each task in percent."""
    sampled: float | None
    """Mean of ten sampled episodes of the last policy, the paper's own report; none where there is no policy."""
    rewards: tuple[float, ...]
    """Of every episode."""
    evaluated: int
    """Architectures run; the rest were remembered."""
    length: int
    """Blocks of the architecture, or layers that its scales are for."""
    update_seconds: float | None = None
    """CPU seconds of the agent's learning, an episode."""


class Picture(Record):
    """What draws an architecture: these keys of a search's ``outcome.json``."""

    architecture: dict[str, Any]
    candidates: tuple[str, ...]
    layers: tuple[int, ...]


class Rank(Record):
    """How well rewards on a subset rank architectures."""

    group: str
    """``far`` (random blocks) or ``near`` (small steps around the best scales)."""
    fraction: float
    """Of all images, in the subset."""
    images: int
    spread: float
    """Standard deviation of true accuracy over architectures, in shares."""
    accuracy: float
    """Mean over architectures, in shares."""
    rule: float
    """rho = sd / sqrt(sd^2 + p (1 - p) / n)."""
    cycling: float
    """Spearman's correlation where each reward sees the next share of images."""
    linear: float
    """Pearson's of the same."""
    same: float
    """Spearman's where all rewards see the same share."""


class Cost(Record):
    """What a subset reward costs and how well it ranks."""

    images: int
    seconds: dict[str, float]
    """CPU seconds of an evaluation at each s, and for :data:`ONE_PASS`."""
    ranks: tuple[Rank, ...]


class Cell(Record):
    """One regime and seed."""

    regime: str
    seed: int
    experts: tuple[float, ...]
    """Test accuracy of every expert on its own task in percent."""
    merges: dict[str, Merge]
    """``untuned``, ``tuned`` and ``tuned by cross-entropy``."""
    arms: dict[str, Arm]
    pictures: dict[str, Picture]
    cost: Cost

    def test(self, name: str) -> float:
        """Test accuracy of an arm or a merge, in percent."""
        found: Arm | Merge = self.arms[name] if name in self.arms else self.merges[name]
        return found.test

    def has(self, name: str) -> bool:
        """Whether an arm or a merge of that name was run."""
        return name in self.arms or name in self.merges
