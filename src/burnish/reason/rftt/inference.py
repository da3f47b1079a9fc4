"""One question answered by a search over functional tokens, for the command line and notebooks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from burnish.core.errors import UserError
from burnish.dialogue.models import ChatModel, load_chat_model
from burnish.dialogue.rows import Question
from burnish.reason.rftt.evaluate import make_prompts
from burnish.reason.rftt.generators.local import LocalEngine
from burnish.reason.rftt.generators.protocol import Path as Steps
from burnish.reason.rftt.generators.reencoding import Reencoding
from burnish.reason.rftt.generators.transformers_reuse import PrefixReuse, why_not_reusable
from burnish.reason.rftt.grammar import Grammar, Style, rftt_grammar
from burnish.reason.rftt.prm import ProcessScores, load_scorer
from burnish.reason.rftt.vocabulary import vocabulary_of
from burnish.reason.rftt.voting import GREEDY, Vote, search_answers

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
    cache: int,
) -> dict[str, Any]:
    """See :func:`burnish.reason.search`."""
    if rollouts < 1:
        raise UserError(f"rollouts: {rollouts}; give 1 or more", arguments=("rollouts",))
    chat = model if isinstance(model, ChatModel) else load_chat_model(model, device=device)
    if chat.takes_images:
        raise UserError(f"model: {chat.name}: takes images; functional tokens are for text")
    grammar = own_grammar(chat, max_depth, step_tokens)
    vocabulary = vocabulary_of(chat.tokenizer, grammar, len(chat.model.get_input_embeddings().weight))
    prompts = make_prompts(chat, vocabulary, [Question(question, "", row="question")], system)
    kind: type[LocalEngine] = Reencoding if why_not_reusable(chat.model) else PrefixReuse
    options = {} if kind is Reencoding else {"budget": cache}
    engine = kind(chat.model, chat.tokenizer, vocabulary, grammar, **options)
    started = time.monotonic()
    found = search_answers(
        prompts,
        engine,
        grammar,
        replace(GREEDY, rollouts=rollouts, sampling=replace(GREEDY.sampling, temperature=temperature)),
        vote=vote,
        score=None if prm is None else path_scores(prm),
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


def own_grammar(chat: ChatModel, max_depth: int, step_tokens: int | None) -> Grammar:
    """The paper's grammar, in whichever style of tags the model's tokenizer has.

    Raises:
        UserError: it has neither.
    """
    known = chat.tokenizer.get_added_vocab()
    for style in STYLES:
        grammar = rftt_grammar(style, max_depth)
        if grammar.actions[0].opens in known:
            if step_tokens is None:
                return grammar
            capped = tuple(replace(each, tokens=min(each.tokens, step_tokens)) for each in grammar.actions)
            return replace(grammar, actions=capped)
    raise UserError(
        f"model: {chat.name} has no functional tokens, so there is nothing to search over; teach them first "
        "(`method: rftt`), or ask it plainly"
    )


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
