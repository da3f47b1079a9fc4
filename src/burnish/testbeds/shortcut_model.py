"""A tiny LLaVA that learns the shortcut world from scratch, and its bias with it. Knows torch and transformers."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from burnish.dialogue.models import ChatModel, opened
from burnish.dialogue.rows import Question
from burnish.testbeds.shortcut import CELL, HELD_OUT, SHAPE_THINGS, Things, ask, held_out, scenes, vocabulary

TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }} : {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image> {% else %}{{ c['text'] }} {% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}assistant : {% endif %}"
)
PATCH = CELL
START = (
    3.0  # transformers' first weights are for models a hundred times wider; these learn nothing for hundreds of steps
)


@dataclass(frozen=True)
class Spend:
    """What training costs: the recorded recipe. Two stages, each with its own scenes and learning-rate cycle.

    Attributes:
        scenes: how many each stage draws.
        looking: steps of the first stage, in which rooms say nothing: what a vision-language model learns from
            captions.
        biased: steps of the second, in which the room is nearly always enough.
        batch, rate: of AdamW.
        blind: share of batches without pictures, so that the model knows what the text alone makes likely (a real model
            knows it from its years as a language model).
        usual: share of the second stage's scenes that show the room's usual thing.
        noise: grain of the pictures.
    """

    scenes: int = 4096
    looking: int = 500
    biased: int = 200
    batch: int = 64
    rate: float = 4e-3
    blind: float = 0.2
    usual: float = 0.9
    noise: float = 0.2


def new_model(seed: int = 0, things: Things = SHAPE_THINGS) -> ChatModel:
    """A LLaVA (CLIP tower, Llama) of 0.14 M parameters with random weights and a word tokenizer."""
    import transformers
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tokenizer = _tokenizer(things)
    side = 2 * CELL
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
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "image_size": side,
            "patch_size": PATCH,
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
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )
    return ChatModel(model.eval(), processor, "the shortcut world's LLaVA")


def train_model(seed: int = 0, spend: Spend | None = None, things: Things = SHAPE_THINGS) -> ChatModel:
    """Train one from scratch on its own scenes; the same on every call on a CPU."""
    spend = spend or Spend()
    chat = new_model(seed, things)
    optimizer = torch.optim.AdamW(chat.model.parameters(), lr=spend.rate, weight_decay=0.05)
    rng = np.random.default_rng([seed, 17])
    chat.model.train()
    stages = ((spend.looking, 1 / len(things.names)), (spend.biased, spend.usual))
    for number, (steps, usual) in enumerate(stages):
        questions = ask(scenes(spend.scenes, 2 * seed + number, usual, things, spend.noise), things)
        seeing, blind = _encoded(chat, questions, images=True), _encoded(chat, questions, images=False)
        for step in range(steps):
            rows = torch.from_numpy(rng.integers(spend.scenes, size=spend.batch))
            data = blind if rng.random() < spend.blind else seeing
            loss = chat.model(**{key: value[rows] for key, value in data.items()}).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(chat.model.parameters(), 1.0)
            optimizer.param_groups[0]["lr"] = spend.rate * _cycle(step / steps)
            optimizer.step()
    chat.model.eval()
    return chat


def _cycle(done: float) -> float:
    """Share of the learning rate when ``done`` (0 to 1) of a stage is over: up in a tenth, then down to nothing."""
    return min(1.0, 10 * done + 0.1) * math.cos(done * math.pi / 2)


def _encoded(chat: ChatModel, questions: list[Question], *, images: bool) -> dict[str, torch.Tensor]:
    """All questions with their answers as one batch; only the answers are learnt. Every text has the same length."""
    prompts = chat.render(questions, images=images)
    found = chat.encode(prompts, opened(questions) if images else None)
    end = chat.tokenizer.eos_token_id
    answers = torch.tensor([[chat.tokenizer.convert_tokens_to_ids(question.answer), end] for question in questions])
    ids = torch.cat([found["input_ids"], answers], dim=1)
    labels = torch.full_like(ids, -100)
    labels[:, -2:] = answers
    return {**found, "input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def _tokenizer(things: Things) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    specials = ["<pad>", "<bos>", "<eos>", "<unk>", "<image>"]
    words = {word: index for index, word in enumerate([*specials, "user", "assistant", ":", *vocabulary(things)])}
    backend = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    return tokenizer


SCENE = "what is on the left in the kitchen ?"


def write_model(work: Path) -> None:
    """The trained model as a folder, with held-out questions beside it.

    ``held-out.jsonl`` has a third of counter-examples, ``counter.jsonl`` nothing else. ``scene.png`` is the first
    counter-example drawn for the question ``SCENE``.
    """
    chat = train_model()
    chat.model.save_pretrained(work)
    chat.processor.save_pretrained(work)
    (work / "images").mkdir()
    for name, usual, seed in (("held-out", 2 / 3, HELD_OUT + 1), ("counter", 0.0, HELD_OUT + 2)):
        lines = []
        for index, question in enumerate(held_out(usual, 200, seed)):
            path = f"images/{name}-{index:03}.png"
            opened([question])[0][0].save(work / path)
            lines.append(json.dumps({"question": question.question, "answer": question.answer, "image": path}))
        (work / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    asked = [question for question in held_out(0.0, 400, HELD_OUT + 3) if question.question == SCENE]
    opened(asked[:1])[0][0].save(work / "scene.png")
