"""One decoder layer of all experts: own norms, projections and feed-forward, one shared attention without parameters.

Source: MINT, section 3.2; the block is Qwen3's (and, without its QK-norm, Qwen2's and Llama's) from transformers.
Query, key and value projections are one matrix: fewer and larger products, and one concatenation a layer. (Gate and up
are two: an activation over half of a matrix rounds otherwise than transformers' and would cost the equality of logits.)
Knows torch, transformers' configurations and activations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import ACT2FN

from burnish.generate.attention import Backend, Mask, attend
from burnish.generate.experts import Parts, StackedLinear, StackedNorm, Used, by_expert, chosen


@dataclass(frozen=True)
class Past:
    """Keys and values of one layer, of tokens that were read before.

    Attributes:
        keys: with their positions turned in.
        values: as projected.
    """

    keys: Float[Tensor, "batch key_heads past size"]
    values: Float[Tensor, "batch key_heads past size"]

    def then(self, later: Past) -> Past:
        """These and later tokens; both parts stay as they are."""
        return Past(torch.cat([self.keys, later.keys], dim=2), torch.cat([self.values, later.values], dim=2))


@dataclass(frozen=True)
class Reading:
    """What all layers share of one pass.

    Attributes:
        cos, sin: of the rotary positions, [tokens, rows, 1, size].
        mask: who sees whom.
        backend: of the attention.
        used: experts whose tokens are read; none: all.
    """

    cos: Float[Tensor, "tokens rows 1 size"]
    sin: Float[Tensor, "tokens rows 1 size"]
    mask: Mask
    backend: Backend
    used: Used = None


class ExpertAttention(nn.Module):
    """Projections of each expert around one softmax over all tokens."""

    def __init__(self, config: Any, experts: int) -> None:
        super().__init__()
        width, self.heads = config.hidden_size, config.num_attention_heads
        self.key_heads = config.num_key_value_heads
        self.size = getattr(config, "head_dim", None) or width // self.heads
        outputs = (self.heads + 2 * self.key_heads) * self.size
        self.qkv = StackedLinear(experts, width, outputs, bias=config.model_type == "qwen2")
        self.out = StackedLinear(experts, self.heads * self.size, width)
        self.query_norm: StackedNorm | None = None
        self.key_norm: StackedNorm | None = None
        if config.model_type == "qwen3":
            self.query_norm = StackedNorm(experts, self.size, config.rms_norm_eps)
            self.key_norm = StackedNorm(experts, self.size, config.rms_norm_eps)

    def forward(self, parts: Parts, reading: Reading, past: Past | None) -> tuple[Parts, Past]:
        """What each token gathers, and the keys and values of these tokens alone."""
        sizes = [len(part) for part in parts]
        qkv = torch.cat(self.qkv(parts, reading.used))
        qkv = qkv.view(*qkv.shape[:2], -1, self.size)
        turned, value = torch.split(qkv, [self.heads + self.key_heads, self.key_heads], dim=2)
        if self.query_norm is not None and self.key_norm is not None:
            turned = self._normalised(turned, sizes, reading.used)
        # Norms and positions are float32 under autocast; attention wants one type.
        turned = (turned * reading.cos + _half_turn(turned) * reading.sin).to(value.dtype)
        query, key = torch.split(turned, [self.heads, self.key_heads], dim=2)
        new = Past(key.permute(1, 2, 0, 3), value.permute(1, 2, 0, 3))
        seen = new if past is None else past.then(new)
        attended = attend(query.permute(1, 2, 0, 3), seen.keys, seen.values, reading.mask, reading.backend)
        gathered = attended.permute(2, 0, 1, 3).flatten(2)
        return self.out(list(torch.split(gathered, sizes)), reading.used), new

    def _normalised(self, turned: Tensor, sizes: list[int], used: Used) -> Tensor:
        """QK-norm. The root mean square is of a head, whoever's it is; only the scale is an expert's."""
        query, key = cast(StackedNorm, self.query_norm), cast(StackedNorm, self.key_norm)
        scales = torch.cat(
            [
                by_expert(query.weight, query.experts)[:, None].expand(-1, self.heads, -1),
                by_expert(key.weight, key.experts)[:, None].expand(-1, self.key_heads, -1),
            ],
            dim=1,
        )
        each = chosen(scales.unbind(0), used)
        if len(sizes) == 1:
            scale = each[0]
        else:
            scale = torch.cat([one.expand(size, 1, -1, -1) for one, size in zip(each, sizes, strict=True)])
        return F.rms_norm(turned, turned.shape[-1:], eps=query.eps) * scale.to(turned.dtype)


def _half_turn(states: Tensor) -> Tensor:
    first, second = states.chunk(2, dim=-1)
    return torch.cat([-second, first], dim=-1)


class ExpertFeedForward(nn.Module):
    """The feed-forward of each expert: gated, or plain with one hidden layer."""

    def __init__(self, config: Any, experts: int, gated: bool) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self.gate = StackedLinear(experts, width, inner) if gated else None
        self.up = StackedLinear(experts, width, inner)
        self.down = StackedLinear(experts, inner, width)
        self.activation = ACT2FN[config.hidden_act]

    def forward(self, parts: Parts, used: Used = None) -> Parts:
        """Each expert on its own tokens."""
        inner: Parts = self.up(parts, used)
        if self.gate is None:
            inner = [self.activation(up) for up in inner]
        else:
            inner = [self.activation(gate) * up for gate, up in zip(self.gate(parts, used), inner, strict=True)]
        return cast(Parts, self.down(inner, used))


class ExpertLayer(nn.Module):
    """Attention and feed-forward, each after a norm and around a residual."""

    def __init__(self, config: Any, experts: int, gated: bool) -> None:
        super().__init__()
        self.attention_norm = StackedNorm(experts, config.hidden_size, config.rms_norm_eps)
        self.attention = ExpertAttention(config, experts)
        self.feed_norm = StackedNorm(experts, config.hidden_size, config.rms_norm_eps)
        self.feed = ExpertFeedForward(config, experts, gated)

    def forward(self, parts: Parts, reading: Reading, past: Past | None = None) -> tuple[Parts, Past]:
        """The states after this layer, and these tokens' keys and values."""
        gathered, new = self.attention(self.attention_norm(parts, reading.used), reading, past)
        parts = [part + more for part, more in zip(parts, gathered, strict=True)]
        more = self.feed(self.feed_norm(parts, reading.used), reading.used)
        return [part + grown for part, grown in zip(parts, more, strict=True)], new
