"""Which validation images to ask about when every question costs: those that the two families of shadows dispute."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from burnish.core.errors import UserError


def votes(labels: Int[np.ndarray, "m n"], classes: int) -> Float[np.ndarray, "n c"]:
    """How many models give each image each label."""
    counts = np.zeros((labels.shape[1], classes))
    np.add.at(counts, (np.arange(labels.shape[1])[None, :].repeat(len(labels), 0), labels), 1.0)
    return counts


def disagreement(mine: Float[np.ndarray, "n c"], others: Float[np.ndarray, "n c"]) -> Float[np.ndarray, " n"]:
    """Total variation distance of the two families' votes on each image, in 0..1."""
    shares = [each / each.sum(axis=1, keepdims=True) for each in (mine, others)]
    return np.asarray(np.abs(shares[0] - shares[1]).sum(axis=1) / 2)


def choose(dispute: Float[np.ndarray, " n"], sets: Int[np.ndarray, " n"], budget: int) -> Int[np.ndarray, " k"]:
    """Indices of the ``budget`` most disputed images, in order, each validation set keeping its share.

    Ties go to the lowest index; shares are rounded so that they sum to the budget, and no set is left without an image.

    Raises:
        UserError: a budget below one image a set.
    """
    names, sizes = np.unique(sets, return_counts=True)
    if budget < len(names):
        raise UserError(f"budget: {budget} queries for {len(names)} validation sets; allow at least one each")
    budget = min(budget, len(sets))
    share = np.maximum(1.0, budget * sizes / len(sets))
    quota = np.minimum(np.floor(share).astype(int), sizes)
    while quota.sum() > budget:
        quota[np.argmax(quota)] -= 1
    while quota.sum() < budget:
        open_ = quota < sizes
        quota[np.argmax(np.where(open_, share - quota, -np.inf))] += 1
    picked = []
    for name, count in zip(names, quota, strict=True):
        rows = np.flatnonzero(sets == name)
        picked.append(rows[np.argsort(-dispute[rows], kind="stable")[:count]])
    return np.sort(np.concatenate(picked)).astype(np.int64)
