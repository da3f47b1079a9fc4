"""The rftt study's world: its functional tokens, three ways to write the same solution, and a base model that knows no
tag.

A solution copies the question's digits and writes a state for each (:mod:`burnish.testbeds.ways`). With tags the way is
a functional token and the answer a step of its own; bare rows are the same text without any tag; in words the way and
the answer are named by ordinary tokens. The digits come first in every solution, so that its first ordinary token says
nothing of the way: in real texts a first word rarely does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from burnish.core.models import load_model, load_tokenizer
from burnish.dialogue.models import ChatModel
from burnish.dialogue.rows import Question
from burnish.reason.rftt.grammar import Action, Grammar
from burnish.reason.rftt.sft import IGNORED, Example, make_example
from burnish.reason.rftt.trace import Step, Trace
from burnish.reason.rftt.vocabulary import Vocabulary, vocabulary_of
from burnish.reason.rftt.warmup import Row
from burnish.testbeds.ways import LENGTH, WAYS, digits_of, draw_way, make_tokenizer, right_steps, right_way, states

Rows = Literal["tags", "bare", "words"]
ROWS: tuple[Rows, ...] = ("tags", "bare", "words")
LONGEST = 40
"""Tokens of a completion that is written freely: room for a solution that is checked and mended."""
BATCH = 64


def _action(name: str, follows: Sequence[str], tokens: int, depth: tuple[int, int | None], words: str) -> Action:
    return Action(
        name=name,
        opens=f"<|rftt:{name}|>",
        closes=f"<|/rftt:{name}|>",
        follows=tuple(follows),
        tokens=tokens,
        depth=depth,
        description=words,
        ends=not follows,
        prompted=name in WAYS,
    )


STEP = 2 * LENGTH + 1
"""Tokens of a step that goes one way: the digits, a colon and the states."""
GRAMMAR = Grammar(
    (
        *(_action(way, ("output", "verify"), STEP, (1, 1), f"by {way}") for way in WAYS),
        _action("verify", ("refine", "output"), 12, (2, None), "check the steps"),
        _action("refine", ("output", "verify"), STEP, (3, None), "next step"),
        _action("output", (), 2, (2, None), "answer"),
    ),
    start=WAYS,
    max_depth=6,
)
"""A way opens; it is answered, or checked and mended."""
STRAIGHT = Grammar(
    (
        *(_action(way, ("output",), STEP, (1, 1), f"by {way}") for way in WAYS),
        next(action for action in GRAMMAR.actions if action.ends),
    ),
    start=WAYS,
    max_depth=GRAMMAR.max_depth,
)
"""The part of it that models know before they are taught to check."""


def written(digits: Sequence[int], way: str) -> str:
    """The text of a step that goes one way.

    >>> written([1, 2, 3, 1], "add")
    '1 2 3 1 : 1 3 6 7'
    """
    return f"{' '.join(map(str, digits))} : {' '.join(map(str, states(way, digits)))}"


def trace(digits: Sequence[int], way: str) -> Trace:
    """A solution with tags."""
    return (Step(way, written(digits, way)), Step("output", str(states(way, digits)[-1])))


def plain(digits: Sequence[int], way: str, rows: Rows) -> str:
    """The same solution without tags, or in words.

    >>> plain([1, 2, 3, 1], "add", "words")
    'by add 1 2 3 1 : 1 3 6 7 answer 7'

    Raises:
        ValueError: of tags, which are no text.
    """
    if rows == "tags":
        raise ValueError("tags are no text; ask for the trace")
    text, answer = written(digits, way), states(way, digits)[-1]
    return f"{text} {answer}" if rows == "bare" else f"by {way} {text} answer {answer}"


def last_digit(text: str) -> str | None:
    """The answer of a step or of a solution without steps: the last digit that stands alone.

    >>> last_digit("1 2 : 3 5 5"), last_digit("by add")
    ('5', None)
    """
    found = re.findall(r"(?<!\S)\d(?!\S)", text)
    return found[-1] if found else None


def step_scores(questions: list[str], solutions: list[list[str]]) -> list[list[float]]:
    """A true process reward model: of a step with states the share that is right, of an answer whether it is.

    >>> step_scores(["1 2 0 0"], [["1 2 0 0 : 1 3 3 4", "3"]])
    [[0.75, 1.0]]
    """
    return [
        [_score(tuple(map(int, question.split())), step) for step in steps]
        for question, steps in zip(questions, solutions, strict=True)
    ]


def _score(digits: Sequence[int], step: str) -> float:
    _, colon, tail = step.partition(":")
    found = [int(each) for each in tail.split() if each.isdigit()]
    if colon:
        return sum(right_steps(digits, found[:LENGTH])) / LENGTH
    return float(last_digit(step) == str(states(right_way(digits), digits)[-1]))


class Warm(NamedTuple):
    """A model of the study, ready to write."""

    chat: ChatModel
    vocabulary: Vocabulary


def draw_digits(rng: np.random.Generator) -> list[int]:
    """Digits of a question to learn from."""
    return [*rng.integers(10, size=LENGTH - 1).tolist(), int(rng.integers(len(WAYS)))]


def draw_examples(
    rows: Rows, tokens: int, seed: int, chat: ChatModel, vocabulary: Vocabulary, *, single: bool = False
) -> list[Example]:
    """Solutions to learn from, by ways that do not look at the question, until so many tokens are read.

    All forms draw the same solutions in the same order; the shorter form gets more of them.

    Args:
        rows: the form.
        tokens: prompts included.
        seed: of digits and ways.
        chat: the model, for its tokenizer.
        vocabulary: its functional tokens.
        single: whether all go the first way.
    """
    rng = np.random.default_rng([seed, 37])
    end = int(chat.tokenizer.eos_token_id)
    found: list[Example] = []
    left = tokens
    while left > 0:
        digits = draw_digits(rng)
        way = draw_way(rng, single=single)
        prompt = _ids(chat.tokenizer, f"{' '.join(map(str, digits))} =")
        if rows == "tags":
            row = Row("", "", trace(digits, way), "path")
            made = make_example(row, prompt, chat.tokenizer, vocabulary, end, learn_wrong=True)
        else:
            ids = [*_ids(chat.tokenizer, plain(digits, way, rows)), end]
            made = Example((*prompt, *ids), (*[IGNORED] * len(prompt), *ids))
        found.append(made)
        left -= len(made.input_ids)
    return found


def repeat_examples(examples: Sequence[Example], tokens: int, seed: int) -> list[Example]:
    """Examples in a new order each round, until so many tokens are read."""
    rng = np.random.default_rng([seed, 41])
    found: list[Example] = []
    left = tokens
    while left > 0:
        for place in rng.permutation(len(examples)).tolist():
            if left > 0:
                found.append(examples[place])
                left -= len(examples[place].input_ids)
    return found


def _ids(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


class Shape(NamedTuple):
    """Of the base model and its training."""

    width: int = 64
    layers: int = 2
    steps: int = 600


def rate(width: int) -> float:
    """The learning rate of supervised training, lower for a wider model."""
    return 3e-3 * 64 / width


def train_base(shape: Shape, seed: int) -> Any:
    """A Llama from scratch on solutions without tags, half of them bare and half in words, by ways at .7, .2 and .1."""
    import torch
    import transformers

    tokenizer = make_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=shape.width,
                intermediate_size=4 * shape.width,
                num_hidden_layers=shape.layers,
                num_attention_heads=4,
                max_position_embeddings=128,
                pad_token_id=tokenizer.pad_token_id,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                tie_word_embeddings=False,
            )
        )
    highest = rate(shape.width)
    optimizer = torch.optim.AdamW(model.parameters(), lr=highest)
    decay = torch.optim.lr_scheduler.OneCycleLR(optimizer, highest, total_steps=max(2, shape.steps), pct_start=0.1)
    model.train()
    for texts in _corpus(seed, shape.steps):
        batch = tokenizer(texts, padding=True, return_tensors="pt", return_token_type_ids=False)
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORED)
        labels[:, : LENGTH + 1] = IGNORED
        loss = model(**batch, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        decay.step()
    return model.eval()


def _corpus(seed: int, steps: int) -> Iterator[list[str]]:
    rng = np.random.default_rng([seed, 43])
    forms: tuple[Rows, ...] = ("bare", "words")
    for _ in range(steps):
        texts = []
        for _ in range(BATCH):
            digits = draw_digits(rng)
            solution = plain(digits, draw_way(rng), forms[int(rng.integers(2))])
            texts.append(f"{' '.join(map(str, digits))} = {solution}<eos>")
        yield texts


def load(folder: Path) -> Warm:
    """A model of the study with its functional tokens."""
    tokenizer = load_tokenizer(folder)
    model = load_model(folder, "CausalLM", dtype="float32", device="cpu").eval()
    rows = len(model.get_input_embeddings().weight)
    return Warm(ChatModel(model, tokenizer, str(folder)), vocabulary_of(tokenizer, GRAMMAR, rows))


def wrong_ways(question: Question) -> list[str]:
    """The ways that a question does not ask for."""
    return [way for way in WAYS if way != right_way(digits_of(question))]
