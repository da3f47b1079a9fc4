"""Scenes: the truth is what is drawn, captions leave out what they should, training and probe pictures differ."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from burnish.align.facts import Thing
from burnish.align.reading import Vocabulary, read
from burnish.align.records import picture_hash
from burnish.align.settings import ViewSettings
from burnish.align.truths import allowed_families
from burnish.core.errors import UserError
from burnish.dialogue.readers import QuestionSettings, read_questions
from burnish.testbeds import scenes
from burnish.testbeds.scenes import (
    COLOURS,
    KEPT,
    PROBE,
    QUESTION,
    SHAPE_WORLD,
    VOCABULARY,
    caption,
    draw_probe,
    draw_scenes,
    partial_caption,
    probes,
    shape_world,
    vocabulary_of,
    with_article,
)
from burnish.testbeds.sprites import EMOJI, STAMPS, sprite_world

READABLE = Vocabulary(**VOCABULARY)


def test_what_is_true_can_be_seen_and_nothing_else() -> None:
    """Each colour of the truth fills part of one cell, and no colour is there that the truth lacks."""
    world = shape_world(("square",))
    for scene in draw_scenes(40, seed=1, world=world):
        pixels = scene.pixels.reshape(world.grid, world.cell, world.grid, world.cell, 3).transpose(0, 2, 1, 3, 4)
        cells = pixels.reshape(world.grid**2, -1, 3) / 255
        found = []
        for cell in cells:
            strong = cell[np.ptp(cell, axis=1) > 0.35]
            if len(strong) > 0.2 * len(cell):
                middle = strong.mean(axis=0)
                found.append(min(COLOURS, key=lambda name: np.abs(np.array(COLOURS[name]) - middle).sum()))
        assert sorted(found) == sorted(attributes[0] for _, attributes in scene.truth)
        assert world.fewest <= len(set(scene.truth)) == len(scene.truth) <= world.most


def test_scenes_follow_their_seed() -> None:
    one, same, other = (draw_scenes(5, seed) for seed in (3, 3, 4))
    assert [a.truth for a in one] == [a.truth for a in same]
    for scene in one:
        shown = [SHAPE_WORLD.things[kind] for kind in scene.layout.flat if kind < len(SHAPE_WORLD.things)]
        assert sorted(shown) == sorted(scene.truth)
    assert np.array_equal(one[2].pixels, same[2].pixels)
    assert not np.array_equal(one[2].pixels, other[2].pixels)
    assert one[0].image.size == (SHAPE_WORLD.side, SHAPE_WORLD.side)


def test_captions_keep_three_things_in_five_in_any_order() -> None:
    rng = np.random.default_rng(0)
    truth = SHAPE_WORLD.things[:4]
    kept, first = 0, Counter[str]()
    for _ in range(2000):
        said = read(partial_caption(truth, rng), READABLE).claimed
        assert set(said) <= {Thing(*thing) for thing in truth}
        assert said
        kept += len(said)
        first[str(said[0])] += 1
    # one that would be empty keeps a thing: .4 ** 4 more
    assert kept / 2000 == pytest.approx(4 * KEPT + 0.4**4, abs=0.06)
    assert min(first.values()) > 400


def test_a_full_caption_reads_back_as_the_truth() -> None:
    for scene in draw_scenes(30, seed=5):
        assert set(read(caption(scene.truth), READABLE).claimed) == {Thing(*thing) for thing in scene.truth}


def test_yes_and_no_are_right_and_even() -> None:
    rng = np.random.default_rng(1)
    names = {PROBE.format(with_article(thing)): thing for thing in SHAPE_WORLD.things}
    replies = Counter[str]()
    alike = 0
    for scene in draw_scenes(600, seed=6):
        question, reply = draw_probe(scene.truth, rng, SHAPE_WORLD)
        assert (names[question] in scene.truth) is (reply == "Yes.")
        replies[reply] += 1
        alike += reply == "No." and any(names[question][0] == name for name, _ in scene.truth)
    assert abs(replies["Yes."] - replies["No."]) < 80
    assert alike > replies["No."] / 2


def test_training_and_probe_pictures_are_sources_that_share_nothing() -> None:
    found = list(read_questions(QuestionSettings(source="burnish.testbeds.scenes:training", limit=400)))
    rows = list(islice(probes(), 400))
    assert {question.question for question in found} == {QUESTION}
    pictures = [question.images[0] for question in found]
    assert all(isinstance(picture, Image.Image) for picture in pictures)
    seen = {picture_hash(picture) for picture in pictures if isinstance(picture, Image.Image)}
    held = {picture_hash(row["image"]) for row in rows}
    assert len(seen) == len(held) == 400
    assert not seen & held
    assert all({name for name, *_ in row["objects"]} <= set(VOCABULARY["entities"]) for row in rows)


def test_the_first_scenes_of_a_source_do_not_depend_on_how_many_are_taken() -> None:
    few, more = list(scenes.captioned(3, 9)), list(islice(scenes.captioned(300, 9), 3))
    assert [row.answer for row in few] == [row.answer for row in more]
    assert few[2].images[0] == more[2].images[0]


def test_views_leave_colours_alone() -> None:
    """The rule on words must see that a caption of this world speaks of colours, and of nothing else."""
    kept = allowed_families(QUESTION, caption(SHAPE_WORLD.things[:2]), ViewSettings()).families
    assert kept == ("flip", "crop", "rotation", "contrast", "blur", "noise")


def test_things_alike_are_those_of_another_colour() -> None:
    assert SHAPE_WORLD.near(("ring", ("red",))) == [("ring", (colour,)) for colour in COLOURS if colour != "red"]


def test_scenes_of_real_pictures_from_folders(tmp_path: Path) -> None:
    for name in EMOJI:
        (tmp_path / "emoji").mkdir(exist_ok=True)
        picture = Image.new("RGBA", (64, 64))
        picture.paste((200, 20, 20, 255), (16, 0, 48, 64))
        picture.save(tmp_path / "emoji" / f"{name}.png")
    for name in STAMPS:
        (tmp_path / "stamps").mkdir(exist_ok=True)
        Image.new("RGBA", (40, 40), (20, 20, 200, 255)).save(tmp_path / "stamps" / f"{name}.png")
        (tmp_path / "stamps" / f"{name}.txt").write_text(f"{'An' if name == 'owl' else 'A'} {name}.\n")
    world = sprite_world(tmp_path / "emoji", tmp_path / "stamps")
    assert world.sprites is not None
    assert [name for name, _ in world.things] == [*EMOJI, *STAMPS]
    # twice as high as wide, in the middle of its cell
    assert world.sprites[0, :, :, 3].sum(axis=0).tolist() == [0] * 4 + [16] * 8 + [0] * 4
    drawn = draw_scenes(30, seed=1, world=replace(world, grain=0.0))
    assert {len(scene.truth) for scene in drawn} == {2, 3, 4, 5}
    readable = Vocabulary(**vocabulary_of(world))
    assert all(len(read(caption(scene.truth), readable).claimed) == len(scene.truth) for scene in drawn)
    reddish = [(scene.pixels[..., 0].astype(int) - scene.pixels[..., 2] > 90).any() for scene in drawn]
    assert reddish == [any(name in EMOJI for name, _ in scene.truth) for scene in drawn]
    (tmp_path / "stamps" / "owl.txt").unlink()
    with pytest.raises(UserError, match=r"no picture captioned `An owl\.`"):
        sprite_world(tmp_path / "emoji", tmp_path / "stamps")
