"""Agents that plan while they act: for each a planning loop and an acting loop, neither waiting for the other.

Source: Parallelized Planning-Acting, section 3. The plan of the planner goes into a single slot (a newer plan replaces
what was not begun), an interrupt takes the running skill away at once, and everything that happens is an event of the
team's memory. When a planner thinks: ``attention.py``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import anyio
from opentelemetry.trace import Tracer

from burnish.act import clock
from burnish.act.acting import Actor
from burnish.act.memory.log import Event, Memory
from burnish.act.planner import Chat, Decision
from burnish.act.recipe import RuntimeSettings
from burnish.act.session import Session
from burnish.act.skills.library import Call
from burnish.act.team import Agent, Outcome, PlannedCall
from burnish.act.thinking import Thinker, Thought
from burnish.act.world import Happening, World

__all__ = ["Agent", "Outcome", "Runtime"]

# An agent whose planner answers in no time still gives the world a moment between two plans.
SHORTEST_PLAN = 0.05
HEARING = 0.1  # seconds between looks for what people wrote
BACK_OFF = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # seconds between calls that fail one after another


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
        if settings.mode == "parallel" and settings.planning == "events":
            self.session.heard = self._heard
        self._thinker = Thinker(self.session, settings)
        self._actor = Actor(self.session, settings, world)
        self._own: set[int] = set()
        """Interrupts of this process."""

    # What a person may do while it runs

    async def say(self, text: str, who: str = "human") -> None:
        """A message into the team's chat."""
        await self.session.log("chat", who, {"text": text})

    async def interrupt(self, name: str) -> None:
        """Stop an agent's running skill."""
        self._own.add((await self.session.log("human", name, {"interrupt": True})).seq)
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
                aside.start_soon(self._listen)
                if self.settings.clock == "wall":
                    aside.start_soon(self._hear)
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
                await anyio.sleep(BACK_OFF[min(failures, len(BACK_OFF) - 1)])
                failures += 1
                continue
            failures = 0
            agent.attention.call_seconds = anyio.current_time() - began
            await self._decided(agent, thought.decision, thought.version)
            await anyio.sleep(max(0.0, began + SHORTEST_PLAN - anyio.current_time()))

    async def _reason(self, agent: Agent) -> bool:
        """Wait for something to think about; false when there is nothing left to do."""
        while self.settings.planning == "events" and not agent.attention.due(len(agent.slot.waiting)):
            await agent.attention.change()
        if self.settings.clock == "wall":  # on others neither takes time
            await self._actor.acting_goes_first()
        return await self._look(agent)

    async def _decided(self, agent: Agent, decision: Decision, version: int) -> None:
        """What a thought wants is left in the slot."""
        calls, interrupt = decision.calls, decision.interrupt and self.settings.interrupts
        if self.settings.planning == "events":
            agent.attention.more = len(calls) == self.settings.horizon
            if not interrupt and agent.attention.begun:
                calls = agent.attention.left_of(calls)
                agent.attention.heard(agent.attention.begun[-1][0])  # what began meanwhile is still to be thought about
        if calls:
            await self._actor.hand_over(agent, _steps(decision, calls, version), interrupt)
        elif interrupt and version >= agent.reflexed:
            self._actor.stop_skill(agent)

    async def _acting(self, agent: Agent, left_over: Event | None) -> None:
        await self._actor.finish_skill(agent, left_over)
        while True:
            planned = await agent.slot.take()
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
                    await self._wait(agent, BACK_OFF[min(failures, len(BACK_OFF) - 1)])
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

    async def _listen(self) -> None:
        """What happens in the world: remembered, and answered by reflexes."""
        async with anyio.create_task_group() as reactions:
            async for happening in self.world.happenings():
                event = await self.session.log("world", happening.agent, {"kind": happening.kind, **happening.data})
                one = self.agents.get(happening.agent)
                for agent in [one] if one is not None else self.agents.values():
                    if agent.reactor is not None:
                        reactions.start_soon(self._react, agent, happening, event.seq)

    async def _hear(self) -> None:
        """What people write into the log from other processes (the live page): their words, and their interrupts."""
        heard = (await self.memory.snapshot()).version
        async with anyio.create_task_group() as reactions:
            while True:
                async for event in self.memory.since(heard):
                    heard = event.seq
                    if event.agent not in self.agents or event.kind == "human":  # of another process, or of a person
                        self._heard(event)
                    if event.kind == "human" and event.seq not in self._own and event.agent in self.agents:
                        self._actor.stop_skill(self.agents[event.agent])
                    elif event.kind == "chat" and event.agent not in self.agents:
                        for agent in self.agents.values():
                            if agent.reactor is not None:
                                said = Happening("chat", "", event.data)
                                reactions.start_soon(self._react, agent, said, event.seq)
                await anyio.sleep(HEARING)

    def _heard(self, event: Event) -> None:
        """An event: whoever plans on what it changed, thinks again."""
        one, shared = self.agents.get(event.agent), self.settings.shared_memory
        match event.kind:
            case "world":
                concerned = self._mates(event.agent) if one is None else [one]
            case "human":
                concerned = [] if one is None else [one]
            case "goal" | "chat" if shared:
                concerned = self._mates(event.agent)
            case "skill_start" if shared:  # what a mate takes up, another need not do
                concerned = [
                    mate for mate in self._mates(event.agent) if mate.thinking is not None or mate.slot.waiting
                ]
            case _:
                return
        for agent in concerned:
            if event.seq > agent.attention.thought:  # else its thought was made on it
                agent.attention.heard(event.seq)
                self._give_up(agent)

    def _mates(self, name: str) -> list[Agent]:
        return [agent for other, agent in self.agents.items() if other != name]

    def _give_up(self, agent: Agent) -> None:
        """A call that has just begun is begun again on the news, once; one that is about to return may still help."""
        if agent.thinking is None or agent.attention.given_up:
            return
        if anyio.current_time() - agent.attention.began < agent.attention.call_seconds / 2:
            agent.attention.given_up = True
            agent.thinking.cancel()

    async def _react(self, agent: Agent, happening: Happening, seq: int) -> None:
        assert agent.reactor is not None
        if agent.done or agent.gone:
            return
        seen = await self.world.observe(agent.name)

        async def ask(chat: Chat, messages: Sequence[Mapping[str, str]]) -> str | None:
            return await self._thinker.react(agent, chat, messages, seq)

        call = await agent.reactor.react(happening, seen, agent.thought, agent.library, ask)
        if call is None or agent.reflexed > seq or agent.done or agent.gone:
            return
        agent.reflexed = seq
        await self.session.log("reflex", agent.name, {"on": happening.kind, "skill": call.to_json()})
        await self._actor.hand_over(agent, [PlannedCall(call, "reflex", seq, happening.kind)], interrupt=True)
        agent.attention.heard(seq)
        if agent.thinking is not None and agent.attention.thought < seq:  # else it was begun again on this very news
            agent.thinking.cancel()

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


def _steps(decision: Decision, calls: Sequence[Call], version: int) -> list[PlannedCall]:
    return [PlannedCall(call, "planner", version, decision.reason) for call in calls]


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first cause in a group of failures: the run's user is told one thing."""
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
