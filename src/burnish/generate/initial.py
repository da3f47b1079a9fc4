"""A new unified model: from a text checkpoint, copied into every expert tensor by tensor, or from scratch.

The copy reads one tensor at a time from the checkpoint's files, so that it needs no second model in memory. What a text
model does not have (patches in, noise levels, the two heads of pictures) starts at random. Source: MINT, section 3.4:
text and drawing experts both start from Qwen2-0.5B. Knows the model and the Hugging Face layout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from burnish.core.errors import UserError
from burnish.core.models import read_config, resolve
from burnish.generate.codecs.face import Codec
from burnish.generate.config import UnifiedConfig, text_config
from burnish.generate.experts import ROUTINGS, by_expert, expert_count
from burnish.generate.layers import ExpertLayer
from burnish.generate.model import UnifiedModel
from burnish.generate.records import Kind
from burnish.generate.settings import ModelSettings


def routing_table(routing: str | Mapping[Kind, int]) -> dict[Kind, int]:
    """A routing table by its name, or one's own.

    Raises:
        UserError: a kind without an expert, or experts not numbered from 0.
    """
    found = dict(ROUTINGS[routing] if isinstance(routing, str) else routing)
    expert_count(found)
    return found


def from_scratch(settings: ModelSettings, codec: Codec, vocabulary: int) -> UnifiedModel:
    """A model of the settings' sizes with random weights, by torch's global generator.

    In half of the heads keys begin as queries do, so that tokens look at those like them from the first step on: a
    patch at the words for its place (mimetic initialisation, Trockman and Kolter, 2023).

    Raises:
        UserError: sizes that do not fit each other.
    """
    size, rest = divmod(settings.width, settings.heads)
    key_heads = settings.key_heads or settings.heads
    if rest or size % 2:
        raise UserError(f"model.heads: {settings.heads} heads do not divide width {settings.width} into even sizes")
    if settings.heads % key_heads:
        raise UserError(f"model.key_heads: {key_heads} does not divide {settings.heads} heads")
    text = {
        "model_type": "qwen3",
        "hidden_size": settings.width,
        "num_hidden_layers": settings.layers,
        "num_attention_heads": settings.heads,
        "num_key_value_heads": key_heads,
        "head_dim": size,
        "intermediate_size": settings.intermediate,
        "hidden_act": settings.activation,
        "vocab_size": vocabulary,
        "tie_word_embeddings": settings.tied,
        "max_position_embeddings": 4096,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},  # as in Qwen3's checkpoints
    }
    model = UnifiedModel(_config(text, settings, codec, settings.gated))
    if key_heads == settings.heads:
        queries, some = settings.heads * size, settings.heads // 2 * size
        with torch.no_grad():
            for layer in model.layers:
                rows = by_expert(layer.get_parameter("attention.qkv.weight"), model.config.experts)
                rows[:, queries : queries + some] = rows[:, :some]
    return model


def from_text(settings: ModelSettings, codec: Codec, vocabulary: int | None = None) -> UnifiedModel:
    """A model whose experts all are the text checkpoint that ``settings.base`` names.

    With text alone it says what that checkpoint says.

    Args:
        settings: the model's.
        codec: whose patches it reads and draws.
        vocabulary: words, if more than the checkpoint's: new ones start at the mean of all.

    Raises:
        UserError: no such checkpoint, another block, or tensors missing or of another shape.
    """
    folder = resolve(str(settings.base))
    config = read_config(folder)
    known = text_config(config, str(folder))
    words = vocabulary or known.vocab_size
    if words < known.vocab_size:
        raise UserError(f"{folder}: has {known.vocab_size} words, {words} were asked for; a vocabulary only grows")
    text = {**known.to_dict(), "vocab_size": words}
    model = UnifiedModel(_config(text, settings, codec, gated=True))
    with torch.no_grad(), _Checkpoint(folder) as checkpoint:
        for target, source in _targets(model, checkpoint):
            _copy(target, source, folder)
    return model


def _config(text: dict[str, Any], settings: ModelSettings, codec: Codec, gated: bool) -> UnifiedConfig:
    return UnifiedConfig(
        text=text,
        routing=routing_table(settings.routing),
        gated=gated,
        patch_dim=codec.patch_dim,
        grid=codec.grid,
        position_scale=settings.position_scale,
        codec=dict(codec.to_dict()),
    )


class _Checkpoint:
    """Tensors of a folder's safetensors files, by name, one at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.open = ExitStack()
        self.owner: dict[str, Any] = {}

    def __enter__(self) -> _Checkpoint:
        from safetensors import SafetensorError, safe_open

        with self.open:  # closed here only if one cannot be read
            for path in sorted(self.folder.glob("*.safetensors")):
                try:
                    file = self.open.enter_context(safe_open(path, "pt"))
                except (SafetensorError, OSError) as error:
                    raise UserError(f"{path}: cannot be read ({error})") from None
                self.owner |= dict.fromkeys(file.keys(), file)
            self.open = self.open.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.open.close()

    def read(self, name: str) -> Tensor:
        """A tensor; the body of a checkpoint with a head begins with ``model.``."""
        for full in (f"model.{name}", name):
            if full in self.owner:
                found: Tensor = self.owner[full].get_tensor(full)
                return found
        raise UserError(f"{self.folder}: has no tensor `{name}`; it is not a whole checkpoint of its config.json")


def _targets(model: UnifiedModel, checkpoint: _Checkpoint) -> Iterator[tuple[Tensor, Tensor]]:
    """Each parameter that a text checkpoint has, and what the checkpoint says of it."""

    def each(stacked: Tensor) -> Tensor:
        return by_expert(stacked, model.config.experts)

    yield _grown(model.embedding.weight, checkpoint.read("embed_tokens.weight"))
    if model.text_head is not None:
        yield _grown(model.text_head.weight, checkpoint.read("lm_head.weight"))
    yield each(model.norm.weight), checkpoint.read("norm.weight")
    for number, layer in enumerate(model.layers):
        assert isinstance(layer, ExpertLayer)
        start = f"layers.{number}."
        attention = layer.attention

        def read(*names: str, start: str = start) -> Tensor:
            return torch.cat([checkpoint.read(start + name) for name in names])

        projections = [f"self_attn.{part}_proj" for part in "qkv"]
        yield each(attention.qkv.weight), read(*(f"{name}.weight" for name in projections))
        if attention.qkv.bias is not None:
            yield each(attention.qkv.bias), read(*(f"{name}.bias" for name in projections))
        yield each(attention.out.weight), read("self_attn.o_proj.weight")
        if attention.query_norm is not None and attention.key_norm is not None:
            yield each(attention.query_norm.weight), read("self_attn.q_norm.weight")
            yield each(attention.key_norm.weight), read("self_attn.k_norm.weight")
        yield each(layer.attention_norm.weight), read("input_layernorm.weight")
        yield each(layer.feed_norm.weight), read("post_attention_layernorm.weight")
        if layer.feed.gate is not None:
            yield each(layer.feed.gate.weight), read("mlp.gate_proj.weight")
        yield each(layer.feed.up.weight), read("mlp.up_proj.weight")
        yield each(layer.feed.down.weight), read("mlp.down_proj.weight")


def _grown(target: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
    new = len(target) - len(source)
    return target, torch.cat([source, source.float().mean(0, keepdim=True).to(source.dtype).expand(new, -1)])


def _copy(target: Tensor, source: Tensor, folder: Path) -> None:
    needs = tuple(target.shape[-source.ndim :])
    if needs != tuple(source.shape):
        raise UserError(f"{folder}: a tensor of shape {tuple(source.shape)} where its config.json needs {needs}")
    target.copy_(source)  # over all experts: where there are any they are the leading dimension
