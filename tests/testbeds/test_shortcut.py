import numpy as np
import pytest
import torch
from PIL import Image

from burnish.core.errors import UserError
from burnish.dialogue.readers import QuestionSettings, read_questions
from burnish.testbeds import shortcut
from burnish.testbeds.shortcut import (
    CELL,
    EMOJI,
    HELD_OUT,
    ROOMS,
    SHAPE_THINGS,
    ask,
    emoji_things,
    held_out,
    scenes,
    usual_thing,
)
from burnish.testbeds.shortcut_model import Spend, new_model, train_model


def test_the_truth_of_a_scene_is_what_was_drawn() -> None:
    drawn = scenes(300, seed=1, usual=0.5)
    questions = ask(drawn)
    for index, question in enumerate(questions):
        side, room = question.question.split()[4], question.question.split()[7]
        assert question.answer == SHAPE_THINGS.names[drawn.things[index, ("left", "right").index(side)]]
        assert usual_thing(question) == SHAPE_THINGS.names[ROOMS.index(room)]
        picture = question.images[0]
        assert isinstance(picture, Image.Image)
        assert picture.size == (2 * CELL, 2 * CELL)
    assert len({question.question for question in questions}) == 20


@pytest.mark.parametrize("usual", [0.0, 0.5, 0.9, 1.0])
def test_the_text_is_right_as_often_as_asked(usual: float) -> None:
    drawn = scenes(4000, seed=2, usual=usual)
    assert abs(np.mean(drawn.answers == drawn.rooms) - usual) < 0.03
    assert usual not in (0.0, 1.0) or np.mean(drawn.answers == drawn.rooms) == usual


def test_what_is_not_asked_for_says_nothing_about_the_room() -> None:
    drawn = scenes(4000, seed=3)
    other = drawn.things[np.arange(4000), 1 - drawn.asked]
    assert abs(np.mean(other == drawn.rooms) - 0.1) < 0.03


def test_the_asked_thing_can_be_seen_where_the_question_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where hues do not stray, the mean hue of the side asked about tells the thing, the other's does not."""
    monkeypatch.setattr(shortcut, "STRAY", 0.0)
    drawn = scenes(600, seed=4, usual=0.1, noise=0.0)
    pixels = drawn.pixels / 255 - np.median(drawn.pixels / 255, axis=(1, 2), keepdims=True)
    sides = np.stack([pixels[:, :, :CELL], pixels[:, :, CELL:]], 1)
    weight = np.abs(sides).sum(-1, keepdims=True)
    colour = (sides * weight).sum((2, 3)) / (weight.sum((2, 3)) + 1e-9)
    rows = np.arange(600)
    for chosen, least, most in ((drawn.asked, 0.6, 1.0), (1 - drawn.asked, 0.0, 0.3)):
        features = colour[rows, chosen]
        centres = np.stack([features[:300][drawn.answers[:300] == kind].mean(0) for kind in range(10)])
        nearest = ((features[300:, None] - centres) ** 2).sum(-1).argmin(1)
        assert least < np.mean(nearest == drawn.answers[300:]) < most


def test_scenes_follow_their_seed() -> None:
    assert np.array_equal(scenes(5, 7).pixels, scenes(5, 7).pixels)
    assert not np.array_equal(scenes(5, 7).pixels, scenes(5, 8).pixels)
    assert len(held_out(count=7)) == 7


def test_counter_examples_are_a_source_for_recipes() -> None:
    found = list(read_questions(QuestionSettings(source="burnish.testbeds.shortcut:counter_examples", limit=20)))
    assert len(found) == 20
    assert all(question.answer != usual_thing(question) for question in found)


def test_emoji_from_a_folder(tmp_path) -> None:
    for index, name in enumerate(EMOJI):
        Image.new("RGBA", (64, 64), (20 * index, 255 - 20 * index, 128, 255)).save(
            tmp_path / f"{name.replace(' ', '_')}.png"
        )
    things = emoji_things(tmp_path)
    assert things.names == tuple(name.split()[0] for name in EMOJI)
    drawn = scenes(50, 1, usual=0.5, things=things, noise=0.0)
    left = drawn.things[:, 0]
    shown = np.sort(drawn.pixels[:, :, 0, 0].astype(int), axis=1)
    assert all((shown[row] == round(20 * kind)).sum() >= CELL for row, kind in enumerate(left))
    assert ask(drawn, things)[0].answer in things.names
    (tmp_path / "crown.png").unlink()
    with pytest.raises(UserError, match="no picture captioned `crown` there"):
        emoji_things(tmp_path)


TINY = Spend(scenes=64, looking=3, biased=2, batch=8)


def test_training_is_the_same_every_time_and_learns_only_the_answer() -> None:
    one, two = train_model(3, TINY), train_model(3, TINY)
    assert all(torch.equal(a, b) for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True))
    assert not one.model.training
    fresh = new_model(3)
    assert any(not torch.equal(a, b) for a, b in zip(one.model.parameters(), fresh.model.parameters(), strict=True))
    assert fresh.tokenizer.unk_token_id not in fresh.encode(fresh.render(held_out(count=40), images=False))["input_ids"]
    assert HELD_OUT > 2 * 10_000  # no seed of a model reaches the scenes that are kept apart


def test_the_first_layers_start_larger_than_transformers_would() -> None:
    assert float(new_model(0).model.lm_head.weight.detach().std()) == pytest.approx(0.06, rel=0.1)
    assert shortcut.held_out(count=1)[0].images
