"""Any transformers model, every path read in again at each call: the engine for models whose prefixes cannot be kept.

Generation is transformers' own; a logits processor draws as every engine here does, and takes proposals on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from burnish.dialogue import generation
from burnish.reason.rftt.generators.drawing import Drawing
from burnish.reason.rftt.generators.local import LocalEngine
from burnish.reason.rftt.generators.protocol import Path, Proposal, TokenCounts, Written


class Reencoding(LocalEngine):
    """See the module; arguments as of :class:`LocalEngine`."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._proposals: dict[tuple[int, ...], Proposal] = {}

    def forget(self) -> None:
        """See the protocol."""
        self._proposals.clear()

    def _propose(self, paths: Sequence[Path]) -> list[Proposal]:
        unknown = [path for path in {path.ids: path for path in paths}.values() if path.ids not in self._proposals]
        if unknown:
            states = torch.tensor([self.compiled.state(path.actions) for path in unknown], device=self.model.device)

            def look(logits: Tensor) -> Tensor:
                ranked = self.compiled.ranked(self.compiled.proposals(logits.float(), states))
                for path, row in zip(unknown, ranked, strict=True):  # a GPU's loop may go on for a step too many
                    self._proposals.setdefault(path.ids, Proposal(*row))
                return torch.zeros(len(unknown), dtype=torch.long, device=logits.device)

            generate(
                self.model, [path.ids for path in unknown], look, lambda: torch.ones_like(states, dtype=torch.bool), 1
            )
        encoded = sum(path.length for path in unknown)
        self.counts += TokenCounts(encoded=encoded, reused=sum(path.length for path in paths) - encoded)
        return [self._proposals[path.ids] for path in paths]

    def _complete(self, paths: Sequence[Path], actions: Sequence[str], drawing: Drawing) -> list[Written]:
        begun = [(*path.ids, *self.opening(action)) for path, action in zip(paths, actions, strict=True)]
        rows = torch.arange(len(paths), device=self.model.device)
        generate(
            self.model, begun, lambda logits: drawing.step(logits, rows), lambda: drawing.settled, drawing.longest + 1
        )
        written, proposals = drawing.finish(self.tokenizer)
        for ids, step, proposal in zip(begun, written, proposals, strict=True):
            if proposal is not None:
                self._proposals[(*ids, *step.ids)] = proposal
        self.counts += TokenCounts(encoded=sum(map(len, begun)))
        return written


def generate(
    model: Any,
    begun: Sequence[Sequence[int]],
    step: Callable[[Tensor], Tensor],
    ended: Callable[[], Tensor],
    longest: int,
) -> None:
    """:func:`burnish.dialogue.generation.generate` over rows of tokens, padded on the left here."""
    width = max(map(len, begun))
    ids = torch.zeros(len(begun), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate(begun):
        ids[row, width - len(tokens) :] = torch.tensor(tokens)
        mask[row, width - len(tokens) :] = 1
    inputs = {"input_ids": ids.to(model.device), "attention_mask": mask.to(model.device)}
    generation.generate(model, inputs, step, ended, longest)
