"""One question answered by a search over functional tokens, for the command line and notebooks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from burnish.core.errors import UserError
from burnish.dialogue.models import ChatModel, load_chat_model
from burnish.dialogue.rows import Question
from burnish.reason.rftt.evaluate import make_prompts
from burnish.reason.rftt.generators.protocol import Path as Steps
from burnish.reason.rftt.grammar import Grammar, Style, rftt_grammar
from burnish.reason.rftt.masks import GrammarProcessor, compile_grammar
from burnish.reason.rftt.prm import ProcessScores, load_scorer
from burnish.reason.rftt.recipe import GrammarSettings
from burnish.reason.rftt.setup import Engine, make_engine, make_grammar, with_caps
from burnish.reason.rftt.trace import steps_of_ids
from burnish.reason.rftt.vocabulary import Vocabulary, prompt_ids, vocabulary_of
from burnish.reason.rftt.voting import GREEDY, Vote, search_answers

note = logging.getLogger(__name__).warning
STYLES: tuple[Style, ...] = ("guarded", "official")


def ask_by_search(
    model: str | Path | ChatModel,
    question: str,
    *,
    rollouts: int,
    vote: Vote,
    prm: str | None,
    max_depth: int,
    step_tokens: int | None,
    temperature: float,
    seed: int,
    system: str | None,
    device: str | None,
    grammar: str | None,
    kind: Engine,
    cache: int,
) -> dict[str, Any]:
    """See :func:`burnish.reason.search`."""
    if rollouts < 1:
        raise UserError(f"rollouts: {rollouts}; give 1 or more", arguments=("rollouts",))
    if vote != "majority" and prm is None:
        raise UserError(f"vote: `{vote}` needs scores; name a process reward model (prm), or vote by majority")
    score = None if prm is None else path_scores(prm)
    sampling = replace(GREEDY.sampling, temperature=temperature)
    chat = model if isinstance(model, ChatModel) else load_chat_model(model, device=device)
    if chat.takes_images:
        raise UserError(f"model: {chat.name}: takes images; functional tokens are for text")
    found_grammar = own_grammar(chat, grammar, max_depth)
    if found_grammar is None:
        raise UserError(
            f"model: {chat.name} has no functional tokens of {grammar or 'the paper'}, so there is nothing to search "
            "over; teach them first (`method: rftt`), name their grammar, or ask it plainly"
        )
    table = with_caps(found_grammar, step_tokens)
    vocabulary = vocabulary_of(chat.tokenizer, table, len(chat.model.get_input_embeddings().weight))
    prompts = make_prompts(chat, vocabulary, [Question(question, "", row="question")], system)
    engine = make_engine(chat, vocabulary, table, note, engine=kind, cache=cache)
    started = time.monotonic()
    found = search_answers(
        prompts,
        engine,
        table,
        replace(GREEDY, rollouts=rollouts, sampling=sampling),
        vote=vote,
        score=score,
        seed=seed,
    )[0]
    if found.problem:
        raise UserError(f"question: {found.problem}; shorten it")
    return {
        "answer": found.answer,
        "chosen_by": found.chosen_by,
        "candidates": [
            {"answer": each.answer, "paths": len(each.members), "weight": each.weight} for each in found.candidates
        ],
        "steps": [
            {"action": found.tree["nodes"][number]["action"], "text": found.tree["nodes"][number].get("text", "")}
            for number in found.path
        ],
        "tokens": engine.counts.generated,
        "tokens_read": engine.counts.encoded,
        "tokens_reused": engine.counts.reused,
        "model": chat.name,
        "seconds": time.monotonic() - started,
        "tree": found.tree,
    }


def own_grammar(chat: ChatModel, table: str | None = None, max_depth: int = 18) -> Grammar | None:
    """The grammar whose functional tokens a model has; none if it has none of it.

    Args:
        chat: the model.
        table: ``module:OBJECT``; none looks for the paper's, in either style of tags.
        max_depth: of the paper's.

    Raises:
        UserError: ``table`` names no grammar.
    """
    known = chat.tokenizer.get_added_vocab()
    tables = [rftt_grammar(style, max_depth) for style in STYLES]
    if table is not None:
        tables = [make_grammar(GrammarSettings(table=table))]
    return next((each for each in tables if each.actions[0].opens in known), None)


@dataclass(frozen=True)
class Traced:
    """A chat model whose answers are traces, decoded plainly.

    Attributes:
        chat: the model.
        grammar: of its functional tokens.
        vocabulary: these.
    """

    chat: ChatModel
    grammar: Grammar
    vocabulary: Vocabulary

    def encode(self, questions: Sequence[Question], system: str | None) -> dict[str, torch.Tensor]:
        """Tensors of prompts, padded on the left, in which no text of a user is a functional token."""
        rows = prompt_ids(self.chat, self.vocabulary, questions, system)
        width = max(map(len, rows))
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for place, row in enumerate(rows):
            ids[place, width - len(row) :] = torch.tensor(row)
            mask[place, width - len(row) :] = 1
        device = self.chat.model.device
        return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}

    def processor(self, prompt: int) -> GrammarProcessor:
        """What keeps ``generate`` to the grammar, for prompts of so many tokens."""
        ends = self.chat.model.generation_config.eos_token_id or self.chat.tokenizer.eos_token_id
        own = {*(ends if isinstance(ends, list) else [ends]), *self.vocabulary.ids}
        specials = sorted({*self.chat.tokenizer.all_special_ids} - own)
        compiled = compile_grammar(self.grammar, self.vocabulary, sorted(own - {*self.vocabulary.ids}), specials)
        return GrammarProcessor(compiled.to(self.chat.model.device), prompt)

    def steps(self, ids: Sequence[int]) -> list[dict[str, str]]:
        """What was written, step by step."""
        found = steps_of_ids(ids, self.chat.tokenizer, self.vocabulary)
        return [{"action": step.action, "text": step.text} for step in found]


def find_traced(chat: ChatModel) -> Traced | None:
    """A chat model with the paper's functional tokens as one whose answers are traces; none for any other."""
    grammar = None if chat.takes_images else own_grammar(chat)
    if grammar is None:
        return None
    rows = len(chat.model.get_input_embeddings().weight)
    return Traced(chat, grammar, vocabulary_of(chat.tokenizer, grammar, rows))


def path_scores(prm: str) -> Callable[[Any], list[float]]:
    """What a process reward model thinks of paths: the score of the last step.

    Raises:
        UserError: there is no such model.
    """
    scores = ProcessScores(load_scorer(prm), prm)

    def score(paths: list[Steps]) -> list[float]:
        texts = [[node.text for node in path.nodes] for path in paths]
        found = scores.score([path.prompt.text for path in paths], texts)
        return [each[-1] if each else 0.0 for each in found]

    return score
