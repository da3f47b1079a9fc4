"""Which tensors are a model's blocks, embeddings and head: read from tensor names and config, for any architecture.

No list of supported models: a stack of blocks shows as a prefix followed by 0, 1, 2, ... Knows no file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from burnish.core.errors import UserError

_LAYER = re.compile(r"\.(\d+)\.")
_EMBEDDING = re.compile(
    r"(^|\.)(embed_tokens|wte|word_embeddings|tok_embeddings|embed_in|shared|token_embedding|embedding|embeddings)\.weight$"
)
_HEAD = re.compile(
    r"(^|\.)(lm_head|embed_out|output|output_layer|cls\.predictions(\.decoder)?|generator_lm_head)\.(weight|bias)$"
)
# Tables that are written into old checkpoints and computed anew on loading: two models may differ in having them.
BUFFERS = re.compile(r"(rotary_emb\.inv_freq|\.attn\.(masked_)?bias|position_ids|attention\.(masked_)?bias)$")
# What a token or a patch meets before the first block: tables, positions, the norm of an image encoder's input.
_BEFORE = re.compile(r"embed|wte|wpe|patch|cls_token|shared|position|pre_layrnorm|pre_norm")
_COUNT_KEY = re.compile(
    r"^(num_(hidden_|encoder_|decoder_)?layers|n_layers?|depth|(encoder|decoder)_layers|num_blocks)$"
)


@dataclass(frozen=True)
class Stack:
    """Blocks that follow one another.

    Attributes:
        prefix: what their names begin with, for example `model.layers`.
        suffixes: for each block the rest of its tensors' names, for example `mlp.up_proj.weight`.
        count_key: where the config says how many there are (`text_config.num_hidden_layers`), or `None`.
    """

    prefix: str
    suffixes: tuple[tuple[str, ...], ...]
    count_key: str | None

    def __len__(self) -> int:
        return len(self.suffixes)

    def names(self, layer: int) -> list[str]:
        """Full names of a block's tensors."""
        return [f"{self.prefix}.{layer}.{suffix}" for suffix in self.suffixes[layer]]


@dataclass(frozen=True)
class Layout:
    """A model's tensors, sorted.

    Attributes:
        stacks: encoder before decoder, vision before language, as the names are met.
        loose: tensors outside the stacks.
        embeddings: input embeddings: one row a token.
        heads: output projections and biases: one row a token.
    """

    stacks: tuple[Stack, ...]
    loose: tuple[str, ...]
    embeddings: tuple[str, ...]
    heads: tuple[str, ...]

    @property
    def before(self) -> frozenset[str]:
        """Tensors that come before the first block; the other loose ones come after the last."""
        return frozenset(name for name in self.loose if name not in self.heads and comes_before(name))

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Tensors whose first axis is the vocabulary."""
        return self.embeddings + self.heads

    def stack(self, name: str) -> Stack:
        """The stack a user means by `name`: its prefix, a part of it, or `default` for the only one.

        Raises:
            UserError: none or several; the stacks are listed.
        """
        if name == "default" and len(self.stacks) == 1:
            return self.stacks[0]
        found = [stack for stack in self.stacks if stack.prefix == name]
        if not found:
            words = _ALIASES.get(name, (name,))
            found = [stack for stack in self.stacks if any(word in stack.prefix for word in words)]
        if not found and name in _TEXT:
            found = [
                stack for stack in self.stacks if not any(word in stack.prefix for word in _ALIASES["vision_tower"])
            ]
        if len(found) != 1:
            have = ", ".join(stack.prefix for stack in self.stacks) or "none"
            raise UserError(
                f"module {name!r} means {len(found)} of the model's stacks of layers ({have}); name one of them"
            )
        return found[0]


_TEXT = ("text_decoder", "language_model", "text_model")
_ALIASES = {
    "text_decoder": ("language_model", "text_model"),
    "language_model": ("language_model", "text_model"),
    "vision_tower": ("vision", "visual"),
    "vision_encoder": ("vision", "visual"),
    "visual": ("vision", "visual"),
}


def infer_layout(names: Iterable[str], config: Mapping[str, Any]) -> Layout:
    """Sort a model's tensors into stacks of blocks, embeddings, head and the rest.

    Args:
        names: of all tensors.
        config: the model's `config.json`.

    Raises:
        UserError: two tensors of one layer cannot be told apart, or the layers of a stack are not numbered 0, 1, 2, ...
    """
    blocks: dict[str, dict[int, list[str]]] = {}
    loose: list[str] = []
    for name in sorted(names, key=natural):
        match = _LAYER.search(name)
        if match:
            layers = blocks.setdefault(name[: match.start()], {})
            layers.setdefault(int(match[1]), []).append(name[match.end() :])
        else:
            loose.append(name)
    stacks = []
    for prefix, layers in blocks.items():
        if _is_stack(layers):
            count_key = _count_key(config, prefix, len(layers))
            stacks.append(Stack(prefix, tuple(tuple(layers[index]) for index in range(len(layers))), count_key))
        elif set(layers) != set(range(len(layers))) and any(
            "." in suffix for rest in layers.values() for suffix in rest
        ):
            gap = next(index for index in range(len(layers)) if index not in layers)
            raise UserError(
                f"layers of {prefix!r} are not numbered from 0 without a gap ({gap} is missing): cannot infer"
            )
        else:
            # A Sequential's members (a projector's 0 and 2) carry numbers but are no layers.
            loose += [f"{prefix}.{index}.{suffix}" for index, rest in layers.items() for suffix in rest]
    vision = _ALIASES["vision_tower"]
    outside = [name for name in loose if not any(word in name for word in vision)]
    heads = [name for name in outside if _HEAD.search(name)]
    embeddings = [name for name in outside if _EMBEDDING.search(name)]
    if not _vocabulary_size(config):
        heads, embeddings = [], []
    return Layout(tuple(stacks), tuple(loose), tuple(embeddings), tuple(heads))


def _is_stack(layers: Mapping[int, list[str]]) -> bool:
    # A block has parts of its own (`attn.q.weight`); a member of a Sequential is one weight and one bias.
    contiguous = set(layers) == set(range(len(layers)))
    return contiguous and all(any("." in suffix for suffix in suffixes) for suffixes in layers.values())


def is_head(name: str) -> bool:
    """Whether a name is an output projection's weight, which a tied model keeps as its embedding."""
    return name.endswith("weight") and _HEAD.search(name) is not None


def comes_before(name: str) -> bool:
    """Whether a tensor outside the layers is named like what a token or a patch meets before the first block."""
    return _BEFORE.search(name) is not None


def natural(name: str) -> list[tuple[int, int | str]]:
    """Sort key that puts layer 2 before layer 10."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in name.split(".")]


def _vocabulary_size(config: Mapping[str, Any]) -> int | None:
    for part in (config, config.get("text_config")):
        if isinstance(part, Mapping) and isinstance(part.get("vocab_size"), int):
            return int(part["vocab_size"])
    return None


def _count_key(config: Mapping[str, Any], prefix: str, count: int) -> str | None:
    """The config key that holds a stack's length: the right number under a right name, nearest to the stack's own
    part."""
    found: list[tuple[int, str]] = []
    for key, value in config.items():
        if isinstance(value, Mapping):
            part = key.removesuffix("_config")
            fits = part in prefix or (part == "text" and "vision" not in prefix)
            found += [(0 if fits else 2, f"{key}.{inner}") for inner in _counts(value, count)] if fits else []
        elif value == count and _COUNT_KEY.match(key) and not isinstance(value, bool):
            side = next((word for word in ("encoder", "decoder") if word in key), None)
            # T5 counts its encoder by `num_layers`; in BART `num_hidden_layers` is the encoder's too.
            wrong_side = side is not None and side not in prefix
            plain_for_decoder = side is None and "decoder" in prefix and "num_decoder_layers" in config
            if not (wrong_side or plain_for_decoder):
                found.append((1 if side is None else 0, key))
    return min(found)[1] if found else None


def _counts(part: Mapping[str, Any], count: int) -> list[str]:
    return [
        key for key, value in part.items() if value == count and _COUNT_KEY.match(key) and not isinstance(value, bool)
    ]
