"""A tiny LLaVA that learns the shortcut world from scratch, and its bias with it. Knows torch and transformers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from burnish.dialogue.models import ChatModel, opened
from burnish.dialogue.rows import Question
from burnish.testbeds.shortcut import CELL, HELD_OUT, SHAPE_THINGS, Things, ask, held_out, scenes, vocabulary
from burnish.testbeds.small_llava import cycle, new_llava, word_tokenizer

PATCH = CELL


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
    tokenizer = word_tokenizer(vocabulary(things))
    return new_llava(tokenizer, seed, side=2 * CELL, patch=PATCH, name="the shortcut world's LLaVA")


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
            optimizer.param_groups[0]["lr"] = spend.rate * cycle(step / steps)
            optimizer.step()
    chat.model.eval()
    return chat


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
