"""What a suspect is asked beyond the test, to see whether it evades: some pictures again, and on their way to noise.

The pictures are drawn from both sets alike, and scrambled by numbers that know nothing of the sets: whatever an
innocent suspect answers, public and private pictures can be exchanged.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, UInt8

from burnish.core.files import folder_atomic, read_json
from burnish.prove.dov4cl.ask import Question
from burnish.prove.dov4cl.recipe import AuditRecipe, query_count
from burnish.prove.suspects import open_suspect

PICTURES = 12
"""Of each set. Fewer than LEAST cannot show a jump at the level that is asked for: 2 of 3,432 splits of 7 + 7."""
LEAST = 7
STEPS = 6
"""A picture and five steps on its way to a picture of its own pixels in random order; the last is 5/6 of the way."""
AGAIN = 2
EACH = STEPS + AGAIN
"""Queries a picture."""


@dataclass(frozen=True)
class ProbePlan:
    """Which pictures are probed.

    Attributes:
        index: places in the public set followed by the private one.
        public: which of these are public.
    """

    index: Int[np.ndarray, " pictures"]
    public: Bool[np.ndarray, " pictures"]

    @property
    def queries(self) -> int:
        """What it costs, at most."""
        return EACH * len(self.index)


def plan_probes(recipe: AuditRecipe, public: int, private: int) -> ProbePlan:
    """Twelve pictures of each set, or as many as the sets and what the test leaves of the budget allow; none if few."""
    count = min(PICTURES, public, private)
    if recipe.suspect.queries is not None:
        left = recipe.suspect.queries - query_count(recipe, public, private)
        count = min(count, max(0, left) // (2 * EACH))
    if count < LEAST:
        count = 0
    rng = np.random.default_rng([recipe.seed, 96])
    chosen = [rng.choice(public, count, replace=False), public + rng.choice(private, count, replace=False)]
    return ProbePlan(np.concatenate(chosen), np.arange(2 * count) < count)


def scrambled(
    pixels: UInt8[np.ndarray, "n height width channels"], index: Int[np.ndarray, " n"], seed: int
) -> UInt8[np.ndarray, "n steps height width channels"]:
    """Each picture, and its mixtures with its own pixels in random order.

    Args:
        pixels: the pictures.
        index: number of each in both sets together, which names its order.
        seed: of the audit.
    """
    found = np.empty((len(pixels), STEPS, *pixels.shape[1:]), dtype=np.uint8)
    for row, (picture, number) in enumerate(zip(pixels, index, strict=True)):
        flat = picture.reshape(-1, picture.shape[-1])
        noise = np.random.default_rng([seed, 97, int(number)]).permutation(flat).reshape(picture.shape)
        for step in range(STEPS):
            share = step / STEPS
            found[row, step] = np.round((1 - share) * picture.astype(np.float64) + share * noise)
    return found


def ask_probes(question: Question, plan: ProbePlan, note: Callable[[str], None]) -> dict[str, Any]:
    """Ask the suspect, and keep its answers in the question's folder: ``path.npy`` and ``again.npy``.

    The pictures are asked again in another order, each twice in one batch and beside others than the first time.

    Returns:
        The record, as :func:`burnish.prove.dov4cl.ask.ask_model` gives it.

    Raises:
        UserError: the suspect cannot be asked.
        BurnishError: an endpoint that fails; what it answered before is kept.
    """
    record = question.out / "record.json"
    if record.exists():
        return dict(read_json(record))
    pixels = np.asarray(np.load(question.pixels, mmap_mode="r")[plan.index])
    path = scrambled(pixels, plan.index, question.recipe.seed)
    count = len(pixels)
    with open_suspect(question.model, "embeddings", question.cache, note) as oracle:
        first = oracle.ask(path.reshape(-1, *path.shape[2:])).reshape(count, STEPS, -1)
        twice = oracle.ask(np.concatenate([pixels[::-1], pixels]), again=[1] * count + [2] * count)
        result = {
            "identity": oracle.identity,
            "queries": oracle.made,
            "saved": oracle.saved,
            "sent_bytes": oracle.sent_bytes,
            "picture_bytes": path.nbytes + AGAIN * pixels.nbytes,
        }
    with folder_atomic(question.out) as work:
        np.save(work / "path.npy", first)
        np.save(work / "again.npy", np.stack([first[:, 0], twice[:count][::-1], twice[count:]], axis=1))
        (work / record.name).write_text(json.dumps(result))
    return result


def probe_arrays(question: Question | None, plan: ProbePlan) -> dict[str, np.ndarray]:
    """What the analysis takes of them; ``probe_public`` alone, and empty, where none were asked."""
    if question is None:
        return {"probe_public": plan.public}
    names = ("path", "again")
    return {"probe_public": plan.public} | {f"probe_{name}": np.load(question.out / f"{name}.npy") for name in names}
