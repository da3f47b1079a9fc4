"""Chains of arithmetic with every step written out, and a small language model that is sloppy at them.

A question is digits d1 .. dL. Starting at 0, each step makes c <- (3 c + d) mod 10; the answer is the last c. The base
model is trained from scratch on traces whose every step is right with probability .6 and otherwise a random digit that
the later steps build on: the right step is what it most likely writes, long chains rarely succeed, and there is
something to reinforce.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from burnish.dialogue.rows import Question
from burnish.testbeds.small_llama import new_llama

TAGS = ("<think>", "</think>", "<answer>", "</answer>")
RIGHT = 0.6  # how often a step of a training trace is right
LONGEST = 8
TRAINING = 4096  # questions that `training` gives
HELD_OUT = 1024  # and `test`


def states(digits: Sequence[int]) -> list[int]:
    """The state after each digit; the last one is the answer.

    >>> states([2, 5])
    [2, 1]
    """
    found: list[int] = []
    state = 0
    for digit in digits:
        state = (3 * state + digit) % 10
        found.append(state)
    return found


def sloppy_states(digits: Sequence[int], rng: np.random.Generator, right: float = RIGHT) -> list[int]:
    """States of which each follows from the one written before it with probability ``right``, else is any digit."""
    found: list[int] = []
    state = 0
    for digit in digits:
        state = (3 * state + digit) % 10 if rng.random() < right else int(rng.integers(10))
        found.append(state)
    return found


def draw_questions(count: int, lengths: Sequence[int], seed: int) -> list[Question]:
    """Questions whose numbers of steps are those of ``lengths`` in turn.

    Args:
        count: how many.
        lengths: steps, 1 to 8.
        seed: of the digits.
    """
    rng = np.random.default_rng([seed, 17])
    drawn = []
    for index in range(count):
        digits = rng.integers(10, size=lengths[index % len(lengths)]).tolist()
        steps = tuple(str(state) for state in states(digits))
        where = f"arithmetic:{seed}:{index}"
        drawn.append(Question(asked(digits), steps[-1], " ".join(steps), steps, row=where))
    return drawn


def asked(digits: Sequence[int]) -> str:
    """A question's text: the digits, with dots up to the longest, so that a step's digit always lies as far back.

    >>> asked([2, 5])
    '2 5 . . . . . .'
    """
    return " ".join([*map(str, digits), *["."] * (LONGEST - len(digits))])


def training() -> Iterator[Question]:
    """Questions to train on, of 6 to 8 steps; a recipe names them `burnish.testbeds.arithmetic:training`."""
    yield from draw_questions(TRAINING, (6, 7, 8), seed=0)


def test() -> Iterator[Question]:
    """Other questions, of 2, 4, 6 and 8 steps; `burnish.testbeds.arithmetic:test`."""
    yield from draw_questions(HELD_OUT, (2, 4, 6, 8), seed=1)


def written(digits: Sequence[int], found: Sequence[int]) -> str:
    """A conversation as the model sees it, from the question to the end of the answer."""
    trace = " ".join(map(str, found))
    return f"{asked(digits)} = <think>{trace}</think><answer>{found[-1]}</answer><eos>"


def make_tokenizer() -> Any:
    """One token a digit or tag, blanks dropped, and a chat template: the user's text, `=`, the assistant's."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens = ["<pad>", "<bos>", "<eos>", "<unk>", *TAGS, "=", ".", *map(str, range(10))]
    backend = Tokenizer(models.WordLevel({token: index for index, token in enumerate(tokens)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"\s+"), "removed"), pre_tokenizers.Split(Regex(r"</?[a-z]+>|."), "isolated")]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['content'] }}{% if m['role'] == 'assistant' %}<eos>{% else %} = {% endif %}"
        "{% endfor %}"
    )
    return tokenizer


def train_base(steps: int = 1200, seed: int = 0, width: int = 64, layers: int = 2, device: str = "cpu") -> Any:
    """A Llama trained from scratch on sloppy traces of 1 to 8 steps: batch 64, AdamW at 1e-3, no schedule.

    Args:
        steps: optimizer steps; 1,200 take about half a minute on one core.
        seed: of the weights and the traces.
        width: of the hidden state.
        layers: of the network.
        device: where to train.
    """
    import torch

    tokenizer = make_tokenizer()
    rng = np.random.default_rng([seed, 23])
    model = new_llama(tokenizer, seed, width, layers, 64).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.train()
    for _ in range(steps):
        texts = []
        for length in rng.integers(1, LONGEST + 1, size=64).tolist():
            digits = rng.integers(10, size=length).tolist()
            texts.append(written(digits, sloppy_states(digits, rng)))
        batch = tokenizer(texts, padding=True, return_tensors="pt", return_token_type_ids=False).to(device)
        seen = (batch["input_ids"] == tokenizer.convert_tokens_to_ids("=")).cumsum(dim=1) > 0
        # Only what follows the question is learnt: its digits are random.
        labels = batch["input_ids"].masked_fill(~seen.roll(1, dims=1) | (batch["attention_mask"] == 0), -100)
        labels[:, 0] = -100
        loss = model(**batch, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def write_base(folder: Path) -> None:
    """Train the base model and write it with its tokenizer, in the Hugging Face layout."""
    train_base().save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
