"""The unified model: text, clean and noisy patches through one stack of expert layers, and three heads.

Text in, the next token out; a clean picture in, "needs repair" of each patch out; a noisy picture in, the picture out.
One engine for every routing table: dense, by modality, BAGEL-like, by function (MINT). A transformers model, so that it
saves, loads, shards and trains like any other. Knows torch and transformers; not how rows are made or trained.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers import initialization as init

from burnish.generate.attention import Backend, Mask, batch_mask, batch_positions
from burnish.generate.config import UnifiedConfig
from burnish.generate.experts import Parts, StackedLinear, StackedNorm, expert_sizes
from burnish.generate.layers import ExpertLayer, Past, Reading
from burnish.generate.records import Batch, Kind, Outputs
from burnish.generate.sequence import kind_order

LOUD = 0.7
"""Deviation of a new embedding: as loud as the sine-cosine code of a place, so that neither drowns the other."""
WAVES = 256
"""Numbers of the sinusoid of a noise level."""


@dataclass(frozen=True)
class States:
    """Last hidden states by kind, normalised.

    Attributes:
        text, clean, noisy: places first, as in all layers.
    """

    text: Float[Tensor, "text batch width"]
    clean: Float[Tensor, "clean batch width"]
    noisy: Float[Tensor, "noisy batch width"]


class UnifiedModel(PreTrainedModel):
    """See the module. Build one from a text checkpoint with ``initial.from_text``, or from a configuration."""

    config_class = UnifiedConfig
    base_model_prefix = ""
    _no_split_modules = ("ExpertLayer",)
    _supports_sdpa = True

    def __init__(self, config: UnifiedConfig) -> None:
        super().__init__(config)
        text = config.text_config()
        width, experts = text.hidden_size, config.experts
        self.kinds = kind_order(config.routing)
        self.backend: Backend = "sdpa"
        self.embedding = nn.Embedding(text.vocab_size, width)
        self.patch_in = nn.Linear(config.patch_dim, width)
        self.time_in = nn.Sequential(nn.Linear(WAVES, width), nn.SiLU(), nn.Linear(width, width))
        self.mask_token = nn.Parameter(torch.zeros(width))
        self.places = nn.Buffer(config.position_scale * place_code(config.grid[0], config.grid[1], width))
        self.layers = nn.ModuleList(ExpertLayer(text, experts, config.gated) for _ in range(text.num_hidden_layers))
        self.norm = StackedNorm(experts, width, text.rms_norm_eps)
        self.text_head = None if text.tie_word_embeddings else nn.Linear(width, text.vocab_size, bias=False)
        self.flow_head = nn.Linear(width, config.patch_dim)
        self.heat_head = nn.Linear(width, 1)
        self.rotary = _rotary_class(text.model_type)(text)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Of text."""
        return self.embedding

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Every expert starts as a copy of one draw, so that all routings of one seed start as the same function."""
        super()._init_weights(module) if "RotaryEmbedding" in type(module).__name__ else None
        if isinstance(module, StackedLinear):
            rows, inputs = module.weight.shape
            drawn = torch.empty(rows // module.experts, inputs, dtype=module.weight.dtype, device=module.weight.device)
            init.copy_(module.weight, drawn.normal_(std=(3 * inputs) ** -0.5).repeat(module.experts, 1))
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, StackedNorm):
            init.ones_(module.weight)
        elif isinstance(module, nn.Linear):
            init.normal_(module.weight, std=(3 * module.in_features) ** -0.5)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            init.normal_(module.weight, std=LOUD if self.text_head is not None else (3 * module.embedding_dim) ** -0.5)
        elif isinstance(module, UnifiedModel):
            init.zeros_(module.mask_token)
            rows, columns = self.config.grid
            width = module.mask_token.shape[0]
            init.copy_(module.places, self.config.position_scale * place_code(rows, columns, width))

    def forward(self, batch: Batch) -> Outputs:
        """All three heads over whole rows."""
        mask, positions = batch_mask(batch, self.kinds, self.backend), batch_positions(batch, self.kinds)
        states, _ = self.read(batch, self.reading(positions, mask), None)
        return self.heads(states, batch)

    def reading(self, positions: Tensor, mask: Mask, backend: Backend | None = None) -> Reading:
        """What all layers share of a pass over tokens at these positions ([rows, tokens], as they lie in memory)."""
        cos, sin = self.rotary(self.places, positions)
        return Reading(cos.transpose(0, 1)[:, :, None], sin.transpose(0, 1)[:, :, None], mask, backend or self.backend)

    def read(self, batch: Batch, reading: Reading, pasts: tuple[Past, ...] | None) -> tuple[States, tuple[Past, ...]]:
        """Through all layers, after what was read before; also gives these tokens' keys and values."""
        embedded = {"text": self._text(batch), "clean": self._clean(batch), "noisy": self._noisy(batch)}
        tokens = {kind: len(part) for kind, part in embedded.items()}
        sizes = expert_sizes(self.config.routing, cast("dict[Kind, int]", tokens))
        if not torch.is_grad_enabled():
            reading = replace(reading, used=[expert for expert, size in enumerate(sizes) if size])
            sizes = [size for size in sizes if size]
        parts: Parts = list(torch.split(torch.cat([embedded[kind] for kind in self.kinds]), sizes))
        news = []
        for number, layer in enumerate(self.layers):
            parts, new = layer(parts, reading, None if pasts is None else pasts[number])
            news.append(new)
        whole = torch.split(torch.cat(self.norm(parts, reading.used)), [tokens[kind] for kind in self.kinds])
        return States(**dict(zip(self.kinds, whole, strict=True))), tuple(news)

    def heads(self, states: States, batch: Batch) -> Outputs:
        """What the last states say. The picture is computed in float32, also under autocast: colours shift else."""
        rows, noisies, patches = batch.noisy.shape[:3]
        cleans = batch.clean.shape[1]
        text = states.text.transpose(0, 1)
        table = self.embedding.weight if self.text_head is None else self.text_head.weight
        with torch.autocast(states.noisy.device.type, enabled=False):
            exact = torch.promote_types(self.flow_head.weight.dtype, torch.float32)
            drawn = F.linear(
                states.noisy.transpose(0, 1).to(exact), self.flow_head.weight.to(exact), self.flow_head.bias.to(exact)
            )
        heat = self.heat_head(states.clean).squeeze(-1).transpose(0, 1)
        return Outputs(
            text_logits=F.linear(text, table),
            estimates=drawn.reshape(rows, noisies, patches, batch.noisy.shape[3]),
            heat=heat.reshape(rows, cleans, batch.clean.shape[2]),
        )

    def _text(self, batch: Batch) -> Tensor:
        return cast(Tensor, self.embedding(batch.tokens)).transpose(0, 1)

    def _clean(self, batch: Batch) -> Tensor:
        masked = torch.zeros_like(batch.clean[..., 0], dtype=torch.bool) if batch.masked is None else batch.masked
        states = torch.where(
            masked[..., None], self.mask_token.to(self.patch_in.weight.dtype), self._patches(batch.clean)
        )
        return (states + self.places).flatten(1, 2).transpose(0, 1)

    def _noisy(self, batch: Batch) -> Tensor:
        level = self.time_in(waves(batch.times).to(self.patch_in.weight.dtype))
        states = self._patches(batch.noisy) + level[:, :, None] + self.places
        return cast(Tensor, states).flatten(1, 2).transpose(0, 1)

    def _patches(self, patches: Tensor) -> Tensor:
        return cast(Tensor, self.patch_in(patches.to(self.patch_in.weight.dtype)))


def place_code(rows: int, columns: int, width: int) -> Float[Tensor, "patches width"]:
    """Sine-cosine code of a patch's place: half the width for its row, half for its column; root mean square .7.

    Waves are from 4 places long to 4 grids. (The usual base of 10000 is for long texts: on a grid of 4 x 4 it makes
    neighbours alike to .98, and most of its numbers hardly change at all.)
    """
    longest = max(rows, columns, 2)
    frequencies = math.pi / 2 * longest ** (-torch.arange(width // 4, dtype=torch.float64) / max(width // 4 - 1, 1))
    halves = []
    for places in torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij"):
        angles = places.flatten()[:, None] * frequencies
        halves += [angles.sin(), angles.cos()]
    return torch.cat(halves, dim=-1).float()


def waves(times: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape waves"]:
    """Sinusoid of noise levels in 0..1, as fine as a thousandth."""
    frequencies = torch.exp(-math.log(10000) * torch.arange(WAVES // 2, device=times.device) / (WAVES // 2))
    angles = 1000 * times[..., None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def _rotary_class(kind: str) -> Any:
    module = import_module(f"transformers.models.{kind}.modeling_{kind}")
    return getattr(module, f"{kind.capitalize()}RotaryEmbedding")
