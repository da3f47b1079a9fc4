"""A byte-level tokenizer that reads any text, and Llamas of two layers: what the tests of RFTT stand on."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def tiny_tokenizer(template: str | None = TEMPLATE, pad: bool = True) -> Any:
    """One token a byte, five special ones, no merges."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    specials = ["<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]
    backend = Tokenizer(models.BPE({token: index for index, token in enumerate([*specials, *letters])}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token="<|end|>",
        pad_token="<|pad|>" if pad else None,
        additional_special_tokens=specials[2:],
    )
    tokenizer.chat_template = template
    return tokenizer


def tiny_llama(rows: int = 261, *, tied: bool = False, seed: int = 0, width: int = 32, **config: Any) -> Any:
    """An untrained model of as many rows as :func:`tiny_tokenizer` has tokens, or more."""
    torch.manual_seed(seed)
    settings = transformers.LlamaConfig(
        vocab_size=rows,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=tied,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
        **config,
    )
    return transformers.LlamaForCausalLM(settings).eval()
