"""Chains of arithmetic that can be solved in several ways, of which one is right: a world for searching over reasoning.

A question is four digits. Starting at 0, each step takes the state c and the next digit d to a new state, by one of
three ways: c + d, c + 2 d + 1 or 3 c + d + 2, all modulo 10. The last digit (0, 1 or 2) says which way is right; the
answer is the last state by that way. Traces to learn from take the ways at .7, .2 and .1 whatever the question says, so
that a model executes each way well and chooses badly: there is something to search for. Where ``single`` is set there
is one way only, and nothing to search for.

Knows digits and ways. The right step after any prefix is known exactly, so that :func:`right_steps` is a true process
reward.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from burnish.dialogue.rows import Question

WAYS = ("add", "double", "triple")
PRIOR = (0.7, 0.2, 0.1)
LENGTH = 4
MARKS = ("=", ":", ".", "(", ")", r"\boxed{", "}")
WORDS = (
    *("by", "Final", "step", "clarify", "analysis", "subquestion", "next", "finish", "verify", "nothing", "yet"),
    *("Let", "me", "check", "the", "steps", "Step", "is", "wrong", "The", "answer"),
)
"""Words that have a token each, besides the names of the ways: those of prompts, and of what RFTT itself writes."""
TRAINING = 4096  # questions that `training` gives
HELD_OUT = 1024  # and `test`


def next_state(way: str, state: int, digit: int) -> int:
    """One step of a chain.

    >>> [next_state(way, 3, 4) for way in WAYS]
    [7, 2, 5]

    Raises:
        ValueError: no such way.
    """
    if way not in WAYS:
        raise ValueError(f"no way `{way}`; there are {', '.join(WAYS)}")
    return {"add": state + digit, "double": state + 2 * digit + 1, "triple": 3 * state + digit + 2}[way] % 10


def states(way: str, digits: Sequence[int]) -> tuple[int, ...]:
    """The state after each digit.

    >>> states("double", [1, 2])
    (3, 8)
    """
    found: list[int] = []
    for digit in digits:
        found.append(next_state(way, found[-1] if found else 0, digit))
    return tuple(found)


def right_way(digits: Sequence[int], *, single: bool = False) -> str:
    """The way that the question asks for.

    >>> right_way([5, 5, 5, 1])
    'double'
    """
    return WAYS[-1] if single else WAYS[digits[-1] % len(WAYS)]


def right_steps(digits: Sequence[int], written: Sequence[int], *, single: bool = False) -> tuple[bool, ...]:
    """For each state that was written whether it follows by the right way from the right one before it.

    >>> right_steps([1, 2, 0, 0], [1, 4])
    (True, False)
    """
    truth = states(right_way(digits, single=single), digits)
    return tuple(
        index < len(truth) and tuple(written[: index + 1]) == truth[: index + 1] for index in range(len(written))
    )


def draw_way(rng: np.random.Generator, *, single: bool = False) -> str:
    """The way of a trace to learn from: whatever the question asks for."""
    return WAYS[-1] if single else WAYS[int(rng.choice(len(WAYS), p=PRIOR))]


def draw_questions(count: int, seed: int, *, single: bool = False) -> list[Question]:
    """Questions; their text is the digits, their steps the states by the right way.

    Args:
        count: how many.
        seed: of the digits.
        single: whether there is one way only.
    """
    rng = np.random.default_rng([seed, 29])
    drawn = []
    for index in range(count):
        digits = [*rng.integers(10, size=LENGTH - 1).tolist(), int(rng.integers(len(WAYS)))]
        steps = tuple(map(str, states(right_way(digits, single=single), digits)))
        drawn.append(
            Question(" ".join(map(str, digits)), steps[-1], " ".join(steps), steps, row=f"ways:{seed}:{index}")
        )
    return drawn


def digits_of(question: Question) -> tuple[int, ...]:
    """The digits of a question drawn here."""
    return tuple(map(int, question.question.split()))


def training() -> Iterator[Question]:
    """Questions to train on; a recipe names them `burnish.testbeds.ways:training`."""
    yield from draw_questions(TRAINING, seed=0)


def test() -> Iterator[Question]:
    """Other questions; `burnish.testbeds.ways:test`."""
    yield from draw_questions(HELD_OUT, seed=1)


def make_tokenizer() -> Any:
    """One token a digit, mark or word, blanks dropped, and a chat template: the user's text, `=`, the assistant's."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens = ["<pad>", "<bos>", "<eos>", "<unk>", *MARKS, *map(str, range(10)), *WAYS, *WORDS]
    backend = Tokenizer(models.WordLevel({token: index for index, token in enumerate(tokens)}, unk_token="<unk>"))
    word = Regex(r"\\boxed\{|[A-Za-z]+|.")
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"\s+"), "removed"), pre_tokenizers.Split(word, "isolated")]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['content'] }}{% if m['role'] == 'assistant' %}<eos>{% else %} = {% endif %}"
        "{% endfor %}"
    )
    return tokenizer
