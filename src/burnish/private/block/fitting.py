"""Polynomials in the places of softmax, GELU and 1 / sqrt, fitted to the ranges that a block itself has.

A range is what the calibration texts reach, with a margin; a text beyond it is computed wrongly, and nothing in its
answer says so. That is the price of this way to deploy, and the reason why it is not the default.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from burnish.private.block.weights import BlockWeights, States, Trace, centred, exact, gelu, normed
from burnish.private.polynomials.records import Polynomial

MARGIN = 1.25
GELU_DEGREE, NORM_DEGREE, SOFTMAX_DEGREE = 7, 7, 3


@dataclass(frozen=True)
class FittedBlock:
    """A block whose every step is a polynomial.

    Attributes:
        weights: of the block.
        shares: of the softmax: a cubic of the score of each token t and distance r, times the score's powers 0 to 3. It
            stands for the share among the tokens that t sees as they are on average; 0 where there is none.
        reach: of the numbers before the GELU; they are divided by it.
        gelu: of that, in [-1, 1].
        lowest, highest: variance before the second norm.
        norm: 1 / sqrt of the variance, of (variance - middle) / half the range, in [-1, 1].
    """

    weights: BlockWeights
    shares: Float[np.ndarray, "tokens tokens 4"]
    reach: float
    gelu: Polynomial
    lowest: float
    highest: float
    norm: Polynomial


def fit(weights: BlockWeights, texts: States) -> FittedBlock:
    """Fit to what the block does on these texts."""
    trace = exact(weights, texts)
    reach = MARGIN * float(np.abs(trace.raised).max())
    lowest, highest = float(trace.variances.min()) / MARGIN, float(trace.variances.max()) * MARGIN
    middle, half = (highest + lowest) / 2, (highest - lowest) / 2
    x = np.cos(np.linspace(0, np.pi, 2001))

    def fitted(values: Float[np.ndarray, " points"], degree: int) -> Polynomial:
        return Polynomial(tuple(np.polynomial.chebyshev.chebfit(x, values, degree).tolist()))

    return FittedBlock(
        weights,
        _shares(trace),
        reach,
        fitted(gelu(reach * x), GELU_DEGREE),
        lowest,
        highest,
        fitted(1 / np.sqrt(middle + half * x), NORM_DEGREE),
    )


def _shares(trace: Trace) -> Float[np.ndarray, "tokens tokens 4"]:
    """Least squares a pair; the powers of few texts are damped a little, so that no coefficient runs away."""
    tokens = trace.scores.shape[1]
    found = np.zeros((tokens, tokens, SOFTMAX_DEGREE + 1))
    for t in range(tokens):
        for r in range(t + 1):
            powers = np.vander(trace.scores[:, t, r], SOFTMAX_DEGREE + 1, increasing=True)
            damped = powers.T @ powers + 1e-6 * len(powers) * np.eye(SOFTMAX_DEGREE + 1)
            found[t, r] = np.linalg.solve(damped, powers.T @ trace.shares[:, t, r])
    return found


def approximate(block: FittedBlock, states: States) -> States:
    """What the encrypted block computes, without the noise: the reference for it."""
    weights, tokens = block.weights, states.shape[1]
    u = normed(states)
    q, k = u @ weights.query.T + weights.query_bias, u @ weights.key.T + weights.key_bias
    v = u @ weights.value.T + weights.value_bias
    attended = np.zeros_like(states)
    for t in range(tokens):
        for r in range(t + 1):
            score = (q[:, t] * k[:, t - r]).sum(-1) / np.sqrt(weights.width)
            share = np.polynomial.polynomial.polyval(score, block.shares[t, r])
            attended[:, t] += share[:, None] * v[:, t - r]
    middle = states + attended @ weights.out.T + weights.out_bias
    around = centred(middle)
    centre, half = (block.highest + block.lowest) / 2, (block.highest - block.lowest) / 2
    inverse = block.norm(((around**2).mean(-1) + 1e-5 - centre) / half)
    before = (around * inverse[..., None]) @ weights.up.T + weights.up_bias
    return np.asarray(middle + block.gelu(before / block.reach) @ weights.down.T + weights.down_bias)
