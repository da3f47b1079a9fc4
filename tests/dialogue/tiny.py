"""Image-text models of four kinds with random weights, and a text model: what the tests of this room look through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from burnish.dialogue.models import ChatModel
from burnish.dialogue.processors import images_only
from burnish.testbeds.models import character_tokenizer

TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
TEMPLATE = (
    "{{% for m in messages %}}{{{{ m['role'] }}}}: {{% for c in m['content'] %}}"
    "{{% if c['type'] == 'image' %}}{image}{{% else %}}{{{{ c['text'] }}}}{{% endif %}}{{% endfor %}}{{{{ '\\n' "
    "}}}}{{% endfor %}}"
    "{{% if add_generation_prompt %}}assistant: {{% endif %}}"
)
KINDS = ("llava", "llava_next", "idefics3", "qwen2_vl")


def tokenizer_with(*tokens: str) -> Any:
    tokenizer = character_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": list(tokens)})
    return tokenizer


def special(tokenizer: Any) -> dict[str, int]:
    return {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }


def llava() -> ChatModel:
    tokenizer = tokenizer_with("<image>")
    config = transformers.LlavaConfig(**_llava_parts(tokenizer))
    processor = transformers.LlavaProcessor(
        CLIPImageProcessorPil(**CLIP_SIZES), tokenizer, chat_template=TEMPLATE.format(image="<image>"), **LLAVA
    )
    return ChatModel(transformers.LlavaForConditionalGeneration(config).eval(), processor, "llava")


def llava_next() -> ChatModel:
    """Tiles of 16 pixels, two or one of them beside the whole picture."""
    tokenizer, grids = tokenizer_with("<image>"), [[16, 32], [32, 16]]
    config = transformers.LlavaNextConfig(**_llava_parts(tokenizer), image_grid_pinpoints=grids)
    images = LlavaNextImageProcessorPil(**CLIP_SIZES, image_grid_pinpoints=grids)
    processor = transformers.LlavaNextProcessor(
        images, tokenizer, chat_template=TEMPLATE.format(image="<image>"), **LLAVA
    )
    return ChatModel(transformers.LlavaNextForConditionalGeneration(config).eval(), processor, "llava_next")


CLIP_SIZES = {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}
LLAVA = {"patch_size": 4, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}


def _llava_parts(tokenizer: Any) -> dict[str, Any]:
    return {
        "text_config": {"model_type": "qwen2", **TEXT, **special(tokenizer)},
        "vision_config": {
            "model_type": "clip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 16,
            "patch_size": 4,
            "projection_dim": 32,
        },
        "image_token_id": tokenizer.convert_tokens_to_ids("<image>"),
        "vision_feature_layer": -1,
    }


def idefics3() -> ChatModel:
    places = [f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)]
    tokenizer = tokenizer_with("<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>", *places)
    config = transformers.Idefics3Config(
        text_config={"model_type": "llama", **TEXT, **special(tokenizer)},
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 16,
            "patch_size": 4,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=tokenizer.pad_token_id,
    )
    images = Idefics3ImageProcessorPil(size={"longest_edge": 32}, max_image_size={"longest_edge": 16})
    processor = transformers.Idefics3Processor(
        images, tokenizer, image_seq_len=4, chat_template=TEMPLATE.format(image="<image>")
    )
    return ChatModel(transformers.Idefics3ForConditionalGeneration(config).eval(), processor, "idefics3")


def qwen2_vl() -> ChatModel:
    marks = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    tokenizer = tokenizer_with(*marks)
    ids = tokenizer.convert_tokens_to_ids(marks)
    config = transformers.Qwen2VLConfig(
        text_config={
            **TEXT,
            **special(tokenizer),
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2]},
        },
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": 32,
            "num_heads": 2,
            "patch_size": 4,
            "spatial_merge_size": 2,
        },
        vision_start_token_id=ids[0],
        vision_end_token_id=ids[1],
        image_token_id=ids[2],
        video_token_id=ids[3],
    )
    template = TEMPLATE.format(image="<|vision_start|><|image_pad|><|vision_end|>")
    processor = images_only(transformers.Qwen2VLProcessor)(
        Qwen2VLImageProcessorPil(patch_size=4, merge_size=2, min_pixels=64, max_pixels=4096), tokenizer, template
    )
    return ChatModel(transformers.Qwen2VLForConditionalGeneration(config).eval(), processor, "qwen2_vl")


def text_model(template: bool = True) -> ChatModel:
    tokenizer = character_tokenizer()
    tokenizer.chat_template = None
    if template:
        tokenizer.chat_template = (
            "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}"
            "{% if add_generation_prompt %}assistant: {% endif %}"
        )
    config = transformers.LlamaConfig(**TEXT, **special(tokenizer))
    return ChatModel(transformers.LlamaForCausalLM(config).eval(), tokenizer, "text")


def build(kind: str, seed: int = 0) -> ChatModel:
    torch.manual_seed(seed)
    chat: ChatModel = {
        "llava": llava,
        "llava_next": llava_next,
        "idefics3": idefics3,
        "qwen2_vl": qwen2_vl,
        "text": text_model,
    }[kind]()
    # Random weights of .02 make every logit alike; larger ones make a token depend on what came before.
    with torch.no_grad():
        for parameter in chat.model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4)
    return chat


def save(chat: ChatModel, folder: Path) -> Path:
    chat.model.save_pretrained(folder)
    chat.processor.save_pretrained(folder)
    return folder


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    values = torch.rand((height, width, 3), generator=torch.Generator().manual_seed(seed))
    return Image.fromarray((255 * values).byte().numpy())
