"""The scenes' LLaVA: what it learns from, that it learns the same each time, what is written."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from burnish.dialogue.models import load_chat_model
from burnish.dialogue.rows import Question
from burnish.testbeds import scene_model
from burnish.testbeds.scene_model import Spend, new_model, pixel_values, train_model
from burnish.testbeds.scenes import QUESTION, SHAPE_WORLD, answer, caption, draw_scenes

TINY = Spend(scenes=64, seeing=2, steps=4, batch=8)


def test_pixels_are_those_of_the_processor() -> None:
    chat, drawn = new_model(), draw_scenes(3, seed=1)
    images = [scene.image for scene in drawn]
    texts = chat.render([Question(QUESTION, "", images=(image,)) for image in images])
    wanted = chat.encode(texts, [[image] for image in images])["pixel_values"]
    assert torch.allclose(pixel_values(chat, np.stack([scene.pixels for scene in drawn])), wanted, atol=1e-6)


def test_only_answers_and_their_end_are_learnt() -> None:
    chat = new_model()
    prompts = scene_model._prompts(chat, SHAPE_WORLD)
    probe = next(question for question in prompts if question != QUESTION)
    replies = [caption(SHAPE_WORLD.things[:2]), answer(False)]
    found = scene_model._encoded(chat, prompts, list(zip((QUESTION, probe), replies, strict=True)))
    tokenizer = chat.tokenizer
    learnt = [tokenizer.decode(row[row != -100]) for row in found["labels"]]
    assert learnt == ["there is a red ring and a green ring . <eos>", "no . <eos>"]
    for row, (labels, kept) in enumerate(zip(found["labels"], found["attention_mask"].bool(), strict=True)):
        shown = tokenizer.decode(found["input_ids"][row][kept])
        assert shown.count("<image>") == (SHAPE_WORLD.side // scene_model.PATCH) ** 2
        assert torch.equal(found["input_ids"][row][labels != -100], labels[labels != -100])
        assert "<unk>" not in shown


def test_the_template_ends_an_answer_as_training_does() -> None:
    """Whoever trains on conversations (TRL) must teach the same tokens."""
    chat = new_model()
    image = draw_scenes(1, seed=2)[0].image
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}
    said = {"role": "assistant", "content": [{"type": "text", "text": "There is a red ring."}]}
    whole = chat.processor.apply_chat_template([turn, said], tokenize=False)
    start = chat.render([Question(QUESTION, "", images=(image,))])[0]
    assert whole.startswith(start)
    ids = chat.tokenizer(whole.removeprefix(start))["input_ids"]
    assert ids == chat.tokenizer("There is a red ring. <eos>")["input_ids"]


def test_labels_of_patches_follow_the_pictures() -> None:
    """Pictures of plain numbers: each patch of a moved one shows what its label says, but where cells meet."""
    world = SHAPE_WORLD
    layout = torch.tensor([[[0, 1], [2, 3]]] * 50)
    plain = layout[:, None].float().repeat_interleave(world.cell, 2).repeat_interleave(world.cell, 3)
    pictures = plain.expand(-1, 3, -1, -1).contiguous()
    moved, labels = scene_model._moved(pictures, layout, seed=0)
    assert labels.shape == (100, (world.side // scene_model.PATCH) ** 2)
    assert labels[0].tolist() == [0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3]
    assert not torch.equal(moved, pictures)
    middles = moved[:, 0, 3 :: scene_model.PATCH, 3 :: scene_model.PATCH].flatten(1)
    assert float((middles - labels[50:]).abs().lt(0.3).float().mean()) > 0.85


def test_a_tower_learns_what_stands_where() -> None:
    spend = Spend(scenes=512, seeing=150, steps=1, batch=16)
    chat = train_model(5, spend)
    seen = draw_scenes(64, seed=99)
    pictures = pixel_values(chat, np.stack([scene.pixels for scene in seen]))
    with torch.no_grad():
        features = chat.model.model.vision_tower(pictures).last_hidden_state[:, 1:]
    kinds = torch.tensor([scene.layout.repeat(2, 0).repeat(2, 1).flatten().tolist() for scene in seen]).flatten()
    # a linear reading of the features, fitted on half of the pictures
    half = len(kinds) // 2
    plain = torch.cat([features.flatten(0, 1), torch.ones(len(kinds), 1)], dim=1)
    wanted = torch.nn.functional.one_hot(kinds).float()
    fitted = torch.linalg.lstsq(plain[:half], wanted[:half]).solution
    right = (plain[half:] @ fitted).argmax(1) == kinds[half:]
    assert float(right.float().mean()) > 0.55  # an eighth of the patches has no thing, each thing a fourteenth


def test_training_is_the_same_every_time() -> None:
    one, two, fresh = train_model(3, TINY), train_model(3, TINY), new_model(3)
    assert all(torch.equal(a, b) for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(one.model.parameters(), fresh.model.parameters(), strict=True))
    assert not one.model.training


def test_what_is_written_is_a_model_and_its_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene_model, "train_model", partial(train_model, spend=TINY))
    scene_model.write_model(tmp_path)
    chat = load_chat_model(tmp_path)
    assert chat.takes_images
    for name, columns in (("train", {"question", "answer", "image"}), ("probe", {"image", "objects"})):
        rows = [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]
        assert all(set(row) == columns and (tmp_path / row["image"]).is_file() for row in rows)
