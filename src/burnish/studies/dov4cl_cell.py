"""Owners and encoders of the DOV4CL study: what one cell trains, asks and tests. Knows prove and worlds; judges nothing.

A cell has J owners with a public and a private set of pictures each, all disjoint and drawn at random from one collection,
and one encoder trained on each public set. Encoder j is the thief of owner j and innocent of every other: it was trained on
an i.i.d. disjoint set. So no model is trained only to be a shadow: for owner j and suspect m, the shadows are all the rest.
"""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from burnish.core.errors import BurnishError
from burnish.core.files import write_atomic
from burnish.core.models import load_model
from burnish.core.parallel import one_thread
from burnish.prove.contrastive.backbones import features, normalise
from burnish.prove.contrastive.recipe import Objective, TrainSettings, ViewSettings
from burnish.prove.contrastive.train import Training
from burnish.prove.dov4cl.analysis import analyse
from burnish.prove.dov4cl.family import family_tests, geometry, geometry_scores
from burnish.prove.dov4cl.image_tests import Steadiness, effect, image_test, paper_p, paper_vector, steadiness
from burnish.prove.dov4cl.recipe import PipelineSettings
from burnish.prove.dov4cl.views import make_views
from burnish.prove.statistics import holm
from burnish.testbeds.data import load_digits, load_mnist, load_pictures

VIEWS = PipelineSettings(
    global_views=4,
    local_views=4,
    global_view=ViewSettings(scale=(0.4, 1.0), flip=0.0),
    local_view=ViewSettings(scale=(0.2, 0.6), flip=0.0),
    local_size="same",
)
"""The owner's views: no mirrored digits; as many views as published (8), local ones as large as a 14-pixel picture bears."""
BANK = 4
"""Sets of views of each picture that the published test's rounds draw from (the published code makes new ones each time)."""


@dataclass(frozen=True)
class Plan:
    """What a size spends on each cell.

    Attributes:
        objectives: methods; a cell each.
        data: collections; a cell each.
        owners: J, and so the encoders.
        images: pictures in each public and in each private set.
        epochs: of training; a cell each.
        replicas: more encoders of the first owner's public set, for the geometry test.
        draws: arrangements of the permutation test.
        rounds: K of the published test.
    """

    objectives: tuple[Objective, ...]
    data: tuple[str, ...]
    owners: int
    images: int
    epochs: tuple[int, ...]
    replicas: int = 0
    draws: int = 999
    rounds: int = 50


@dataclass(frozen=True)
class Cell:
    """One seed, method, collection and length of training."""

    seed: int
    objective: Objective
    data: str
    epochs: int
    plan: Plan
    folder: Path

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.data}-{self.objective}-{self.epochs}-{self.seed}"


def train_settings(objective: Objective, epochs: int) -> TrainSettings:
    """How the study's encoders are trained: gentle crops of small pictures, whole batches."""
    return TrainSettings(
        objective=objective,
        epochs=epochs,
        batch=100,
        lr=2e-3,
        momentum=0.95,
        view=ViewSettings(scale=(0.5, 1.0), flip=0.0),
    )


def collection(name: str) -> np.ndarray:
    """All pictures of a collection, uint8 [n, side, side, channels]."""
    if name == "digits":
        return np.asarray(load_digits().pixels[..., None] * 255).round().astype(np.uint8)
    if name == "mnist":
        halved: np.ndarray = load_mnist().pixels.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4))
        return (halved[..., None] * 255).round().astype(np.uint8)
    return np.stack([_small(picture.path) for picture in load_pictures(name)])


def _small(path: Path) -> np.ndarray:
    """A picture of 16 x 16 RGB pixels, on white."""
    from PIL import Image

    with Image.open(path) as file:
        picture = file.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    flat = Image.alpha_composite(white, picture).convert("RGB")
    return np.asarray(flat.resize((16, 16), Image.Resampling.BOX))


def owned(cell: Cell) -> np.ndarray:
    """Places of the owners' pictures, [owners, 2 x images]: the public ones first, all different.

    Raises:
        BurnishError: the collection is too small.
    """
    size, wanted = len(collection(cell.data)), 2 * cell.plan.images * cell.plan.owners
    if size < wanted:
        raise BurnishError(f"{cell.data}: {size} pictures, the cell needs {wanted}")
    order = np.random.default_rng([cell.seed, 1]).permutation(size)[:wanted]
    return order.reshape(cell.plan.owners, -1)


def trainings(cell: Cell) -> list[Training]:
    """One encoder for each owner's public set, then the replicas: other encoders of the first owner's."""
    pixels = cell.folder / f"{cell.data}.npy"
    if not pixels.exists():
        buffer = io.BytesIO()
        np.save(buffer, collection(cell.data))
        write_atomic(pixels, buffer.getvalue())
    places = owned(cell)
    owners = [*range(cell.plan.owners), *[0] * cell.plan.replicas]
    return [
        Training(
            train_settings(cell.objective, cell.epochs),
            pixels,
            1000 * cell.seed + number,
            cell.folder / cell.name / f"encoder_{number:03d}",
            rows=tuple(places[owner, : cell.plan.images].tolist()),
        )
        for number, owner in enumerate(owners)
    ]


def judge_owner(question: tuple[Cell, int]) -> dict[str, Any]:
    """Every encoder as the suspect of one owner.

    Returns:
        ``suspects``: rows with ``guilty``, p of each test (``image``: Holm over unary and binary), effects; for the first
        owner, where there are replicas, ``geometry``: the scores of thief, replicas and innocents; and ``audits``: findings
        on a thief and on an innocent.
    """
    cell, owner = question
    with one_thread():
        found = _answers(cell, owner)
        plan = cell.plan
        public = np.arange(2 * plan.images) < plan.images
        each = [steadiness(wide[0], small[0]) for wide, small in found[: plan.owners]]
        effects = [effect(one, public) for one in each]
        rows = []
        for suspect in range(plan.owners):
            shadows = [model for model in range(plan.owners) if model not in (owner, suspect)]
            usual = functools.reduce(Steadiness.plus, [each[model] for model in shadows]).over(len(shadows))
            rng = np.random.default_rng([cell.seed, owner, suspect])
            tested = image_test(each[suspect].minus(usual), public, plan.draws, rng)
            family = family_tests(effects[suspect], [effects[model] for model in shadows])
            rows.append(
                {
                    "owner": owner,
                    "suspect": suspect,
                    "guilty": suspect == owner,
                    "image": float(holm(np.array([one.p for one in tested.values()])).min()),
                    **{name: one.p for name, one in tested.items()},
                    **{_short(row.name): row.p for row in family},
                    "effects": {name: one.effect for name, one in tested.items()},
                }
            )
        _published(cell, owner, found, rows)
        result: dict[str, Any] = {"owner": owner, "suspects": rows}
        if owner == 0 and plan.replicas:
            vectors = np.stack([geometry(wide[0], small[0]) for wide, small in found])
            guilty = np.array([model == 0 or model >= plan.owners for model in range(len(found))])
            result["geometry"] = {
                "scores": geometry_scores(vectors, guilty).tolist(),
                "guilty": guilty.tolist(),
            }
            result["audits"] = {
                "guilty": _audit(found, plan, suspect=0),
                "innocent": _audit(found, plan, suspect=1),
            }
    return result


def _audit(found: list[tuple[np.ndarray, np.ndarray]], plan: Plan, suspect: int) -> dict[str, Any]:
    """One suspect of the first owner as a user's audit would judge it: the other owners' encoders are the shadows, the
    replicas the guilty ones."""
    shadows = [model for model in range(1, plan.owners) if model != suspect]
    names = {suspect: "suspect"}
    names |= {model: f"shadow_{number:03d}" for number, model in enumerate(shadows)}
    names |= {plan.owners + number: f"guilty_{number:03d}" for number in range(plan.replicas)}
    arrays = {"public": np.arange(2 * plan.images) < plan.images}
    for model, name in names.items():
        arrays |= {f"{name}_global": found[model][0][:1], f"{name}_local": found[model][1][:1]}
    settings = {"seed": 0, "test": "permutation", "alpha": 0.05, "a": 1.0, "draws": plan.draws, "repeats": 1}
    return analyse(arrays, settings | {"private_is": "held out", "split": None}).to_json()


def _short(name: str) -> str:
    kind, _, statistic = name.partition(", ")
    return f"{kind.split()[0]} {statistic}"


def _answers(cell: Cell, owner: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Embeddings [bank, pictures, views, dim] of every encoder on one owner's views; the bank beyond the first set only for
    the three encoders that the published test needs."""
    places = owned(cell)[owner]
    pictures = np.load(cell.folder / f"{cell.data}.npy", mmap_mode="r")[places]
    index = np.arange(len(places))
    views = [
        tuple(make_views(pictures, index, VIEWS, kind, 1000 * cell.seed + owner, draw) for kind in ("global", "local"))
        for draw in range(BANK)
    ]
    found = []
    for number, task in enumerate(trainings(cell)):
        model = load_model(task.folder)
        draws = BANK if number in _three(cell, owner) else 1
        wide, small = (
            np.stack(
                [embed(model, shown.reshape(-1, *shown.shape[2:])) for shown in (views[d][kind] for d in range(draws))]
            )
            for kind in (0, 1)
        )
        count = len(places)
        found.append((wide.reshape(draws, count, -1, wide.shape[-1]), small.reshape(draws, count, -1, small.shape[-1])))
    return found


def _three(cell: Cell, owner: int) -> tuple[int, int, int]:
    """Thief, one innocent, and one shadow."""
    return owner, (owner + 1) % cell.plan.owners, (owner + 2) % cell.plan.owners


def embed(model: Any, images: np.ndarray) -> np.ndarray:
    """Embeddings [n, dim] of uint8 images [n, height, width, channels]."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        return torch.cat([features(model, normalise(part)) for part in torch.split(pixels, 512)]).numpy()


def _published(cell: Cell, owner: int, found: list[tuple[np.ndarray, np.ndarray]], rows: list[dict[str, Any]]) -> None:
    """Add the published test's p for the thief and one innocent against one shadow: K rounds of k = 32 pictures a set."""
    n, k = cell.plan.images, min(32, cell.plan.images)
    rng = np.random.default_rng([cell.seed, owner, 50])
    rounds = [
        (rng.integers(BANK), np.concatenate([rng.choice(n, k, replace=False), n + rng.choice(n, k, replace=False)]))
        for _ in range(cell.plan.rounds)
    ]
    public = np.arange(2 * k) < k

    def vector(model: int) -> np.ndarray:
        wide, small = (np.stack([kind[draw, chosen] for draw, chosen in rounds]) for kind in found[model])
        return paper_vector(wide, small, public, 1.0)

    thief, innocent, shadow = map(vector, _three(cell, owner))
    rows[_three(cell, owner)[0]]["published"] = paper_p(thief, [shadow])
    rows[_three(cell, owner)[1]]["published"] = paper_p(innocent, [shadow])
