"""Prompts: a template around the text, and a word a class. Knows text only.

What a template and its words are for depends on the model: to a causal language model they are a question and its
answers, to an encoder a context for the text and a description of each class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from burnish.core.errors import UserError

PLACE = "{text}"


@dataclass(frozen=True)
class Prompt:
    """One way to ask.

    Attributes:
        template: has ``{text}`` once; other braces are text.
        words: of each class, in the order of the classes.

    Raises:
        UserError: a template without a place for the text, or with several; a class without a word; one word for two
            classes.
    """

    template: str
    words: tuple[str, ...]

    def __post_init__(self) -> None:
        count = self.template.count(PLACE)
        if count != 1:
            raise UserError(f"prompts: `{self.template[:60]}` has {PLACE} {count} times; it must have it once")
        if any(not word.strip() for word in self.words):
            raise UserError(f"prompts: `{self.template[:60]}` has an empty word; give one for each class")
        _refuse_twins(self.words, f"prompts: `{self.template[:60]}`: the word", "no answer would tell them apart")

    @property
    def around(self) -> tuple[str, str]:
        """What stands before the text, and after it."""
        before, _, after = self.template.partition(PLACE)
        return before, after

    def filled(self, text: str) -> str:
        """The template around a text; braces of the text are left alone."""
        before, after = self.around
        return f"{before}{text}{after}"


def make_prompts(templates: Sequence[str], words: Sequence[Sequence[str]], classes: Sequence[str]) -> list[Prompt]:
    """Every template with every list of words.

    Args:
        templates: each with ``{text}``.
        words: lists of a word a class, in the order of ``classes``; none takes the classes' names.
        classes: names.

    Raises:
        UserError: duplicate class names, fewer than two classes, a list of words of another length, no template, or
            the same prompt twice.
    """
    refuse_classes(classes)
    if not templates:
        raise UserError("prompts.templates: none given; give at least one with {text}")
    for each in words:
        if len(each) != len(classes):
            raise UserError(
                f"prompts.words: {', '.join(each)[:60]}: {len(each)} words for {len(classes)} classes "
                f"({', '.join(classes)[:80]}); give one for each, in that order"
            )
    lists = [tuple(each) for each in words] or [tuple(classes)]
    found = [Prompt(template, each) for template in templates for each in lists]
    twin = next((each for place, each in enumerate(found) if each in found[:place]), None)
    if twin is not None:
        raise UserError(f"prompts: `{twin.template[:60]}` stands there twice with the same words; leave one out")
    return found


def refuse_classes(classes: Sequence[str]) -> None:
    """Refuse names that say nothing.

    Raises:
        UserError: fewer than two, or two alike.
    """
    if len(classes) < 2:
        raise UserError(f"classes: {len(classes)} of them; a classifier needs two or more")
    _refuse_twins(classes, "classes:", "name each once")


def _refuse_twins(names: Sequence[str], where: str, hint: str) -> None:
    twin = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twin is not None:
        raise UserError(f"{where} `{twin}` stands there twice; {hint}")
