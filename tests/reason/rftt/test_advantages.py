"""Returns and baselines against values by hand and a slow reference."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from burnish.reason.rftt.advantages import (
    advantages,
    discounted_returns,
    group_rewards,
    masked_sums,
    normalise,
    sibling_advantages,
    token_kl,
)


def test_returns_with_a_penalty_by_hand() -> None:
    """Example 5 of the notes."""
    rewards, penalty = torch.tensor([[0.0, 0.5, 1.0]]), torch.tensor([[0.1, 0.2, 0.3]])
    found = discounted_returns(rewards - 0.01 * penalty, torch.ones(1, 3, dtype=torch.bool))
    assert torch.allclose(found, torch.tensor([[1.494, 1.495, 0.997]]))


def test_returns_are_discounted_a_token_and_padding_has_none() -> None:
    rewards = torch.tensor([[1.0, 2.0, 4.0, 9.0]])
    mask = torch.tensor([[True, True, True, False]])
    assert discounted_returns(rewards, mask, 0.5).tolist() == [[3.0, 4.0, 4.0, 0.0]]


def test_divergences_by_hand() -> None:
    own, reference = torch.tensor([[math.log(0.5)]]), torch.tensor([[math.log(0.25)]])
    assert token_kl(own, reference).item() == pytest.approx(math.log(2))
    assert token_kl(own, reference, "k3").item() == pytest.approx(0.193147, abs=1e-6)


def test_a_batch_is_normalised_over_its_tokens() -> None:
    values = torch.tensor([[1.0, 1.0, 9.0], [0.0, 9.0, 9.0]])
    mask = torch.tensor([[True, True, False], [True, False, False]])
    # mean 2/3, variance (1 + 1 + 0) / 3 - 4/9 = 2/9
    expected = torch.tensor([[1 / 3, 1 / 3, 0.0], [-2 / 3, 0.0, 0.0]]) / math.sqrt(2 / 9)
    assert torch.allclose(normalise(values, mask), expected)
    halves = masked_sums(values[:1], mask[:1]) + masked_sums(values[1:], mask[1:])  # as two processes would
    assert torch.equal(normalise(values[:1], mask[:1], halves), normalise(values, mask)[:1])
    assert normalise(torch.full((2, 3), 0.1), mask).abs().max() < 1e-6  # nothing to choose between
    assert normalise(values, torch.zeros_like(mask)).tolist() == [[0.0] * 3] * 2


def test_one_reward_a_completion_makes_the_group_baseline_grpo() -> None:
    rewards = torch.tensor([[0.0, 1.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.5], [0.0, 0.5]])
    at = torch.tensor([[False, True]] * 6)
    groups = torch.tensor([0, 0, 0, 0, 1, 1])
    found = group_rewards(rewards, at, groups)
    assert torch.allclose(found[:4, 1], torch.tensor([1.4997, -0.4999, -0.4999, -0.4999]), atol=1e-4)
    assert found[4:].abs().max() == 0
    assert found[:, 0].abs().max() == 0


def test_rewards_of_steps_are_normalised_over_all_steps_of_the_group() -> None:
    """DeepSeekMath's: rewards 1, 0 | 0 have mean 1/3 and deviation .57735; then the sum of those that follow."""
    rewards, at = torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([[True, True], [False, True]])
    mask, nodes = torch.ones(2, 2, dtype=torch.bool), torch.zeros(2, 2, dtype=torch.long)
    found = advantages("group", rewards, at, mask, groups=torch.zeros(2, dtype=torch.long), nodes=nodes, parents=[-1])
    high, low = 2 / 3 / 0.57735, -1 / 3 / 0.57735
    assert torch.allclose(found, torch.tensor([[high + low, low], [low, low]]), atol=1e-3)


def test_siblings_by_hand() -> None:
    """A question with the children A and B; A has the children C and D; B goes on alone to E.

    Completions A C = 1, A D = 0, B E = .5 and one that repeats A C and does not count. A is worth .5, B .5: none is
    better. Below A the children differ by 1. E is as good as B.
    """
    nodes = torch.tensor([[0, 0, 2, 2], [0, 0, 3, 9], [1, 4, 4, 4], [0, 0, 2, 2]])
    mask = torch.tensor([[True] * 4, [True, True, True, False], [True] * 4, [False] * 4])
    returns = torch.tensor([[1.0] * 4, [0.0] * 4, [0.5] * 4, [1.0] * 4])
    found = sibling_advantages(returns, nodes, mask, parents=[-1, -1, 0, 0, 1])
    assert found.tolist() == [[0, 0, 1, 1], [0, 0, -1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_a_node_is_worth_what_follows_from_it_on() -> None:
    """What the shared beginning earned is no merit of a child."""
    nodes = torch.tensor([[0, 1, 1], [0, 2, 2]])
    returns = torch.tensor([[1.25, 1.0, 0.5], [0.5, 0.25, 0.25]])  # .25 on the shared token, .5 inside of a child
    found = sibling_advantages(returns, nodes, torch.ones(2, 3, dtype=torch.bool), parents=[-1, 0, 0])
    assert found.tolist() == [[0.0, 0.75, 0.75], [0.0, -0.75, -0.75]]


def test_siblings_of_completions_that_share_nothing_are_rloo() -> None:
    returns = torch.tensor([[1.0], [0.0], [0.5], [3.0], [1.0]])
    nodes, mask = torch.arange(5).unsqueeze(1), torch.ones(5, 1, dtype=torch.bool)
    found = sibling_advantages(returns, nodes, mask, parents=[-1, -1, -1, -2, -2])
    assert torch.allclose(found.squeeze(1), torch.tensor([0.75, -0.75, 0.0, 2.0, -2.0]))


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4), min_size=1, max_size=8), st.randoms())
def test_siblings_as_a_slow_reference_has_them(walks: list[list[int]], draw: object) -> None:
    """Random trees given as walks from the question; the reference looks every value up anew."""
    paths = [[tuple(walk[: end + 1]) for end in range(len(walk))] for walk in walks]
    names = sorted({node for path in paths for node in path})
    parents = [names.index(name[:-1]) if len(name) > 1 else -1 for name in names]
    width = max(map(len, paths))
    nodes, mask = torch.zeros(len(paths), width, dtype=torch.long), torch.zeros(len(paths), width, dtype=torch.bool)
    rewards = [float(draw.randint(0, 4)) for _ in paths]  # type: ignore[attr-defined]
    returns = torch.zeros(len(paths), width)
    for row, path in enumerate(paths):
        nodes[row, : len(path)] = torch.tensor([names.index(node) for node in path])
        mask[row, : len(path)] = True
        returns[row, : len(path)] = rewards[row]

    def value(node: tuple[int, ...]) -> float:
        through = [reward for reward, path in zip(rewards, paths, strict=True) if node in path]
        return sum(through) / len(through)

    def advantage(node: tuple[int, ...]) -> float:
        if not node:
            return 0.0
        others = [value(other) for other in names if other[:-1] == node[:-1] and other != node]
        return value(node) - sum(others) / len(others) if others else advantage(node[:-1])

    found = sibling_advantages(returns, nodes, mask, parents)
    for row, path in enumerate(paths):
        expected = [advantage(node) for node in path] + [0.0] * (width - len(path))
        assert found[row].tolist() == pytest.approx(expected, abs=1e-6)
