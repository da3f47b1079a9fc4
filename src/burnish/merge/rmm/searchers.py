"""Proposes architectures and learns from their rewards. One small interface, five searches; none touches a model.

``ask`` a batch, have it scored by anything, ``tell`` the rewards (higher is better) before the next ``ask``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from burnish.merge.rmm.agent import Agent, Episode, MaskedPPO, PublishedPPO
from burnish.merge.rmm.architecture import Architecture, Block, Blocks, Scales
from burnish.merge.rmm.environment import BlockEnv
from burnish.merge.rmm.recipe import SearchRecipe

Table = NDArray[np.float64]


@runtime_checkable
class Searcher(Protocol):
    """A search over architectures.

    Attributes:
        batch: how many proposals it wants scored at a time.
    """

    batch: int

    def ask(self, count: int) -> list[Architecture | None]:
        """``count`` proposals; None is an episode that failed and scores -10 without an evaluation."""
        ...

    def tell(self, rewards: Sequence[float]) -> None:
        """Rewards of what was asked last, in its order."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From the checkpoint."""
        ...


@dataclass(frozen=True)
class Space:
    """What can be chosen.

    Attributes:
        lengths: layers of each stack.
        candidates: K, for blocks.
        warm: where to start: candidate of every layer [layers, 1], or scales [layers, experts].
        scales: whether ``warm`` and every table below are scales; else rows are candidates.
        per_model: all layers share one row.
        max_scale: upper end of random scales.
    """

    lengths: tuple[int, ...]
    candidates: int
    warm: Table
    scales: bool
    per_model: bool = False
    max_scale: float = 1.2

    @property
    def layers(self) -> int:
        """Over all stacks."""
        return sum(self.lengths)

    @property
    def rows(self) -> int:
        """Rows that can differ."""
        return 1 if self.per_model else self.layers

    def architecture(self, table: Table) -> Architecture:
        """The architecture of a table of ``rows`` rows."""
        if self.scales:
            full = np.broadcast_to(table, (self.layers, table.shape[1]))
            return Scales(tuple(tuple(float(v) for v in row) for row in full))
        places = [(side, layer) for side, length in enumerate(self.lengths) for layer in range(length)]
        return Blocks(tuple(Block(*place, int(row[0])) for place, row in zip(places, table, strict=True)))

    def start(self) -> Table:
        """The warm start, one row for each that can differ."""
        return self.warm[: self.rows].copy()


class RandomSearch:
    """Every layer's candidate uniform, or every scale uniform in [0, max_scale]."""

    batch = 8

    def __init__(self, space: Space, rng: np.random.Generator) -> None:
        self.space = space
        self.rng = rng

    def ask(self, count: int) -> list[Architecture | None]:
        """Independent draws."""
        shape = self.space.start().shape
        if self.space.scales:
            return [self.space.architecture(self.rng.uniform(0, self.space.max_scale, shape)) for _ in range(count)]
        return [
            self.space.architecture(self.rng.integers(self.space.candidates, size=shape).astype(float))
            for _ in range(count)
        ]

    def tell(self, rewards: Sequence[float]) -> None:
        """Nothing to learn."""

    def state_dict(self) -> dict[str, Any]:
        """Empty: the generator belongs to the run."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to load."""


class GreedySearch:
    """From the warm start, one layer after the other takes its best alternative; passes repeat until the budget is
    spent.

    Alternatives: every other candidate, or one expert's scale times 0, 1/2 or 3/2.
    """

    factors = (0.0, 0.5, 1.5)

    def __init__(self, space: Space) -> None:
        self.space = space
        self.table = space.start()
        self.reward = -np.inf
        self.row = 0
        self.tried = 0
        self.batch = 1 if space.layers == 0 else len(self._alternatives())
        self._asked: list[Table] = []
        self._best: tuple[float, Table] = (-np.inf, self.table)

    def _alternatives(self) -> list[Table]:
        tables = []
        if self.space.scales:
            for expert in range(self.table.shape[1]):
                for factor in self.factors:
                    changed = self.table.copy()
                    changed[self.row, expert] *= factor
                    tables.append(changed)
        else:
            for candidate in range(self.space.candidates):
                if candidate != self.table[self.row, 0]:
                    changed = self.table.copy()
                    changed[self.row, 0] = candidate
                    tables.append(changed)
        return tables

    def ask(self, count: int) -> list[Architecture | None]:
        """The start, alone, then the alternatives of one layer (all of them, if the count allows)."""
        if self.reward == -np.inf:
            self._asked = [self.table]
        else:
            self._asked = self._alternatives()[self.tried : self.tried + count]
        return [self.space.architecture(table) for table in self._asked]

    def tell(self, rewards: Sequence[float]) -> None:
        """Moves on to the next layer once all alternatives of this one are known."""
        if self.reward == -np.inf:
            self.reward = rewards[0]
            return
        self._best = max([self._best, *zip(rewards, self._asked, strict=True)], key=lambda pair: pair[0])
        self.tried += len(rewards)
        if self.tried < len(self._alternatives()):
            return
        if self._best[0] > self.reward:
            self.reward, self.table = self._best
        self._best, self.tried = (-np.inf, self.table), 0
        self.row = (self.row + 1) % self.space.rows

    def state_dict(self) -> dict[str, Any]:
        """Where it stands."""
        started = self.reward > -np.inf
        return {
            "table": self.table,
            "reward": float(self.reward) if started else None,
            "row": self.row,
            "tried": self.tried,
            "best": [float(self._best[0]) if self.tried else None, self._best[1]],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""
        self.table = np.asarray(state["table"], dtype=float)
        self.reward = -np.inf if state["reward"] is None else float(state["reward"])
        self.row, self.tried = int(state["row"]), int(state["tried"])
        reward, table = state["best"]
        self._best = (-np.inf if reward is None else float(reward), np.asarray(table, dtype=float))


class CMASearch:
    """CMA-ES over scales, or over scores of every candidate of every layer whose largest is taken.

    ``cma`` can only be stored by pickle, which checkpoints never use: its state is the list of rewards it was told,
    replayed on loading with the same seed.
    """

    def __init__(self, space: Space, sigma: float, rng: np.random.Generator) -> None:
        self.space = space
        self.seed = int(rng.integers(1, 2**31))
        if space.scales:
            self._start, self.sigma = space.start(), sigma
        else:
            self._start, self.sigma = np.zeros((space.rows, space.candidates)), 1.0
            self._start[np.arange(space.rows), space.start()[:, 0].astype(int)] = 1.0
        self.told: list[list[float]] = []
        self._restart()

    def _restart(self) -> None:
        import cma

        normal = np.random.default_rng(self.seed)
        options = {
            "seed": float("nan"),  # leave numpy's global generator alone
            "randn": lambda *shape: normal.standard_normal(shape),
            "verbose": -9,
            "tolfun": 0,
            "tolfunhist": 0,
            "tolx": 0,
        }
        flat = self._start.ravel()
        # CMA-ES needs two dimensions; a single scale gets a second one without effect
        self._idle = len(flat) < 2
        self._es = cma.CMAEvolutionStrategy(np.append(flat, 0.0) if self._idle else flat, self.sigma, options)
        self.batch = int(self._es.popsize)
        self._asked: list[Table] = []

    def ask(self, count: int) -> list[Architecture | None]:
        """A generation; its first ``count`` members if the budget allows no more."""
        self._asked = self._es.ask()
        return [self._decode(x) for x in self._asked[:count]]

    def _decode(self, x: Table) -> Architecture:
        table = np.asarray(x)[: self._start.size].reshape(self._start.shape)
        return self.space.architecture(table if self.space.scales else table.argmax(1, keepdims=True).astype(float))

    def tell(self, rewards: Sequence[float]) -> None:
        """A whole generation moves the distribution; a cut one (the budget's last) is left out."""
        if len(rewards) == len(self._asked):
            self._es.tell(self._asked, [-reward for reward in rewards])
            self.told.append([float(reward) for reward in rewards])

    def state_dict(self) -> dict[str, Any]:
        """Seed and rewards of every generation."""
        return {"seed": self.seed, "told": [list(rewards) for rewards in self.told]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replays the generations."""
        self.seed = int(state["seed"])
        self.told = []
        self._restart()
        for rewards in state["told"]:
            self.ask(len(rewards))
            self.tell([float(reward) for reward in rewards])


class PolicySearch:
    """Episodes of an environment, played by an agent, scored together, learned from together."""

    def __init__(self, env: BlockEnv, agent: Agent, batch: int) -> None:
        self.env = env
        self.agent = agent
        self.batch = batch
        self._episodes: list[Episode] = []

    def ask(self, count: int) -> list[Architecture | None]:
        """Plays ``count`` episodes."""
        self._episodes = []
        proposals: list[Architecture | None] = []
        for _ in range(count):
            episode = Episode()
            observation, _ = self.env.reset()
            ended = False
            while not ended:
                action = self.agent.act(observation, self.env.action_masks(), episode)
                observation, _, terminated, truncated, _ = self.env.step(action)
                ended = terminated or truncated
            self._episodes.append(episode)
            proposals.append(None if self.env.failed else self.env.architecture())
        return proposals

    def tell(self, rewards: Sequence[float]) -> None:
        """One update of the agent."""
        self.agent.update(self._episodes, list(rewards))

    def state_dict(self) -> dict[str, Any]:
        """The agent's."""
        return self.agent.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The agent's."""
        self.agent.load_state_dict(state)


def make_searcher(recipe: SearchRecipe, space: Space, rng: np.random.Generator) -> Searcher:
    """The search that a recipe names."""
    settings = recipe.ppo
    match recipe.search:
        case "random":
            return RandomSearch(space, rng)
        case "greedy":
            return GreedySearch(space)
        case "cma":
            return CMASearch(space, recipe.sigma, rng)
        case "rmm_published":
            env = BlockEnv(space.lengths, space.candidates, corrected=False, skip_and_back=settings.skip_and_back)
            return PolicySearch(env, PublishedPPO(env, settings, rng), settings.episodes_per_update)
        case "ppo":
            env = BlockEnv(space.lengths, space.candidates, corrected=True, skip_and_back=settings.skip_and_back)
            agent = MaskedPPO(env, settings, rng, int(space.warm[0, 0]))
            return PolicySearch(env, agent, settings.episodes_per_update)
