"""What one owner of the DOV4CL study found: plain numbers between experiment, claims and report."""

from __future__ import annotations

from typing import Any

from burnish.core.cells import Record

ALPHA = 0.05
"""Level at which a test accuses."""


class Suspect(Record):
    """One encoder, tested for one owner."""

    owner: int
    suspect: int
    guilty: bool
    """Trained on the owner's public set."""
    p: dict[str, float]
    """By test; ``image`` is Holm's over ``unary`` and ``binary``. The published test was made on a thief and one
    innocent only."""
    effects: dict[str, float]
    """Difference from the shadows, public against private: ``unary`` and ``binary``."""

    def accused(self, test: str) -> bool:
        """Whether a test accuses it."""
        return self.p[test] <= ALPHA


class Geometry(Record):
    """Scores of thief, replicas and innocents by the agreement of their geometry."""

    scores: tuple[float, ...]
    guilty: tuple[bool, ...]


class OwnerCell(Record):
    """One owner of a setting, every encoder its suspect."""

    seed: int
    objective: str
    data: str
    epochs: int
    owner: int
    suspects: tuple[Suspect, ...]
    geometry: Geometry | None = None
    """Of the first owner, where there are replicas."""
    audits: dict[str, dict[str, Any]] | None = None
    """Of the first owner, where there are replicas: findings on a ``guilty`` and on an ``innocent`` suspect, as
    ``analyse`` gives them."""

    @property
    def setting(self) -> tuple[str, str, int]:
        """Collection, method and length of training."""
        return self.data, self.objective, self.epochs

    def encoder(self, row: Suspect) -> str:
        """A name of a suspect's encoder that no other has."""
        return f"{self.data}-{self.objective}-{self.epochs}-{self.seed}-{row.suspect}"
