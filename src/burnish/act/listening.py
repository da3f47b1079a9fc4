"""What a team hears: happenings of its world, words of people and of mates. Reflexes answer, planners think again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import anyio

from burnish.act.acting import Actor
from burnish.act.memory.log import Event
from burnish.act.planner import Chat
from burnish.act.recipe import RuntimeSettings
from burnish.act.session import Session
from burnish.act.team import Agent, PlannedCall
from burnish.act.thinking import Thinker
from burnish.act.world import Happening, World

HEARING = 0.1  # seconds between looks for what people wrote


class Listener:
    """Listens for a team.

    Args:
        session: where it is logged.
        settings: whether planners think on events, and know of their mates.
        world: whose happenings are heard.
        agents: the team, by name.
        actor: carries out reflexes.
        thinker: asks the second model, where reflexes are one's.

    Attributes:
        own: numbers of the interrupts that this process wrote itself.
    """

    def __init__(
        self,
        session: Session,
        settings: RuntimeSettings,
        world: World,
        agents: Mapping[str, Agent],
        actor: Actor,
        thinker: Thinker,
    ) -> None:
        self.own: set[int] = set()
        self._session = session
        self._settings = settings
        self._world = world
        self._agents = agents
        self._actor = actor
        self._thinker = thinker
        self._on_events = settings.mode == "parallel" and settings.planning == "events"
        session.heard = self.heard

    async def listen(self) -> None:
        """What happens in the world: remembered, and answered by reflexes."""
        async with anyio.create_task_group() as reactions:
            async for happening in self._world.happenings():
                event = await self._session.log("world", happening.agent, {"kind": happening.kind, **happening.data})
                one = self._agents.get(happening.agent)
                for agent in [one] if one is not None else self._agents.values():
                    if agent.reactor is not None:
                        reactions.start_soon(self._react, agent, happening, event.seq)

    async def hear(self) -> None:
        """What people write into the log from other processes (the live page): their words, and their interrupts."""
        heard = (await self._session.memory.snapshot()).version
        async with anyio.create_task_group() as reactions:
            while True:
                async for event in self._session.memory.since(heard):
                    heard = event.seq
                    if event.agent not in self._agents or event.kind == "human":  # of another process, or of a person
                        self.heard(event)
                    if event.kind == "human" and event.seq not in self.own and event.agent in self._agents:
                        self._actor.stop_skill(self._agents[event.agent])
                    elif event.kind == "chat" and event.agent not in self._agents:
                        for agent in self._agents.values():
                            if agent.reactor is not None:
                                said = Happening("chat", "", event.data)
                                reactions.start_soon(self._react, agent, said, event.seq)
                await anyio.sleep(HEARING)

    def heard(self, event: Event) -> None:
        """An event: whoever plans on what it changed, thinks again."""
        if not self._on_events:
            return
        if event.kind == "skill_end" and self._settings.shared_memory:
            for mate in self._mates(event.agent):
                if mate.attention.idle:  # it may have waited for this
                    mate.attention.stir(event.seq)
        for agent in self._concerned(event):
            if event.seq > agent.attention.thought:  # else its thought was made on it
                agent.attention.heard(event.seq)
                self._give_up(agent)

    def _concerned(self, event: Event) -> list[Agent]:
        """Those whose plans stand on what an event has changed."""
        one, shared = self._agents.get(event.agent), self._settings.shared_memory
        match event.kind:
            case "world":
                return self._mates(event.agent) if one is None else [one]
            case "human":
                return [] if one is None else [one]
            case "goal" | "chat" if shared:
                return self._mates(event.agent)
            case "skill_start" if shared:  # what a mate takes up, another need not do
                return [mate for mate in self._mates(event.agent) if mate.thinking is not None or mate.slot.waiting]
            case _:
                return []

    def _mates(self, name: str) -> list[Agent]:
        return [agent for other, agent in self._agents.items() if other != name]

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
        seen = await self._world.observe(agent.name)

        async def ask(chat: Chat, messages: Sequence[Mapping[str, str]]) -> str | None:
            return await self._thinker.react(agent, chat, messages, seq)

        call = await agent.reactor.react(happening, seen, agent.thought, agent.library, ask)
        if call is None or agent.reflexed > seq or agent.done or agent.gone:
            return
        agent.reflexed = seq
        await self._session.log("reflex", agent.name, {"on": happening.kind, "skill": call.to_json()})
        await self._actor.hand_over(agent, [PlannedCall(call, "reflex", seq, happening.kind)], interrupt=True)
        agent.attention.heard(seq)
        if agent.thinking is not None and agent.attention.thought < seq:  # else it was begun again on this very news
            agent.thinking.cancel()
