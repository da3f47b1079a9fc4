"""A transformers model that reads no shared beginning twice: every node keeps its own keys and values.

A call gathers the slices of its paths into one left-padded batch, reads the forced opening tokens, draws token by token
and reads each row's last token too: so the new slice is whole, and what the model proposes after the step costs no pass
of its own. What the byte budget made the cache drop is read again, and counted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from burnish.core.errors import UserError
from burnish.dialogue.generation import accepts
from burnish.dialogue.prefixes import Batch, Room, probe_cache, why_not_reusable
from burnish.reason.rftt.generators.drawing import Drawing
from burnish.reason.rftt.generators.local import LocalEngine
from burnish.reason.rftt.generators.protocol import Path, Proposal, TokenCounts, Written
from burnish.reason.rftt.grammar import Grammar
from burnish.reason.rftt.prefix_cache import Chain, NodeSlice, PrefixCache, names_of
from burnish.reason.rftt.vocabulary import Vocabulary

NOTHING = Proposal((), ())


class PrefixReuse(LocalEngine):
    """See the module.

    Args:
        model, tokenizer, vocabulary, grammar, batch: see :class:`LocalEngine`.
        budget: bytes of keys and values to keep between calls. What a call itself works on comes on top.
        note: told, once, that the budget does not hold a path; none writes it to the log.

    Raises:
        UserError: not all of the model's layers keep every token, or not all alike (:func:`why_not_reusable` says
            which); :class:`Reencoding` takes any model.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        vocabulary: Vocabulary,
        grammar: Grammar,
        *,
        batch: int = 64,
        budget: int = 4 << 30,
        note: Callable[[str], object] | None = None,
    ) -> None:
        super().__init__(model, tokenizer, vocabulary, grammar, batch=batch)
        if reason := why_not_reusable(model):
            raise UserError(f"search: {reason}; choose the engine that re-encodes")
        self.cache = PrefixCache(budget)
        self._note: Callable[[str], object] | None = note or logging.getLogger(__name__).warning
        self._memory = Room()
        self._shape, self._like = probe_cache(model)[0]
        self._last_logits = {"logits_to_keep": 1} if accepts(model, "logits_to_keep") else {}

    def forget(self) -> None:
        """See the protocol."""
        self.cache.clear()

    def _propose(self, paths: Sequence[Path]) -> list[Proposal]:
        chains = [_chain(path) for path in paths]
        held = self._held(chains, paths, proposals=True)
        for chain, row in zip(chains, held, strict=True):
            self._keep(chain, row)
        return [row[-1].proposal or NOTHING for row in held]

    def _complete(self, paths: Sequence[Path], actions: Sequence[str], drawing: Drawing) -> list[Written]:
        chains = [_chain(path) for path in paths]
        held = self._held(chains, paths, proposals=False)
        batch = Batch(held, drawing.longest + 1, self._shape, self._memory, self._like)
        openings = [self.vocabulary.opens[action] for action in actions]
        made = self._write(batch, drawing, torch.tensor(openings, device=self._like.device))
        written, proposals = drawing.finish(self.tokenizer)
        for row, (chain, step) in enumerate(zip(chains, written, strict=True)):
            ids = (openings[row], *step.ids)
            keys, values = (tensor[:, :, : len(ids)].clone() for tensor in made[row])
            self._keep((*chain, ids), [*held[row], NodeSlice(ids, keys, values, proposals[row])])
        self.counts += TokenCounts(encoded=len(paths))
        return written

    def _write(self, batch: Batch, drawing: Drawing, fed: Int[Tensor, " rows"]) -> dict[int, tuple[Tensor, Tensor]]:
        """Draw until every row is settled. By row, keys and values from the opening token on, more than are its own."""
        start = batch.width
        rows = torch.arange(len(fed), device=fed.device)
        found: dict[int, tuple[Tensor, Tensor]] = {}
        while True:
            fed = drawing.step(self._read(batch, fed[:, None]), rows)
            left = ~drawing.settled[rows]
            live = int(left.sum())
            if 2 * live > len(rows):
                continue
            # Rows that have ended leave the batch once they are half of it: they cost as much as the others.
            for place in torch.nonzero(~left)[:, 0].tolist():
                found[int(rows[place])] = (batch.keys[:, place, :, start:], batch.values[:, place, :, start:])
            if not live:
                return found
            rows, fed = rows[left], fed[left]
            batch.only(torch.nonzero(left)[:, 0])

    def _held(self, chains: Sequence[Chain], paths: Sequence[Path], *, proposals: bool) -> list[list[NodeSlice]]:
        """The slices of all nodes of all paths; what the cache does not hold is read in, each node once.

        Args:
            chains: the paths' tokens.
            paths: the paths.
            proposals: whether each path's last node needs its proposal.
        """
        names = [names_of(chain) for chain in chains]
        known: dict[int, NodeSlice] = {}
        for chain, row in zip(chains, names, strict=True):
            for name, ids in zip(row, chain, strict=True):
                piece = self.cache.get(name, ids)
                if piece is not None:
                    known[name] = piece
        encoded = 0
        while waiting := _waiting(names, known, proposals):
            fresh = self._encode(
                [_Tail(chains[number], names[number], paths[number].actions, first) for number, first in waiting], known
            )
            encoded += sum(len(piece.ids) for piece in fresh.values())
            known |= fresh
        total = sum(path.length for path in paths)
        self.counts += TokenCounts(encoded=encoded, reused=total - encoded)
        return [[known[name] for name in row] for row in names]

    def _encode(self, tails: Sequence[_Tail], known: dict[int, NodeSlice]) -> dict[int, NodeSlice]:
        """Read in what follows the slices that are known, one batch; the last nodes get their proposals."""
        reads = [sum(tail.chain[tail.first :], ()) for tail in tails]
        longest = max(map(len, reads))
        batch = Batch(
            [[known[name] for name in tail.names[: tail.first]] for tail in tails],
            longest,
            self._shape,
            self._memory,
            self._like,
        )
        fed = torch.zeros(len(tails), longest, dtype=torch.long)
        for row, ids in enumerate(reads):
            fed[row, longest - len(ids) :] = torch.tensor(ids)
        skipped = torch.tensor([longest - len(ids) for ids in reads], device=self._like.device)
        start = batch.width
        logits = self._read(batch, fed.to(self._like.device), skipped)
        states = torch.tensor([self.compiled.state(tail.actions) for tail in tails], device=logits.device)
        proposed = self.compiled.ranked(self.compiled.proposals(logits.float(), states))
        found: dict[int, NodeSlice] = {}
        for row, (tail, ids) in enumerate(zip(tails, reads, strict=True)):
            at = start + longest - len(ids)
            for place in range(tail.first, len(tail.chain)):
                last = place == len(tail.chain) - 1
                piece = batch.cut(row, at, tail.chain[place])
                proposal = Proposal(*proposed[row]) if last else None
                found[tail.names[place]] = NodeSlice(piece.ids, piece.keys, piece.values, proposal)
                at += len(piece.ids)
        return found

    def _read(
        self, batch: Batch, fed: Int[Tensor, "rows new"], skipped: Int[Tensor, " rows"] | None = None
    ) -> Float[Tensor, "rows vocab"]:
        """One forward pass: logits after each row's last token."""
        logits: Tensor = self.model(**batch.inputs(fed, skipped), **self._last_logits).logits[:, -1]
        return logits

    def _keep(self, chain: Chain, row: Sequence[NodeSlice]) -> None:
        self.cache.keep(list(zip(names_of(chain), row, strict=True)))
        needed = sum(piece.nbytes for piece in row)
        if self._note is not None and needed > self.cache.budget:
            self._note(
                f"search: the cache may hold {self.cache.budget:,} bytes and one path takes {needed:,}; what it cannot "
                "hold is read again at every step"
            )
            self._note = None


@dataclass(frozen=True)
class _Tail:
    """A path to be read in from its node ``first`` on."""

    chain: Chain
    names: Sequence[int]
    actions: tuple[str, ...]
    first: int


def _waiting(names: Sequence[Sequence[int]], known: Mapping[int, NodeSlice], proposals: bool) -> list[tuple[int, int]]:
    """Paths to read in together, and from which node on each: of those that lack the same first node, the longest."""
    found: dict[int, tuple[int, int]] = {}
    for number in sorted(range(len(names)), key=lambda number: -len(names[number])):
        row = names[number]
        first = next((place for place, name in enumerate(row) if name not in known), None)
        if first is None and proposals and known[row[-1]].proposal is None:
            first = len(row) - 1
        if first is not None:
            found.setdefault(row[first], (number, first))
    return list(found.values())


def _chain(path: Path) -> Chain:
    if not path.prompt.ids:
        raise UserError(f"search: the prompt of `{path.prompt.id}` has no tokens; encode the question first")
    return (path.prompt.ids, *(node.ids for node in path.nodes))
