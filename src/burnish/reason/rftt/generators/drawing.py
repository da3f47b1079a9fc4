"""Drawing the tokens of steps, row by row, each row from noise of its own. Knows the compiled grammar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from burnish.dialogue.drawing import draw, uniform_noise
from burnish.reason.rftt.generators.protocol import Proposal, Sampling, Written
from burnish.reason.rftt.masks import CompiledGrammar


class Drawing:
    """Steps under way, one a row: what each has drawn, and where it stands in the grammar.

    A row is done when its step is closed or has no room left. It is settled when the model has also read its last
    token, from which the proposals of what follows are taken: rows that are not go on being fed.

    Args:
        compiled: the grammar, on the logits' device.
        actions: of each path, the step to write being the last.
        rooms: how many tokens each row may draw, at least 1; the grammar closes a text at its own limit.
        sampling: how to draw.
        seeds: of each row's noise.

    Attributes:
        settled: rows whose last token has been read.
    """

    def __init__(
        self,
        compiled: CompiledGrammar,
        actions: Sequence[Sequence[str]],
        rooms: Sequence[int],
        sampling: Sampling,
        seeds: Sequence[int],
    ) -> None:
        device = compiled.kinds.device
        self._compiled, self._sampling = compiled, sampling
        self.longest = max(rooms)
        self._limits = torch.tensor(rooms, device=device)
        self._states = torch.tensor([compiled.state(row, inside=True) for row in actions], device=device)
        self._counts = torch.zeros_like(self._states)
        self._noise = uniform_noise(seeds, self.longest, sampling.temperature).to(device)
        self._ids = torch.zeros(len(rooms), self.longest, dtype=torch.long, device=device)
        self._log_probs = torch.zeros(len(rooms), self.longest, device=device)
        self._lengths = torch.zeros_like(self._states)
        self._done = torch.zeros(len(rooms), dtype=torch.bool, device=device)
        self.settled = torch.zeros_like(self._done)
        self._proposals: dict[int, Proposal] = {}
        self._time = 0

    def step(self, logits: Float[Tensor, "live width"], rows: Int[Tensor, " live"]) -> Int[Tensor, " live"]:
        """Draw a token in each row that is not done; the tokens to read next.

        Args:
            logits: of what follows the token that each row read last.
            rows: which rows these are.
        """
        logits = logits.float()
        done = self._done[rows]
        if bool((fresh := done & ~self.settled[rows]).any()):
            self._settle(logits, rows, fresh)
        states, counts = self._states[rows], self._counts[rows]
        time = min(self._time, self.longest - 1)
        # What a row that is done draws is thrown away; its mask may leave nothing to draw from.
        masked = torch.where(done[:, None], 0.0, self._compiled.restrict(logits, states, counts))
        tokens, log_probs = draw(masked, self._noise[rows, time], **vars(self._sampling))
        going = rows[~done]
        self._ids[going, time] = tokens[~done]
        self._log_probs[going, time] = log_probs[~done]
        states, counts = self._compiled.advance(states, counts, tokens)
        self._states[going], self._counts[going] = states[~done], counts[~done]
        self._lengths[going] += 1
        self._time += 1
        closed = self._compiled.kinds[tokens] > 2
        self._done[rows] = done | closed | (self._lengths[rows] >= self._limits[rows])
        return torch.where(done, self._compiled.openings[0], tokens)

    def _settle(self, logits: Tensor, rows: Tensor, fresh: Tensor) -> None:
        """Take what the grammar allows next for rows whose last token has just been read."""
        settling = rows[fresh]
        proposed = self._compiled.proposals(logits[fresh], self._states[settling])
        for row, (actions, log_probs) in zip(settling.tolist(), self._compiled.ranked(proposed), strict=True):
            if actions:
                self._proposals[row] = Proposal(actions, log_probs)
        self.settled[settling] = True

    def finish(self, tokenizer: Any) -> tuple[list[Written], list[Proposal | None]]:
        """What each row wrote, and what may follow it; nothing may where its trace is at an end."""
        written = []
        ids, log_probs, lengths = self._ids.tolist(), self._log_probs.tolist(), self._lengths.tolist()
        for row_ids, row_log_probs, length in zip(ids, log_probs, lengths, strict=True):
            row = row_ids[:length]
            closed = bool(row) and row[-1] in self._compiled.vocabulary.closed
            text = tokenizer.decode(row[: length - closed], skip_special_tokens=True)
            written.append(Written(tuple(row), tuple(row_log_probs[:length]), text, closed))
        return written, [self._proposals.get(row) for row in range(len(written))]
