"""A trace: steps between functional tags, as text and as token ids. Reads what a model wrote, whatever it wrote.

As text a step is ``<tag>``, its text and ``</tag>``, each on lines of their own, as published; a tag inside a step's
text is escaped by a backslash. As ids it is the opening token, the text and the closing token, and nothing needs
escaping.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from burnish.reason.rftt.grammar import Grammar
from burnish.reason.rftt.vocabulary import Vocabulary, encode_text


@dataclass(frozen=True)
class Step:
    """One step of a trace.

    Attributes:
        action: its kind.
        text: what stands between its tags.
        closed: whether its closing tag came; without, the step was cut off, or another tag came first.
    """

    action: str
    text: str
    closed: bool = True


Trace = tuple[Step, ...]


@dataclass(frozen=True)
class Span:
    """Where a step lies in a sequence of ids.

    Attributes:
        action: its kind.
        start: place of its opening token.
        end: place after its last token, which is the closing one if it is closed.
        closed: whether its closing token came.
    """

    action: str
    start: int
    end: int
    closed: bool

    @property
    def text(self) -> slice:
        """Where its text lies, without the tags."""
        return slice(self.start + 1, self.end - self.closed)


def render(trace: Trace, grammar: Grammar) -> str:
    """A trace as text; :func:`parse` gives it back.

    Raises:
        UserError: an action that the grammar does not have.
    """
    written = []
    for step in trace:
        action = grammar.action(step.action)
        # One backslash more before a tag, and those that were there twice: so many are odd, and none or even a tag's.
        text = _tags(grammar).sub(lambda found: found[1] * 2 + "\\" + found[2], step.text)
        written.append(f"{action.opens}\n{text}\n" + (f"{action.closes}\n" if step.closed else ""))
    return "".join(written)


def parse(text: str, grammar: Grammar) -> Trace:
    """The steps of a text, with one line break after the opening and before the closing tag taken off, if there.

    Total: a step whose closing tag does not come, or that another step's tag cuts short, is not closed; what stands
    outside every step is left out, since no action vouches for it.
    """
    by_tag = {action.opens: (action.name, True) for action in grammar.actions}
    by_tag |= {action.closes: (action.name, False) for action in grammar.actions}
    marks = [
        (found.start(2), found.end(), *by_tag[found[2]])
        for found in _tags(grammar).finditer(text)
        if len(found[1]) % 2 == 0
    ]
    steps = []
    for place, (_, start, action, opens) in enumerate(marks):
        if not opens:
            continue
        end, _, other, reopens = marks[place + 1] if place + 1 < len(marks) else (len(text), 0, "", True)
        inside = text[start:end].removeprefix("\n").removesuffix("\n")
        inside = _tags(grammar).sub(lambda found: found[1][: len(found[1]) // 2] + found[2], inside)
        steps.append(Step(action, inside, closed=not reopens and other == action))
    return tuple(steps)


def trace_ids(trace: Trace, tokenizer: Any, vocabulary: Vocabulary) -> list[int]:
    """A trace as token ids, no end-of-sequence token after it; :func:`steps_of_ids` gives it back."""
    ids: list[int] = []
    for step in trace:
        ids += step_ids(step, tokenizer, vocabulary)
    return ids


def step_ids(step: Step, tokenizer: Any, vocabulary: Vocabulary) -> list[int]:
    """One step as token ids; its text holds no functional or special token, whatever it says."""
    text = encode_text(tokenizer, vocabulary, step.text, marks=False)
    return [vocabulary.opens[step.action], *text, *([vocabulary.closes[step.action]] if step.closed else [])]


def steps_of_ids(ids: Sequence[int], tokenizer: Any, vocabulary: Vocabulary) -> Trace:
    """The steps of token ids, as :func:`parse` finds them in text; special tokens inside a text are left out of it."""
    return tuple(
        Step(span.action, tokenizer.decode(ids[span.text], skip_special_tokens=True), span.closed)
        for span in spans_of_ids(ids, vocabulary)
    )


def spans_of_ids(ids: Sequence[int], vocabulary: Vocabulary) -> tuple[Span, ...]:
    """Where the steps of token ids lie; total as :func:`parse`."""
    return tuple(_spans(ids, vocabulary.opened, vocabulary.closed))


def _spans(ids: Sequence[int], opened: Mapping[int, str], closed: Mapping[int, str]) -> Iterator[Span]:
    action, start = "", 0  # of the step that is open
    for place, token in enumerate(ids):
        if token not in opened and token not in closed:
            continue
        ends = closed.get(token) == action
        if action:
            yield Span(action, start, place + ends, ends)
        action, start = opened.get(token, ""), place
    if action:
        yield Span(action, start, len(ids), False)


@lru_cache(maxsize=8)
def _finder(tags: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(r"(\\*)(" + "|".join(map(re.escape, tags)) + ")")


def _tags(grammar: Grammar) -> re.Pattern[str]:
    """Any tag, and the backslashes before it."""
    return _finder(tuple(tag for action in grammar.actions for tag in (action.opens, action.closes)))
