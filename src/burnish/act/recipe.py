"""What a user may set for agents in a world. Knows no event loop and no model: reading a recipe stays instant."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from burnish.core.errors import UserError
from burnish.core.packages import Need
from burnish.core.recipe import Recipe, Settings


class EndpointSettings(Settings):
    """An OpenAI-compatible chat endpoint."""

    url: str = "http://127.0.0.1:8321/v1"
    """Base URL, ending in /v1; `burnish act llm` serves one, `policy:NAME` is a scripted policy in this process."""
    model: str = "default"
    """The model's name at the endpoint."""
    key_variable: str | None = None
    """Environment variable that holds the key; none for servers that need no key."""
    timeout: float = Field(default=60.0, gt=0)
    """Seconds for one call, all of it."""
    retries: int = Field(default=2, ge=0)
    """New attempts after a refused connection, 429 or 5xx, with back-off."""
    temperature: float = Field(default=0.0, ge=0)
    """Of sampling."""
    max_tokens: int = Field(default=512, ge=1)
    """The longest reply."""
    stream: bool = True
    """Read the reply as it is written; reflexes may see the unfinished thought."""
    token_budget: int = Field(default=10_000_000, ge=1)
    """Prompt and reply tokens of all agents together."""
    money_budget: float = Field(default=1e9, ge=0)
    """In the currency of the prices."""
    price_in: float = Field(default=0.0, ge=0)
    """Price of a million prompt tokens."""
    price_out: float = Field(default=0.0, ge=0)
    """Price of a million reply tokens."""
    seconds_per_token: float = Field(default=0.0, ge=0)
    """With `clock: tokens`, what one reply token costs on the clock."""
    latency: float = Field(default=8.0, ge=0)
    """With `policy:NAME`, seconds of the clock that one call takes."""

    def key(self) -> str:
        """The key.

        Raises:
            UserError: the environment variable is empty.
        """
        if self.key_variable is None:
            return "none"
        found = os.environ.get(self.key_variable, "")
        if not found:
            raise UserError(
                f"planner.key_variable: the environment variable {self.key_variable} is empty; set it to the key"
            )
        return found


class ReflexSettings(Settings):
    """A rule that acts without a model: when this happens, do that at once."""

    event: str | None = None
    """Kind of happening (damage, chat, ...); none: each of them."""
    where: str | None = None
    """Key of the observation to look at, dotted: `health`, `threat.distance`."""
    below: float | None = None
    """True if that value is below this."""
    above: float | None = None
    """True if that value is above this."""
    skill: str
    """Skill to run."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Its arguments."""

    @model_validator(mode="after")
    def _complete(self) -> ReflexSettings:
        if (self.where is None) != (self.below is None and self.above is None):
            raise ValueError("give `where` together with `below` or `above`, or neither")
        if self.event is None and self.where is None:
            raise ValueError("give `event` or `where`; a reflex without a condition would never stop")
        return self


class AgentSettings(Settings):
    """One agent."""

    name: str = Field(pattern=r"^[A-Za-z0-9_]{1,16}$")
    """Its name in the world and in prompts."""
    goal: str
    """What it is told to reach, in words."""
    model: EndpointSettings | None = None
    """Its own planner; default: the team's."""


class Limits(Settings):
    """What ends a run at the latest, cleanly."""

    seconds: float = Field(default=1200.0, gt=0)
    """Of the run's clock."""
    steps: int = Field(default=10_000, ge=1)
    """Skills started, all agents together."""
    tokens: int = Field(default=10_000_000, ge=1)
    """Prompt and reply tokens of this run."""


class RuntimeSettings(Settings):
    """How agents think and act."""

    mode: Literal["parallel", "serial", "reactive"] = "parallel"
    """parallel: plan while acting (the paper's). serial: plan, act, plan, act. reactive: reflexes alone."""
    clock: Literal["wall", "virtual", "tokens"] = "wall"
    """virtual and tokens jump over waiting: for worlds simulated in this process."""
    planning: Literal["events", "continuous"] = "events"
    """When a planner in parallel mode thinks. events: when a skill begins, when nothing is left to do, or when the
    world, a teammate or a person changed what the plan stands on. continuous: always, as published."""
    horizon: int = Field(default=1, ge=1, le=64)
    """Steps of a plan: 1 as published. With more, a reply says what comes after its first skill too."""
    interrupts: bool = True
    """Whether plans may stop a running skill."""
    shared_memory: bool = True
    """Whether agents see their team's observations and messages."""
    staleness: Literal["always", "drop_if_precondition_fails", "replan"] = "drop_if_precondition_fails"
    """A plan made on an old snapshot: run it, drop it if its precondition fails now, or replan if anything happened."""
    reactive: Literal["rule", "llm", "none"] = "rule"
    """Who acts between plans: the rules under `reflexes`, a second (small, fast) model, or nobody."""
    reflexes: list[ReflexSettings] = Field(default_factory=list)
    """The rules, first match first."""
    reactor: EndpointSettings | None = None
    """With `reactive: llm`, the second model."""
    cleanup_seconds: float = Field(default=2.0, gt=0)
    """The longest that the clean-up of one skill may take."""
    tracing: Literal["none", "console", "otlp"] = "none"
    """Where OpenTelemetry spans go: the terminal, or a collector (OTLP over HTTP)."""
    limits: Limits = Field(default_factory=Limits)
    """What ends the run at the latest."""

    @model_validator(mode="after")
    def _complete(self) -> RuntimeSettings:
        if (self.reactive == "llm") != (self.reactor is not None):
            raise ValueError("`reactor` names the second model of `reactive: llm`, and only of it")
        if self.planning == "continuous" and self.horizon > 1:
            raise ValueError("planning: continuous is as published, one step a plan: set horizon: 1")
        return self


Items = dict[str, Annotated[int, Field(ge=1)]]


class GoalSettings(Settings):
    """What a team in craftworld is to reach: all that is set here. Nothing set: a run ends by its limits."""

    items: Items = Field(default_factory=dict)
    """Items and counts that each agent is to hold."""
    team_items: Items = Field(default_factory=dict)
    """Items and counts that the team together is to hold."""
    boss: str | None = None
    """A boss that is there and is to be dead: elder_guardian, wither, ender_dragon."""
    opponents: bool = False
    """Whether all other teams are to be dead."""


class OrderSettings(Settings):
    """A person in craftworld who changes the team's order: what is missing of one item is wanted of another instead."""

    every: float = Field(default=60.0, gt=0)
    """Seconds between two changes."""
    items: list[str] = Field(min_length=1)
    """What may be wanted instead."""


class OpponentSettings(Settings):
    """A second team in craftworld, played by a scripted policy."""

    agents: list[str] = Field(min_length=1)
    """Their names."""
    policy: str = "fighter"
    """The policy's name."""
    latency: float = Field(default=8.0, ge=0)
    """Seconds of the clock that one of its calls takes."""
    mode: Literal["parallel", "serial"] = "serial"
    """How they think and act."""


class CraftworldSettings(Settings):
    """The embedded world; its rules are in ``docs/craftworld.md``."""

    kind: Literal["craftworld"] = "craftworld"
    """The embedded world."""
    size: int = Field(default=64, ge=32, le=4096)
    """Cells on a side of the square map."""
    creatures: Literal["all", "peaceful", "none"] = "all"
    """all: animals, hunters in their lairs and at night; peaceful: animals alone."""
    day_seconds: float = Field(default=1200.0, gt=0)
    """Of a day and its night."""
    starts_at: float = Field(default=0.0, ge=0, lt=1)
    """Share of the day at the start; night is .5 to .95."""
    start: Items = Field(default_factory=dict)
    """What each agent has at the start."""
    chest: Items = Field(default_factory=dict)
    """What lies in a chest beside each team's start; none: no chest."""
    respawn: bool = True
    """Whether the dead come back after 10 s, without what they carried."""
    boss_health: float | None = Field(default=None, gt=0)
    """Of the boss, in points; none: the game's."""
    goal: GoalSettings = Field(default_factory=GoalSettings)
    """What is to be reached."""
    orders: OrderSettings | None = None
    """A person who changes what `goal.team_items` asks for; none: it stays."""
    opponents: OpponentSettings | None = None
    """A second team, against the recipe's."""

    @model_validator(mode="after")
    def _ordered(self) -> CraftworldSettings:
        if self.orders is not None and (not self.goal.team_items or self.opponents is not None):
            raise ValueError("orders: change what `goal.team_items` asks of one team; set those, and no `opponents`")
        return self


class ItemGoalSettings(Settings):
    """What a team in Minecraft is to reach: all that is set here. Nothing set: a run ends by its limits."""

    items: Items = Field(default_factory=dict)
    """Items and counts that each agent is to hold."""
    team_items: Items = Field(default_factory=dict)
    """Items and counts that the team together is to hold."""


class MinecraftSettings(Settings):
    """A Minecraft server, Java edition; needs Node. See ``docs/minecraft.md``."""

    kind: Literal["minecraft"] = "minecraft"
    """A Minecraft server."""
    host: str = Field(default="127.0.0.1", min_length=1)
    """The server's address."""
    port: int = Field(default=25565, ge=1, le=65535)
    """The server's port."""
    version: str = Field(default="1.20.4", pattern=r"^[0-9]+(\.[0-9]+)+$")
    """The game's version on the server."""
    auth: Literal["offline", "microsoft"] = "offline"
    """offline: for servers in offline mode; microsoft: each agent signs in, once."""
    command_seconds: float = Field(default=120.0, gt=0)
    """The longest that one command may take."""
    craft_command: str | None = Field(default=None, pattern=r"^[a-z_]+$")
    """For servers without crafting windows: a chat command that crafts. None: the game's own crafting."""
    goal: ItemGoalSettings = Field(default_factory=ItemGoalSettings)
    """What is to be reached."""


class OwnWorldSettings(Settings):
    """A world of the user's own."""

    kind: Literal["own"] = "own"
    """A world of your own."""
    function: str
    """`module:function`, called with the recipe; returns the world and a list of its skills."""
    simulated: bool = False
    """The world lives in this process and repeats exactly: a killed run is replayed, not taken to have gone on."""


class TeamRecipe(Recipe):
    """Agents that plan while they act, in a world. Source: Parallelized Planning-Acting (AAMAS 2026)."""

    method: str = "planning_acting"
    """What runs."""
    agents: list[AgentSettings] = Field(min_length=1)
    """The team."""
    planner: EndpointSettings = Field(default_factory=EndpointSettings)
    """The team's chat model."""
    runtime: RuntimeSettings = Field(default_factory=RuntimeSettings)
    """How they think and act."""
    memory: str = Field(default="sqlite", pattern=r"^(sqlite$|rediss?://)")
    """Where the team's memory lives: `sqlite` (a file of the run), or redis://HOST:PORT/DB."""
    world: Annotated[CraftworldSettings | MinecraftSettings | OwnWorldSettings, Field(discriminator="kind")] = Field(
        default_factory=CraftworldSettings
    )
    """Where they live."""

    @property
    def needed_packages(self) -> tuple[Need, ...]:
        """Redis, for a memory there."""
        redis = () if self.memory == "sqlite" else (Need(("redis",), "act"),)
        return (*super().needed_packages, *redis)

    @model_validator(mode="after")
    def _real_time(self) -> TeamRecipe:
        if isinstance(self.world, MinecraftSettings) and self.runtime.clock != "wall":
            raise ValueError("runtime.clock: a Minecraft server keeps its own time; write `wall`")
        return self

    @model_validator(mode="after")
    def _names(self) -> TeamRecipe:
        names = [agent.name for agent in self.agents]
        if isinstance(self.world, CraftworldSettings) and self.world.opponents is not None:
            names += self.world.opponents.agents
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"agents: two are called {twice[0]}; every agent needs a name of its own")
        return self
