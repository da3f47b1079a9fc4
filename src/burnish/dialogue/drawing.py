"""Drawing tokens from logits, row by row, each row from noise of its own. Knows tensors only.

A row's noise comes from its seed alone and one uniform number makes one token, so that what a row becomes does not
depend on its neighbours in the batch (but for the rounding of the model's own arithmetic).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

FIRST_LOOK = 64  # likeliest tokens to look at before more of them are sorted for `top_p`


def draw(
    logits: Float[Tensor, "rows vocab"],
    uniform: Float[Tensor, " rows"],
    *,
    temperature: float,
    top_k: int = 0,
    top_p: float = 1.0,
) -> tuple[Int[Tensor, " rows"], Float[Tensor, " rows"]]:
    """One token a row by inverting the distribution function, and its log-probability under that distribution.

    Args:
        logits: those of tokens that may not come at minus infinity.
        uniform: a number in [0, 1) for each row.
        temperature: at 0 the likeliest token, and its log-probability uncut.
        top_k: only the likeliest so many; 0 is no limit.
        top_p: only the likeliest with this much probability together.
    """
    if temperature == 0:
        tokens = logits.argmax(-1)
        return tokens, logits.log_softmax(-1).gather(1, tokens[:, None])[:, 0]
    scores = logits / temperature
    if not top_k and top_p >= 1:
        log_probs = scores.log_softmax(-1)
        places = _invert(log_probs.exp(), uniform)
        return places, log_probs.gather(1, places[:, None])[:, 0]
    likeliest, ids = _nucleus(scores, top_k, top_p)
    log_probs = likeliest.log_softmax(-1)
    places = _invert(log_probs.exp(), uniform)
    return ids.gather(1, places[:, None])[:, 0], log_probs.gather(1, places[:, None])[:, 0]


def _nucleus(
    scores: Float[Tensor, "rows vocab"], top_k: int, top_p: float
) -> tuple[Float[Tensor, "rows kept"], Int[Tensor, "rows kept"]]:
    """The likeliest scores of each row that both cut-offs leave, in falling order, others at minus infinity."""
    vocabulary = scores.shape[-1]
    look = min(top_k or FIRST_LOOK, vocabulary)
    while True:
        likeliest, ids = scores.topk(look, dim=-1)
        # As transformers cuts: first to the k likeliest, then to the share p of what these have together.
        total = likeliest.logsumexp(-1, keepdim=True) if top_k else scores.logsumexp(-1, keepdim=True)
        shares = (likeliest - total).exp()
        sums = shares.cumsum(-1)
        if top_k or look == vocabulary or bool((sums[:, -1] >= top_p).all()):
            return likeliest.masked_fill(sums - shares >= top_p, -math.inf), ids
        look = min(8 * look, vocabulary)


def _invert(probabilities: Float[Tensor, "rows kept"], uniform: Float[Tensor, " rows"]) -> Int[Tensor, " rows"]:
    """The first place of each row at which the sum of probabilities exceeds the row's number."""
    sums = probabilities.cumsum(-1)
    places = torch.searchsorted(sums, (uniform[:, None] * sums[:, -1:]).to(sums), right=True)[:, 0]
    # Rounding may put the number at the very end, behind the last token that can come.
    last = probabilities.shape[-1] - 1 - (probabilities > 0).flip(-1).long().argmax(-1)
    return torch.minimum(places, last)


def uniform_noise(seeds: Sequence[int], longest: int, temperature: float) -> Float[Tensor, "rows longest"]:
    """Uniform numbers of each row's own stream; none are needed where nothing is drawn by chance."""
    if temperature == 0:
        return torch.zeros(len(seeds), longest)
    return torch.from_numpy(np.stack([np.random.default_rng(seed).random(longest, dtype=np.float32) for seed in seeds]))


class Replies:
    """Texts under way, one a row. A row is done when it has drawn an end token or has no room left.

    Args:
        rooms: how many tokens each row may have, at least 1.
        seeds: of each row's noise.
        ends: tokens that end a text.
        size: of the tokenizer; rows of the output matrix beyond it only pad it.
        banned: tokens below ``size`` that never come.
        device: of the logits.
        temperature, top_k, top_p: as of :func:`draw`.

    Attributes:
        done: which rows are.
    """

    def __init__(
        self,
        rooms: Sequence[int],
        seeds: Sequence[int],
        *,
        ends: Sequence[int],
        size: int,
        banned: Sequence[int] = (),
        device: torch.device,
        temperature: float,
        top_k: int = 0,
        top_p: float = 1.0,
    ) -> None:
        self.longest = max(rooms)
        self._temperature, self._top_k, self._top_p = temperature, top_k, top_p
        self._size = size
        self._ends = torch.tensor(ends, dtype=torch.long, device=device)
        self._banned = torch.tensor(banned, dtype=torch.long, device=device)
        self._limits = torch.tensor(rooms, device=device)
        self._noise = uniform_noise(seeds, self.longest, temperature).to(device)
        self._ids = torch.zeros(len(rooms), self.longest, dtype=torch.long, device=device)
        self._lengths = torch.zeros(len(rooms), dtype=torch.long, device=device)
        self._ended = torch.zeros(len(rooms), dtype=torch.bool, device=device)
        self.done = torch.zeros(len(rooms), dtype=torch.bool, device=device)
        self._time = 0

    def step(self, logits: Float[Tensor, "live width"], rows: Int[Tensor, " live"]) -> Int[Tensor, " live"]:
        """Draw a token in each row that is not done; the tokens to read next.

        Args:
            logits: of what follows the token that each row read last.
            rows: which rows these are.
        """
        logits = logits.float().index_fill(-1, self._banned, -math.inf)
        logits[:, self._size :] = -math.inf
        time = min(self._time, self.longest - 1)  # transformers' loop may go on for a step too many
        tokens, _ = draw(
            logits, self._noise[rows, time], temperature=self._temperature, top_k=self._top_k, top_p=self._top_p
        )
        going = ~self.done[rows]
        live, drawn = rows[going], tokens[going]
        self._ids[live, time] = drawn
        self._lengths[live] += 1
        self._ended[live] = torch.isin(drawn, self._ends)
        self.done[live] = self._ended[live] | (self._lengths[live] >= self._limits[live])
        self._time += 1
        return tokens

    def finish(self) -> list[tuple[list[int], bool]]:
        """The tokens of each row, the end token included, and whether it came before the limit."""
        rows = zip(self._ids.tolist(), self._lengths.tolist(), self._ended.tolist(), strict=True)
        return [(ids[:length], ended) for ids, length, ended in rows]
