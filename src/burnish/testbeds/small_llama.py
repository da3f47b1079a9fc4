"""A Llama small enough to train from scratch in a minute, for a tokenizer of a few dozen words."""

from __future__ import annotations

from typing import Any


def new_llama(tokenizer: Any, seed: int, width: int, layers: int, positions: int) -> Any:
    """With weights drawn from ``seed``; torch's own generator is left as it was.

    Args:
        tokenizer: whose words it gets, and whose marks for padding, start and end.
        seed: of the weights.
        width: of the hidden state; four heads, a feed-forward part four times as wide.
        layers: of the network.
        positions: longest text.
    """
    import torch
    import transformers

    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=positions,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return transformers.LlamaForCausalLM(config)
