"""The client's side of the model: a frozen encoder or language model turns a text in each prompt into a vector.

Any Hugging Face folder: an encoder gives the mean over its tokens (without padding), a causal language model the state
of its last token, from which it would say its answer. Vectors have unit length, so that a score has a public bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float

from burnish.core.errors import BurnishError, UserError
from burnish.core.models import load_model, load_tokenizer, read_config, resolve, split_reference
from burnish.private.prompts import Prompt

Pooling = Literal["auto", "mean", "last"]
LEAST_ROOM = 4
"""Tokens that a template must leave for the text."""
LONGEST_TOKEN = 16
"""Characters; tokens are shorter on average, and only the first few hundred of a text are looked at."""


@dataclass(frozen=True)
class Represented:
    """Texts as the model sees them.

    Attributes:
        vectors: of unit length, by text and prompt.
        cut: whether a text was too long for the model and lost its end in at least one prompt.
    """

    vectors: Float[np.ndarray, "texts prompts width"]
    cut: Bool[np.ndarray, " texts"]


class Encoder:
    """A frozen model and how its tokens become one vector.

    Args:
        model: of transformers, in evaluation mode; one with a head of language is asked for its base.
        tokenizer: a fast one, which knows where in the text each token stands.
        pooling: ``mean`` over the tokens, or the ``last`` one; ``auto`` by what the model is.
        max_tokens: of a prompt with its text; no more than the model takes.
        batch: prompts at a time.

    Attributes:
        model, tokenizer: as given.
        pooling: settled.
        max_tokens: likewise.
        width: of a vector.

    Raises:
        UserError: a slow tokenizer, or a prompt longer than the model.
    """

    def __init__(
        self, model: Any, tokenizer: Any, pooling: Pooling = "auto", max_tokens: int = 128, batch: int = 64
    ) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise UserError(
                "encoder: its tokenizer is a slow one, which does not say where its tokens stand; convert it"
            )
        self.causal = model.get_output_embeddings() is not None and "CausalLM" in type(model).__name__
        self.pooling = ("last" if self.causal else "mean") if pooling == "auto" else pooling
        self._head = model.get_output_embeddings() if self.causal else None
        self.model = model
        self._base = model.base_model if hasattr(model, "base_model") else model
        self.tokenizer = tokenizer
        limit = getattr(model.config, "max_position_embeddings", None) or max_tokens
        self.max_tokens = min(max_tokens, limit)
        self._batch = batch
        self.width = int(model.config.hidden_size)

    def represent(self, texts: Sequence[str], prompts: Sequence[Prompt]) -> Represented:
        """Each text in each prompt.

        Raises:
            UserError: a template that leaves no room for a text.
            BurnishError: a vector that is not finite, or zero.
        """
        cut = np.zeros(len(texts), bool)
        ends = [self._ends(text) for text in texts]
        rows: list[list[int]] = []
        for prompt in prompts:
            room = self._room(prompt)
            for place, text in enumerate(texts):
                kept = text[: ends[place][room - 1]] if len(ends[place]) > room else text
                cut[place] |= len(kept) < len(text.rstrip())
                rows.append(self._ids(prompt.filled(kept)))
        vectors = self._vectors(rows, [f"text {at % max(1, len(texts))}" for at in range(len(rows))])
        shaped = vectors.reshape(len(prompts), len(texts), self.width).transpose(1, 0, 2)
        return Represented(np.ascontiguousarray(shaped), cut)

    def word_vectors(self, words: Sequence[str]) -> Float[np.ndarray, "words width"]:
        """What each word points at: of a language model the row of its output matrix for the word's first token, of an
        encoder the vector of the word alone. Unit length."""
        if self._head is None:
            return self._vectors([self._ids(word) for word in words], [f"word `{word}`" for word in words])
        rows = []
        for word in words:
            ids = self.tokenizer(f" {word.strip()}", add_special_tokens=False)["input_ids"]
            rows.append(self._head.weight[ids[0]].detach().float().numpy())
        vectors = np.stack(rows).astype(np.float32)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Refuse prompts that leave no room for a text; needs no weights.

        Raises:
            UserError: names the template.
        """
        for prompt in prompts:
            self._room(prompt)

    @property
    def flops_weights(self) -> int:
        """Weights that every token goes through: all but the tables of tokens and places."""
        tables = sum(each.weight.numel() for each in self._base.modules() if type(each).__name__ == "Embedding")
        return int(sum(each.numel() for each in self._base.parameters()) - tables)

    def _room(self, prompt: Prompt) -> int:
        room = self.max_tokens - len(self._ids(prompt.filled("")))
        if room < LEAST_ROOM:
            raise UserError(
                f"prompts: `{prompt.template[:60]}` leaves {max(room, 0)} of {self.max_tokens} tokens for the text; "
                "shorten it, or set encoder.max_tokens"
            )
        return room

    def _ends(self, text: str) -> list[int]:
        """Where the text's first tokens end, one more than have room: a template's own end is never cut for a text."""
        # a text of a megabyte need not be read to its end
        start = text[: LONGEST_TOKEN * (self.max_tokens + 1)]
        options = {"add_special_tokens": False, "return_offsets_mapping": True, "verbose": False}
        return [end for _, end in self.tokenizer(start, **options)["offset_mapping"]]

    def _ids(self, text: str) -> list[int]:
        ids = list(self.tokenizer(text, verbose=False)["input_ids"])
        if ids:
            return ids[: self.max_tokens]
        tokenizer = self.tokenizer  # an empty text of a tokenizer that adds nothing: the model must see something
        return [next(each for each in (tokenizer.bos_token_id, tokenizer.eos_token_id, 0) if each is not None)]

    def _vectors(self, rows: list[list[int]], names: Sequence[str]) -> Float[np.ndarray, "rows width"]:
        import torch

        order = sorted(range(len(rows)), key=lambda at: len(rows[at]))
        out = np.zeros((len(rows), self.width), np.float32)
        device = next(self._base.parameters()).device
        for start in range(0, len(order), self._batch):
            places = order[start : start + self._batch]
            longest = len(rows[places[-1]])
            ids = torch.zeros(len(places), longest, dtype=torch.long)
            mask = torch.zeros(len(places), longest, dtype=torch.long)
            for line, place in enumerate(places):
                ids[line, : len(rows[place])] = torch.tensor(rows[place])
                mask[line, : len(rows[place])] = 1
            with torch.inference_mode():
                states = (
                    self._base(input_ids=ids.to(device), attention_mask=mask.to(device)).last_hidden_state.float().cpu()
                )
            if self.pooling == "last":
                pooled = states[torch.arange(len(places)), mask.sum(1) - 1]
            else:
                pooled = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            out[places] = pooled.numpy()
        lengths = np.linalg.norm(out, axis=1, keepdims=True)
        bad = np.flatnonzero(~(np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 0)))
        if len(bad):
            raise BurnishError(f"encoder: {names[bad[0]]}: its vector is not finite, or zero; the model is damaged")
        return np.asarray(out / lengths)


def load_encoder(
    name: str | Path,
    pooling: Pooling = "auto",
    max_tokens: int = 128,
    *,
    device: str | None = None,
    batch: int = 64,
    weights: bool = True,
) -> Encoder:
    """An encoder or language model of a folder, of the hub, or of the hub's cache.

    Args:
        name: folder or hub id.
        pooling: see :class:`Encoder`.
        max_tokens: likewise.
        device: where it computes.
        batch: prompts at a time.
        weights: read them; without, the right shapes on torch's ``meta`` device, for a preflight.

    Raises:
        UserError: no such model, one without a tokenizer, or one that wants code of its own.
    """
    folder = resolve(split_reference(name)[0])
    config = read_config(folder)
    causal = any("CausalLM" in str(each) for each in config.get("architectures") or ())
    tokenizer = load_tokenizer(name)
    if weights:
        model = load_model(name, "CausalLM" if causal else "base", dtype="float32", device=device)
    else:
        import torch
        import transformers

        kind = transformers.AutoModelForCausalLM if causal else transformers.AutoModel
        with torch.device("meta"):
            model = kind.from_config(transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False))
    return Encoder(model, tokenizer, pooling, max_tokens, batch)
