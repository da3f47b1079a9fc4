"""What the engines that run a transformers model here have in common: the compiled grammar, the context, the counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from burnish.core.errors import UserError
from burnish.dialogue.generation import end_tokens, reading
from burnish.reason.rftt.generators.drawing import Drawing
from burnish.reason.rftt.generators.protocol import Path, Proposal, Sampling, TokenCounts, Written
from burnish.reason.rftt.grammar import Grammar
from burnish.reason.rftt.masks import compile_grammar
from burnish.reason.rftt.vocabulary import Vocabulary


class LocalEngine:
    """A model with functional tokens in its vocabulary, in this process; how it reads is up to the classes below.

    Args:
        model: a causal language model of transformers, extended by the vocabulary.
        tokenizer: its tokenizer.
        vocabulary: its functional tokens.
        grammar: which may follow which.
        batch: the most rows of one forward pass.

    Raises:
        UserError: the model has an encoder, or ``batch`` is below 1.
    """

    def __init__(
        self, model: Any, tokenizer: Any, vocabulary: Vocabulary, grammar: Grammar, *, batch: int = 64
    ) -> None:
        if model.config.is_encoder_decoder:
            raise UserError(f"search: {type(model).__name__} has an encoder; functional tokens need a causal model")
        if batch < 1:
            raise UserError(f"search: a batch of {batch} rows; it takes at least 1")
        self.model = model
        self.tokenizer = tokenizer
        self.vocabulary = vocabulary
        self.batch = batch
        self.counts = TokenCounts()
        self.context: int | None = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        ends = end_tokens(model, tokenizer)
        specials = {*tokenizer.all_special_ids} - {*ends} - {*vocabulary.ids}
        self.compiled = compile_grammar(grammar, vocabulary, ends, sorted(specials)).to(model.device)

    def opening(self, action: str) -> tuple[int, ...]:
        """See the protocol."""
        return (self.vocabulary.opens[action],)

    def forget(self) -> None:
        """See the protocol."""

    def propose(self, paths: Sequence[Path]) -> list[Proposal]:
        """See the protocol."""
        found: list[Proposal] = []
        with reading(self.model):
            for start in range(0, len(paths), self.batch):
                found += self._propose(paths[start : start + self.batch])
        return found

    def complete(
        self, paths: Sequence[Path], actions: Sequence[str], sampling: Sampling, seeds: Sequence[int]
    ) -> list[Written]:
        """See the protocol."""
        found: list[Written] = []
        with reading(self.model):
            for start in range(0, len(paths), self.batch):
                part = slice(start, start + self.batch)
                found += self._complete(
                    paths[part], actions[part], self._drawing(paths[part], actions[part], sampling, seeds[part])
                )
        self.counts += TokenCounts(generated=sum(len(written.ids) for written in found))
        return found

    def room(self, path: Path, action: str) -> int:
        """How many tokens a step may have after its opening one, the closing one included."""
        cap = self.compiled.grammar.action(action).tokens + 1
        return cap if self.context is None else min(cap, self.context - path.length - 1)

    def banned(self, action: str) -> list[int]:
        """Ids that the text of an action's step may not hold, for engines that take lists; its closing token is not."""
        inside = torch.tensor([self.compiled.state([action], inside=True)], device=self.model.device)
        return torch.nonzero(~self.compiled.allowed(inside, torch.zeros_like(inside))[0])[:, 0].tolist()

    def _drawing(
        self, paths: Sequence[Path], actions: Sequence[str], sampling: Sampling, seeds: Sequence[int]
    ) -> Drawing:
        chains = [(*path.actions, action) for path, action in zip(paths, actions, strict=True)]
        rooms = [self.room(path, action) for path, action in zip(paths, actions, strict=True)]
        return Drawing(self.compiled, chains, rooms, sampling, seeds)

    def _propose(self, paths: Sequence[Path]) -> list[Proposal]:
        raise NotImplementedError

    def _complete(self, paths: Sequence[Path], actions: Sequence[str], drawing: Drawing) -> list[Written]:
        raise NotImplementedError


def stepped(
    tokenizer: Any,
    vocabulary: Vocabulary,
    grammar: Grammar,
    action: str,
    ids: Sequence[int],
    log_probs: Sequence[float],
) -> Written:
    """What an engine of another make drew, as it would have been drawn here: a text at its limit is closed."""
    closing = vocabulary.closes[action]
    step, probabilities = list(ids), list(log_probs)
    if closing not in step[-1:] and len(step) >= grammar.action(action).tokens:
        step, probabilities = [*step, closing], [*probabilities, 0.0]
    closed = closing in step[-1:]
    text = tokenizer.decode(step[: len(step) - closed], skip_special_tokens=True)
    return Written(tuple(step), tuple(probabilities), text, closed)
