"""Agents that plan while they act: for each a planning loop and an acting loop, neither waiting for the other.

Source: Parallelized Planning-Acting, section 3. The plan of the planner goes into a single slot (a newer plan replaces one that
was not begun), an interrupt takes the running skill away at once, and everything that happens is an event of the team's memory.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
from opentelemetry import trace

from burnish.act import clock
from burnish.act.hands import LoggingHands
from burnish.act.memory.log import Event, Memory, MemoryFailed, Snapshot
from burnish.act.planner import LONGEST, BudgetSpent, CallFailed, Chat, Decision, Reply, parse_decision, prompt
from burnish.act.recipe import RuntimeSettings
from burnish.act.reflexes import Reactor
from burnish.act.skills.library import BadCall, Call, Library
from burnish.act.world import ActionFailed, Happening, World

_tracer = trace.get_tracer("burnish.act")
# An agent whose planner answers in no time still gives the world a moment between two plans.
SHORTEST_PLAN = 0.05
HEARING = 0.1  # seconds between looks for what people wrote
BACK_OFF = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # seconds between calls that fail one after another


@dataclass
class _Planned:
    """A plan in the slot: what to run, who wanted it, and the memory that it was made on."""

    call: Call
    by: str
    version: int
    reason: str


class Slot:
    """Room for one plan. A newer one replaces it; taking waits until there is one."""

    def __init__(self) -> None:
        self._plan: _Planned | None = None
        self._filled = anyio.Event()

    def put(self, plan: _Planned) -> _Planned | None:
        """Leave a plan; returns the one that it replaces."""
        replaced, self._plan = self._plan, plan
        self._filled.set()
        return replaced

    async def take(self) -> _Planned:
        """Wait for a plan and take it out."""
        while self._plan is None:
            self._filled = anyio.Event()
            await self._filled.wait()
        plan, self._plan = self._plan, None
        return plan


@dataclass
class Agent:
    """One agent: its name, its goal in words, its chat model (``None``: it never plans) and its skills."""

    name: str
    goal: str
    library: Library
    chat: Chat | None = None
    reactor: Reactor | None = None
    slot: Slot = field(default_factory=Slot)
    thought: str = ""
    """The unfinished reply of its planner."""
    running: anyio.CancelScope | None = None
    """The scope of its running skill."""
    loops: list[anyio.CancelScope] = field(default_factory=list)
    """The scopes of its loops."""
    done: bool = False
    gone: bool = False
    calls: int = 0
    skills: int = 0
    reflexed: int = 0
    """The event at which a reflex last took over: plans made before it are overtaken."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        reached: agents whose goal was reached.
        gone: agents that the world took out (dead for good, disconnected).
        seconds: on the run's clock.
        tokens: prompt and reply tokens.
        limit: the limit that ended it, or empty.
    """

    reached: tuple[str, ...]
    gone: tuple[str, ...]
    seconds: float
    tokens: int
    limit: str


class Runtime:
    """Runs a team in a world until all goals are reached, all agents are gone, or a limit.

    Args:
        settings: how they think and act.
        world: where they live.
        memory: what they know; holds the log of an earlier session when it is resumed.
        agents: the team.
    """

    def __init__(self, settings: RuntimeSettings, world: World, memory: Memory, agents: Sequence[Agent]) -> None:
        self.settings = settings
        self.world = world
        self.memory = memory
        self.agents = {agent.name: agent for agent in agents}
        self._tokens = 0
        self._started = 0
        self._limit = ""
        self._zero = 0.0
        """The clock's time at which the log's is 0."""
        self._own: set[int] = set()
        """Interrupts of this process."""

    # What a person may do while it runs

    async def say(self, text: str, who: str = "human") -> None:
        """A message into the team's chat."""
        await self.log("chat", who, {"text": text})

    async def interrupt(self, name: str) -> None:
        """Stop an agent's running skill."""
        self._own.add((await self.log("human", name, {"interrupt": True})).seq)
        self._stop_skill(self.agents[name])

    def stop(self, why: str) -> None:
        """End the run cleanly, as a limit does."""
        self._end(why)

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
        # The log's time goes on where an earlier session ended, whatever the clock says: it never goes backwards.
        last = 0.0
        async for event in self.memory.since(0):
            last = event.time
        self._zero = begun - last
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
        if self._limit:
            await self.log("limit", "", {"limit": self._limit})
        agents = self.agents.values()
        return Outcome(
            tuple(agent.name for agent in agents if agent.done),
            tuple(agent.name for agent in agents if agent.gone),
            round(clock.now() - begun, 9),
            self._tokens,
            self._limit,
        )

    async def log(self, kind: str, agent: str, data: Mapping[str, Any], key: str | None = None) -> Event:
        """One event of the team's memory, at the present time of its run."""
        return await self.memory.append(kind, agent, data, time=self._now(), key=key)

    def _now(self) -> float:
        return round(clock.now() - self._zero, 9)

    async def _time(self) -> None:
        await anyio.sleep(self.settings.limits.seconds)
        self._end(f"{self.settings.limits.seconds:g} s")

    def _end(self, limit: str) -> None:
        """End the run. Loop by loop, in order: a scope with many tasks would cancel them in an order of its own, differently each time."""
        self._limit = self._limit or limit
        for agent in self.agents.values():
            for scope in agent.loops:
                scope.cancel()

    async def _live(self, agent: Agent) -> None:
        """The loops of one agent, until its goal is reached or it is gone."""
        left_over = await self._recall(agent)
        loops = {
            "parallel": [self._planning, self._acting],
            "serial": [self._serial],
            "reactive": [self._acting],
        }[self.settings.mode]
        agent.loops = [anyio.CancelScope() for _ in loops]
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
        """One loop. Whichever sees the goal first ends the other: an answer that is still on its way can no longer matter."""
        with scope:
            await loop(agent, left_over)
        for other in agent.loops:
            other.cancel()

    async def _planning(self, agent: Agent, left_over: Event | None) -> None:
        failures = 0
        while await self._look(agent):
            began = anyio.current_time()
            decision, version = await self._think(agent)
            if decision is None:
                await anyio.sleep(BACK_OFF[min(failures, len(BACK_OFF) - 1)])
                failures += 1
                continue
            failures = 0
            if decision.call is not None:
                await self._hand_over(agent, _Planned(decision.call, "planner", version, decision.reason))
            if decision.interrupt and self.settings.interrupts and version >= agent.reflexed:
                self._stop_skill(agent)
            await anyio.sleep(max(0.0, began + SHORTEST_PLAN - anyio.current_time()))

    async def _acting(self, agent: Agent, left_over: Event | None) -> None:
        await self._finish_skill(agent, left_over)
        while True:
            planned = await agent.slot.take()
            if not await self._dropped(agent, planned):
                await self._perform(agent, planned)
                if not await self._look(agent):
                    return

    async def _serial(self, agent: Agent, left_over: Event | None) -> None:
        """The baseline: plan, act, plan, act."""
        await self._finish_skill(agent, left_over)
        failures = 0
        while await self._look(agent):
            began = anyio.current_time()
            decision, version = await self._think(agent)
            failures = failures + 1 if decision is None else 0
            if decision is not None and decision.call is not None:
                await self._perform(agent, _Planned(decision.call, "planner", version, decision.reason))
            pause = BACK_OFF[min(failures, len(BACK_OFF)) - 1] if failures else SHORTEST_PLAN
            await anyio.sleep(max(0.0, began + pause - anyio.current_time()))

    async def _listen(self) -> None:
        """What happens in the world: remembered, and answered by reflexes."""
        async with anyio.create_task_group() as reactions:
            async for happening in self.world.happenings():
                event = await self.log("world", happening.agent, {"kind": happening.kind, **happening.data})
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
                    if event.kind == "human" and event.seq not in self._own and event.agent in self.agents:
                        self._stop_skill(self.agents[event.agent])
                    elif event.kind == "chat" and event.agent not in self.agents:
                        for agent in self.agents.values():
                            if agent.reactor is not None:
                                said = Happening("chat", "", event.data)
                                reactions.start_soon(self._react, agent, said, event.seq)
                await anyio.sleep(HEARING)

    async def _react(self, agent: Agent, happening: Happening, seq: int) -> None:
        assert agent.reactor is not None
        if agent.done or agent.gone:
            return
        seen = await self.world.observe(agent.name)
        call = await agent.reactor.react(happening, seen, agent.thought, agent.library)
        if call is None or agent.reflexed > seq or agent.done or agent.gone:
            return
        agent.reflexed = seq
        await self.log("reflex", agent.name, {"on": happening.kind, "skill": call.to_json()})
        await self._hand_over(agent, _Planned(call, "reflex", seq, happening.kind))
        self._stop_skill(agent)

    async def _look(self, agent: Agent) -> bool:
        """Refresh the agent's observation in the team's memory; false when there is nothing left to do for it."""
        if agent.done or agent.gone:
            return False
        seen = await self.world.observe(agent.name)
        await self.log("observe", agent.name, seen)
        if seen.get("goal_reached") is True:
            agent.done = True
            await self.log("goal", agent.name, {"reached": True})
        agent.gone = agent.gone or seen.get("gone") is True
        return not (agent.done or agent.gone)

    async def _think(self, agent: Agent) -> tuple[Decision | None, int]:
        """One planning call, with one round of repair. Returns the decision and the memory's version that it was made on."""
        assert agent.chat is not None
        snapshot = await self._known(agent)
        messages = prompt(agent.name, agent.goal, snapshot, agent.library)
        decision, problem = None, ""
        for attempt in range(2):
            text = await self._call(agent, messages, attempt)
            if text is None:
                break
            try:
                decision = parse_decision(text, agent.library)
                break
            except BadCall as error:
                problem = str(error)
                repair = f"That reply cannot be used: {problem}. Reply again with one JSON object of the schema."
                messages = [*messages, {"role": "assistant", "content": text}, {"role": "user", "content": repair}]
        data: dict[str, Any] = {"version": snapshot.version}
        if decision is None:
            data["unusable"] = problem or "no answer"
        else:
            skill = None if decision.call is None else decision.call.to_json()
            data |= {"skill": skill, "interrupt": decision.interrupt, "reason": decision.reason}
        await self.log("plan", agent.name, data)
        return decision, snapshot.version

    async def _known(self, agent: Agent) -> Snapshot:
        snapshot = await self.memory.snapshot()
        if self.settings.shared_memory:
            return snapshot
        own = snapshot.observations.get(agent.name)
        return Snapshot(
            version=snapshot.version,
            observations={} if own is None else {agent.name: own},
            actions={name: action for name, action in snapshot.actions.items() if name == agent.name},
            results={name: result for name, result in snapshot.results.items() if name == agent.name},
            touched=snapshot.touched,
        )

    async def _call(self, agent: Agent, messages: Sequence[Mapping[str, str]], attempt: int) -> str | None:
        """One call of the chat model, logged; ``None`` if it failed."""
        assert agent.chat is not None
        if not attempt:
            agent.calls += 1
        key = f"{agent.name}/call/{agent.calls}/{attempt}"
        await self.log("call_start", agent.name, {"call": agent.calls, "attempt": attempt})
        agent.thought = ""

        def thinking(text: str) -> None:
            agent.thought = text

        status, reply = "cancelled", None
        try:
            with _tracer.start_as_current_span("llm_call", attributes={"agent": agent.name}):
                reply = await self._answer(agent, messages, key, thinking)
            status = "done"
        except CallFailed as error:
            status = str(error)
        except BudgetSpent as error:
            status = str(error)
            self._end("the planner's budget")
        finally:
            # What was half said is kept as such, also when the call is cancelled.
            with anyio.CancelScope(shield=True):
                used = reply or Reply(agent.thought, 0, 0)
                tokens = {"prompt": used.prompt_tokens, "completion": used.completion_tokens}
                data = {"call": agent.calls, "attempt": attempt, "status": status, "tokens": tokens}
                await self.log("call_end", agent.name, {**data, "text": used.text[:LONGEST]}, key=key)
            agent.thought = ""
        self._tokens += sum(tokens.values())
        if self._tokens >= self.settings.limits.tokens:
            self._end(f"{self.settings.limits.tokens} tokens")
        return None if reply is None else reply.text

    async def _answer(
        self, agent: Agent, messages: Sequence[Mapping[str, str]], key: str, thinking: Callable[[str], None]
    ) -> Reply:
        """The model's answer, or in a rehearsal the one that it gave, at the time at which it gave it.

        What answers in this process is asked again: it says the same, and takes the same steps of the event loop.
        """
        assert agent.chat is not None
        past = self.memory.rehearsed(key) if agent.chat.outside else None
        if past is None:
            return await agent.chat.complete(messages, agent.library.reply_schema(), thinking)
        if past.data["status"] == "cancelled":
            await anyio.sleep_forever()  # whatever cancelled it then does so now
        await anyio.sleep(past.time - self._now())
        if past.data["status"] != "done":
            raise CallFailed(past.data["status"])
        tokens = past.data["tokens"]
        return agent.chat.count(Reply(past.data["text"], tokens["prompt"], tokens["completion"]))

    async def _hand_over(self, agent: Agent, planned: _Planned) -> None:
        if planned.by == "planner" and planned.version < agent.reflexed:
            await self._drop(agent, planned, "overtaken by a reflex")
            return
        replaced = agent.slot.put(planned)
        if replaced is not None:
            await self._drop(agent, replaced, "replaced by a newer plan")

    async def _drop(self, agent: Agent, planned: _Planned, why: str) -> None:
        await self.log("plan_dropped", agent.name, {"skill": planned.call.to_json(), "why": why})

    async def _dropped(self, agent: Agent, planned: _Planned) -> bool:
        """Whether a plan is stale by the recipe's rule; then it is dropped."""
        if self.settings.staleness == "always" or planned.by == "reflex":
            return False
        if planned.version < agent.reflexed:
            await self._drop(agent, planned, "overtaken by a reflex")
            return True
        if self.settings.staleness == "replan":
            snapshot = await self.memory.snapshot()
            if snapshot.touched.get(agent.name, 0) > planned.version:
                await self._drop(agent, planned, "something has happened since")
                return True
        elif planned.call.skill.precondition is not None:
            seen = await self.world.observe(agent.name)
            why = planned.call.skill.precondition(seen, **planned.call.arguments)
            if why is not None:
                await self._drop(agent, planned, why)
                return True
        return False

    def _stop_skill(self, agent: Agent) -> None:
        if agent.running is not None:
            agent.running.cancel()

    async def _perform(self, agent: Agent, planned: _Planned, number: int | None = None) -> None:
        """Run one skill to its end, its failure or its interruption; then its clean-up, whatever happened."""
        resumed = number is not None
        if not resumed:
            self._started += 1
            if self._started > self.settings.limits.steps:
                self._end(f"{self.settings.limits.steps} steps")
                return
            agent.skills += 1
        number = agent.skills if number is None else number
        what = {"skill": number, **planned.call.to_json()}
        if not resumed:
            about = {**what, "by": planned.by, "version": planned.version, "reason": planned.reason}
            await self.log("skill_start", agent.name, about)
        hands = LoggingHands(agent.name, number, self.world, self)
        status, why = "interrupted", ""
        scope = anyio.CancelScope()
        agent.running = scope
        try:
            with scope, _tracer.start_as_current_span("skill", attributes={"agent": agent.name, **_flat(what)}):
                status, why = await _outcome(planned.call, hands)
        finally:
            agent.running = None
            with anyio.CancelScope(shield=True):
                with anyio.move_on_after(self.settings.cleanup_seconds) as limit:
                    await hands.leave()
                if limit.cancelled_caught:
                    why = (why + "; " if why else "") + "the clean-up took too long and was cut off"
                await self.log("skill_end", agent.name, {**what, "status": status, "why": why})

    async def _recall(self, agent: Agent) -> Event | None:
        """After a resume: take up the numbers where the log ends. Returns the skill in which an earlier session was killed."""
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

    async def _finish_skill(self, agent: Agent, left_over: Event | None) -> None:
        """Go on with a skill of an earlier session; its finished commands are answered from the log, not repeated."""
        if left_over is None:
            return
        data = {key: left_over.data[key] for key in ("skill", "name", "arguments")}
        try:
            call = agent.library.call(data["name"], data["arguments"])
        except BadCall as error:
            await self.log("skill_end", agent.name, {**data, "status": "failed", "why": str(error)})
        else:
            await self._perform(agent, _Planned(call, "resume", left_over.data["version"], ""), data["skill"])


async def _outcome(call: Call, hands: LoggingHands) -> tuple[str, str]:
    """Run a skill's function; its own mistakes end the skill, not the agent."""
    try:
        await call.skill.function(hands, **call.arguments)
    except ActionFailed as error:
        return "failed", str(error)
    except MemoryFailed:
        raise
    except Exception as error:
        return "failed", f"{type(error).__name__}: {error}".replace("\n", " ")[:500]
    return "done", ""


def _flat(what: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in what.items()}


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first cause in a group of failures: the run's user is told one thing."""
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
