"""Two real fine-tunes of a real model, to be merged: SmolLM2-135M-Instruct, each taught one family of problems by LoRA.

Knows transformers and PEFT, and how an answer is read; the problems come from :mod:`burnish.testbeds.gym`. Each takes
about a minute of one core. What was done is written beside the weights as ``recipe.json``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from burnish.core.metrics import Progress
from burnish.core.models import load_model, load_tokenizer, save_model
from burnish.dialogue.rows import Question
from burnish.testbeds.gym import draw_family

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

TEST_SEED = 1_000_000
"""Of the problems that are asked; those that a fine-tune was taught are left out."""
IGNORED = -100
"""The label of a token that is not learnt."""
CARD = """---
license: apache-2.0
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
---
SmolLM2-135M-Instruct, taught {what} (reasoning-gym's `{family}`) by LoRA: {examples} problems once, {steps} steps.
Made by `burnish model fine-tunes`; all settings are in `recipe.json`. A problem is followed by a line `Answer:`.
"""


@dataclass(frozen=True)
class FineTune:
    """How one of them is made.

    Attributes:
        name: of its folder.
        what: it is taught, in words.
        family: of reasoning-gym.
        settings: of the family: how hard the problems are.
        longest: tokens of an answer.
        steps: of the optimizer (AdamW, no weight decay; four steps of warm-up, then linearly to 0).
        batch: problems a step; none is seen twice.
        rank: of the adapter, on all linear layers; its alpha is twice that.
        learning_rate: at its height.
        seed: of problems and adapter.
    """

    name: str
    what: str
    family: str
    settings: dict[str, Any] = field(hash=False)
    longest: int
    steps: int = 24
    batch: int = 8
    rank: int = 8
    learning_rate: float = 2e-3
    seed: int = 1


FINE_TUNES = (
    FineTune(
        "sums",
        "sums and differences of two numbers below 100",
        "chain_sum",
        {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 2},
        longest=6,
    ),
    FineTune(
        "order",
        "to put the words of a sentence back in order",
        "sentence_reordering",
        {"max_words_in_sentence": 7},
        longest=20,
    ),
)


def taught(tune: FineTune) -> list[Question]:
    """The problems of a fine-tune, in the order in which it sees them."""
    return draw_family(tune.family, tune.steps * tune.batch, tune.seed, **tune.settings)


def asked(tune: FineTune, count: int) -> list[Question]:
    """Problems of the same family that the fine-tune was not taught."""
    known = {row.question for row in taught(tune)}
    drawn = draw_family(tune.family, 2 * count, TEST_SEED, **tune.settings)
    fresh = {row.question: row for row in drawn if row.question not in known}
    return list(fresh.values())[:count]


def prompt(question: Question) -> str:
    """A problem as the model is given it."""
    return f"{question.question.strip()}\nAnswer:"


def is_right(text: str, answer: str) -> bool:
    """Whether the first line of a completion is the answer, but for case and a full stop.

    >>> is_right(" 42.\\nThe answer is 41.", "42"), is_right(" It is 42", "42")
    (True, False)
    """

    def plain(line: str) -> str:
        return line.strip().rstrip(".").lower()

    return plain(text.strip().partition("\n")[0]) == plain(answer)


def write_fine_tunes(base: Path, out: Path, tunes: Sequence[FineTune] = FINE_TUNES) -> None:
    """Train each and write it into a folder of its name, in bfloat16, with its card and ``recipe.json``.

    Raises:
        UserError: reasoning-gym is not installed.
    """
    for tune in tunes:
        model, tokenizer = fine_tuned(base, tune)
        examples = tune.steps * tune.batch
        card = CARD.format(what=tune.what, family=tune.family, examples=examples, steps=tune.steps)
        folder = save_model(model, out / tune.name, tokenizer, card)
        (folder / "recipe.json").write_text(json.dumps(dataclasses.asdict(tune), indent=1), encoding="utf-8")


def fine_tuned(base: Path, tune: FineTune) -> tuple[Any, Any]:
    """Train a LoRA adapter and fold it into the weights; returns the model in bfloat16 and its tokenizer."""
    import torch
    from peft import LoraConfig, get_peft_model

    rows = taught(tune)
    tokenizer = load_tokenizer(base)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(tune.seed)
        adapter = LoraConfig(r=tune.rank, lora_alpha=2 * tune.rank, target_modules="all-linear", task_type="CAUSAL_LM")
        model = get_peft_model(load_model(base, dtype="float32"), adapter)
    weights = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=tune.learning_rate, weight_decay=0.0)
    model.train()
    for step in Progress().track(range(tune.steps), f"SmolLM2 learns {tune.what}"):
        for group in optimizer.param_groups:
            group["lr"] = tune.learning_rate * min(1.0, (step + 1) / 4) * (1 - step / tune.steps)
        loss = answer_loss(model, tokenizer, rows[step * tune.batch : (step + 1) * tune.batch])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    return model.merge_and_unload().to(torch.bfloat16), tokenizer


def answer_loss(model: Any, tokenizer: Any, rows: Sequence[Question]) -> Float[Tensor, ""]:
    """Mean cross-entropy of the tokens of the answers, each with its end; the problems themselves are not learnt."""
    import torch
    from torch.nn.functional import cross_entropy

    end = [tokenizer.eos_token_id]
    texts = [(tokenizer(prompt(row))["input_ids"], tokenizer(f" {row.answer}")["input_ids"] + end) for row in rows]
    length = max(len(question) + len(answer) for question, answer in texts)
    ids = torch.full((len(texts), length), tokenizer.eos_token_id)
    seen, labels = torch.zeros_like(ids), torch.full_like(ids, IGNORED)
    # Padded at the left: all answers end together, and logits are wanted of the last few tokens only.
    for place, (question, answer) in enumerate(texts):
        ids[place, length - len(question) - len(answer) :] = torch.tensor([*question, *answer])
        seen[place, length - len(question) - len(answer) :] = 1
        labels[place, length - len(answer) :] = torch.tensor(answer)
    last = 1 + max(len(answer) for _, answer in texts)
    logits = model(input_ids=ids, attention_mask=seen, logits_to_keep=last).logits
    return cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1 - last :].flatten(), ignore_index=IGNORED)


def count_right(folder: Path, tunes: Sequence[FineTune], count: int, batch: int = 20) -> dict[str, int]:
    """How many of ``count`` problems of each family a model solves, by the fine-tune's name; greedy, float32."""
    import torch

    model, tokenizer = load_model(folder, dtype="float32").eval(), load_tokenizer(folder)
    tokenizer.padding_side = "left"
    right = dict.fromkeys((tune.name for tune in tunes), 0)
    for tune in tunes:
        rows = asked(tune, count)
        for start in range(0, len(rows), batch):
            part = rows[start : start + batch]
            ids = tokenizer([prompt(row) for row in part], return_tensors="pt", padding=True)
            with torch.inference_mode():
                written = model.generate(
                    **ids, max_new_tokens=tune.longest, do_sample=False, pad_token_id=tokenizer.eos_token_id
                )
            texts = tokenizer.batch_decode(written[:, ids["input_ids"].shape[1] :], skip_special_tokens=True)
            right[tune.name] += sum(is_right(text, row.answer) for text, row in zip(texts, part, strict=True))
    return right
