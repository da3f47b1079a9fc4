"""Three losses, each a sum over its own tokens and how many these are, so that processes can share one mean.

Source: MINT, section 3.3; normalised by the number of tokens of a kind over all processes, as BAGEL does. Knows torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from burnish.generate.flow import velocity
from burnish.generate.records import Outputs
from burnish.generate.training.lessons import Lesson

NAMES = ("text", "image", "heat")


@dataclass(frozen=True)
class Sums:
    """Of each row, in the order of :data:`NAMES`; always float32 or finer.

    Attributes:
        losses: summed over a row's tokens.
        tokens: how many.
    """

    losses: Float[Tensor, "batch 3"]
    tokens: Float[Tensor, "batch 3"]


def tokens_of(lesson: Lesson) -> Float[Tensor, "batch 3"]:
    """Tokens of each loss in each row; none in a row that does not count."""
    rows, noisies, patches = lesson.data.shape[:3]
    cleans = lesson.heat.shape[1] * lesson.heat.shape[2] * lesson.judged
    found = torch.stack(
        [
            lesson.taught.sum(1).float(),
            torch.full((rows,), float(noisies * patches), device=lesson.data.device),
            torch.full((rows,), float(cleans), device=lesson.data.device),
        ],
        1,
    )
    return found * lesson.counted[:, None]


def sums(outputs: Outputs, lesson: Lesson) -> Sums:
    """The losses of a lesson. Every output has part in them, with weight 0 where nothing is wanted of it: so each
    parameter has a gradient in every process, whatever kinds of token its rows have.

    Cross-entropy of the next token; mean over a patch's numbers of (v_hat - v)^2; binary cross-entropy of the heat.
    """
    exact = torch.promote_types(outputs.estimates.dtype, torch.float32)
    batch = lesson.batch
    logits = outputs.text_logits.to(exact)
    if logits.shape[1] > 1:
        foreseen = F.cross_entropy(logits[:, :-1].flatten(0, 1), batch.tokens[:, 1:].flatten(), reduction="none")
        text = (foreseen.reshape(len(logits), -1) * lesson.taught[:, 1:]).sum(1)
    else:
        text = logits.flatten(1).sum(1) * 0
    said = velocity(outputs.estimates.to(exact), batch.noisy.to(exact), batch.times)
    true = velocity(lesson.data.to(exact), batch.noisy.to(exact), batch.times)
    image = ((said - true) ** 2).mean(-1).flatten(1).sum(1)
    heats = F.binary_cross_entropy_with_logits(outputs.heat.to(exact), lesson.heat.to(exact), reduction="none")
    heat = heats.flatten(1).sum(1) * float(lesson.judged)
    tokens = tokens_of(lesson)
    return Sums(torch.stack([text, image, heat], 1) * lesson.counted[:, None], tokens)
