"""What a recipe's episode is played with: its world and skills, its agents with their planners, its memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from burnish.act.memory.log import Memory
from burnish.act.planner import Chat
from burnish.act.policies import Policy, policy_app
from burnish.act.recipe import (
    CraftworldSettings,
    EndpointSettings,
    MinecraftSettings,
    OpponentSettings,
    OwnWorldSettings,
    RuntimeSettings,
    TeamRecipe,
)
from burnish.act.reflexes import Rules, SmallModel
from burnish.act.runtime import Agent, Runtime
from burnish.act.skills.gathering import OBTAIN, STEPWISE
from burnish.act.skills.library import BadCall, Library
from burnish.act.skills.living import LIVING
from burnish.act.world import World
from burnish.act.worlds.own import OwnWorld
from burnish.core.errors import UserError, nearest, raised
from burnish.core.method import import_object

if TYPE_CHECKING:
    from burnish.act.worlds.craftworld.world import CraftWorld

HOME, AWAY = "team", "opponents"


@dataclass(frozen=True)
class EpisodeSetup:
    """The world in which a team plays, and the skills that it has there.

    Attributes:
        world: as the team sees it.
        library: its skills.
        simulated: whether a killed run is played again to where it was (see ``memory/replaying.py``).
        craft: the embedded world, if it is that.
    """

    world: World
    library: Library
    simulated: bool
    craft: CraftWorld | None = None


def set_up_episode(recipe: TeamRecipe) -> EpisodeSetup:
    """The recipe's world, new.

    Raises:
        UserError: settings that name what does not exist, or a function that returns something else.
    """
    names = [agent.name for agent in recipe.agents]
    if isinstance(recipe.world, CraftworldSettings):
        from burnish.act.worlds.craftworld.world import CraftWorld

        opponents = recipe.world.opponents
        teams = {HOME: names} | ({} if opponents is None else {AWAY: opponents.agents})
        world = CraftWorld(recipe.world, recipe.seed, teams)
        library = Library([OBTAIN, *STEPWISE, *LIVING])
        return EpisodeSetup(world.team(HOME), library, recipe.runtime.clock != "wall", world)
    if isinstance(recipe.world, MinecraftSettings):
        from burnish.act.worlds.minecraft.world import MinecraftWorld

        return EpisodeSetup(MinecraftWorld(recipe.world, names), Library([OBTAIN, *STEPWISE, *LIVING]), simulated=False)
    return _own(recipe, recipe.world)


def _own(recipe: TeamRecipe, settings: OwnWorldSettings) -> EpisodeSetup:
    function = import_object(settings.function, "world.function")
    try:
        made = function(recipe)
    except Exception as error:  # the user's own code
        raise UserError(f"world.function: `{settings.function}` raised {raised(error)}") from error
    if not isinstance(made, tuple) or len(made) != 2 or not isinstance(made[0], World):
        raise UserError(
            f"world.function: `{settings.function}` returned a {type(made).__name__}; return (world, [skills]), "
            "where the world has the methods observe, act and happenings"
        )
    world, skills = OwnWorld(settings.function, made[0]), made[1]
    return EpisodeSetup(world, Library(skills), settings.simulated and recipe.runtime.clock != "wall")


def find_policy(name: str) -> Policy:
    """The scripted policy that ``policy:NAME`` names: one of craftworld's, or ``module:function``.

    Raises:
        UserError: there is none.
    """
    if ":" in name:
        found: Policy = import_object(name, "planner.url")
        return found
    from burnish.act.worlds.craftworld.policies import POLICIES

    if name not in POLICIES:
        raise UserError(f"planner.url: there is no policy `{name}`; {nearest(name, POLICIES)}")
    return POLICIES[name]


def open_chat(settings: EndpointSettings) -> Chat:
    """A chat with an endpoint, or with a scripted policy in this process.

    Raises:
        UserError: no such policy, or the key is not set.
    """
    prefix, _, name = settings.url.partition("policy:")
    if prefix or not name:
        return Chat(settings)
    local = settings.model_copy(update={"url": "http://policy/v1", "key_variable": None})
    return Chat(local, policy_app(find_policy(name), settings.latency))


class AgentPool:
    """The agents of a team; those with the same endpoint share its chat and its budget.

    Args:
        recipe: what was asked.
        library: the world's skills.

    Raises:
        UserError: an endpoint or a reflex that cannot be.
    """

    def __init__(self, recipe: TeamRecipe, library: Library) -> None:
        self._chats: dict[str, Chat] = {}
        runtime = recipe.runtime
        reactor: Rules | SmallModel | None = None
        if runtime.reactive == "rule" and runtime.reflexes:
            try:
                reactor = Rules(runtime.reflexes, library)
            except BadCall as error:
                raise UserError(f"runtime.reflexes: {error}") from None
        elif runtime.reactor is not None:
            reactor = SmallModel(self._chat(runtime.reactor))
        plans = runtime.mode != "reactive"
        self.agents = [
            Agent(each.name, each.goal, library, self._chat(each.model or recipe.planner) if plans else None, reactor)
            for each in recipe.agents
        ]

    def _chat(self, settings: EndpointSettings) -> Chat:
        key = settings.model_dump_json()
        if key not in self._chats:
            self._chats[key] = open_chat(settings)
        return self._chats[key]

    async def close(self) -> None:
        """Close connections."""
        for chat in self._chats.values():
            await chat.close()


def opponent_runtime(craft: CraftWorld, settings: OpponentSettings, limits: RuntimeSettings, memory: Memory) -> Runtime:
    """The runtime of the second team."""
    library = Library([OBTAIN, *STEPWISE, *LIVING])
    chat = open_chat(EndpointSettings(url=f"policy:{settings.policy}", latency=settings.latency))
    agents = [Agent(name, "the other team dead", library, chat) for name in settings.agents]
    runtime = RuntimeSettings(
        mode=settings.mode,
        clock=limits.clock,
        planning=limits.planning,
        horizon=limits.horizon,
        limits=limits.limits,
    )
    return Runtime(runtime, craft.team(AWAY), memory, agents)


def open_memory(recipe: TeamRecipe, path: Path) -> Memory:
    """The team's memory: a file in the run's folder, or a log of the run's name on a Redis server."""
    if recipe.memory == "sqlite":
        from burnish.act.memory.sqlite import SQLiteMemory

        return SQLiteMemory(path / "artifacts" / "memory.sqlite")
    from burnish.act.memory.redis_streams import RedisMemory

    return RedisMemory(recipe.memory, path.resolve().name, blocking=recipe.runtime.clock != "wall")
