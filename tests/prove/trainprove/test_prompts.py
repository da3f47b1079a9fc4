"""Prompts as published and as corrected from the released code."""

import numpy as np
import pytest

from burnish.core.errors import UserError
from burnish.prove.trainprove.prompts import DOMAINS, Prompt, class_prompts


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_strategies() -> None:
    assert class_prompts("name", "cat", 2, rng()) == [Prompt("cat"), Prompt("cat")]
    assert class_prompts("class", "cat", 1, rng()) == [Prompt("a cat")]
    assert class_prompts("photo", "cat", 1, rng()) == [Prompt("a photo of a cat")]
    assert len(DOMAINS) == 10
    texts = [each.text for each in class_prompts("domain", "cat", 12, rng())]
    assert texts[:10] == [f"a {domain} of a cat" for domain in DOMAINS]
    assert texts[10:] == texts[:2]
    assert class_prompts("gloss", "cat", 1, rng(), gloss="a small feline") == [Prompt("cat, a small feline", 2.0)]


def test_guidance_is_one_whole_number_a_class() -> None:
    seen = set()
    stream = rng()
    for _ in range(200):
        drawn = {each.guidance for each in class_prompts("random_guidance", "cat", 5, stream)}
        assert len(drawn) == 1
        seen |= drawn
    assert seen == {1.0, 2.0, 3.0, 4.0, 5.0}


def test_suspects_mix_three_strategies_in_equal_parts() -> None:
    made = class_prompts("suspect", "cat", 30, rng())
    assert [each.text for each in made[:10]] == ["cat"] * 10
    assert [each.text for each in made[10:20]] == [f"a {domain} of a cat" for domain in DOMAINS]
    assert {each.text for each in made[20:]} == {"an image of a cat"}
    assert len(class_prompts("suspect", "cat", 7, rng())) == 7


def test_what_cannot_be_made() -> None:
    with pytest.raises(UserError, match="needs a definition"):
        class_prompts("gloss", "cat", 1, rng())
