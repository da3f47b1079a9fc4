"""A transformer block in the clear: its weights, and what it computes exactly. Knows NumPy only.

Pre-norm, causal, one head: x + W_o attention(norm(x)), then that plus W_2 gelu(W_1 norm(...)). GPT-2's block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from burnish.core.errors import UserError

States = Float[np.ndarray, "texts tokens width"]

_SMALL = 1e-5  # added to the variance, as GPT-2 does


@dataclass(frozen=True)
class BlockWeights:
    """Matrices act from the left on a column: y = W x + b. Norms are folded into the matrices that follow them.

    Attributes:
        query, key, value, out: of the attention.
        up, down: of the feed-forward part.
    """

    query: Float[np.ndarray, "width width"]
    query_bias: Float[np.ndarray, " width"]
    key: Float[np.ndarray, "width width"]
    key_bias: Float[np.ndarray, " width"]
    value: Float[np.ndarray, "width width"]
    value_bias: Float[np.ndarray, " width"]
    out: Float[np.ndarray, "width width"]
    out_bias: Float[np.ndarray, " width"]
    up: Float[np.ndarray, "hidden width"]
    up_bias: Float[np.ndarray, " hidden"]
    down: Float[np.ndarray, "width hidden"]
    down_bias: Float[np.ndarray, " width"]

    @property
    def width(self) -> int:
        """Of the hidden states."""
        return len(self.query)


def weights_of(block: Any) -> BlockWeights:
    """From a `GPT2Block` of transformers with one head.

    Raises:
        UserError: several heads.
    """
    if block.attn.num_heads != 1:
        raise UserError(f"block: {block.attn.num_heads} heads; one is computed under encryption here")

    def array(tensor: Any) -> Any:
        return tensor.detach().double().numpy()

    def after(norm: Any, matrix: Any, bias: Any) -> tuple[Any, Any]:
        return matrix * array(norm.weight), bias + matrix @ array(norm.bias)

    qkv, qkv_bias = array(block.attn.c_attn.weight).T, array(block.attn.c_attn.bias)
    width = qkv.shape[1]
    parts = [after(block.ln_1, qkv[i : i + width], qkv_bias[i : i + width]) for i in range(0, 3 * width, width)]
    up, up_bias = after(block.ln_2, array(block.mlp.c_fc.weight).T, array(block.mlp.c_fc.bias))
    return BlockWeights(
        *parts[0],
        *parts[1],
        *parts[2],
        array(block.attn.c_proj.weight).T,
        array(block.attn.c_proj.bias),
        up,
        up_bias,
        array(block.mlp.c_proj.weight).T,
        array(block.mlp.c_proj.bias),
    )


def centred(states: States) -> States:
    """Each token's states less their mean."""
    return np.asarray(states - states.mean(-1, keepdims=True))


def normed(states: States) -> States:
    """Centred, over the standard deviation."""
    return np.asarray(centred(states) / np.sqrt(states.var(-1, keepdims=True) + _SMALL))


def gelu(x: Float[np.ndarray, " *shape"]) -> Float[np.ndarray, " *shape"]:
    """GPT-2's, by tanh."""
    return np.asarray(0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))))


@dataclass(frozen=True)
class Trace:
    """What a block computes on the way, for fitting polynomials to its own ranges.

    Attributes:
        scores: scaled products of queries and keys; token t against t - r at [t, r], 0 where there is none.
        shares: their softmax, likewise.
        variances: of the states before the second norm, with the small constant.
        raised: before the GELU.
        result: the block's output.
    """

    scores: Float[np.ndarray, "texts tokens tokens"]
    shares: Float[np.ndarray, "texts tokens tokens"]
    variances: Float[np.ndarray, "texts tokens"]
    raised: Float[np.ndarray, "texts tokens hidden"]
    result: States


def exact(weights: BlockWeights, states: States) -> Trace:
    """The block in the clear."""
    tokens = states.shape[1]
    u = normed(states)
    q, k = u @ weights.query.T + weights.query_bias, u @ weights.key.T + weights.key_bias
    v = u @ weights.value.T + weights.value_bias
    products = q @ k.transpose(0, 2, 1) / np.sqrt(weights.width)
    raised = np.exp(np.where(np.tri(tokens, dtype=bool), products, -np.inf))
    shares = raised / raised.sum(-1, keepdims=True)
    middle = states + (shares @ v) @ weights.out.T + weights.out_bias
    before = normed(middle) @ weights.up.T + weights.up_bias
    result = middle + gelu(before) @ weights.down.T + weights.down_bias
    by_distance = np.zeros((2, *products.shape))
    for r in range(tokens):
        t = np.arange(r, tokens)
        by_distance[0, :, t, r], by_distance[1, :, t, r] = products[:, t, t - r].T, shares[:, t, t - r].T
    return Trace(by_distance[0], by_distance[1], middle.var(-1) + _SMALL, before, result)
