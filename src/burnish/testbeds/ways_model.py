"""A small language model that does what it is asked in the world of :mod:`ways`: one step of a kind at a time.

It plays the untuned model of a search by prompts. Each kind of prompt that may open a solution names a way of its own;
a next step then carries out half of the chain, another the rest (by a way drawn at .7, .2 and .1 where none was named);
one state in ten is any digit. Knows the world's text; knows no search.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from burnish.testbeds.small_llama import new_llama
from burnish.testbeds.ways import LENGTH, WAYS, draw_way, make_tokenizer, next_state

OPENINGS = {"analysis": "add", "subquestion": "double", "clarify": "triple"}
"""The way that each kind of opening names."""
PROMPTS = {
    **{name: f"{{{{question}}}} : {{{{steps}}}} {name}" for name in OPENINGS},
    "next_step": "{{question}} : {{steps}} next",
    "direct_answer": "{{question}} : {{steps}} finish",
    "verify": "{{question}} : verify {{number}}",
}
"""A prompt a kind of step, as files beside the model."""
NOTHING = "(nothing yet)"
SLOPPY = 0.1


def numbered(steps: Sequence[str]) -> str:
    """Steps as a prompt shows them.

    >>> numbered(["by add", "3"])
    '1. by add 2. 3'
    """
    return " ".join(f"{number}. {text}" for number, text in enumerate(steps, 1)) or NOTHING


def draw_task(rng: np.random.Generator) -> tuple[str, str]:
    """A prompt and the reply to it."""
    digits = [*rng.integers(10, size=LENGTH - 1).tolist(), int(rng.integers(len(WAYS)))]
    question = " ".join(map(str, digits))
    kind = str(rng.choice([*OPENINGS, "next_step", "direct_answer", "verify"], p=[0.02, 0.02, 0.02, 0.4, 0.5, 0.04]))
    if kind == "verify":
        number = str(int(rng.integers(1, 7)))
        asked = _filled(kind, question=question, number=number)
        return asked, f"Let me check the steps. Step {number} is wrong."
    steps = _begun(digits, rng, 0 if kind in OPENINGS else int(rng.choice(3, p=[0.1, 0.6, 0.3])))
    return _filled(kind, question=question, steps=numbered(steps)), _reply(kind, digits, steps, rng)


def _filled(name: str, **values: str) -> str:
    text = PROMPTS[name]
    for slot, value in values.items():
        text = text.replace("{{" + slot + "}}", value)
    return text


def _begun(digits: Sequence[int], rng: np.random.Generator, done: int) -> list[str]:
    """The first steps of a solution: a way that is named, then half of the states."""
    steps = [f"by {rng.choice(WAYS)}"]
    steps.append(_states(digits, steps, rng, LENGTH // 2))
    return steps[:done]


def _reply(kind: str, digits: Sequence[int], steps: Sequence[str], rng: np.random.Generator) -> str:
    """What the model should write after some steps: a way, then half of the states, then the rest and the answer."""
    if kind in OPENINGS:
        return f"by {OPENINGS[kind]}"
    if kind == "next_step" and len(steps) < 2:
        return _states(digits, steps, rng, LENGTH // 2) if steps else f"by {draw_way(rng)}"
    named = steps or [f"by {draw_way(rng)}"]
    rest = _states(digits, named, rng, LENGTH)
    answer = " ".join([*named[len(steps) :], rest, rf"\boxed{{{rest.split()[-1]}}}"])
    return f"Final step {answer}" if kind == "next_step" else answer


def _states(digits: Sequence[int], steps: Sequence[str], rng: np.random.Generator, end: int) -> str:
    """States after those that the steps hold, up to number ``end``; some are sloppy, and the later ones build on them.

    >>> _states([1, 2, 0, 0], ["by add", "1 3"], np.random.default_rng(0), 4)
    '3 3'
    """
    way = steps[0].removeprefix("by ")
    written = [int(state) for step in steps[1:] for state in step.split()]
    start = len(written)
    for digit in digits[start:end]:
        right = next_state(way, written[-1] if written else 0, digit)
        written.append(int(rng.integers(10)) if rng.random() < SLOPPY else right)
    return " ".join(map(str, written[start:]))


def train_base(steps: int = 900, seed: int = 0, width: int = 64, layers: int = 2, device: str = "cpu") -> Any:
    """A Llama trained from scratch on prompts and replies: batch 64, AdamW at 2e-3 falling to nothing.

    Args:
        steps: optimizer steps; 900 take half a minute on one core.
        seed: of the weights and the tasks.
        width: of the hidden state.
        layers: of the network.
        device: where to train.
    """
    import torch

    tokenizer = make_tokenizer()
    rng = np.random.default_rng([seed, 31])
    model = new_llama(tokenizer, seed, width, layers, 192).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    decay = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=max(2, steps), pct_start=0.1)
    model.train()
    for _ in range(steps):
        tasks = [draw_task(rng) for _ in range(64)]
        texts = [f"{asked} = {reply}<eos>" for asked, reply in tasks]
        batch = tokenizer(texts, padding=True, return_tensors="pt", return_token_type_ids=False).to(device)
        begun = tokenizer([f"{asked} =" for asked, _ in tasks])["input_ids"]
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        for row, ids in enumerate(begun):
            labels[row, : len(ids)] = -100
        loss = model(**batch, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        decay.step()
    return model.eval()


def write_base(folder: Path, steps: int = 900, width: int = 64) -> None:
    """Train the model and write it with its tokenizer, in the Hugging Face layout, its prompts in ``prompts``."""
    train_base(steps, width=width).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    (folder / "prompts").mkdir()
    for name, text in PROMPTS.items():
        (folder / "prompts" / f"{name}.txt").write_text(text + "\n", encoding="utf-8")
