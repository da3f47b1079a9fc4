"""Templates and words: what is filled in, and what is refused."""

import pytest

from burnish.core.errors import UserError
from burnish.private.prompts import Prompt, make_prompts


def test_braces_of_a_text_are_text() -> None:
    assert Prompt("Say {text} {now}!", ()).filled("{text} {0} %s") == "Say {text} {0} %s {now}!"
    assert Prompt("{text}", ()).filled("") == ""


def test_every_template_with_every_list() -> None:
    found = make_prompts(["{text}", "A: {text}"], [("no", "yes"), ("bad", "good")], ("0", "1"))
    assert [(each.template, each.words) for each in found] == [
        ("{text}", ("no", "yes")),
        ("{text}", ("bad", "good")),
        ("A: {text}", ("no", "yes")),
        ("A: {text}", ("bad", "good")),
    ]
    assert make_prompts(["{text}"], [], ("no", "yes"))[0].words == ("no", "yes")


@pytest.mark.parametrize(
    ("templates", "words", "classes", "said"),
    [
        (["{text} {text}"], [], ("a", "b"), r"has {text} 2 times"),
        (["text"], [], ("a", "b"), r"has {text} 0 times"),
        ([], [], ("a", "b"), r"prompts.templates: none given"),
        (["{text}"], [], ("a",), r"classes: 1 of them"),
        (["{text}"], [], ("a", "b", "a"), r"classes: `a` stands there twice"),
        (["{text}"], [("x", "y", "z")], ("a", "b"), r"3 words for 2 classes \(a, b\)"),
        (["{text}"], [("x", "x")], ("a", "b"), r"the word `x` stands there twice"),
        (["{text}"], [("x", " ")], ("a", "b"), r"has an empty word"),
        (["{text}", "{text}"], [], ("a", "b"), r"stands there twice with the same words"),
    ],
)
def test_refused(templates: list[str], words: list[tuple[str, ...]], classes: tuple[str, ...], said: str) -> None:
    with pytest.raises(UserError, match=said):
        make_prompts(templates, words, classes)
