"""How far a model has gone from where it started, and when to stop. Knows models and records; no run.

Precision and length say what became of the texts; entropy and KL what became of the distribution behind them, on
answers that the model itself samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float32
from torch import Tensor

from burnish.align.collating import with_answers
from burnish.align.pair_table import answer_ids
from burnish.align.recipe import DriftSettings
from burnish.dialogue.models import ChatModel, opened
from burnish.dialogue.rows import MOST_PIXELS, Question


@dataclass(frozen=True)
class Scores:
    """What a model thinks of answers, each read as a whole (encoded again from its text, its end included).

    Attributes:
        log_probs: of every token, in nats, the answers one after another.
        entropies: of the model's distribution at each of them, in nats.
    """

    log_probs: Float32[Tensor, " tokens"]
    entropies: Float32[Tensor, " tokens"]

    @property
    def entropy(self) -> float:
        """Mean entropy a token, in nats: over the prefixes that the answers go through."""
        return float(self.entropies.double().mean())


def score_answers(
    chat: ChatModel,
    questions: Sequence[Question],
    answers: Sequence[str],
    system: str | None = None,
    *,
    batch: int = 8,
    most_pixels: int = MOST_PIXELS,
) -> Scores:
    """One forward pass over each answer, never all logits at once.

    Args:
        chat: the model.
        questions: with their pictures.
        answers: as sampled from it, or from another.
        system: the system turn.
        batch: answers a pass.
        most_pixels: larger pictures are shrunk to this many.

    Raises:
        UserError: a picture that can no longer be read, a conversation that the template refuses.
    """
    prompts, ids = chat.render(questions, system), answer_ids(chat, questions, answers, system)
    log_probs, entropies = [], []
    with torch.no_grad(), _scoring(chat.model):
        for start in range(0, len(prompts), batch):
            part = slice(start, start + batch)
            encoded = chat.encode(prompts[part], opened(questions[part], most_pixels), device="cpu")
            inputs = with_answers(chat, encoded, ids[part])
            learnt = inputs.pop("completion_mask").to(chat.model.device)
            inputs = {name: value.to(chat.model.device) for name, value in inputs.items()}
            labels = inputs["input_ids"].masked_fill(learnt == 0, -100)
            found = chat.model(**inputs, labels=labels, fused_lm_head=True)
            shown = learnt[:, 1:].bool()
            log_probs.append(found.log_probs[shown].float().cpu())
            entropies.append(found.entropy[shown].float().cpu())
    return Scores(torch.cat(log_probs), torch.cat(entropies))


@contextmanager
def _scoring(model: Any) -> Iterator[None]:
    """TRL's head, which gives log-probabilities and entropies of labelled tokens alone, for as long as this lasts."""
    from trl.trainer.utils import add_fused_lm_head

    before = model.__dict__.get("forward")
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    try:
        yield
    finally:
        del model.forward
        if before is not None:
            model.forward = before


def divergence(own: Scores, start: Scores) -> float:
    """KL from the start, nats a token, estimated on the model's own samples: the mean of log pi - log pi_start.

    Unbiased where the answers were sampled from the model at temperature 1 and were encoded again as they were written;
    it has noise, and so may be a little below 0 where the two hardly differ.

    Args:
        own: of the model, on its samples.
        start: of the model as it started, on the same answers.
    """
    return float((own.log_probs.double() - start.log_probs.double()).mean())


def stop_reason(start: Mapping[str, float], now: Mapping[str, float], settings: DriftSettings) -> str | None:
    """Why the rounds must end before this model counts; none: it is good.

    Args:
        start: figures of the model as it started, of :attr:`burnish.align.measure.Measured.shown`.
        now: of the model after a round.
        settings: the margin.
    """
    most = settings.most_precision_lost
    if most is None or "precision" not in start or start["precision"] - now["precision"] <= most:
        return None
    return (
        f"precision fell from {start['precision']:.3f} to {now['precision']:.3f}, by more than {most:g} "
        "(drift.most_precision_lost)"
    )
