"""What a unified model is, as the ``config.json`` of its folder says it. Knows transformers."""

from __future__ import annotations

from typing import Any, cast

from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig

from burnish.core.errors import UserError, nearest
from burnish.generate.experts import ROUTINGS, expert_count
from burnish.generate.records import Kind

TEXT_TYPES = ("qwen3", "qwen2", "llama")
"""Text models whose block is this one: RMS norms, rotary positions, grouped heads, gated feed-forward."""


class UnifiedConfig(PreTrainedConfig):
    """Sizes and routing of a unified model.

    Args:
        text: configuration of the text model whose block every expert has, as its ``config.json`` says it.
        routing: expert of each kind of token.
        gated: SwiGLU-like feed-forward, as in all checkpoints; or a plain one of two matrices.
        patch_dim: numbers a patch, in the codec's units.
        grid: rows and columns of patches of a picture.
        position_scale: amplitude of the sine-cosine code of a patch's place. Small codes vanish next to the patch.
        codec: what turns pictures into patches; see ``codecs``.
    """

    model_type = "burnish_unified"

    def __init__(
        self,
        text: dict[str, Any] | None = None,
        routing: dict[Kind, int] | None = None,
        gated: bool = True,
        patch_dim: int = 192,
        grid: tuple[int, int] = (4, 4),
        position_scale: float = 1.0,
        codec: dict[str, Any] | None = None,
        **rest: Any,
    ) -> None:
        self.text = {"model_type": "qwen3"} if text is None else dict(text)
        self.routing = dict(ROUTINGS["mint"] if routing is None else routing)
        self.gated = gated
        self.patch_dim = patch_dim
        self.grid = list(grid)
        self.position_scale = position_scale
        self.codec = dict(codec or {})
        super().__init__(**rest)
        self.tie_word_embeddings = False  # where they are tied there is one matrix, and nothing for transformers to tie

    @property
    def experts(self) -> int:
        """How many."""
        return expert_count(self.routing)

    @property
    def patches(self) -> int:
        """Of one picture."""
        rows, columns = self.grid
        return int(rows * columns)

    def text_config(self) -> Any:
        """The text model's configuration as transformers has it.

        Raises:
            UserError: a model whose block is another.
        """
        return text_config(self.text, "the unified model's `text`")


def text_config(config: dict[str, Any], where: str) -> Any:
    """A text model's configuration, if every expert can have its block.

    Raises:
        UserError: the block is another, with the part that differs.
    """
    kind = str(config.get("model_type"))
    if kind not in TEXT_TYPES:
        raise UserError(f"{where}: model_type `{kind}` has another block; {nearest(kind, TEXT_TYPES)}")
    found = CONFIG_MAPPING[kind](**{key: value for key, value in config.items() if key != "model_type"})
    layers = getattr(found, "layer_types", None) or ()
    reason = ""
    if "sliding_attention" in layers:
        reason = "has sliding-window layers, which cut a picture's block apart"
    elif getattr(found, "mlp_bias", False):
        reason = "has biases in its feed-forward (mlp_bias)"
    elif getattr(found, "attention_bias", False):
        reason = "has a bias on its attention's output (attention_bias)"
    elif found.hidden_size % 4:
        reason = f"has width {found.hidden_size}; the code of a patch's place needs a multiple of 4"
    if reason:
        raise UserError(f"{where}: {reason}; take a Qwen2, Qwen3 or Llama checkpoint without it")
    return cast(Any, found)


# So that transformers' own readers (the tokenizer's, say) know the folder for what it is.
AutoConfig.register(UnifiedConfig.model_type, UnifiedConfig, exist_ok=True)
