"""Agents that plan while they act: for each a planning loop and an acting loop, neither waiting for the other.

Source: Parallelized Planning-Acting, section 3. The plan of the planner goes into a single slot (a newer plan replaces
what was not begun), an interrupt takes the running skill away at once, and everything that happens is an event of the
team's memory. When a planner thinks: ``attention.py``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import anyio
from opentelemetry.trace import Tracer

from burnish.act import clock
from burnish.act.acting import Actor
from burnish.act.listening import Listener
from burnish.act.memory.log import Event, Memory
from burnish.act.planner import Decision
from burnish.act.recipe import RuntimeSettings
from burnish.act.session import Session
from burnish.act.skills.library import Call
from burnish.act.team import Agent, Outcome, PlannedCall
from burnish.act.thinking import Thinker, Thought
from burnish.act.world import World

__all__ = ["Agent", "Outcome", "Runtime"]

# An agent whose planner answers in no time still gives the world a moment between two plans.
SHORTEST_PLAN = 0.05
BACK_OFF = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # seconds between calls that one after another fail, or find nothing to do


class Runtime:
    """Runs a team in a world until all goals are reached, all agents are gone, or a limit.

    Args:
        settings: how they think and act.
        world: where they live.
        memory: what they know; holds the log of an earlier session when it is resumed.
        agents: the team.
        tracer: makes OpenTelemetry spans; default: as the process has set them up, if it has.
    """

    def __init__(
        self,
        settings: RuntimeSettings,
        world: World,
        memory: Memory,
        agents: Sequence[Agent],
        tracer: Tracer | None = None,
    ) -> None:
        self.settings = settings
        self.world = world
        self.memory = memory
        self.agents = {agent.name: agent for agent in agents}
        self.session = Session(memory, settings.limits, agents, tracer)
        self._thinker = Thinker(self.session, settings)
        self._actor = Actor(self.session, settings, world)
        self._listener = Listener(self.session, settings, world, self.agents, self._actor, self._thinker)

    # What a person may do while it runs

    async def say(self, text: str, who: str = "human") -> None:
        """A message into the team's chat."""
        await self.session.log("chat", who, {"text": text})

    async def interrupt(self, name: str) -> None:
        """Stop an agent's running skill."""
        self._listener.own.add((await self.session.log("human", name, {"interrupt": True})).seq)
        self._actor.stop_skill(self.agents[name])

    def stop(self, why: str) -> None:
        """End the run cleanly, as a limit does."""
        self.session.end(why)

    # The run

    async def run(self) -> Outcome:
        """Run to the end.

        Raises:
            MemoryFailed: the memory cannot be written: nothing may happen that is not remembered.
            UserError: a planner's endpoint does not answer at all.
        """
        for chat in {id(agent.chat): agent.chat for agent in self.agents.values() if agent.chat is not None}.values():
            await chat.reach()
        begun = clock.now()
        await self.session.begin()
        try:
            async with anyio.create_task_group() as aside:
                aside.start_soon(self._listener.listen)
                if self.settings.clock == "wall":
                    aside.start_soon(self._listener.hear)
                aside.start_soon(self._time)
                async with anyio.create_task_group() as lives:
                    for agent in self.agents.values():
                        lives.start_soon(self._live, agent)
                aside.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise _first(group) from group
        if self.session.limit:
            await self.session.log("limit", "", {"limit": self.session.limit})
        agents = self.agents.values()
        return Outcome(
            tuple(agent.name for agent in agents if agent.done),
            tuple(agent.name for agent in agents if agent.gone),
            round(clock.now() - begun, 9),
            self.session.tokens,
            self.session.limit,
        )

    async def _time(self) -> None:
        await anyio.sleep(self.settings.limits.seconds)
        self.session.end(f"{self.settings.limits.seconds:g} s")

    async def _live(self, agent: Agent) -> None:
        """The loops of one agent, until its goal is reached or it is gone."""
        left_over = await self._recall(agent)
        loops = {
            "parallel": [self._planning, self._acting],
            "serial": [self._serial],
            "reactive": [self._acting],
        }[self.settings.mode]
        agent.loops = [anyio.CancelScope() for _ in loops]
        if self.session.limit:  # ended before it had begun: a signal while it started up
            return
        async with anyio.create_task_group() as tasks:
            for loop, scope in zip(loops, agent.loops, strict=True):
                tasks.start_soon(self._loop, loop, agent, scope, left_over)

    async def _loop(
        self,
        loop: Callable[[Agent, Event | None], Awaitable[None]],
        agent: Agent,
        scope: anyio.CancelScope,
        left_over: Event | None,
    ) -> None:
        """One loop. Whichever sees the goal first ends the other: a late answer can no longer matter."""
        with scope:
            await loop(agent, left_over)
        for other in agent.loops:
            other.cancel()

    async def _planning(self, agent: Agent, left_over: Event | None) -> None:  # noqa: ARG002 - as every loop
        failures = 0
        while await self._reason(agent):
            began = anyio.current_time()
            thought = await self._thought(agent)
            if thought is None:
                continue
            if thought.decision is None:
                agent.attention.thinks(0)  # it has thought about nothing yet
                await anyio.sleep(_back_off(failures))
                failures += 1
                continue
            failures = 0
            agent.attention.call_seconds = anyio.current_time() - began
            await self._decided(agent, thought.decision, thought.version)
            await anyio.sleep(max(0.0, began + SHORTEST_PLAN - anyio.current_time()))

    async def _reason(self, agent: Agent) -> bool:
        """Wait for something to think about; false when there is nothing left to do."""
        while True:
            while not self._due(agent):
                await agent.attention.change()
            if self.settings.clock == "wall":  # on others neither takes time
                await self._actor.acting_goes_first()
            if not await self._look(agent):
                return False
            if self._due(agent):  # to look may have taken time
                return True

    def _due(self, agent: Agent) -> bool:
        """Whether it has something to think about; who is being stopped thinks when it knows what came of it."""
        if self.settings.planning == "continuous":
            return True
        stopping = agent.halted and agent.attention.running
        return not stopping and agent.attention.due(len(agent.slot.waiting))

    async def _decided(self, agent: Agent, decision: Decision, version: int) -> None:
        """What a thought wants is left in the slot."""
        calls, interrupt = decision.calls, decision.interrupt and self.settings.interrupts
        if self.settings.planning == "events":
            while agent.attention.taken:  # whether that step begins decides what is left of this plan
                await agent.attention.change()
            agent.attention.more = len(calls) == self.settings.horizon
            if not calls and agent.attention.idle:
                agent.attention.rest(anyio.current_time() + _back_off(agent.attention.fruitless))
            if agent.attention.begun:
                left = agent.attention.left_of(calls)
                interrupt = interrupt and left == calls  # else what it wanted at once has begun already
                calls = left
                agent.attention.heard(agent.attention.begun[-1][0])  # what began meanwhile is still to be thought about
        if calls:
            await self._actor.hand_over(agent, _steps(decision, calls, version), interrupt)
        elif interrupt and version >= agent.reflexed and not agent.attention.moved_on:
            self._actor.stop_skill(agent)

    async def _acting(self, agent: Agent, left_over: Event | None) -> None:
        await self._actor.finish_skill(agent, left_over)
        while True:
            planned = await agent.slot.take()
            agent.attention.taken = True  # until it begins or is passed over
            if not await self._actor.dropped(agent, planned):
                await self._actor.perform(agent, planned)
                if not await self._look(agent):
                    return

    async def _serial(self, agent: Agent, left_over: Event | None) -> None:
        """The baseline: plan, act, plan, act. A reflex is carried out at once here too."""
        await self._actor.finish_skill(agent, left_over)
        failures = 0
        while await self._look(agent):
            began = anyio.current_time()
            planned = agent.slot.pop()
            if planned is None:
                thought = await self._thought(agent)
                if thought is None:
                    continue
                decision, version = thought.decision, thought.version
                if decision is None:
                    await self._wait(agent, _back_off(failures))
                    failures += 1
                    continue
                failures = 0
                agent.slot.put(*_steps(decision, decision.calls, version))
                planned = agent.slot.pop()
            elif await self._actor.dropped(agent, planned):  # a later step of a plan may be stale here too
                continue
            if planned is not None:
                agent.halted = False
                await self._actor.perform(agent, planned)
            if planned is None or planned.by == "planner":
                await self._wait(agent, began + SHORTEST_PLAN - anyio.current_time())

    async def _thought(self, agent: Agent) -> Thought | None:
        """One thought; none where it was given up, because a reflex or news came: it could no longer matter."""
        agent.attention.began = anyio.current_time()
        with anyio.CancelScope() as agent.thinking:
            found = await self._thinker.think(agent)
        given_up = agent.thinking.cancel_called
        agent.thinking = None
        if not given_up:
            agent.attention.given_up = False
        return None if given_up else found

    async def _wait(self, agent: Agent, seconds: float) -> None:
        """In serial mode, between a thought and the next; a reflex does not wait."""
        with anyio.CancelScope() as agent.thinking:
            await anyio.sleep(max(0.0, seconds))
        agent.thinking = None

    async def _look(self, agent: Agent) -> bool:
        """Refresh the agent's observation in the team's memory; false when there is nothing left to do for it."""
        if agent.done or agent.gone:
            return False
        seen = await self.world.observe(agent.name)
        await self.session.log("observe", agent.name, seen)
        if seen.get("goal_reached") is True:
            agent.done = True
            await self.session.log("goal", agent.name, {"reached": True})
        agent.gone = agent.gone or seen.get("gone") is True
        return not (agent.done or agent.gone)

    async def _recall(self, agent: Agent) -> Event | None:
        """After a resume: count on where the log ends. Returns the skill in which an earlier session was killed."""
        left_over: Event | None = None
        async for event in self.memory.since(0):
            if event.agent != agent.name:
                continue
            if event.kind == "skill_start":
                left_over, agent.skills = event, event.data["skill"]
            elif event.kind == "skill_end":
                left_over = None
            elif event.kind == "call_start":
                agent.calls = event.data["call"]
        return left_over


def _back_off(times: int) -> float:
    return BACK_OFF[min(times, len(BACK_OFF) - 1)]


def _steps(decision: Decision, calls: Sequence[Call], version: int) -> list[PlannedCall]:
    return [PlannedCall(call, "planner", version, decision.reason) for call in calls]


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first cause in a group of failures: the run's user is told one thing."""
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
