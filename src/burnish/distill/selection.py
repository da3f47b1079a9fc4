"""A subset that is easy and diverse: greedy maximisation of log det(eps I + F_S' F_S) over rows q_i f_i.

The determinant of a point process on d features is 0 for more than d items, so a ridge stands under it. In the dual
form only a d x d inverse is kept, never N x N or N x k, and gains can only fall as the subset grows: what was computed
earlier is an upper bound, and only candidates whose bound could still win are looked at again. Features may be a
memory map. Pure. Source: SAKD, selection; Minoux 1978 (lazy greedy); Chen et al. 2018 (the primal form, our oracle).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from burnish.core.errors import UserError

Features = Float32[np.ndarray, "samples features"]
Picks = Int64[np.ndarray, " picks"]

BLOCK = 48
"""Candidates looked at together: their product with the inverse is one small matrix product."""
SPAN = 4096
"""Candidates kept at hand; those beyond have smaller bounds."""
RENEW = 1000
"""Picks after which the inverse is computed afresh in double precision."""
AT_ONCE = 65_536


def greedy_subset(features: Features, weights: Float32[np.ndarray, " samples"], count: int, ridge: float) -> Picks:
    """The greedy subset, exactly: at each pick the sample whose gain is largest, of equals the first.

    Args:
        features: rows of length 1, or of whatever length says how much direction counts; a memory map is read in parts.
        weights: q of each sample.
        count: how many to pick.
        ridge: eps.

    Returns:
        The picks, in their order.

    Raises:
        UserError: more picks than samples, or a feature that is no number.
    """
    _check(features, weights, count)
    rows = _Rows(features, weights)
    gains = _norms(rows) / np.float32(ridge)
    inverse = _Inverse(rows.width, ridge)
    fresh = np.zeros(len(gains), np.int32)  # the number of picks for which a gain was computed
    near, beyond = _nearest(gains)
    picks = np.empty(count, np.int64)
    for number in range(count):
        while True:
            bounds = gains[near]
            place = int(bounds.argmax())
            if bounds[place] <= beyond:
                near, beyond = _nearest(gains)
            elif fresh[near[place]] == number:
                break
            else:
                stale = near[_largest(bounds, BLOCK)]
                stale = stale[fresh[stale] < number]
                gains[stale] = inverse.forms(rows[stale])
                fresh[stale] = number
        best = picks[number] = near[place]
        gains[best], fresh[best] = -np.inf, count  # never looked at again
        inverse.add(rows[best])
    return picks


def stochastic_subset(
    features: Features,
    weights: Float32[np.ndarray, " samples"],
    count: int,
    ridge: float,
    rng: np.random.Generator,
    miss: float = 0.01,
) -> Picks:
    """As :func:`greedy_subset`, at each pick among N / count x log(1 / miss) random samples that are left.

    Raises:
        UserError: as there.

    Source: Mirzasoleiman et al. 2015, "Lazier than lazy greedy".
    """
    _check(features, weights, count)
    rows = _Rows(features, weights)
    inverse = _Inverse(rows.width, ridge)
    left = np.arange(len(features))
    size = int(np.ceil(len(left) / max(1, count) * np.log(1 / miss)))
    picks = np.empty(count, np.int64)
    for number in range(count):
        places = np.sort(rng.choice(len(left), min(size, len(left)), replace=False))
        place = places[int(inverse.forms(rows[left[places]]).argmax())]
        picks[number] = left[place]
        inverse.add(rows[left[place]])
        left = np.delete(left, place)
    return picks


def perturbed(
    weights: Float32[np.ndarray, " samples"], noise: float, rng: np.random.Generator
) -> Float32[np.ndarray, " samples"]:
    """Weights times exp(noise x Gumbel): the greedy subset of these is a random one near the best.

    Without noise successive subsets hardly change, or, where the times selected count, take turns.
    """
    noisy: np.ndarray = (weights * np.exp(noise * rng.gumbel(size=len(weights)))).astype(np.float32)
    return noisy


def mix(quality: Float32[np.ndarray, " samples"], diversity: float) -> Float32[np.ndarray, " samples"]:
    """Weights for a mix gamma of diversity and ease: q^((1 - gamma) / gamma), scaled so that the largest is 1.

    log det of q S q is 2 sum log q + log det S; so gamma = .5 is that, 1 leaves quality out, and towards 0 the best
    quality is all that counts (0 itself: use the ``count`` best).
    """
    scaled = quality.astype(np.float64) / max(float(quality.max()), float(np.finfo(np.float32).tiny))
    mixed: np.ndarray = (scaled ** ((1 - diversity) / diversity)).astype(np.float32)
    return mixed


def log_det(features: Features, weights: Float32[np.ndarray, " samples"], picks: Picks, ridge: float) -> float:
    """log det(I + F_S' F_S / eps), in double precision: what the greedy subset makes large; 0 of no picks."""
    chosen = _Rows(features, weights)[picks].astype(np.float64)
    return float(np.linalg.slogdet(np.eye(chosen.shape[1]) + chosen.T @ chosen / ridge)[1])


class _Rows:
    """Rows q_i f_i, made when they are asked for."""

    def __init__(self, features: Features, weights: Float32[np.ndarray, " samples"]) -> None:
        self._features, self._weights = features, weights
        self.width = features.shape[1]

    def __getitem__(self, which: Picks | slice | int | np.integer[Any]) -> np.ndarray:
        weights = self._weights[which]
        rows: np.ndarray = np.asarray(self._features[which]) * (weights if np.ndim(weights) == 0 else weights[:, None])
        return rows

    def parts(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self._weights), AT_ONCE):
            yield self[slice(start, start + AT_ONCE)]


class _Inverse:
    """(eps I + F_S' F_S)^-1 as S grows."""

    def __init__(self, width: int, ridge: float) -> None:
        self._gram = ridge * np.eye(width)
        self._matrix = (np.eye(width) / ridge).astype(np.float32)
        self._recent: list[np.ndarray] = []

    def forms(self, rows: np.ndarray) -> np.ndarray:
        """x' A x of each row: log(1 + that) is its gain."""
        found: np.ndarray = np.einsum("ij,ij->i", rows @ self._matrix, rows)
        return found

    def add(self, row: np.ndarray) -> None:
        """Sherman and Morrison's update; every so often afresh, before rounding adds up."""
        turned = self._matrix @ row
        self._matrix -= np.outer(turned, turned / (1 + row @ turned))
        self._recent.append(row)
        if len(self._recent) == RENEW:
            recent = np.stack(self._recent).astype(np.float64)
            self._gram += recent.T @ recent
            self._matrix = np.linalg.inv(self._gram).astype(np.float32)
            self._recent.clear()


def _norms(rows: _Rows) -> Float32[np.ndarray, " samples"]:
    return np.concatenate([np.einsum("ij,ij->i", part, part) for part in rows.parts()])


def _nearest(gains: Float32[np.ndarray, " samples"]) -> tuple[np.ndarray, float]:
    """The samples of the largest bounds, ties with the last of them included, and the largest bound beyond them."""
    if len(gains) <= SPAN:
        return np.arange(len(gains)), -np.inf
    least = np.partition(gains, -SPAN)[-SPAN]
    inside = gains >= least
    return np.flatnonzero(inside), float(gains[~inside].max(initial=-np.inf))


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    return np.arange(len(values)) if len(values) <= count else np.argpartition(-values, count)[:count]


def _check(features: Features, weights: Float32[np.ndarray, " samples"], count: int) -> None:
    if len(weights) != len(features):
        raise UserError(f"selection: {len(features)} features and {len(weights)} weights")
    if not 0 <= count <= len(features):
        raise UserError(f"selection: {count} of {len(features)} samples; lower the share, or give more data")
    for start in range(0, len(features), AT_ONCE):
        part = np.asarray(features[start : start + AT_ONCE])
        if not np.isfinite(part).all() or not np.isfinite(weights[start : start + AT_ONCE]).all():
            row = np.flatnonzero(~(np.isfinite(part).all(1) & np.isfinite(weights[start : start + AT_ONCE])))[0]
            raise UserError(
                f"selection: a feature or the weight of sample {start + row} is no number; look at its file"
            )
