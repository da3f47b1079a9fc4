"""What a user may set about the unified model itself. Knows pydantic only."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from burnish.core.recipe import Settings
from burnish.generate.codecs.settings import CodecSettings
from burnish.generate.kinds import Kind


class ModelSettings(Settings):
    """Where the unified model comes from, or how large a new one is. Sizes count only without a `base`."""

    base: str | None = None
    """Folder or hub id of a Qwen2, Qwen3 or Llama checkpoint that every expert starts from, or of a unified model to go
    on with. None: training starts from scratch."""
    routing: Literal["dense", "mot", "bagel", "mint"] | dict[Kind, int] = "mint"
    """Expert of each kind of token: `dense` one for all, `mot` text and pictures apart, `bagel` drawing apart, `mint`
    text, pictures looked at and pictures being drawn apart; or a table of your own (text, clean, noisy: 0, 1, ...)."""
    width: int = Field(default=96, ge=8, multiple_of=4)
    """Of the hidden states."""
    layers: int = Field(default=4, ge=1)
    """Decoder layers."""
    heads: int = Field(default=4, ge=1)
    """Attention heads; they divide the width into even sizes."""
    key_heads: int | None = Field(default=None, ge=1)
    """Heads of keys and values; none takes as many as `heads`."""
    intermediate: int = Field(default=384, ge=1)
    """Width of the feed-forward."""
    gated: bool = False
    """A gated feed-forward of three matrices (SwiGLU with `silu`), or a plain one of two."""
    activation: Literal["gelu", "silu", "relu"] = "gelu"
    """Of the feed-forward."""
    tied: bool = False
    """One matrix for reading and writing words."""
    position_scale: float = Field(default=1.0, gt=0)
    """Amplitude of the code of a patch's place (its root mean square is .7 of this). Small codes vanish."""
    codec: CodecSettings = CodecSettings()
    """What turns pictures into patches."""
