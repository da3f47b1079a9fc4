"""Why a planner thinks again: a skill was begun, nothing is left to do, or what the plan stands on has changed.

A planner that thinks merely because its last call returned is always in the middle of a thought that is about to be
out of date: when the slot is taken, the plan after it comes up to one call too late, and most calls are thrown away.
With skills of lengths A_1..A_n and calls of L seconds a single slot needs at least L + sum over i < n of max(A_i, L) +
A_n; whoever thinks when what was taken has begun reaches it (``docs/planning_acting.md``). Pure state: no loop, no
clock of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio

from burnish.act.skills.library import Call


@dataclass
class Attention:
    """What one agent's planner has thought about, and what has happened since.

    All numbers are sequence numbers of the team's log, so that one comparison says what came first.
    """

    news: int = 1
    """The last event that changed what its plans stand on; the first of all is that it lives."""
    thought: int = 0
    """The memory that its last thought was made on."""
    begun: list[tuple[int, Call]] = field(default_factory=list)
    """Skills that the planner wanted and that began after that memory."""
    taken: bool = False
    """Whether a step was taken out of the plan that has neither begun nor been dropped: to find out takes time."""
    running: int = 0
    """When the running skill began; 0: none runs."""
    more: bool = True
    """Whether the planner would add to its plan: it gave as many steps as it may. Fewer are all that it wants."""
    call_seconds: float = 0.0
    """How long its last call took."""
    skills_done: int = 0
    skill_seconds: float = 0.0
    """How long these took on average."""
    began: float = 0.0
    """When the call under way began, on the loop's clock."""
    given_up: bool = False
    """Whether the call under way is one that was begun again already."""
    idle: bool = False
    """Whether its last thought was made while it had nothing to do, and that is still so."""
    fruitless: int = 0
    """Thoughts one after another that left it with nothing to do."""
    rests_until: float = 0.0
    """When it thinks again after such a one, on the loop's clock; 0: it does not rest."""
    stirred: int = 0
    """The last event that ends a rest, and is no news to who is busy."""
    _changed: anyio.Event = field(default_factory=anyio.Event)

    @property
    def moved_on(self) -> bool:
        """Whether a skill that it planned began after the memory of its last thought, or is about to."""
        return bool(self.begun) or self.taken

    def wake(self) -> None:
        """Something has changed: whoever waits looks again."""
        self._changed.set()

    async def change(self) -> None:
        """Wait for the next change, or for the end of its rest."""
        self._changed = anyio.Event()
        with anyio.CancelScope(deadline=self.rests_until or math.inf) as rest:
            await self._changed.wait()
        if rest.cancelled_caught:
            self.rests_until = 0.0

    def heard(self, seq: int) -> None:
        """Event ``seq`` changed what its plans stand on."""
        self.news = max(self.news, seq)
        self.wake()

    def stir(self, seq: int) -> None:
        """Event ``seq`` may have made something of what there was nothing to do about."""
        self.stirred = seq
        self.wake()

    def rest(self, until: float) -> None:
        """A thought left it with nothing to do: unless something happens, there is no other to be had for a while."""
        self.fruitless += 1
        self.rests_until = until

    def passed_over(self) -> None:
        """The step that was taken does not begin."""
        self.taken = False
        self.wake()

    def skill_began(self, seq: int, call: Call, by_planner: bool) -> None:
        """A skill began with event ``seq``."""
        self.running = seq
        self.taken = self.idle = False
        self.fruitless, self.rests_until = 0, 0.0
        if by_planner:
            self.begun.append((seq, call))
        self.wake()

    def skill_ended(self, seconds: float, done: bool) -> None:
        """The running skill ended."""
        self.running = 0
        if done:
            self.skills_done += 1
            self.skill_seconds += (seconds - self.skill_seconds) / self.skills_done
        self.wake()

    def due(self, waiting: int) -> bool:
        """Whether there is something to think about.

        Args:
            waiting: steps of the plan that were not begun.
        """
        if not self.running and (waiting or self.taken):
            return False  # a step is about to begin: until then a thought would be about what was
        if self.news > self.thought:
            return True
        if not self.running:
            return not self.rests_until or self.stirred > self.thought
        return self.more and self.running > self.thought and self._soon(waiting)

    def _soon(self, waiting: int) -> bool:
        """Whether the plan would run out before a call that begins now has returned."""
        if not waiting or not self.skills_done:
            return not waiting
        return waiting * self.skill_seconds <= self.call_seconds

    def thinks(self, version: int) -> None:
        """A thought begins on the memory ``version``."""
        self.thought = version
        self.idle = not self.running and not self.taken
        self.rests_until = 0.0
        self.begun = [(seq, call) for seq, call in self.begun if seq > version]

    def left_of(self, calls: Sequence[Call]) -> tuple[Call, ...]:
        """What is left of a plan that was made while others of its steps began: those at its front are not repeated."""
        for _, call in self.begun:
            if calls and calls[0] == call:
                calls = calls[1:]
        return tuple(calls)
