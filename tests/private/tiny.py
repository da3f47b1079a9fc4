"""A causal language model of a few thousand random weights, and what tests of the clear pipeline share."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers

from burnish.testbeds.models import character_tokenizer


def write_causal(folder: Path, width: int = 16) -> Path:
    """A Llama with random weights and a token a character."""
    torch.manual_seed(0)
    tokenizer = character_tokenizer()
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=128,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
