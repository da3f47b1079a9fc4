"""A model as it reads and writes, and transformers' own loop with the choice of tokens left to the caller.

Knows transformers' generation interface; knows no conversation.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


@contextmanager
def reading(model: Any) -> Iterator[None]:
    """A model as it reads and writes, whatever it was doing: no gradients, no dropout, no checkpointing."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def accepts(model: Any, argument: str) -> bool:
    """Whether a model's forward pass has an argument of this name; PEFT's wrapper hides those of the model inside."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return argument in inspect.signature(inner.forward).parameters


def end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """The tokens that end a text, of the model's generation settings and of the tokenizer, sorted."""
    found: set[int] = set()
    for each in (model.generation_config.eos_token_id, tokenizer.eos_token_id):
        found |= set() if each is None else set(each) if isinstance(each, list) else {each}
    return sorted(found)


def generate(
    model: Any,
    inputs: Mapping[str, Tensor],
    step: Callable[[Tensor], Tensor],
    ended: Callable[[], Tensor],
    longest: int,
) -> None:
    """Run transformers' loop, the choice of tokens being the caller's.

    Args:
        model: any causal or image-text model.
        inputs: of the prompts, padded on the left.
        step: gets the logits of what follows, gives the tokens to go on with.
        ended: which rows need no further step.
        longest: most steps.
    """

    def only(_ids: Tensor, scores: Tensor) -> Tensor:
        return torch.full_like(scores, -torch.inf).scatter_(1, step(scores)[:, None], 0.0)

    def without_others(model: Any, input_ids: Tensor, logits_processor: Any, **prepared: Any) -> Any:
        # The model's own processors (a repetition penalty, say) have no part in this.
        return model._sample(input_ids, type(logits_processor)([only]), **prepared)

    model.generate(
        **inputs,
        custom_generate=without_others,
        stopping_criteria=[lambda _ids, _scores: ended()],
        max_new_tokens=longest,
        max_length=None,
        do_sample=False,
        num_beams=1,
        pad_token_id=0,
    )
