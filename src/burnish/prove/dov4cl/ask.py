"""Which images are shown to a model, in which order, and its answers as arrays. One function of one argument, so that
it can run in any worker process; whatever was answered before comes from the cache."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Int

from burnish.core.errors import UserError
from burnish.core.files import folder_atomic, read_json
from burnish.prove.dov4cl.recipe import AuditRecipe, query_count
from burnish.prove.dov4cl.views import make_views
from burnish.prove.suspects import SuspectSettings, open_suspect
from burnish.prove.suspects.oracle import Oracle

BYTES = 1 << 25
"""Bytes of views made at once."""
BATCHES = 4
"""Requests or forward passes between two moments at which a stop signal is honoured."""


@dataclass(frozen=True)
class QueryPlan:
    """Images by draw.

    Attributes:
        index: places in the public set followed by the private one, of each draw's images.
        public: which of a draw's images are public; the same for all draws.
    """

    index: Int[np.ndarray, "draws images"]
    public: Bool[np.ndarray, " images"]


def make_plan(recipe: AuditRecipe, public: int, private: int) -> QueryPlan:
    """All images in every repetition; for the published test, K rounds of k images of each set a repetition.

    Raises:
        UserError: fewer images in a set than a round takes.
    """
    if recipe.test == "permutation":
        every = np.arange(public + private)
        return QueryPlan(np.tile(every, (recipe.repeats, 1)), every < public)
    k = recipe.images_per_round
    if min(public, private) < k:
        raise UserError(
            f"images_per_round: {k}, but there are {public} public and {private} private pictures; the published test "
            "needs that many of each"
        )
    rng = np.random.default_rng([recipe.seed, 32])
    rounds = [
        np.concatenate([rng.choice(public, k, replace=False), public + rng.choice(private, k, replace=False)])
        for _ in range(recipe.rounds * recipe.repeats)
    ]
    return QueryPlan(np.array(rounds), np.arange(2 * k) < k)


@dataclass(frozen=True)
class Question:
    """One model to ask.

    Attributes:
        name: in the arrays: ``suspect``, ``shadow_000`` ...
        model: where it is and how it may be asked.
        recipe: of the audit.
        pixels: file of the public images followed by the private ones (``.npy``).
        public: how many are public.
        out: folder of the answers, made when the last one is there.
        cache: folder of single answers.
    """

    name: str
    model: SuspectSettings
    recipe: AuditRecipe
    pixels: Path
    public: int
    out: Path
    cache: Path


Note = Callable[[str], None]
Step = Callable[[int, int, Oracle], None]


def ask_model(
    question: Question, note: Note = lambda _message: None, step: Step = lambda *_state: None
) -> dict[str, Any]:
    """Ask a model about all its views and keep the answers, [draws, images, views, dim] for each kind of view.

    Args:
        question: whom, about what.
        note: gets one line where something was assumed.
        step: told (chunks done, chunks in all, oracle) after each chunk of images.

    Returns:
        ``identity``, ``queries`` made, ``saved`` ones, ``sent_bytes``, bytes of the pictures shown.

    Raises:
        UserError: the model cannot be asked, or answers of another size come midway.
        BurnishError: an endpoint that fails; what it answered before is kept.
    """
    record = question.out / "record.json"
    if record.exists():
        return dict(read_json(record))
    pixels = np.load(question.pixels, mmap_mode="r")
    plan = make_plan(question.recipe, question.public, len(pixels) - question.public)
    shown = 0
    chunks = list(_chunks(question.recipe, plan, pixels.shape, BATCHES * question.model.batch))
    arrays: dict[str, np.ndarray] = {}
    with open_suspect(question.model, "embeddings", question.cache, note) as oracle:
        oracle.announce(query_count(question.recipe, question.public, len(pixels) - question.public))
        for done, (kind, draw, start, stop) in enumerate(chunks, 1):
            index = plan.index[draw, start:stop]
            views = make_views(
                np.asarray(pixels[index]), index, question.recipe.views, kind, question.recipe.seed, draw
            )
            shown += views.nbytes
            found = oracle.ask(views.reshape(-1, *views.shape[2:])).reshape(*views.shape[:2], -1)
            if kind not in arrays:
                arrays[kind] = np.empty((*plan.index.shape, *found.shape[1:]), dtype=np.float32)
            arrays[kind][draw, start:stop] = found
            step(done, len(chunks), oracle)
        result = {
            "identity": oracle.identity,
            "queries": oracle.made,
            "saved": oracle.saved,
            "sent_bytes": oracle.sent_bytes,
            "picture_bytes": shown,
        }
    with folder_atomic(question.out) as work:
        for name, array in arrays.items():
            np.save(work / f"{name}.npy", array)
        (work / record.name).write_text(json.dumps(result))
    return result


def _chunks(
    recipe: AuditRecipe, plan: QueryPlan, shape: tuple[int, ...], queries: int
) -> Iterator[tuple[Literal["global", "local"], int, int, int]]:
    images = plan.index.shape[1]
    kinds: tuple[tuple[Literal["global", "local"], int], ...] = (
        ("global", recipe.views.global_views),
        ("local", recipe.views.local_views),
    )
    for kind, views in kinds:
        step = max(1, min(BYTES // int(np.prod(shape[1:])), queries) // views)
        for draw in range(len(plan.index)):
            for start in range(0, images, step):
                yield kind, draw, start, min(images, start + step)


def read_answers(names: list[str], folder: Path, public: Bool[np.ndarray, " images"]) -> dict[str, np.ndarray]:
    """The arrays that ``analyse`` takes, from the folders of answers."""
    arrays: dict[str, np.ndarray] = {"public": public}
    for name in names:
        for kind in ("global", "local"):
            arrays[f"{name}_{kind}"] = np.load(folder / name / f"{kind}.npy")
    return arrays
