"""From a recipe to what both phases work with: model, grammar, questions, judge, engines. Starts no training."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from burnish.core.embedded import located
from burnish.core.errors import UserError
from burnish.core.method import import_object
from burnish.core.models import load_tokenizer
from burnish.dialogue.answers import boxed
from burnish.dialogue.models import ChatModel, load_chat_model
from burnish.dialogue.rows import Question
from burnish.dialogue.training import own_device
from burnish.dialogue.verify import Verifier
from burnish.reason.rftt.generators.local import LocalEngine
from burnish.reason.rftt.generators.prompted import LocalWriter, Prompted, Writer
from burnish.reason.rftt.generators.protocol import Generator, Sampling
from burnish.reason.rftt.grammar import Grammar, prompted_grammar, rftt_grammar
from burnish.reason.rftt.prm import ProcessScores, load_scorer
from burnish.reason.rftt.prompts import VERIFY, Prompts, house_prompts, read_prompts
from burnish.reason.rftt.recipe import GrammarSettings, RFTTRecipe, SearchSettings
from burnish.reason.rftt.rewards import Judge
from burnish.reason.rftt.vocabulary import Vocabulary
from burnish.reason.rftt.walk import PROMPTED, SearchRules

Engine = Literal["auto", "reuse", "reencode", "continuous"]


def open_model(recipe: RFTTRecipe, name: str | Path) -> ChatModel:
    """A causal language model that phases work with.

    Raises:
        UserError: it cannot be read, has no chat template, or takes images.
    """
    chat = load_chat_model(name, dtype=recipe.dtype, device="cpu" if recipe.device == "cpu" else own_device())
    if chat.takes_images:
        raise UserError(f"model: {name}: takes images; functional tokens are for text, choose a causal language model")
    chat.render([Question("?", "!")], recipe.system)  # a template that is missing or refuses is known at once
    return chat


def make_grammar(settings: GrammarSettings) -> Grammar:
    """The grammar of a recipe.

    Raises:
        UserError: ``table`` names none.
    """
    if settings.table is None:
        return rftt_grammar(settings.tags, settings.max_depth)
    found = import_object(settings.table, "grammar.table")
    if not isinstance(found, Grammar):
        raise UserError(f"grammar.table: `{settings.table}` is a {type(found).__name__}, not a Grammar")
    return found


def with_caps(grammar: Grammar, tokens: int | None) -> Grammar:
    """A grammar whose steps are no longer than so many tokens."""
    if tokens is None:
        return grammar
    return replace(grammar, actions=tuple(replace(each, tokens=min(each.tokens, tokens)) for each in grammar.actions))


def phase_one_grammar(recipe: RFTTRecipe, settings: SearchSettings) -> Grammar:
    """The grammar of the search by prompts."""
    return with_caps(prompted_grammar(make_grammar(recipe.grammar), settings.max_depth), settings.tokens)


def phase_one_rules(settings: SearchSettings) -> SearchRules:
    """The rules of the search by prompts."""
    return replace(
        PROMPTED,
        rollouts=settings.rollouts,
        weight=settings.weight,
        schedule=settings.schedule,
        eager=settings.eager,
        sampling=Sampling(settings.temperature, settings.top_k, settings.top_p),
    )


def make_judge(recipe: RFTTRecipe, verifier: Verifier) -> Judge:
    """Who says what is right.

    Raises:
        UserError: ``answer`` names nothing.
    """
    return Judge(verifier, answer_finder(recipe.answer), recipe.language)


def answer_finder(answer: str) -> Callable[[str], str | None]:
    """The function that finds the answer in a text.

    Raises:
        UserError: no such function.
    """
    if answer == "boxed":
        return boxed
    if answer == "whole":
        return lambda text: text.strip() or None
    if ":" not in answer:
        raise UserError(f"answer: `{answer}` is unknown; boxed and whole are, or a function of yours (module:function)")
    found = import_object(answer, "answer")
    if not callable(found):
        raise UserError(f"answer: `{answer}` cannot be called; give a function from a text to the answer in it")
    return found  # type: ignore[no-any-return]


def make_scores(recipe: RFTTRecipe) -> ProcessScores | None:
    """The process reward model of a recipe, if it names one.

    Raises:
        UserError: it cannot be found.
    """
    if recipe.prm is None:
        return None
    tokenizer = load_tokenizer(recipe.model)

    def length(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])

    return ProcessScores(load_scorer(recipe.prm.model), recipe.prm.model, length, recipe.prm.most_tokens)


def phase_one_prompts(settings: SearchSettings, grammar: Grammar) -> Prompts:
    """The prompts of the search, one for each action and one to verify.

    Raises:
        UserError: one is missing.
    """
    needed = [*(action.name for action in grammar.actions), VERIFY]
    if settings.prompts is not None:
        return read_prompts(located(settings.prompts), needed)
    found = house_prompts()
    missing = [name for name in needed if name not in found.texts]
    if missing:
        raise UserError(
            f"warmup.search.prompts: none of ours asks for `{missing[0]}`; write {missing[0]}.txt, and one for each "
            "action of your grammar, and name their folder"
        )
    return found


@dataclass(frozen=True)
class Asking:
    """Who writes in phase 1, and by which prompts."""

    writer: Writer
    prompts: Prompts
    generator: Generator


def make_asking(recipe: RFTTRecipe, settings: SearchSettings, chat: ChatModel | None) -> Asking:
    """The engine of phase 1: the model itself, or a server.

    Raises:
        UserError: prompts are missing, or the server's key is.
    """
    grammar = phase_one_grammar(recipe, settings)
    prompts = phase_one_prompts(settings, grammar)
    if settings.endpoint is not None:
        from burnish.reason.rftt.generators.endpoint import EndpointWriter

        asked = settings.endpoint
        key = asked.key if os.environ.get(asked.key) else None
        writer: Writer = EndpointWriter(asked.url, asked.model, key_variable=key, workers=asked.parallel)
    else:
        assert chat is not None
        writer = LocalWriter(chat, batch=settings.batch)
    return Asking(writer, prompts, Prompted(writer, grammar, prompts))


def make_engine(
    chat: ChatModel,
    vocabulary: Vocabulary,
    grammar: Grammar,
    note: Callable[[str], Any],
    *,
    engine: Engine = "auto",
    cache: int = 4 << 30,
) -> LocalEngine:
    """The engine of a search over functional tokens with a model in this process.

    Args:
        chat: the model.
        vocabulary: its functional tokens.
        grammar: what may follow what.
        note: told, once, if every path is read anew although nobody asked for that.
        engine: which one; ``auto`` keeps prefixes where the model's layers allow it.
        cache: bytes of keys and values that are kept.

    Raises:
        UserError: prefixes cannot be kept and that was asked for; a negative cache.
    """
    from burnish.dialogue.prefixes import why_not_reusable
    from burnish.reason.rftt.generators.continuous import Continuous
    from burnish.reason.rftt.generators.reencoding import Reencoding
    from burnish.reason.rftt.generators.transformers_reuse import PrefixReuse

    if cache < 0:
        raise UserError(f"cache: {cache}; give the bytes to keep, 0 or more")
    parts = (chat.model, chat.tokenizer, vocabulary, grammar)
    if engine == "continuous":
        return Continuous(*parts)
    reason = why_not_reusable(chat.model) if engine == "auto" else ""
    if reason:
        note(f"search: every path is read in again at each step: {reason}")
    if reason or engine == "reencode":
        return Reencoding(*parts)
    return PrefixReuse(*parts, budget=cache, note=note)
