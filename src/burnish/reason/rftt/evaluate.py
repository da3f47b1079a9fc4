"""How often a model is right when it simply answers: greedy, batched, with functional tokens or without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from burnish.dialogue.generation import reading
from burnish.dialogue.models import ChatModel
from burnish.dialogue.rows import Question
from burnish.reason.rftt.generators.protocol import Prompt
from burnish.reason.rftt.grammar import Grammar
from burnish.reason.rftt.rewards import Judge
from burnish.reason.rftt.rollouts import RolloutGroup, plain_group
from burnish.reason.rftt.vocabulary import Vocabulary, prompt_ids


@dataclass(frozen=True)
class Accuracy:
    """What came of a test.

    Attributes:
        accuracy: share of right answers.
        answered: share of questions with an answer at all.
        tokens: generated, for each question on average.
        found: of the answers with a verify step that is followed by a refine step, the share that is right; none where
            there is no such answer.
    """

    accuracy: float
    answered: float
    tokens: float
    found: float | None = None


def make_prompts(
    chat: ChatModel, vocabulary: Vocabulary | None, questions: Sequence[Question], system: str | None = None
) -> list[Prompt]:
    """The questions as engines see them, each called by its row.

    Raises:
        UserError: no chat template, or one that refuses the conversation.
    """
    if vocabulary is None:
        texts = chat.render(questions, system, images=False)
        rows = [tuple(ids) for ids in chat.tokenizer(texts, add_special_tokens=False)["input_ids"]]
    else:
        rows = prompt_ids(chat, vocabulary, questions, system)
    return [
        Prompt(question.row or f"question {number}", question.question, ids)
        for number, (question, ids) in enumerate(zip(questions, rows, strict=True))
    ]


def plain_accuracy(
    chat: ChatModel,
    vocabulary: Vocabulary | None,
    grammar: Grammar,
    prompts: Sequence[Prompt],
    answers: Sequence[str],
    judge: Judge,
    *,
    tokens: int,
    batch: int = 64,
) -> Accuracy:
    """Answer every question once, greedily, and judge.

    Args:
        chat: the model.
        vocabulary: its functional tokens; none for a model without.
        grammar: which actions end a trace.
        prompts: the questions.
        answers: the right answers, as many.
        judge: compares.
        tokens: longest answer.
        batch: questions at a time.

    A question that fills the model's context is not asked, and counts as not answered.
    """
    context = getattr(chat.model.config.get_text_config(), "max_position_embeddings", None)
    short = [prompt for prompt in prompts if context is None or len(prompt.ids) < context]
    written: dict[str, list[int]] = {}
    for start in range(0, len(short), batch):
        part = short[start : start + batch]
        room = tokens if context is None else min(tokens, context - max(len(prompt.ids) for prompt in part))
        written |= {prompt.id: ids for prompt, ids in zip(part, _greedy(chat, part, room), strict=True)}
    groups: list[RolloutGroup] = [
        plain_group(prompt, [written.get(prompt.id, [])], None, chat.tokenizer, vocabulary, grammar)
        for prompt in prompts
    ]
    rollouts = [group.rollouts[0] for group in groups]
    verdicts = judge.judge([each.answer for each in rollouts], answers)
    checked = [
        verdict.correct
        for each, verdict in zip(rollouts, verdicts, strict=True)
        if ("verify", "refine") in pairwise(step.action for step in each.steps)
    ]
    count = max(1, len(prompts))
    return Accuracy(
        accuracy=sum(verdict.correct for verdict in verdicts) / count,
        answered=sum(verdict.answered for verdict in verdicts) / count,
        tokens=sum(group.generated for group in groups) / count,
        found=sum(checked) / len(checked) if checked else None,
    )


def _greedy(chat: ChatModel, prompts: Sequence[Prompt], tokens: int) -> list[list[int]]:
    from transformers import GenerationConfig

    ends = chat.model.generation_config.eos_token_id or chat.tokenizer.eos_token_id
    width = max(len(prompt.ids) for prompt in prompts)
    ids = torch.zeros(len(prompts), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt.ids) :] = torch.tensor(prompt.ids)
        mask[row, width - len(prompt.ids) :] = 1
    config = GenerationConfig(
        max_new_tokens=tokens,
        do_sample=False,
        pad_token_id=_any(ends),
        eos_token_id=ends,
        # What is left out here is taken from the model's own config, and a search takes nothing from there.
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        suppress_tokens=chat.model.generation_config.suppress_tokens,
    )
    with reading(chat.model):
        found = chat.model.generate(
            ids.to(chat.model.device), attention_mask=mask.to(chat.model.device), generation_config=config
        )[:, width:]
    stops = torch.tensor(ends if isinstance(ends, list) else [ends], device=found.device)
    # What follows the first end-of-sequence token only fills the batch.
    over = torch.isin(found, stops).cumsum(dim=1) - torch.isin(found, stops).long()
    return [row[: int((past == 0).sum())].tolist() for row, past in zip(found, over, strict=True)]


def _any(ends: Any) -> int:
    return int(ends[0] if isinstance(ends, list) else ends)
