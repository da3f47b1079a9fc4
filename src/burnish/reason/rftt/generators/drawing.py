"""Drawing the tokens of steps from logits, row by row, each row from noise of its own. Knows the compiled grammar.

A row's noise comes from its seed alone and one uniform number makes one token, so that what a row becomes does not
depend on its neighbours in the batch (but for the rounding of the model's own arithmetic).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from burnish.reason.rftt.generators.protocol import Proposal, Sampling, Written
from burnish.reason.rftt.masks import CompiledGrammar

FIRST_LOOK = 64  # likeliest tokens to look at before more of them are sorted for `top_p`


def draw(
    logits: Float[Tensor, "rows vocab"], sampling: Sampling, uniform: Float[Tensor, " rows"]
) -> tuple[Int[Tensor, " rows"], Float[Tensor, " rows"]]:
    """One token a row by inverting the distribution function, and its log-probability under that distribution.

    Args:
        logits: those of tokens that may not come at minus infinity.
        sampling: temperature and cut-offs; at temperature 0 the likeliest token, and its log-probability uncut.
        uniform: a number in [0, 1) for each row.
    """
    if sampling.temperature == 0:
        tokens = logits.argmax(-1)
        return tokens, logits.log_softmax(-1).gather(1, tokens[:, None])[:, 0]
    scores = logits / sampling.temperature
    if not sampling.top_k and sampling.top_p >= 1:
        log_probs = scores.log_softmax(-1)
        places = _invert(log_probs.exp(), uniform)
        return places, log_probs.gather(1, places[:, None])[:, 0]
    likeliest, ids = _nucleus(scores, sampling)
    log_probs = likeliest.log_softmax(-1)
    places = _invert(log_probs.exp(), uniform)
    return ids.gather(1, places[:, None])[:, 0], log_probs.gather(1, places[:, None])[:, 0]


def _nucleus(
    scores: Float[Tensor, "rows vocab"], sampling: Sampling
) -> tuple[Float[Tensor, "rows kept"], Int[Tensor, "rows kept"]]:
    """The likeliest scores of each row that both cut-offs leave, in falling order, others at minus infinity."""
    vocabulary = scores.shape[-1]
    look = min(sampling.top_k or FIRST_LOOK, vocabulary)
    while True:
        likeliest, ids = scores.topk(look, dim=-1)
        # As transformers cuts: first to the k likeliest, then to the share p of what these have together.
        total = likeliest.logsumexp(-1, keepdim=True) if sampling.top_k else scores.logsumexp(-1, keepdim=True)
        shares = (likeliest - total).exp()
        sums = shares.cumsum(-1)
        if sampling.top_k or look == vocabulary or bool((sums[:, -1] >= sampling.top_p).all()):
            return likeliest.masked_fill(sums - shares >= sampling.top_p, -math.inf), ids
        look = min(8 * look, vocabulary)


def _invert(probabilities: Float[Tensor, "rows kept"], uniform: Float[Tensor, " rows"]) -> Int[Tensor, " rows"]:
    """The first place of each row at which the sum of probabilities exceeds the row's number."""
    sums = probabilities.cumsum(-1)
    places = torch.searchsorted(sums, (uniform[:, None] * sums[:, -1:]).to(sums), right=True)[:, 0]
    # Rounding may put the number at the very end, behind the last token that can come.
    last = probabilities.shape[-1] - 1 - (probabilities > 0).flip(-1).long().argmax(-1)
    return torch.minimum(places, last)


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
        self._noise = _noise(seeds, self.longest, sampling).to(device)
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
        tokens, log_probs = draw(masked, self._sampling, self._noise[rows, time])
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


def _noise(seeds: Sequence[int], longest: int, sampling: Sampling) -> Float[Tensor, "rows longest"]:
    """Uniform numbers of each row's own stream; none are needed where nothing is drawn by chance."""
    if sampling.temperature == 0:
        return torch.zeros(len(seeds), longest)
    return torch.from_numpy(np.stack([np.random.default_rng(seed).random(longest, dtype=np.float32) for seed in seeds]))
