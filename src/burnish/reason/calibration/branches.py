"""A model's generation state as a value: token ids, cache and the rest, so that two can go in step or as one.

Knows transformers' generation interface (``prepare_inputs_for_generation`` and the like); knows no calibration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_TEXT_KEYS = {
    "cache",
    "attention_mask",
    "position_ids",
    "token_type_ids",
    "mm_token_type_ids",
    "use_cache",
    "logits_to_keep",
}


@dataclass
class Branch:
    """Rows of one prompt each, at the same step of generation.

    Attributes:
        model: an image-text model of transformers.
        ids: [rows, length] tokens so far, padded on the left.
        state: what ``generate`` prepared for the model: masks, positions, images and, from the first pass on, the
            cache.
    """

    model: Any
    ids: Tensor
    state: dict[str, Any]

    def prefill(self) -> Tensor:
        """Run the prompt: logits [rows, vocab] of the first new token."""
        return self._run(self.model.prepare_inputs_for_generation(self.ids, is_first_iteration=True, **self.state))

    def step(self, tokens: Tensor) -> Tensor:
        """Append ``tokens`` [rows] and run them: logits [rows, vocab] of the next."""
        self.ids = torch.cat([self.ids, tokens[:, None]], dim=1)
        return self._run(self.model.prepare_inputs_for_generation(self.ids, next_sequence_length=1, **self.state))

    def _run(self, inputs: dict[str, Any]) -> Tensor:
        outputs = self.model(**inputs, return_dict=True)
        self.state = self.model._update_model_kwargs_for_generation(outputs, self.state)
        # A copy: what is left of a long prompt's logits can go.
        logits: Tensor = outputs.logits[:, -1].to(copy=True, dtype=torch.float32, device=self.ids.device)
        return logits


def prepare(model: Any, inputs: Mapping[str, Any], like: Any, new_tokens: int) -> Branch:
    """A branch for ``inputs``, prepared by ``model.generate`` itself, as the branch of the generation ``like`` was.

    Args:
        model: an image-text model.
        inputs: a processor's tensors.
        like: the prepared generation config of the other branch.
        new_tokens: how many may follow the prompt.
    """
    from transformers import GenerationConfig

    def keep(model: Any, input_ids: Tensor, **kwargs: Any) -> Branch:
        for name in ("logits_processor", "stopping_criteria", "generation_config"):
            kwargs.pop(name)
        return Branch(model, input_ids, kwargs)

    config = GenerationConfig(
        max_new_tokens=new_tokens,
        do_sample=like.do_sample,
        num_return_sequences=like.num_return_sequences,
        pad_token_id=like.pad_token_id,
        eos_token_id=like.eos_token_id,
        use_cache=True,
    )
    branch: Branch = model.generate(**inputs, generation_config=config, custom_generate=keep)
    return branch


def join(first: Branch, second: Branch) -> Branch | None:
    """Both prefilled branches as one of twice the rows, the shorter padded on the left; takes over their caches.

    ``None`` where that is not possible: caches with windows, recurrent states or cross-attention, or inputs of a
    model's own that generation needs beyond the first pass.
    """
    from transformers.generation.utils import MULTIMODAL_INPUTS_TO_DROP_OUTSIDE_PREFILL

    for branch in (first, second):
        if not _plain(branch.state.get("cache")):
            return None
        needed = {key for key, value in branch.state.items() if value is not None} - _TEXT_KEYS
        if needed - set(MULTIMODAL_INPUTS_TO_DROP_OUTSIDE_PREFILL):
            return None
    caches = first.state["cache"], second.state["cache"]
    if len(caches[0].layers) != len(caches[1].layers):
        return None
    cached = max(cache.get_seq_length() for cache in caches)
    state = dict(first.state)
    for mine, theirs in zip(caches[0].layers, caches[1].layers, strict=True):
        for name in ("keys", "values"):
            parts = [getattr(mine, name), getattr(theirs, name)]
            setattr(theirs, name, None)
            setattr(mine, name, torch.cat([_padded(part, cached, dim=-2) for part in parts]))
    length = cached + 1  # masks and positions already hold the place of the next token
    state["attention_mask"] = torch.cat([_padded(_mask(branch), length, dim=-1) for branch in (first, second)])
    if (positions := first.state.get("position_ids")) is not None:
        both = [positions, second.state["position_ids"]]
        state["position_ids"] = torch.cat([_padded(part, length, dim=-1) for part in both], dim=-2)
    for name in ("token_type_ids", "mm_token_type_ids"):
        if state.get(name) is not None:  # only the new tokens' types are read from here on, and these are text
            state[name] = torch.zeros_like(state["attention_mask"])
    ids = torch.cat([_padded(branch.ids, cached, dim=-1) for branch in (first, second)])
    return Branch(first.model, ids, {key: value for key, value in state.items() if key in _TEXT_KEYS})


def _plain(cache: Any) -> bool:
    """Whether a cache holds, in each layer, all keys and values of the same tokens and nothing else."""
    from transformers.cache_utils import DynamicCache, DynamicLayer

    if type(cache) is not DynamicCache or not cache.layers:
        return False
    if not all(type(layer) is DynamicLayer and layer.is_initialized for layer in cache.layers):
        return False
    return len({layer.get_seq_length() for layer in cache.layers}) == 1


def _mask(branch: Branch) -> Tensor:
    mask = branch.state.get("attention_mask")  # generate drops a mask of ones
    if mask is None:
        return torch.ones(len(branch.ids), branch.ids.shape[1] + 1, dtype=torch.long, device=branch.ids.device)
    return torch.as_tensor(mask)


def _padded(values: Tensor, length: int, dim: int) -> Tensor:
    """Zeros put before ``values`` along ``dim`` (-1 or -2) up to ``length``."""
    missing = length - values.shape[dim]
    return values if missing == 0 else F.pad(values, (0, 0) * (-1 - dim) + (missing, 0))
