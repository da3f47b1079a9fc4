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
from jaxtyping import Float, Int64, UInt8
from PIL import Image
from torch.nn.utils.rnn import pad_sequence

from burnish.dialogue.models import ChatModel, opened
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
        seeing: steps of the vision tower alone, of twice the batch.
        seeing_rate: its highest learning rate, of one cycle.
        steps: of the whole model.
        batch: scenes a step.
        rate: highest learning rate, of one cycle.
        asked: share of steps on yes/no questions; the others are on captions.
        moved: share of steps on pictures turned and cut a little, as vision towers are trained: who knows none but
            upright ones invents things on a view that is turned.
        layers: of the vision tower.
    """

    scenes: int = 6144
    seeing: int = 600
    seeing_rate: float = 3e-3
    steps: int = 700
    batch: int = 32
    rate: float = 1e-3
    asked: float = 0.4
    moved: float = 0.5
    layers: int = 1


def new_model(seed: int = 0, world: World = SHAPE_WORLD, layers: int = 1) -> ChatModel:
    """A LLaVA of 0.15 M parameters with random weights and a tokenizer of the world's words."""
    tokenizer = word_tokenizer(world.words(), prose=True)
    return new_llava(tokenizer, seed, side=world.side, patch=PATCH, name="the scenes' LLaVA", layers=layers)


def train_model(seed: int = 0, spend: Spend | None = None, world: World = SHAPE_WORLD) -> ChatModel:
    """Train one from scratch on its own scenes; the same on every call on a CPU.

    As with its large kin the tower learns to see before it is joined to a language model: what stands in each cell.
    """
    spend = spend or Spend()
    chat = new_model(seed, world, spend.layers)
    rng = np.random.default_rng([seed, 63])
    pool = draw_scenes(spend.scenes, seed, world)
    still = pixel_values(chat, np.stack([scene.pixels for scene in pool]))
    moved, cells = _moved(still, torch.from_numpy(np.stack([scene.layout for scene in pool])), seed)
    pixels = torch.cat([still, moved])
    _teach_tower(chat, pixels, cells, len(world.things) + 1, spend, rng)

    def lesson(scene: Scene, asked: bool) -> tuple[str, str]:
        return draw_probe(scene.truth, rng, world) if asked else (QUESTION, partial_caption(scene.truth, rng))

    def batches() -> Iterator[tuple[Rows, list[tuple[str, str]]]]:
        for _ in range(spend.steps):
            rows = rng.integers(spend.scenes, size=spend.batch)
            asked, turned = rng.random() < spend.asked, rng.random() < spend.moved  # one kind a step: lengths differ
            yield rows + spend.scenes * turned, [lesson(pool[row], asked) for row in rows]

    teach(chat, pixels, batches(), spend.steps, spend.rate, world)
    return chat


def _teach_tower(
    chat: ChatModel,
    pixels: Float[torch.Tensor, "pictures 3 side side"],
    cells: Int64[torch.Tensor, "pictures patches"],
    kinds: int,
    spend: Spend,
    rng: np.random.Generator,
) -> None:
    """Have the vision tower say of every patch what stands there, by a head that is thrown away."""
    tower = chat.model.model.vision_tower
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        head = torch.nn.Linear(tower.config.hidden_size, kinds)
    optimizer = torch.optim.AdamW([*tower.parameters(), *head.parameters()], lr=spend.seeing_rate, weight_decay=0.05)
    chat.model.train()
    for step in range(spend.seeing):
        rows = torch.from_numpy(rng.integers(len(pixels), size=2 * spend.batch))
        seen = tower(pixels[rows]).last_hidden_state[:, 1:]
        loss = torch.nn.functional.cross_entropy(head(seen).flatten(0, 1), cells[rows].flatten())
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.param_groups[0]["lr"] = spend.seeing_rate * cycle(step / spend.seeing)
        optimizer.step()


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


def pixel_values(
    chat: ChatModel, pictures: UInt8[np.ndarray, "scenes side side 3"]
) -> Float[torch.Tensor, "scenes 3 side side"]:
    """What the model's processor makes of pictures, which have its size already: all at once, without a Python loop."""
    settings = chat.processor.image_processor
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (settings.image_mean, settings.image_std))
    values: torch.Tensor = (torch.from_numpy(pictures).permute(0, 3, 1, 2) * settings.rescale_factor - mean) / std
    return values


def _moved(
    pixels: Float[torch.Tensor, "scenes 3 side side"], layout: Int64[torch.Tensor, "scenes grid grid"], seed: int
) -> tuple[Float[torch.Tensor, "scenes 3 side side"], Int64[torch.Tensor, "pictures patches"]]:
    """The same pictures turned by up to 15 degrees and cut to a side of .78 or more, borders drawn out.

    Returns:
        These, and what stands in each patch of the pictures as they are and then of the moved ones.
    """
    random = torch.Generator().manual_seed(seed)
    turn, size, right, down = (torch.rand(len(pixels), generator=random) for _ in range(4))
    turn, size = math.radians(15) * (2 * turn - 1), 1 - 0.22 * size
    x, y = (1 - size) * (2 * right - 1), (1 - size) * (2 * down - 1)
    cos, sin = size * turn.cos(), size * turn.sin()
    matrix = torch.stack([torch.stack([cos, -sin, x], dim=1), torch.stack([sin, cos, y], dim=1)], dim=1)
    patches = pixels.shape[-1] // PATCH
    cells = layout[:, None].float()
    straight = torch.eye(2, 3).expand(len(pixels), 2, 3)

    def shown(values: torch.Tensor, how: torch.Tensor, side: int, mode: str) -> torch.Tensor:
        grid = torch.nn.functional.affine_grid(how, [len(values), values.shape[1], side, side], align_corners=False)
        return torch.nn.functional.grid_sample(values, grid, mode, padding_mode="border", align_corners=False)

    labels = [shown(cells, how, patches, "nearest").flatten(1) for how in (straight, matrix)]
    return shown(pixels, matrix, pixels.shape[-1], "bilinear"), torch.cat(labels).round().long()


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
        opened([question])[0][0].save(work / path)
        lines.append(json.dumps({"question": question.question, "answer": question.answer, "image": path}))
    (work / "train.jsonl").write_text("\n".join(lines) + "\n")
    lines = []
    for index, row in enumerate(annotated(128, PROBES)):
        path = f"images/probe-{index:03}.png"
        row["image"].save(work / path)
        lines.append(json.dumps({**row, "image": path}))
    (work / "probe.jsonl").write_text("\n".join(lines) + "\n")
