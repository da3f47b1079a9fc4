"""The layer-wise merge as a Markov decision process. Knows no model: it builds an architecture, a function scores it.

Source: RMM, section 3.2, with the corrections of ``docs/rmm.md``. Published variant: the observation is
the matrix of counts alone, no action is masked. Corrected variant: the position is observed, actions that would leave
the model are masked. Both see only *how often* each block was taken, never in which order: two episodes that end in the
same counts can be different models.
"""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from burnish.merge.rmm.architecture import Architecture, Block, Blocks
from burnish.merge.rmm.reward import BACK_AT_START

Observation = NDArray[np.float32]


def unscored(_architecture: Architecture) -> float:
    """For searches that score finished episodes in batches."""
    return 0.0


class BlockEnv(gym.Env[Observation, np.int64]):
    """Take a candidate's block, skip the layer, or go back one.

    Actions: ``0 .. K-1`` take, ``K`` skip, ``K + 1`` back (the last two only with ``skip_and_back``). An episode ends
    after the last layer, with -10 on ``back`` before the first one, or, truncated, after 4 L steps: what is missing is
    then taken from the candidate taken last.

    Args:
        lengths: layers of each stack (encoder, decoder), passed through as one sequence.
        candidates: K.
        score: reward of the finished architecture.
        corrected: observe the position and mask illegal actions.
        skip_and_back: offer both actions.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - gymnasium's own class attribute

    def __init__(
        self,
        lengths: tuple[int, ...],
        candidates: int,
        score: Callable[[Architecture], float] = unscored,
        *,
        corrected: bool = True,
        skip_and_back: bool = True,
    ) -> None:
        self.layers = [(side, layer) for side, length in enumerate(lengths) for layer in range(length)]
        self.candidates = candidates
        self.score = score
        self.corrected = corrected
        self.skip, self.back = candidates, candidates + 1
        self.step_limit = 4 * len(self.layers)
        size = len(self.layers) * candidates + (len(self.layers) if corrected else 0)
        self.observation_space = gym.spaces.Box(0.0, float(self.step_limit), (size,), np.float32)
        self.action_space = gym.spaces.Discrete(candidates + 2 * skip_and_back)
        self._start()

    def _start(self) -> None:
        self.counts = np.zeros((len(self.layers), self.candidates), np.float32)
        self.position = 0
        self.steps = 0
        self._taken: list[Block] = []
        self.failed = False

    def reset(
        self,
        *,
        seed: int | None = None,
        options: dict[str, Any] | None = None,  # noqa: ARG002 - gymnasium passes it by keyword
    ) -> tuple[Observation, dict[str, Any]]:
        """Back to the first layer with nothing taken."""
        super().reset(seed=seed)
        self._start()
        return self._observation(), {}

    def step(self, action: int | np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One action; the reward is 0 until the episode ends."""
        self.steps += 1
        if action < self.candidates:
            self._take(int(action))
        elif action == self.skip:
            self.position += 1
        else:
            self.position -= 1
        if self.position < 0:
            self.position, self.failed = 0, True
            return self._observation(), BACK_AT_START, True, False, {}
        terminated = self.position == len(self.layers)
        truncated = not terminated and self.steps >= self.step_limit
        while truncated and self.position < len(self.layers):
            self._take(self._taken[-1].candidate if self._taken else 0)
        reward = self.score(self.architecture()) if terminated or truncated else 0.0
        return self._observation(), reward, terminated, truncated, {}

    def _take(self, candidate: int) -> None:
        self.counts[self.position, candidate] += 1
        self._taken.append(Block(*self.layers[self.position], candidate))
        self.position += 1

    def architecture(self) -> Blocks:
        """What has been taken so far. Stepping back over the boundary adds blocks to the encoder, never decoder
        blocks."""
        return Blocks(Blocks(tuple(self._taken)).ordered())

    def action_masks(self) -> NDArray[np.bool_]:
        """True where an action is legal: never back at the first layer."""
        mask = np.ones(self.action_space.n, bool)
        if self.corrected and self.position == 0 and len(mask) > self.back:
            mask[self.back] = False
        return mask

    def _observation(self) -> Observation:
        if not self.corrected:
            return self.counts.flatten()
        where = np.zeros(len(self.layers), np.float32)
        if self.position < len(self.layers):
            where[self.position] = 1
        return np.concatenate([self.counts.flatten(), where])
