"""A tiny LLaVA that learns scenes from scratch: to caption in part, and to answer whether a thing is there.

It names only a part of what it sees, because its captions do, and hardly ever what is not there: what an alignment
without preferences needs to have something to gain. Knows torch and transformers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from PIL import Image
from torch.nn.utils.rnn import pad_sequence

from burnish.dialogue.models import ChatModel
from burnish.dialogue.rows import Question
from burnish.testbeds.scenes import (
    PROBE,
    PROBES,
    QUESTION,
    SHAPE_WORLD,
    TRAINING,
    Scene,
    World,
    annotated,
    captioned,
    draw_probe,
    draw_scenes,
    partial_caption,
    with_article,
)
from burnish.testbeds.small_llava import cycle, new_llava, word_tokenizer

PATCH = 8
Rows = Int64[np.ndarray, " rows"]


@dataclass(frozen=True)
class Spend:
    """What training costs: the recorded recipe.

    Attributes:
        scenes: drawn once; their captions and questions are drawn anew each time.
        steps: of AdamW.
        batch: scenes a step.
        rate: highest learning rate, of one cycle.
        asked: share of steps on yes/no questions; the others are on captions.
        moved: share of steps on pictures turned and cut a little, as vision towers are trained: who knows none but
            upright ones invents things on a view that is turned.
        layers: of the vision tower.
    """

    scenes: int = 6144
    steps: int = 1200
    batch: int = 32
    rate: float = 1.2e-3
    asked: float = 0.4
    moved: float = 0.5
    layers: int = 1


def new_model(seed: int = 0, world: World = SHAPE_WORLD, layers: int = 1) -> ChatModel:
    """A LLaVA of 0.15 M parameters with random weights and a tokenizer of the world's words."""
    tokenizer = word_tokenizer(world.words(), prose=True)
    return new_llava(tokenizer, seed, side=world.side, patch=PATCH, name="the scenes' LLaVA", layers=layers)


def train_model(seed: int = 0, spend: Spend | None = None, world: World = SHAPE_WORLD) -> ChatModel:
    """Train one from scratch on its own scenes; the same on every call on a CPU."""
    spend = spend or Spend()
    chat = new_model(seed, world, spend.layers)
    rng = np.random.default_rng([seed, 63])
    pool = draw_scenes(spend.scenes, seed, world)

    def lesson(scene: Scene, asked: bool) -> tuple[str, str]:
        return draw_probe(scene.truth, rng, world) if asked else (QUESTION, partial_caption(scene.truth, rng))

    def batches() -> Iterator[tuple[Rows, list[tuple[str, str]]]]:
        for _ in range(spend.steps):
            rows = rng.integers(spend.scenes, size=spend.batch)
            asked, moved = (rng.random(2) < (spend.asked, spend.moved)).tolist()
            yield rows + spend.scenes * moved, [lesson(pool[row], asked) for row in rows]

    still = pixel_values(chat, pool)
    teach(chat, torch.cat([still, _moved(still, seed)]), batches(), spend.steps, spend.rate, world)
    return chat


def teach(
    chat: ChatModel,
    pixels: Float[torch.Tensor, "scenes 3 side side"],
    batches: Iterable[tuple[Rows, Sequence[tuple[str, str]]]],
    steps: int,
    rate: float,
    world: World = SHAPE_WORLD,
) -> None:
    """Supervised training in place, by AdamW, the learning rate in one cycle.

    Args:
        chat: the model.
        pixels: of all scenes, of :func:`pixel_values`.
        batches: one a step: which scenes, and of each a question of the world with the answer to learn.
        steps: how many batches there are.
        rate: highest learning rate.
        world: of the questions.
    """
    prompts = _prompts(chat, world)
    optimizer = torch.optim.AdamW(chat.model.parameters(), lr=rate, weight_decay=0.05)
    chat.model.train()
    for step, (rows, pairs) in enumerate(batches):
        loss = chat.model(pixel_values=pixels[torch.from_numpy(rows)], **_encoded(chat, prompts, pairs)).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(chat.model.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = rate * cycle(step / steps)
        optimizer.step()
    chat.model.eval()


def pixel_values(chat: ChatModel, scenes: Sequence[Scene]) -> Float[torch.Tensor, "scenes 3 side side"]:
    """What the model's processor makes of scenes, which have its size already: all at once, without a Python loop."""
    settings = chat.processor.image_processor
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (settings.image_mean, settings.image_std))
    pixels = torch.from_numpy(np.stack([scene.pixels for scene in scenes])).permute(0, 3, 1, 2)
    return (pixels * settings.rescale_factor - mean) / std


def _moved(pixels: Float[torch.Tensor, "scenes 3 side side"], seed: int) -> Float[torch.Tensor, "scenes 3 side side"]:
    """The same pictures turned by up to 15 degrees and cut to a side of .78 or more, borders drawn out."""
    random = torch.Generator().manual_seed(seed)
    turn, size, right, down = (torch.rand(len(pixels), generator=random) for _ in range(4))
    turn, size = math.radians(15) * (2 * turn - 1), 1 - 0.22 * size
    x, y = (1 - size) * (2 * right - 1), (1 - size) * (2 * down - 1)
    cos, sin = size * turn.cos(), size * turn.sin()
    matrix = torch.stack([torch.stack([cos, -sin, x], dim=1), torch.stack([sin, cos, y], dim=1)], dim=1)
    grid = torch.nn.functional.affine_grid(matrix, list(pixels.shape), align_corners=False)
    return torch.nn.functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def _prompts(chat: ChatModel, world: World) -> dict[str, torch.Tensor]:
    """The tokens of every question of the world, those of a picture in place."""
    blank = Image.new("RGB", (world.side, world.side))
    asked = [QUESTION, *(PROBE.format(with_article(thing)) for thing in world.things)]
    questions = [Question(question, "", images=(blank,)) for question in asked]
    found = chat.encode(chat.render(questions), [[blank]] * len(asked))
    ids, kept = found["input_ids"], found["attention_mask"].bool()
    return {question: ids[row][kept[row]] for row, question in enumerate(asked)}


def _encoded(
    chat: ChatModel, prompts: dict[str, torch.Tensor], pairs: Sequence[tuple[str, str]]
) -> dict[str, torch.Tensor]:
    """Questions with their answers as one batch, padded on the right; only the answers are learnt."""
    replies = chat.tokenizer([f"{reply} <eos>" for _, reply in pairs])["input_ids"]
    starts = [prompts[question] for question, _ in pairs]
    ends = [torch.tensor(reply) for reply in replies]
    ids = [torch.cat(row) for row in zip(starts, ends, strict=True)]
    labels = [torch.cat([torch.full_like(start, -100), end]) for start, end in zip(starts, ends, strict=True)]
    lengths = torch.tensor([len(row) for row in ids])
    width = int(lengths.max())
    return {
        "input_ids": pad_sequence(ids, batch_first=True, padding_value=chat.tokenizer.pad_token_id),
        "attention_mask": (torch.arange(width) < lengths[:, None]).long(),
        "labels": pad_sequence(labels, batch_first=True, padding_value=-100),
    }


def write_model(work: Path) -> None:
    """The trained model as a folder, with captioned scenes (``train.jsonl``) and annotated ones (``probe.jsonl``)."""
    chat = train_model()
    chat.model.save_pretrained(work)
    chat.processor.save_pretrained(work)
    (work / "images").mkdir()
    lines = []
    for index, question in enumerate(captioned(256, TRAINING)):
        path = f"images/train-{index:03}.png"
        picture = question.images[0]
        picture.save(work / path)
        lines.append(json.dumps({"question": question.question, "answer": question.answer, "image": path}))
    (work / "train.jsonl").write_text("\n".join(lines) + "\n")
    lines = []
    for index, row in enumerate(annotated(128, PROBES)):
        path = f"images/probe-{index:03}.png"
        row["image"].save(work / path)
        lines.append(json.dumps({**row, "image": path}))
    (work / "probe.jsonl").write_text("\n".join(lines) + "\n")
