"""Exact draws of a k-DPP: a random subset of k samples, with probability in proportion to its determinant.

Possible for at most as many samples as there are independent features. Pure. Source: Kulesza and Taskar 2012,
"Determinantal point processes for machine learning", sections 3.3 (dual) and 5.2 (elementary symmetric polynomials).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from burnish.core.errors import UserError
from burnish.distill.selection import Features, Picks


def draw_k_dpp(features: Features, count: int, rng: np.random.Generator) -> Picks:
    """A subset S of ``count`` samples with probability det(F_S F_S') / sum over all subsets of that size.

    Time O(N d k + N k^2), memory O(N k).

    Args:
        features: rows q_i f_i.
        count: k.
        rng: of the draw.

    Returns:
        Sorted.

    Raises:
        UserError: more samples than the rank of the features: every such subset has probability 0.
    """
    wide = np.asarray(features, np.float64)
    values, vectors = np.linalg.eigh(wide.T @ wide)
    kept = values > values.max(initial=0.0) * 1e-10
    rank = int(kept.sum())
    if count > rank:
        raise UserError(
            f"selection: a k-DPP draws at most as many samples as the features have rank: {rank}, not {count}; take "
            "`perturbed`, whose ridge has no such limit"
        )
    values, vectors = values[kept], vectors[:, kept]
    chosen = _choose_eigenvectors(values, count, rng)
    return _draw_projection(wide @ vectors[:, chosen] / np.sqrt(values[chosen]), rng)


def _choose_eigenvectors(values: Float64[np.ndarray, " rank"], count: int, rng: np.random.Generator) -> list[int]:
    """A set of eigenvectors with probability in proportion to the product of its eigenvalues."""
    scaled = values / values.mean()  # the choice does not change, and products stay in range
    with np.errstate(divide="ignore"):
        logs = np.log(scaled)
    # sums[l, n]: log of the elementary symmetric polynomial e_l of the first n eigenvalues
    sums = np.full((count + 1, len(values) + 1), -np.inf)
    sums[0] = 0.0
    for n in range(1, len(values) + 1):
        sums[1:, n] = np.logaddexp(sums[1:, n - 1], logs[n - 1] + sums[:-1, n - 1])
    chosen, left = [], count
    for n in range(len(values), 0, -1):
        if left and np.log(rng.random()) < logs[n - 1] + sums[left - 1, n - 1] - sums[left, n]:
            chosen.append(n - 1)
            left -= 1
    return chosen


def _draw_projection(rows: Float64[np.ndarray, "samples picks"], rng: np.random.Generator) -> Picks:
    """A draw of the process whose kernel is the projection on the columns of ``rows``, which are orthonormal."""
    chances = np.square(rows).sum(1)
    basis = np.empty((0, rows.shape[1]))
    picks: list[int] = []
    for _ in range(rows.shape[1]):
        chances = chances.clip(0)
        chances[picks] = 0
        picks.append(int(rng.choice(len(rows), p=chances / chances.sum())))
        new = rows[picks[-1]] - basis.T @ (basis @ rows[picks[-1]])
        new -= basis.T @ (basis @ new)  # once is not enough in floating point
        new /= np.linalg.norm(new)
        basis = np.vstack([basis, new])
        chances = chances - np.square(rows @ new)
    return np.sort(np.array(picks, np.int64))
