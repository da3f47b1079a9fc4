"""A LLaVA small enough to train from scratch in a minute, for a tokenizer of a few dozen words. Knows transformers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from burnish.dialogue.models import ChatModel

TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }} : {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image> {% else %}{{ c['text'] }} {% endif %}{% endfor %}"
    "{% if m['role'] == 'assistant' %}<eos> {% endif %}{% endfor %}"
    "{% if add_generation_prompt %}assistant : {% endif %}"
)
START = (
    3.0  # transformers' first weights are for models a hundred times wider; these learn nothing for hundreds of steps
)


def new_llava(tokenizer: Any, seed: int, side: int, patch: int, name: str, layers: int = 1) -> ChatModel:
    """A CLIP tower and a Llama of two layers, 64 wide, with random weights.

    Args:
        tokenizer: whose words it gets; ``<image>`` must be one.
        seed: of the weights.
        side: of a picture, in pixels.
        patch: of the tower, in pixels; ``(side / patch) ** 2`` tokens stand for a picture.
        name: what to call it in messages.
        layers: of the tower.
    """
    import transformers
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    config = transformers.LlavaConfig(
        text_config={
            "model_type": "llama",
            "vocab_size": len(tokenizer),
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "max_position_embeddings": 256,
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        },
        vision_config={
            "model_type": "clip_vision_model",
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": layers,
            "num_attention_heads": 4,
            "image_size": side,
            "patch_size": patch,
            "projection_dim": 64,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
    )
    torch.manual_seed(seed)
    model = transformers.LlavaForConditionalGeneration(config)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim > 1:
                weights.mul_(START)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    processor = transformers.LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side}),
        tokenizer,
        patch_size=patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )
    return ChatModel(model.eval(), processor, name)


def word_tokenizer(words: Sequence[str], *, prose: bool = False) -> Any:
    """One token a word, between blanks.

    Args:
        words: what it knows beside the marks and the template's words.
        prose: whether texts are read in lower case, with punctuation as words of its own.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    specials = ["<pad>", "<bos>", "<eos>", "<unk>", "<image>"]
    numbered = {word: index for index, word in enumerate([*specials, "user", "assistant", ":", *words])}
    backend = Tokenizer(models.WordLevel(numbered, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace() if prose else pre_tokenizers.WhitespaceSplit()
    if prose:
        backend.normalizer = normalizers.Lowercase()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    return tokenizer


def cycle(done: float) -> float:
    """Share of the learning rate when ``done`` (0 to 1) of a stage is over: up in a tenth, then down to nothing."""
    return min(1.0, 10 * done + 0.1) * math.cos(done * math.pi / 2)
