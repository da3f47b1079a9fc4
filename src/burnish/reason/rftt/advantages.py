"""From rewards to advantages, token by token: returns with a KL penalty, and three baselines.

Pure functions over ``[batch, tokens]``. ``mask`` marks the tokens that count: padding does not, and neither does a
completion that another one of its tree repeats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

EPSILON = 1e-4
"""TRL's, added to the deviation of a group."""


def token_kl(
    own: Float[Tensor, "batch tokens"],
    reference: Float[Tensor, "batch tokens"],
    estimator: Literal["k1", "k3"] = "k1",
) -> Float[Tensor, "batch tokens"]:
    """An estimate of the divergence from the reference at each token, from log-probabilities of sampled tokens.

    ``k1`` is their difference; ``k3`` is r - log r - 1 with r the ratio of reference to own, never negative.

    Source: Schulman, "Approximating KL divergence".
    """
    ahead = own - reference
    return ahead if estimator == "k1" else torch.expm1(-ahead) + ahead


def discounted_returns(
    rewards: Float[Tensor, "batch tokens"], mask: Bool[Tensor, "batch tokens"], gamma: float = 1.0
) -> Float[Tensor, "batch tokens"]:
    """G_t, the sum over k >= t of gamma^(k-t) R_k; padding (right of what ``mask`` marks) has none.

    Source: RFTT, released code.
    """
    later = torch.zeros_like(rewards[:, 0])
    found = torch.zeros_like(rewards)
    for place in reversed(range(rewards.shape[1])):
        later = torch.where(mask[:, place], rewards[:, place] + gamma * later, later)
        found[:, place] = torch.where(mask[:, place], later, 0.0)
    return found


def masked_sums(values: Float[Tensor, "batch tokens"], mask: Bool[Tensor, "batch tokens"]) -> Float64[Tensor, " 3"]:
    """Count, sum and sum of squares of what counts; those of several processes add up."""
    kept = values[mask].double()
    return torch.stack(
        [torch.tensor(float(kept.numel()), device=kept.device).double(), kept.sum(), kept.square().sum()]
    )


def normalise(
    values: Float[Tensor, "batch tokens"],
    mask: Bool[Tensor, "batch tokens"],
    sums: Float64[Tensor, " 3"] | None = None,
) -> Float[Tensor, "batch tokens"]:
    """Values less their mean over all tokens of the batch, over their deviation; 0 where nothing counts.

    Args:
        values: returns.
        mask: what counts.
        sums: of the whole batch, where other processes hold a part of it.

    Source: REINFORCE++ as in OpenRLHF, on which the released code stands: the variance has n below it and is at least
        1e-8.
    """
    count, total, squares = masked_sums(values, mask) if sums is None else sums
    mean = total / count.clamp(min=1.0)
    variance = (squares / count.clamp(min=1.0) - mean.square()).clamp(min=1e-8)
    return torch.where(mask, (values.double() - mean) / variance.sqrt(), 0.0).to(values.dtype)


def group_rewards(
    rewards: Float[Tensor, "batch tokens"],
    at: Bool[Tensor, "batch tokens"],
    groups: Int[Tensor, " batch"],
) -> Float[Tensor, "batch tokens"]:
    """Rewards less the mean of their group's rewards, over their deviation (n - 1 below it, plus 1e-4).

    With one reward a completion, the sum of those that follow a token is GRPO's advantage.

    Args:
        rewards: each where it was earned.
        at: where one was earned (a reward of 0 is one).
        groups: the question of each completion.

    Source: DeepSeekMath, section 4.1.3 (process supervision).
    """
    found = torch.zeros_like(rewards)
    for group in sorted(set(groups.tolist())):
        own = at & (groups == group).unsqueeze(1)
        earned = rewards[own]
        if earned.numel() > 1:
            found[own] = (earned - earned.mean()) / (earned.std() + EPSILON)
    return found


def sibling_advantages(
    returns: Float[Tensor, "batch tokens"],
    nodes: Int[Tensor, "batch tokens"],
    mask: Bool[Tensor, "batch tokens"],
    parents: Sequence[int],
) -> Float[Tensor, "batch tokens"]:
    """The value of a token's node less the mean value of the other children of the node's parent.

    A node's value is the mean, over the completions that pass through it, of their return from its first token on. A
    node without siblings makes no choice: its tokens have the advantage of the node before them. Completions that share
    nothing but their question are all children of it, and this is RLOO.

    Args:
        returns: of :func:`discounted_returns`.
        nodes: the node of each token, numbered over the whole batch; padding may hold anything.
        mask: what counts.
        parents: by node: the one before it; a first node names its question, by a number below 0.

    Source: leave-one-out as in RLOO, taken at each node of a tree (TreeRL, Tree-GRPO).
    """
    values: dict[int, list[float]] = {}
    paths = [_first_places(row, kept) for row, kept in zip(nodes.tolist(), mask.tolist(), strict=True)]
    for path, row in zip(paths, returns.tolist(), strict=True):
        for node, place in path.items():
            values.setdefault(node, []).append(row[place])
    value = {node: sum(found) / len(found) for node, found in values.items()}
    children: dict[int, list[int]] = {}
    for node in value:
        children.setdefault(parents[node], []).append(node)
    found = torch.zeros_like(returns)
    for index, path in enumerate(paths):
        advantage = 0.0
        own: dict[int, float] = {}
        for node in path:
            siblings = [value[other] for other in children[parents[node]] if other != node]
            if siblings:
                advantage = value[node] - sum(siblings) / len(siblings)
            own[node] = advantage
        found[index] = torch.tensor([own.get(node, 0.0) for node in nodes[index].tolist()]).to(returns)
    return torch.where(mask, found, 0.0)


def _first_places(nodes: Sequence[int], kept: Sequence[bool]) -> dict[int, int]:
    """The place of each node's first token that counts, in order."""
    found: dict[int, int] = {}
    for place, (node, counts) in enumerate(zip(nodes, kept, strict=True)):
        if counts:
            found.setdefault(node, place)
    return found


def advantages(
    kind: Literal["batch", "group", "siblings"],
    rewards: Float[Tensor, "batch tokens"],
    at: Bool[Tensor, "batch tokens"],
    mask: Bool[Tensor, "batch tokens"],
    *,
    penalty: Float[Tensor, "batch tokens"] | None = None,
    gamma: float = 1.0,
    groups: Int[Tensor, " batch"],
    nodes: Int[Tensor, "batch tokens"],
    parents: Sequence[int],
    over_all: Callable[[Float64[Tensor, " 3"]], Float64[Tensor, " 3"]] = lambda sums: sums,
) -> Float[Tensor, "batch tokens"]:
    """Advantages of a batch by one of the baselines.

    Args:
        kind: ``batch`` normalises returns over the tokens of the batch (the paper's), ``group`` rewards over those of a
            question, ``siblings`` takes the mean of a node's siblings off.
        rewards: where they were earned.
        at: where one was.
        mask: what counts.
        penalty: taken off each token's reward: beta times the KL, for ``kl: reward``. It is never normalised by group,
            so that beta keeps its meaning.
        gamma: discount a token.
        groups: the question of each completion.
        nodes: as for :func:`sibling_advantages`.
        parents: as for :func:`sibling_advantages`.
        over_all: adds up the sums of all processes.
    """
    earned = group_rewards(rewards, at & mask, groups) if kind == "group" else rewards
    returns = discounted_returns(earned if penalty is None else earned - penalty, mask, gamma)
    if kind == "batch":
        return normalise(returns, mask, over_all(masked_sums(returns, mask)))
    return returns if kind == "group" else sibling_advantages(returns, nodes, mask, parents)
