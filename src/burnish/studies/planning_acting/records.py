"""What one world of the planning-acting study gave: plain numbers between experiment, claims and report."""

from __future__ import annotations

from burnish.core.cells import Record


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
    calls: float
    """Of the planner, those cut off included."""
    tokens: float
    """Of the planner; a call that was cut off counts with the prompt of a mean one, which a provider charges too."""
    skills: float
    """That were begun."""
    skill_seconds: float
    """Mean length of the skills that were done, A; 0 where none was."""
    bound: float
    """Least seconds of one agent with these very skills (``theory.py``); 0 where there are several agents."""

    @property
    def won(self) -> float:
        """1 for a win, 1/2 for a draw (both or none dead), 0."""
        return (1 + self.success - self.lost) / 2


class World(Record):
    """One world, in which every arm plays."""

    seed: int
    played: dict[str, Episode]
    """By arm; for the names see :func:`burnish.studies.planning_acting.arms.arms`."""
