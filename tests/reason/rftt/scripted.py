"""An engine without a model: proposals and texts out of dictionaries, and out of hashes where these say nothing."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

from burnish.reason.rftt.generators.protocol import Path, Proposal, Sampling, TokenCounts, Written
from burnish.reason.rftt.grammar import Grammar

Trace = tuple[str, ...]


class Scripted:
    """Writes what it was told to.

    Args:
        grammar: whose actions are legal.
        weights: of actions, by the actions before; what is missing gets weights from a hash of the path.
        texts: by the actions of a path and the one to write; what is missing gets ``q:seed`` out of a hash.
        unclosed: actions whose step never closes.
        context: the most tokens of a path.
    """

    def __init__(
        self,
        grammar: Grammar,
        weights: Mapping[Trace, Mapping[str, float]] | None = None,
        texts: Mapping[Trace, str] | None = None,
        unclosed: Sequence[str] = (),
        context: int | None = None,
    ) -> None:
        self.grammar = grammar
        self.weights = weights or {}
        self.texts = texts or {}
        self.unclosed = unclosed
        self.context = context
        self.counts = TokenCounts()
        self.batches: list[int] = []
        self.forgotten = 0

    def opening(self, action: str) -> tuple[int, ...]:
        return (1000 + [each.name for each in self.grammar.actions].index(action),)

    def propose(self, paths: Sequence[Path]) -> list[Proposal]:
        self.counts += TokenCounts(encoded=sum(path.length for path in paths))
        found = []
        for path in paths:
            legal = self.grammar.legal(path.actions)
            told = self.weights.get(path.actions)
            weights = told or {action: 1 + digest(path.prompt.id, path.ids, action) % 97 for action in legal}
            total = sum(weights.values())
            order = sorted(weights, key=lambda action: -weights[action])
            found.append(Proposal(tuple(order), tuple(math.log(weights[action] / total) for action in order)))
        return found

    def complete(
        self, paths: Sequence[Path], actions: Sequence[str], sampling: Sampling, seeds: Sequence[int]
    ) -> list[Written]:
        self.batches.append(len(paths))
        found = []
        for path, action, seed in zip(paths, actions, seeds, strict=True):
            drawn = digest(path.prompt.id, path.ids, action, seed)
            ids = tuple((drawn >> shift) % 500 for shift in range(0, 4 + drawn % 24, 8))
            text = self.texts.get((*path.actions, action), f"{path.prompt.id}:{drawn % 10_000}")
            found.append(Written(ids, (-0.5,) * len(ids), text, action not in self.unclosed))
            self.counts += TokenCounts(generated=len(ids), encoded=path.length + 1)
        return found

    def forget(self) -> None:
        self.forgotten += 1


def digest(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:7], "big")


def judged(paths: Sequence[Path]) -> list[float]:
    """A reward that depends on the path alone: a third of them are right."""
    return [float(digest(path.prompt.id, [node.text for node in path.nodes]) % 3 == 0) for path in paths]
