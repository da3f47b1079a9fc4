"""What comes of a plan: it waits in the slot, is dropped if it is stale, and is carried out with its clean-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import anyio
from anyio.lowlevel import checkpoint
from opentelemetry.trace import Span

from burnish.act.memory.log import Event, MemoryFailed
from burnish.act.recipe import RuntimeSettings
from burnish.act.session import Session
from burnish.act.skill_context import LoggedContext
from burnish.act.skills.library import BadCall, Call
from burnish.act.team import Agent, PlannedCall
from burnish.act.world import ActionFailed, World

TURNS = 8  # of the event loop; from the decision to a skill whose clean-up waits for nothing it takes two


class Actor:
    """Carries out the plans of a team's agents.

    Args:
        session: where it is logged.
        settings: how stale a plan may be, and how long a clean-up may take.
        world: where they live.
    """

    def __init__(self, session: Session, settings: RuntimeSettings, world: World) -> None:
        self._session = session
        self._settings = settings
        self._world = world
        self._next: set[str] = set()
        """Agents that are to act at once: stopped in a skill, or idle with a plan."""

    async def hand_over(self, agent: Agent, steps: Sequence[PlannedCall], interrupt: bool = False) -> None:
        """Leave a plan for the acting loop, in place of what was not begun; with ``interrupt``, stop what runs.

        Both at once, before anything is waited for: later, the skill that runs might be this plan's own.
        """
        if steps[0].by == "planner" and steps[0].version < agent.reflexed:
            await self._drop(agent, steps, "overtaken by a reflex")
            return
        replaced = agent.slot.put(*steps)
        if agent.running is None:
            self._next.add(agent.name)
        if interrupt:
            self.stop_skill(agent)
        await self._drop(agent, replaced, "replaced by a newer plan")

    async def _drop(self, agent: Agent, steps: Sequence[PlannedCall], why: str) -> None:
        for step in steps:
            await self._session.log("plan_dropped", agent.name, {"skill": step.call.to_json(), "why": why})

    async def dropped(self, agent: Agent, planned: PlannedCall) -> bool:
        """Whether a step is stale by the recipe's rule; then it is dropped, and with it those that were to follow."""
        agent.halted = False  # from here on, whoever stops the agent means this plan
        self._next.discard(agent.name)
        stale = await self._stale(agent, planned)
        if stale:
            await self.drop_rest(agent, planned)
            agent.attention.passed_over()
        return stale

    async def drop_rest(self, agent: Agent, failed: PlannedCall) -> None:
        """Drop the steps of a plan that stand on one that came to nothing; those of a newer plan stay."""
        waiting = agent.slot.waiting
        rest = [step for step in waiting if (step.by, step.version) == (failed.by, failed.version)]
        if rest:
            agent.slot.put(*(step for step in waiting if step not in rest))
            await self._drop(agent, rest, "the step before it came to nothing")

    async def _stale(self, agent: Agent, planned: PlannedCall) -> bool:
        if self._settings.staleness == "always" or planned.by == "reflex":
            return False
        if planned.version < agent.reflexed:
            await self._drop(agent, [planned], "overtaken by a reflex")
            return True
        if self._settings.staleness == "replan":
            snapshot = await self._session.memory.snapshot()
            if snapshot.touched.get(agent.name, 0) > planned.version:
                await self._drop(agent, [planned], "something has happened since")
                return True
        elif planned.call.skill.precondition is not None:
            seen = await self._world.observe(agent.name)
            why = planned.call.skill.precondition(seen, **planned.call.arguments)
            if why is not None:
                await self._drop(agent, [planned], why)
                return True
        return False

    def stop_skill(self, agent: Agent) -> None:
        """Take the running skill away, also one that is just about to begin."""
        agent.halted = True
        if agent.running is not None:
            agent.running.cancel()
            self._next.add(agent.name)

    async def acting_goes_first(self) -> None:
        """Before a thought: who is to act at once comes to its next skill first.

        A thought takes the event loop for longer than all of an interrupt, and of a team that decides at one moment
        the last would wait for the thoughts of all others. Turns of the loop, not time: a clean-up may take seconds.
        """
        for _ in range(TURNS):
            if not self._next:
                return
            await checkpoint()

    async def perform(self, agent: Agent, planned: PlannedCall, number: int | None = None) -> None:
        """Run one skill to its end, its failure or its interruption; then its clean-up, whatever happened."""
        resumed = number is not None
        if not resumed:
            if not self._session.may_start_skill():
                agent.attention.passed_over()
                return
            agent.skills += 1
        number = agent.skills if number is None else number
        what = {"skill": number, **planned.call.to_json()}
        began = agent.attention.thought + 1
        if not resumed:
            about = {**what, "by": planned.by, "version": planned.version, "reason": planned.reason}
            began = (await self._session.log("skill_start", agent.name, about)).seq
        agent.attention.skill_began(began, planned.call, planned.by == "planner")
        context = LoggedContext(agent.name, number, self._world, self._session)
        with self._session.span("skill", agent.name, {"by": planned.by, **what}) as span:
            await self._carry_out(agent, planned, context, what, span)

    async def _carry_out(
        self, agent: Agent, planned: PlannedCall, context: LoggedContext, what: Mapping[str, Any], span: Span
    ) -> None:
        status, why, began = "interrupted", "", self._session.now()
        scope = anyio.CancelScope()
        agent.running = scope
        try:
            with scope:
                if not agent.halted:  # stopped between being taken up and here
                    status, why = await _outcome(planned.call, context)
        finally:
            agent.running = None
            with anyio.CancelScope(shield=True):
                with anyio.move_on_after(self._settings.cleanup_seconds) as limit:
                    await context.leave()
                if limit.cancelled_caught:
                    why = (why + "; " if why else "") + "the clean-up took too long and was cut off"
                span.set_attributes({"status": status, "why": why})
                ended = await self._session.log("skill_end", agent.name, {**what, "status": status, "why": why})
                if status == "failed" or agent.halted:  # not where the run ends: its plan is not given up
                    await self.drop_rest(agent, planned)
                if status == "failed":
                    agent.attention.heard(ended.seq)
                agent.attention.skill_ended(ended.time - began, status == "done")
                self._next.discard(agent.name)

    async def finish_skill(self, agent: Agent, left_over: Event | None) -> None:
        """Go on with a skill of an earlier session; its finished commands are answered from the log, not repeated."""
        if left_over is None:
            return
        data = {key: left_over.data[key] for key in ("skill", "name", "arguments")}
        try:
            call = agent.library.call(data["name"], data["arguments"])
        except BadCall as error:
            await self._session.log("skill_end", agent.name, {**data, "status": "failed", "why": str(error)})
        else:
            await self.perform(agent, PlannedCall(call, "resume", left_over.data["version"], ""), data["skill"])


async def _outcome(call: Call, context: LoggedContext) -> tuple[str, str]:
    """Run a skill's function; its own mistakes end the skill, not the agent."""
    try:
        await call.skill.function(context, **call.arguments)
    except ActionFailed as error:
        return "failed", str(error)
    except MemoryFailed:
        raise
    except Exception as error:  # noqa: BLE001 - the skill is the user's code
        return "failed", f"{type(error).__name__}: {error}".replace("\n", " ")[:500]
    return "done", ""
