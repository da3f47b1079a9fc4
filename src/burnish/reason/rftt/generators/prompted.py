"""Phase 1: an untuned model is asked for each step by a prompt. The engine knows prompts; a writer knows a model.

What may follow is what the grammar allows, all of it equally likely: an untuned model has no tokens to propose by.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from burnish.dialogue.drawing import Replies
from burnish.dialogue.generation import end_tokens, reading
from burnish.dialogue.models import ChatModel
from burnish.dialogue.rows import Question
from burnish.reason.rftt.generators.protocol import Path, Proposal, Sampling, TokenCounts, Written
from burnish.reason.rftt.generators.reencoding import generate
from burnish.reason.rftt.grammar import Grammar
from burnish.reason.rftt.prompts import Prompts, house_prompts, tidy


@dataclass(frozen=True)
class Ask:
    """One turn of a user that wants a text.

    Attributes:
        text: the turn.
        tokens: the longest reply.
        seed: of the reply's noise.
    """

    text: str
    tokens: int
    seed: int


@dataclass(frozen=True)
class Reply:
    """What came back.

    Attributes:
        text: as written; empty where the turn does not fit into the model's context.
        finished: whether the model ended it; false where the limit cut it off.
    """

    text: str
    finished: bool


class Writer(Protocol):
    """A chat model, wherever it runs."""

    counts: TokenCounts

    def write(self, asks: Sequence[Ask], sampling: Sampling) -> list[Reply]:
        """Replies, one each, in order."""
        ...


class Prompted:
    """See the module.

    Args:
        writer: who answers.
        grammar: of phase 1 (:func:`burnish.reason.rftt.grammar.prompted_grammar`).
        prompts: the user's turns; none takes this project's.
        tidied: cuts off what was not asked for.
    """

    context: int | None = None  # the writer's: a turn that does not fit gets an empty reply

    def __init__(
        self,
        writer: Writer,
        grammar: Grammar,
        prompts: Prompts | None = None,
        tidied: Callable[[str, str], str] = tidy,
    ) -> None:
        self.writer = writer
        self.grammar = grammar
        self._prompts = prompts or house_prompts()
        self._tidied = tidied

    @property
    def counts(self) -> TokenCounts:
        """The writer's."""
        return self.writer.counts

    def opening(self, _action: str) -> tuple[int, ...]:
        """See the protocol: no tokens are known."""
        return ()

    def forget(self) -> None:
        """See the protocol: nothing is kept."""

    def propose(self, paths: Sequence[Path]) -> list[Proposal]:
        """See the protocol."""
        legal = [self.grammar.legal(path.actions) for path in paths]
        return [Proposal(actions, (-math.log(len(actions)),) * len(actions)) for actions in legal]

    def complete(
        self, paths: Sequence[Path], actions: Sequence[str], sampling: Sampling, seeds: Sequence[int]
    ) -> list[Written]:
        """See the protocol."""
        asks = [
            Ask(
                self._prompts.action(action, path.prompt.text, [node.text for node in path.nodes]),
                self.grammar.action(action).tokens,
                seed,
            )
            for path, action, seed in zip(paths, actions, seeds, strict=True)
        ]
        found = []
        for action, reply in zip(actions, self.writer.write(asks, sampling), strict=True):
            text = self._tidied(action, reply.text)
            # A step that was cut out of a reply is whole, wherever the reply itself broke off.
            found.append(Written((), (), text, reply.finished or len(text) < len(reply.text.strip())))
        return found


class LocalWriter:
    """A chat model in this process, asked in batches; each reply has noise of its own.

    Args:
        chat: the model.
        batch: the most rows of one forward pass.
    """

    def __init__(self, chat: ChatModel, *, batch: int = 64) -> None:
        self.chat = chat
        self.batch = batch
        self.counts = TokenCounts()
        config = chat.model.config.get_text_config()
        self._context: int | None = getattr(config, "max_position_embeddings", None)
        self._ends = end_tokens(chat.model, chat.tokenizer)

    def write(self, asks: Sequence[Ask], sampling: Sampling) -> list[Reply]:
        """See :class:`Writer`.

        Raises:
            UserError: the tokenizer has no chat template.
        """
        texts = self.chat.render([Question(ask.text, "") for ask in asks])
        prompts = [list(ids) for ids in self.chat.tokenizer(texts, add_special_tokens=False)["input_ids"]]
        rooms = [
            ask.tokens if self._context is None else min(ask.tokens, self._context - len(ids))
            for ask, ids in zip(asks, prompts, strict=True)
        ]
        found = {row: Reply("", False) for row, room in enumerate(rooms) if room < 1}
        left = [row for row in range(len(asks)) if row not in found]
        with reading(self.chat.model):
            for start in range(0, len(left), self.batch):
                rows = left[start : start + self.batch]
                drawn = self._draw(
                    [prompts[row] for row in rows],
                    [rooms[row] for row in rows],
                    [asks[row].seed for row in rows],
                    sampling,
                )
                for row, (ids, finished) in zip(rows, drawn, strict=True):
                    found[row] = Reply(self.chat.tokenizer.decode(ids, skip_special_tokens=True), finished)
                    self.counts += TokenCounts(generated=len(ids), encoded=len(prompts[row]))
        return [found[row] for row in range(len(asks))]

    def _draw(
        self, prompts: Sequence[Sequence[int]], rooms: Sequence[int], seeds: Sequence[int], sampling: Sampling
    ) -> list[tuple[list[int], bool]]:
        """Tokens until a row ends or has no room left, and whether it ended."""
        device = self.chat.model.device
        replies = Replies(rooms, seeds, ends=self._ends, size=len(self.chat.tokenizer), device=device, **vars(sampling))
        rows = torch.arange(len(prompts), device=device)
        generate(
            self.chat.model, prompts, lambda logits: replies.step(logits, rows), lambda: replies.done, replies.longest
        )
        return replies.finish()
