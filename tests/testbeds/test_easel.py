"""The easel: prompts, scenes that fulfil them, and a checker that is right about all of them."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from burnish.generate.plan import Plan, Wording
from burnish.generate.plan_text import parse, to_text
from burnish.testbeds.easel import questions
from burnish.testbeds.easel.checker import Found, as_rows, find, fulfils, judge, shows
from burnish.testbeds.easel.prompts import CATEGORIES, Ask, Group, draw_scene, parse_prompt, related
from burnish.testbeds.easel.sources import Drawn, draw, make_tokenizer, objects, rows
from burnish.testbeds.easel.sprites import EMOJI, STAMPS, sprite_world
from burnish.testbeds.easel.world import GROUND, SHAPE_WORLD, Thing, render

NOISE = 0.3
"""Standard deviation in the models' range -1..1: half as much in 0..1."""


@pytest.fixture(scope="module")
def scenes() -> list[Drawn]:
    return draw(700, 5)


def picture(*things: tuple[str, str, int, int]) -> np.ndarray:
    """With the things' offsets by a seed."""
    return render([Thing(*thing) for thing in things], SHAPE_WORLD, np.random.default_rng(0))


def test_the_truth_is_right_on_700_scenes_and_with_noise(scenes: list[Drawn]) -> None:
    assert Counter(drawn.scene.category for drawn in scenes) == dict.fromkeys(CATEGORIES, 100)
    for drawn in scenes:
        found = find(drawn.picture, SHAPE_WORLD)
        assert fulfils(found, drawn.scene.ask), drawn.scene
        assert shows(found, drawn.scene.things), drawn.scene
    rng = np.random.default_rng(0)
    for drawn in scenes:
        noisy = drawn.picture + 127.5 * NOISE * rng.standard_normal(drawn.picture.shape)
        assert judge(drawn.scene.prompt, noisy.clip(0, 255).astype(np.uint8), SHAPE_WORLD), drawn.scene


RED, BLUE = ("circle", "red", 0, 0), ("square", "blue", 2, 2)


@pytest.mark.parametrize(
    ("prompt", "right", "wrong"),
    [
        ("a circle", [RED], [BLUE]),
        ("a circle", [RED], [RED, BLUE]),  # one thing too many
        ("a circle", [RED], []),
        ("a circle and a square", [RED, BLUE], [RED]),
        ("three circles", [RED, ("circle", "blue", 1, 1), ("circle", "red", 3, 3)], [RED, ("circle", "red", 3, 3)]),
        ("a red circle", [RED], [("circle", "blue", 0, 0)]),
        ("a circle left of a square", [RED, BLUE], [("circle", "red", 0, 2), ("square", "blue", 2, 2)]),
        ("a circle below a square", [("circle", "red", 3, 0), BLUE], [RED, BLUE]),
        ("a red circle and a blue square", [RED, BLUE], [("circle", "blue", 0, 0), ("square", "red", 2, 2)]),
        (
            "two red circles left of a blue square",
            [RED, ("circle", "red", 1, 1), BLUE],
            [RED, ("circle", "red", 1, 3), BLUE],  # one of the two is right of it
        ),
        (
            "two red circles and two blue squares",
            [RED, ("circle", "red", 1, 1), BLUE, ("square", "blue", 3, 3)],
            [RED, ("circle", "blue", 1, 1), BLUE, ("square", "blue", 3, 3)],
        ),
    ],
)
def test_each_category_tells_right_from_wrong(
    prompt: str, right: list[tuple[str, str, int, int]], wrong: list[tuple[str, str, int, int]]
) -> None:
    assert judge(prompt, picture(*right), SHAPE_WORLD)
    assert not judge(prompt, picture(*wrong), SHAPE_WORLD)


def test_what_is_half_drawn_or_of_no_colour_has_no_name() -> None:
    half = picture(BLUE)
    half[:, 19:] = np.rint(255 * np.array(GROUND))
    grey = picture(BLUE)
    grey[grey.max(axis=-1) > 140] = (150, 150, 150)
    for spoilt in (half, grey):
        found = find(spoilt, SHAPE_WORLD)
        assert [(one.name, one.colour) for one in found] == [(None, None)]
        assert as_rows(found)[0]["name"] == "something"
        assert not judge("a square", spoilt, SHAPE_WORLD)


def test_things_that_touch_are_told_apart() -> None:
    joined = picture(RED, ("circle", "red", 0, 1))
    joined[3, :16] = joined[3, 3]  # a line through both
    assert [(one.name, round(one.column)) for one in find(joined, SHAPE_WORLD)] == [("circle", 0), ("circle", 1)]


def test_a_found_box_is_the_thing_s_own() -> None:
    (found,) = find(picture(BLUE), SHAPE_WORLD)
    assert isinstance(found, Found)
    left, top, right, bottom = found.box
    assert (round(right - left, 4), round(bottom - top, 4)) == (6 / 32, 6 / 32)
    assert 0.5 <= left <= 0.53125
    assert 0.5 <= top <= 0.53125


def test_a_picture_of_another_size_and_a_prompt_of_another_world_are_refused() -> None:
    with pytest.raises(ValueError, match="32 x 32 x 3"):
        find(np.zeros((16, 16, 3), dtype=np.uint8), SHAPE_WORLD)
    for text in ("a horse", "two red", "circle", "a circle and a circle", "five circles"):
        with pytest.raises(ValueError):
            parse_prompt(text, SHAPE_WORLD)


def test_prompts_go_round(scenes: list[Drawn]) -> None:
    assert parse_prompt("two red circles left of a blue square", SHAPE_WORLD) == Ask(
        (Group("circle", 2, "red"), Group("square", 1, "blue")), "left of"
    )
    assert all(parse_prompt(drawn.scene.prompt, SHAPE_WORLD) == drawn.scene.ask for drawn in scenes)


def test_a_relation_holds_for_all_of_a_group() -> None:
    assert related([(0, 0), (3, 1)], [(1, 2)], "left of")
    assert not related([(0, 0), (3, 2)], [(1, 2)], "left of")
    assert related([(1, 2)], [(0, 0), (3, 1)], "right of")
    assert related([(0, 3)], [(1, 0)], "above")
    assert related([(1, 0)], [(0, 3)], "below")


def test_training_never_shows_what_is_held_out_and_tests_of_it_always_do(scenes: list[Drawn]) -> None:
    pairs, counts = set(SHAPE_WORLD.held_out), set(SHAPE_WORLD.held_out_counts)
    for drawn in scenes:
        assert not {(thing.name, thing.colour) for thing in drawn.scene.things} & pairs
        assert not {(group.name, group.count) for group in drawn.scene.ask.groups} & counts
    for category in ("counting", "colours", "attribute", "complex"):
        for drawn in draw(20, 1, categories=(category,), held_out=True):
            groups = drawn.scene.ask.groups
            assert any((g.name, g.colour) in pairs or (g.name, g.count) in counts for g in groups)
            assert judge(drawn.scene.prompt, drawn.picture, SHAPE_WORLD)
    with pytest.raises(ValueError, match="nothing in it is held out"):
        draw_scene("two", SHAPE_WORLD, np.random.default_rng(0), held_out=True)


def test_scenes_are_plans_and_all_words_are_the_tokenizer_s() -> None:
    wording, tokenizer = Wording(**SHAPE_WORLD.wording()), make_tokenizer()
    for row in rows(140, 9):
        plan = Plan.from_rows(row["objects"])
        text = to_text(plan, wording)
        assert parse(text, wording) == plan
        for said in (text, row["prompt"], row["caption"], row["question"], row["answer"], questions.DESCRIBE):
            assert tokenizer.unk_token_id not in tokenizer(said)["input_ids"], said


def test_a_caption_is_read_back_exactly(scenes: list[Drawn]) -> None:
    for drawn, other in zip(scenes[:99], scenes[7:], strict=False):
        caption = questions.describe(drawn.scene.things, SHAPE_WORLD)
        assert questions.describes(caption, drawn.scene.things, SHAPE_WORLD)
        same = questions.describe(other.scene.things, SHAPE_WORLD) == caption
        assert questions.describes(caption, other.scene.things, SHAPE_WORLD) == same
    things = [Thing(*RED), Thing("circle", "red", 3, 3), Thing(*BLUE)]
    assert questions.describe(things, SHAPE_WORLD) == "two red circles and a blue square"
    assert questions.describes("a blue square and a red circle and a red circle", things, SHAPE_WORLD)
    assert not questions.describes("a red circle and a blue square", things, SHAPE_WORLD)
    assert not questions.describes("the the circle", things, SHAPE_WORLD)


def test_questions_are_answered_by_the_scene() -> None:
    things = [Thing(*RED), Thing("circle", "white", 3, 3), Thing(*BLUE)]
    rng = np.random.default_rng(0)
    asked = {questions.ask(things, SHAPE_WORLD, rng)[1:] for _ in range(300)}
    assert {
        ("how many circles ?", "two"),
        ("how many squares ?", "one"),
        ("how many crosses ?", "none"),
        ("what colour is the square ?", "blue"),
        ("where is the square ?", "r3c3"),
        ("is there a red circle ?", "yes"),
        ("is there a red square ?", "no"),
    } <= asked
    assert not any("the circle" in question for question, _ in asked)  # there are two


def test_impossible_pictures_are_refused() -> None:
    for things in ([RED, ("cross", "blue", 0, 0)], [("circle", "red", 4, 0)]):
        with pytest.raises(ValueError, match="one twice, or beyond"):
            picture(*things)


def test_objects_are_in_the_order_of_the_prompt() -> None:
    scene = draw(7, 3)[6].scene  # complex
    assert [row["name"] for row in objects(scene, SHAPE_WORLD)] == [
        group.name for group in scene.ask.groups for _ in range(group.count)
    ]


def test_real_pictures_on_cards_are_read_as_exactly(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(256, size=(8, 3))
    for name, colour in zip((*EMOJI, *STAMPS), colours.tolist(), strict=True):
        folder = tmp_path / ("emoji" if name in EMOJI else "stamps")
        folder.mkdir(exist_ok=True)
        picture = Image.new("RGBA", (40, 40))
        picture.paste((*colour, 255), (4, 8, 30, 30))
        picture.save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text(name if name in EMOJI else f"A {name}.")
    world = sprite_world(tmp_path / "emoji", tmp_path / "stamps")
    for drawn in draw(70, 0, world):
        found = find(drawn.picture, world)
        assert fulfils(found, drawn.scene.ask)
        assert shows(found, drawn.scene.things)
    frog = render([Thing("frog", "red", 0, 0)], world, np.random.default_rng(0))
    assert judge("a red frog", frog, world)
    assert not judge("a blue frog", frog, world)
    assert not judge("a red lion", frog, world)
