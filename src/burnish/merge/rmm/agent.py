"""The two policies of the search: PPO exactly as RMM was released, and MaskablePPO. Know environments, not models.

Both draw actions from a numpy generator that the run checkpoints, so that a resumed search goes on bit for bit.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from burnish.merge.rmm.environment import BlockEnv
from burnish.merge.rmm.recipe import PPOSettings
from burnish.merge.rmm.reward import discounted_returns


@dataclass
class Episode:
    """What the policy saw, did and thought, step by step."""

    observations: list[NDArray[np.float32]] = field(default_factory=list)
    actions: list[int] = field(default_factory=list)
    masks: list[NDArray[np.bool_]] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


@runtime_checkable
class Agent(Protocol):
    """A policy that acts and learns from finished episodes."""

    def act(self, observation: NDArray[np.float32], mask: NDArray[np.bool_], episode: Episode) -> int:
        """Samples an action and writes the step into the episode."""
        ...

    def update(self, episodes: list[Episode], rewards: list[float]) -> None:
        """Learns from the final reward of every episode."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From the checkpoint."""
        ...


def returns_and_advantages(
    episodes: list[list[float]], values: Float[Tensor, " steps"], gamma: float
) -> tuple[Float[Tensor, " steps"], Float[Tensor, " steps"]]:
    """Monte-Carlo returns normalised over the whole update, and normalised return - V (RMM's released PPO).

    Args:
        episodes: rewards of every step of every episode.
        values: the critic's estimate at each step.
        gamma: discount.
    """
    flat = np.concatenate([discounted_returns(rewards, gamma) for rewards in episodes])
    returns = torch.tensor(flat, dtype=torch.float32)
    returns = (returns - returns.mean()) / (returns.std() + 1e-7)
    return returns, returns - values


class PublishedPPO:
    """Full batch, normalised Monte-Carlo returns, no gradient clipping, a learning rate each for actor and critic.

    Source: RMM's released code. No action is masked: stepping back before the first layer is learned to be bad.

    Args:
        env: gives the sizes.
        settings: learning rates, clip, epochs, weights.
        rng: first weights and every action.
    """

    def __init__(self, env: BlockEnv, settings: PPOSettings, rng: np.random.Generator) -> None:
        self.settings = settings
        self.rng = rng
        with isolated(int(rng.integers(2**31))):
            self.actor = _mlp(env.observation_space.shape[0], int(env.action_space.n))
            self.critic = _mlp(env.observation_space.shape[0], 1)
        groups = [
            {"params": self.actor.parameters(), "lr": settings.actor_lr},
            {"params": self.critic.parameters(), "lr": settings.critic_lr},
        ]
        self.optimizer = torch.optim.Adam(groups)

    def act(self, observation: NDArray[np.float32], mask: NDArray[np.bool_], episode: Episode) -> int:
        """Samples from the policy; the mask is not looked at."""
        with torch.inference_mode():
            seen = torch.from_numpy(observation)
            log_probabilities = torch.log_softmax(self.actor(seen), -1).double().numpy()
            value = float(self.critic(seen))
        action = _sample(np.exp(log_probabilities), self.rng)
        _record(episode, observation, action, mask, float(log_probabilities[action]), value)
        return action

    def update(self, episodes: list[Episode], rewards: list[float]) -> None:
        """``epochs`` clipped steps on all episodes at once."""
        observations = torch.from_numpy(np.stack([seen for e in episodes for seen in e.observations]))
        actions = torch.tensor([action for e in episodes for action in e.actions])
        old = torch.tensor([log_prob for e in episodes for log_prob in e.log_probs])
        values = torch.tensor([value for e in episodes for value in e.values])
        steps = [[0.0] * (len(e.actions) - 1) + [r] for e, r in zip(episodes, rewards, strict=True)]
        returns, advantages = returns_and_advantages(steps, values, self.settings.gamma)
        clip = self.settings.clip
        for _ in range(self.settings.epochs):
            log_probs = torch.log_softmax(self.actor(observations), -1)
            taken = log_probs.gather(1, actions[:, None])[:, 0]
            ratio = (taken - old).exp()
            surrogate = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
            entropy = -(log_probs.exp() * log_probs).sum(-1)
            error = (self.critic(observations)[:, 0] - returns).square()
            loss = (-surrogate + self.settings.value_weight * error - self.settings.entropy_weight * entropy).mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Weights and Adam's moments."""
        return {
            "actor": dict(self.actor.state_dict()),
            "critic": dict(self.critic.state_dict()),
            "adam": _moments(self.optimizer),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""
        self.actor.load_state_dict(state["actor"])
        self.critic.load_state_dict(state["critic"])
        _load_moments(self.optimizer, state["adam"])


class MaskedPPO:
    """sb3-contrib's MaskablePPO, fed finished episodes: they are scored in batches, in parallel, after acting.

    Args:
        env: gives the sizes.
        settings: see ``PPOSettings``; ``critic_lr`` plays no part.
        rng: first weights and every action.
        warm: action that starts with probability ``settings.warm_start``.
    """

    def __init__(self, env: BlockEnv, settings: PPOSettings, rng: np.random.Generator, warm: int) -> None:
        from sb3_contrib import MaskablePPO
        from stable_baselines3.common.logger import Logger

        self.rng = rng
        with isolated(int(rng.integers(2**31))):
            self.ppo = MaskablePPO(
                "MlpPolicy",
                env,
                learning_rate=settings.actor_lr,
                n_steps=1,  # the buffer is made anew for every update, as long as its episodes
                batch_size=None,
                n_epochs=settings.epochs,
                gamma=settings.gamma,
                gae_lambda=1.0,
                clip_range=settings.clip,
                ent_coef=settings.entropy_weight,
                vf_coef=settings.value_weight,
                device="cpu",
            )
        self.ppo.set_logger(Logger(None, []))
        if settings.warm_start > 0:
            odds = settings.warm_start / (1 - settings.warm_start)
            with torch.no_grad():
                self.ppo.policy.action_net.bias[warm] = float(np.log(odds * (int(env.action_space.n) - 1)))
        self._seen = [0.0, 0.0, 0.0]  # count, mean, sum of squared deviations of rewards so far

    def act(self, observation: NDArray[np.float32], mask: NDArray[np.bool_], episode: Episode) -> int:
        """Samples among the legal actions."""
        with torch.inference_mode():
            seen = torch.from_numpy(observation)[None]
            distribution = self.ppo.policy.get_distribution(seen, action_masks=mask)
            action = _sample(distribution.distribution.probs[0].double().numpy(), self.rng)
            log_prob = distribution.log_prob(torch.tensor([action]))
            value = float(self.ppo.policy.predict_values(seen))
        _record(episode, observation, action, mask, float(log_prob), value)
        return action

    def update(self, episodes: list[Episode], rewards: list[float]) -> None:
        """One MaskablePPO update; rewards are standardised by all seen so far, so that the critic's scale is 1."""
        for reward in rewards:
            count, mean, squares = self._seen
            delta = reward - mean
            mean += delta / (count + 1)
            self._seen = [count + 1, mean, squares + delta * (reward - mean)]
        spread = max((self._seen[2] / self._seen[0]) ** 0.5, 1e-6)
        self.ppo.rollout_buffer = self._buffer(episodes, [(reward - self._seen[1]) / spread for reward in rewards])
        with isolated(int(self.rng.integers(2**31))):  # sb3 shuffles with numpy's global generator
            self.ppo.train()

    def _buffer(self, episodes: list[Episode], rewards: list[float]) -> Any:
        from sb3_contrib.common.maskable.buffers import MaskableRolloutBuffer

        ppo = self.ppo
        steps = sum(len(e.actions) for e in episodes)
        buffer = MaskableRolloutBuffer(
            steps, ppo.observation_space, ppo.action_space, ppo.device, gamma=ppo.gamma, gae_lambda=ppo.gae_lambda
        )
        for episode, reward in zip(episodes, rewards, strict=True):
            for t, action in enumerate(episode.actions):
                buffer.add(
                    episode.observations[t][None],
                    np.array([[action]]),
                    np.array([reward if t == len(episode.actions) - 1 else 0.0]),
                    np.array([t == 0]),
                    torch.tensor([episode.values[t]]),
                    torch.tensor([episode.log_probs[t]]),
                    action_masks=episode.masks[t][None],
                )
        buffer.compute_returns_and_advantage(torch.zeros(1), np.array([True]))
        return buffer

    def state_dict(self) -> dict[str, Any]:
        """Weights, Adam's moments, reward statistics."""
        policy = self.ppo.policy
        return {"policy": dict(policy.state_dict()), "adam": _moments(policy.optimizer), "seen": list(self._seen)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""
        self.ppo.policy.load_state_dict(state["policy"])
        _load_moments(self.ppo.policy.optimizer, state["adam"])
        self._seen = [float(v) for v in state["seen"]]


def _mlp(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outputs))


def _sample(probabilities: NDArray[np.float64], rng: np.random.Generator) -> int:
    cumulative = np.cumsum(probabilities)
    return int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))


def _record(
    episode: Episode,
    observation: NDArray[np.float32],
    action: int,
    mask: NDArray[np.bool_],
    log_prob: float,
    value: float,
) -> None:
    episode.observations.append(observation)
    episode.actions.append(action)
    episode.masks.append(mask)
    episode.log_probs.append(log_prob)
    episode.values.append(value)


def _moments(optimizer: torch.optim.Optimizer) -> list[dict[str, Tensor]]:
    state = optimizer.state_dict()["state"]
    return [dict(state[number]) for number in sorted(state)]


def _load_moments(optimizer: torch.optim.Optimizer, moments: list[dict[str, Tensor]]) -> None:
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": dict(enumerate(moments)), "param_groups": groups})


@contextmanager
def isolated(seed: int) -> Iterator[None]:
    """Libraries that draw from the global generators draw from ``seed`` inside, and leave no trace outside."""
    python, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy_state)
