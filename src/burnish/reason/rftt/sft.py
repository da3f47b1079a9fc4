"""Phase 1's training: rows become token ids and labels, and TRL's SFTTrainer learns from them. No sampling here.

TRL takes ``labels`` as they are (it ignores a bare ``completion_mask``), so what is learnt is decided here, by token.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.core.errors import UserError, nearest
from burnish.reason.rftt.trace import step_ids
from burnish.reason.rftt.vocabulary import Vocabulary, pass_on_bias
from burnish.reason.rftt.warmup import Row

IGNORED = -100  # what PyTorch's cross entropy leaves out

PAPER: Mapping[str, Any] = {
    "learning_rate": 7e-6,
    "lr_scheduler_type": "constant_with_warmup",
    "warmup_steps": 10,
    "num_train_epochs": 10,
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 32,
    "adam_beta1": 0.9,
    "adam_beta2": 0.95,
    "weight_decay": 0.1,
}
"""Arguments of TRL as published. Source: RFTT, released SFT configuration (full fine-tuning, cut-off 8,192 tokens)."""


@dataclass(frozen=True)
class Example:
    """One sequence to learn from.

    Attributes:
        input_ids: the prompt, the trace and an end-of-sequence token.
        labels: the same, with -100 where nothing is learnt.
    """

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True)
class ExampleCounts:
    """What the rows came to.

    Attributes:
        examples: how many are learnt from.
        too_long: rows left out, since a cut trace would teach to stop in mid-step.
        tokens: of all examples, prompts included.
        learnt: tokens with a label.
    """

    examples: int
    too_long: int
    tokens: int
    learnt: int


def make_example(
    row: Row, prompt: Sequence[int], tokenizer: Any, vocabulary: Vocabulary, end: int, *, learn_wrong: bool
) -> Example:
    """One row as token ids and labels.

    Args:
        row: the trace.
        prompt: ids of the conversation up to the assistant's turn; nothing of it is learnt.
        tokenizer: of the vocabulary.
        vocabulary: the functional tokens.
        end: the end-of-sequence token.
        learn_wrong: whether the tokens of a wrong branch, tags included, are learnt (as published) or only read.
    """
    ids, labels = list(prompt), [IGNORED] * len(prompt)
    start, stop = row.wrong
    for place, step in enumerate(row.trace):
        tokens = step_ids(step, tokenizer, vocabulary)
        ids += tokens
        labels += tokens if learn_wrong or not start <= place < stop else [IGNORED] * len(tokens)
    return Example((*ids, end), (*labels, end))


def make_examples(
    rows: Sequence[Row],
    prompts: Mapping[str, Sequence[int]],
    tokenizer: Any,
    vocabulary: Vocabulary,
    *,
    learn_wrong: bool = True,
    max_length: int = 8192,
) -> tuple[list[Example], ExampleCounts]:
    """All rows that fit, in order.

    Args:
        rows: the traces.
        prompts: ids of each question's conversation up to the assistant's turn, by the question's id.
        tokenizer: of the vocabulary.
        vocabulary: the functional tokens.
        learn_wrong: as for :func:`make_example`.
        max_length: tokens of the longest sequence that is learnt from.

    Raises:
        UserError: a row whose question has no prompt, no end-of-sequence token, or no row that fits.
    """
    end = tokenizer.eos_token_id
    if end is None:
        raise UserError("the tokenizer has no end-of-sequence token, so no trace could end; set its `eos_token`")
    found = []
    for row in rows:
        if row.question not in prompts:
            raise UserError(
                f"warm-up: there is no prompt for the question `{row.question}` of a row; give one for each"
            )
        made = make_example(row, prompts[row.question], tokenizer, vocabulary, int(end), learn_wrong=learn_wrong)
        if len(made.input_ids) <= max_length:
            found.append(made)
    if not found:
        why = f"all {len(rows)} are longer than {max_length} tokens" if rows else "no question had a right path"
        raise UserError(f"warm-up: no row to learn from ({why}); search more questions, or allow longer rows")
    tokens = sum(len(each.input_ids) for each in found)
    learnt = sum(label != IGNORED for each in found for label in each.labels)
    return found, ExampleCounts(len(found), len(rows) - len(found), tokens, learnt)


def sft_trainer(
    model: Any, tokenizer: Any, examples: Sequence[Example], peft_config: Any | None = None, **arguments: Any
) -> Any:
    """TRL's SFTTrainer on examples, ready for ``train()`` or :func:`burnish.core.trainer.train`.

    Args:
        model: extended by the functional tokens; trained in place.
        tokenizer: its; a copy is used, since TRL gives a tokenizer without padding token one.
        examples: of :func:`make_examples`.
        peft_config: an adapter; have it train the new rows by ``trainable_token_indices`` of
            :func:`burnish.reason.rftt.vocabulary.trainable_tokens`. None trains every weight.
        arguments: of ``trl.SFTConfig``, over those of :data:`PAPER`; ``output_dir`` and ``seed`` at least.

    Raises:
        UserError: an argument that TRL does not know, or values that it refuses.
    """
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    known = [field.name for field in dataclasses.fields(SFTConfig)]
    unknown = sorted(set(arguments) - set(known))
    if unknown:
        raise UserError(f"trl.{unknown[0]}: not an argument of TRL's SFTConfig; {nearest(unknown[0], known)}")
    # Nothing is cut or packed: lengths were checked, and a packed row would see its neighbour.
    fixed = {"max_length": None, "packing": False, "dataset_kwargs": {"skip_prepare_dataset": True}}
    try:
        config = SFTConfig(**{**PAPER, **arguments, **fixed})
    except (ValueError, TypeError, ImportError) as error:
        raise UserError(f"warm-up: TRL refuses these settings ({error})") from error
    table = Dataset.from_dict(
        {
            "input_ids": [list(each.input_ids) for each in examples],
            "labels": [list(each.labels) for each in examples],
        }
    )
    trainer = SFTTrainer(
        model=model,
        args=config,
        train_dataset=table,
        processing_class=copy.deepcopy(tokenizer),
        peft_config=peft_config,
    )
    pass_on_bias(trainer.model)
    return trainer
