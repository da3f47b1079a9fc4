"""What one world of the planning-acting study gave: plain numbers between experiment, claims and report."""

from __future__ import annotations

from burnish.core.cells import Record

PAIR = 2
"""Agents, where the team's size does not vary."""


class Episode(Record):
    """An episode in numbers."""

    seconds: float
    """Until the goal was seen to be reached, or until the end."""
    success: float
    """1 or 0."""
    lost: float
    """1 if all are dead for good."""
    health: float
    """At the end, of 20 points, mean of the team (the dead: 0)."""
    deaths: float
    interrupts: float
    calls: float
    """Of the planner."""
    tokens: float
    overlap: float
    """Share of acting time in which the agent also planned, mean of the team."""

    @property
    def won(self) -> float:
        """1 for a win, 1/2 for a draw (both or none dead), 0."""
        return (1 + self.success - self.lost) / 2


class World(Record):
    """One world, in which every arm plays."""

    seed: int
    judged: str
    """Latency of other team sizes, and of the ablations of gathering, in seconds."""
    played: dict[str, Episode]
    """By arm; for the names see :func:`burnish.studies.planning_acting.experiment.arms`."""
