"""The two tests of an ownership audit, on embeddings: the published one, and a permutation test over images. Pure.

A model's answers are unit embeddings of global views [draws, images, M, dim] and of local ones [draws, images, N, dim];
a Boolean array says which images are public. Both tests ask whether the suspect is steadier on the public images than
on the private ones, by more than models that never saw them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from burnish.prove.dov4cl import relations
from burnish.prove.statistics import Permutation, paper_t_test, permutation_p

Globals = Float[np.ndarray, "draws images m dim"]
Locals = Float[np.ndarray, "draws images n dim"]
Public = Bool[np.ndarray, " images"]
Square = Float[np.ndarray, "images images"]
STATISTICS = ("unary", "binary")


@dataclass(frozen=True)
class Steadiness:
    """What a test needs of one model's answers in one draw.

    Attributes:
        unary: cosine between views of an image, summed over the groupings, [images].
        binary: change of each pair's cosine between views, summed over the groupings, [images, images].
    """

    unary: Float[np.ndarray, " images"]
    binary: Square

    def plus(self, other: Steadiness) -> Steadiness:
        """The sum, image by image and pair by pair."""
        return Steadiness(self.unary + other.unary, self.binary + other.binary)

    def minus(self, other: Steadiness) -> Steadiness:
        """The difference, image by image and pair by pair."""
        return Steadiness(self.unary - other.unary, self.binary - other.binary)

    def over(self, count: int) -> Steadiness:
        """A sum of ``count`` models as their mean."""
        return Steadiness(self.unary / count, self.binary / count)


def steadiness(globals_: Float[np.ndarray, "images m dim"], locals_: Float[np.ndarray, "images n dim"]) -> Steadiness:
    """Per-image and per-pair statistics of one model in one draw."""
    wide, small = (relations.unit(torch.from_numpy(array).double()) for array in (globals_, locals_))
    unary = relations.unary(wide, small).sum(1)
    return Steadiness(unary.numpy(), relations.binary(wide, small).sum(0).numpy())


def effect(found: Steadiness, public: Public) -> dict[str, float]:
    """How much steadier the public images are: unary public minus private, binary private minus public."""
    return {
        "unary": float(found.unary[public].mean() - found.unary[~public].mean()),
        "binary": float(_pair_mean(found.binary, ~public) - _pair_mean(found.binary, public)),
    }


def image_test(found: Steadiness, public: Public, draws: int, rng: np.random.Generator) -> dict[str, Permutation]:
    """Permutation tests over the labels of images.

    Args:
        found: of the suspect, minus the mean of the shadows: an image that is easy for every model counts for nothing.
        public: which images are public.
        draws: arrangements.
        rng: of the arrangements.

    Returns:
        For ``unary`` and ``binary`` each: effect, p, arrangements.
    """
    places = np.arange(len(public), dtype=np.float64)

    def quadratic(chosen: np.ndarray, rest: np.ndarray) -> np.ndarray:
        return np.asarray(_split_means(found.binary, rest) - _split_means(found.binary, chosen))

    return {
        "unary": permutation_p(found.unary[public], found.unary[~public], draws=draws, rng=rng),
        "binary": permutation_p(places[public], places[~public], draws=draws, rng=rng, statistic=quadratic),
    }


def bootstrap(found: Steadiness, public: Public, draws: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Effects under resampling of the images within each set, [draws] each.

    A pair of copies of one image is no pair of different images: such pairs are left out.
    """
    weights = np.zeros((draws, len(public)))
    for side in (public, ~public):
        count = int(side.sum())
        weights[:, side] = rng.multinomial(count, np.full(count, 1 / count), size=draws)
    on, off = weights * public, weights * ~public
    return {
        "unary": (on @ found.unary) / public.sum() - (off @ found.unary) / (~public).sum(),
        "binary": _weighted_pairs(found.binary, off) - _weighted_pairs(found.binary, on),
    }


def paper_vector(globals_: Globals, locals_: Locals, public: Public, a: float) -> Float[np.ndarray, " twice_draws"]:
    """The published 2K numbers of one model: unary and binary relationship of each round (DOV4CL, algorithm 1).

    Args:
        globals_: unit or raw embeddings of the rounds' images; cosines are cut to [0, 1], as the published code does.
        locals_: the same for local views.
        public: which of a round's images are public.
        a: weight of positive differences.
    """
    wide, small = (relations.unit(torch.from_numpy(array).double()) for array in (globals_, locals_))
    mask = torch.from_numpy(public)
    unary, binary = [], []
    for big, little in zip(wide, small, strict=True):
        similar = relations.unary(big, little, clamp=True)
        unary.append(similar[mask].mean(0) - similar[~mask].mean(0))
        on, off = (relations.spread(relations.binary(big[side], little[side], clamp=True)) for side in (mask, ~mask))
        binary.append(off - on)
    return relations.amplified_sum(torch.stack([*unary, *binary]), a).numpy()


def paper_p(suspect: Float[np.ndarray, " twice_draws"], shadows: Sequence[np.ndarray]) -> float:
    """The published one-tailed t-test; several shadows' numbers are taken together."""
    return paper_t_test(suspect, np.concatenate(list(shadows)))


def _pair_mean(square: Square, side: Public) -> float:
    block, k = square[np.ix_(side, side)], int(side.sum())
    return float((block.sum() - np.trace(block)) / (k * (k - 1)))


def _split_means(square: Square, chosen: np.ndarray) -> np.ndarray:
    """Mean over pairs of different images among ``chosen`` [..., k] (places as floats): one product of matrices."""
    k = chosen.shape[-1]
    member = np.zeros((*chosen.shape[:-1], len(square)))
    np.put_along_axis(member, chosen.astype(np.int64), 1.0, axis=-1)
    inner = ((member @ square) * member).sum(-1) - member @ np.diagonal(square)
    return np.asarray(inner / (k * (k - 1)))


def _weighted_pairs(square: Square, weights: Float[np.ndarray, "draws images"]) -> np.ndarray:
    """Mean over pairs of different images, each image counted ``weights`` times."""
    inner = ((weights @ square) * weights).sum(1) - (weights**2) @ np.diagonal(square)
    return np.asarray(inner / (weights.sum(1) ** 2 - (weights**2).sum(1)))
