"""Owners and encoders of the DOV4CL study: what is trained, asked and tested. Knows prove and the testbeds; judges
nothing.

A setting has J owners with a public and a private set of pictures each, all disjoint and drawn at random from one
collection, and one encoder trained on each public set. Encoder j is the thief of owner j and innocent of every other:
it was trained on an i.i.d. disjoint set. So no model is trained only to be a shadow: for owner j and suspect m, the
shadows are all the rest.
"""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from burnish.core.errors import BurnishError
from burnish.core.files import write_atomic
from burnish.core.models import load_model
from burnish.core.parallel import one_thread
from burnish.prove.contrastive.recipe import Objective, ViewSettings
from burnish.prove.contrastive.train import Training
from burnish.prove.dov4cl.analysis import analyse
from burnish.prove.dov4cl.demo import embed, train_settings
from burnish.prove.dov4cl.family import family_tests, geometry, geometry_scores
from burnish.prove.dov4cl.image_tests import Steadiness, effect, image_test, paper_p, paper_vector, steadiness
from burnish.prove.dov4cl.recipe import PipelineSettings
from burnish.prove.dov4cl.views import make_views
from burnish.prove.statistics import holm
from burnish.studies.dov4cl.records import Geometry, OwnerCell, Suspect
from burnish.testbeds.small_pictures import collection

VIEWS = PipelineSettings(
    global_views=4,
    local_views=4,
    global_view=ViewSettings(scale=(0.4, 1.0), flip=0.0),
    local_view=ViewSettings(scale=(0.2, 0.6), flip=0.0),
    local_size="same",
)
"""The owner's views: no mirrored digits; as many views as published (8), local ones as large as a 14-pixel picture
bears."""
BANK = 4
"""Sets of views of each picture that the published test's rounds draw from (the published code makes new ones each
time)."""
Answers = list[tuple[np.ndarray, np.ndarray]]
"""Embeddings [bank, pictures, views, dim] of global and of local views, one pair an encoder; the bank beyond the first
set only for the three encoders that the published test needs."""


@dataclass(frozen=True)
class Design:
    """What a size spends on each setting.

    Attributes:
        objectives: methods; a setting each.
        data: collections; a setting each.
        owners: J, and so the encoders.
        images: pictures in each public and in each private set.
        epochs: of training; a setting each.
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
class Setting:
    """One seed, method, collection and length of training."""

    seed: int
    objective: Objective
    data: str
    epochs: int
    design: Design
    folder: Path

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.data}-{self.objective}-{self.epochs}-{self.seed}"


class Job(NamedTuple):
    """One item for the executor: an owner."""

    setting: Setting
    owner: int


def owned(setting: Setting) -> np.ndarray:
    """Places of the owners' pictures, [owners, 2 x images]: the public ones first, all different.

    Raises:
        BurnishError: the collection is too small.
    """
    size, wanted = len(collection(setting.data)), 2 * setting.design.images * setting.design.owners
    if size < wanted:
        raise BurnishError(f"{setting.data}: {size} pictures, the setting needs {wanted}")
    order = np.random.default_rng([setting.seed, 1]).permutation(size)[:wanted]
    return order.reshape(setting.design.owners, -1)


def trainings(setting: Setting) -> list[Training]:
    """One encoder for each owner's public set, then the replicas: other encoders of the first owner's."""
    pixels = setting.folder / f"{setting.data}.npy"
    if not pixels.exists():
        buffer = io.BytesIO()
        np.save(buffer, collection(setting.data))
        write_atomic(pixels, buffer.getvalue())
    places = owned(setting)
    owners = [*range(setting.design.owners), *[0] * setting.design.replicas]
    return [
        Training(
            train_settings(setting.objective, setting.epochs),
            pixels,
            1000 * setting.seed + number,
            setting.folder / setting.name / f"encoder_{number:03d}",
            rows=tuple(places[owner, : setting.design.images].tolist()),
        )
        for number, owner in enumerate(owners)
    ]


def judge_owner(job: Job) -> OwnerCell:
    """Every encoder as the suspect of one owner."""
    setting, owner = job
    with one_thread():
        found = _answers(setting, owner)
        geometry = audits = None
        if owner == 0 and setting.design.replicas:
            geometry = _geometry(found, setting.design)
            audits = {
                "guilty": _audit(found, setting.design, suspect=0),
                "innocent": _audit(found, setting.design, suspect=1),
            }
        return OwnerCell(
            seed=setting.seed,
            objective=setting.objective,
            data=setting.data,
            epochs=setting.epochs,
            owner=owner,
            suspects=_suspects(setting, owner, found),
            geometry=geometry,
            audits=audits,
        )


def _suspects(setting: Setting, owner: int, found: Answers) -> tuple[Suspect, ...]:
    """Each encoder under every test; for owner j and suspect m, the shadows are all the rest."""
    design = setting.design
    public = np.arange(2 * design.images) < design.images
    each = [steadiness(wide[0], small[0]) for wide, small in found[: design.owners]]
    effects = [effect(one, public) for one in each]
    published = _published(setting, owner, found)
    rows = []
    for suspect in range(design.owners):
        shadows = [model for model in range(design.owners) if model not in (owner, suspect)]
        usual = functools.reduce(Steadiness.plus, [each[model] for model in shadows]).over(len(shadows))
        rng = np.random.default_rng([setting.seed, owner, suspect])
        tested = image_test(each[suspect].minus(usual), public, design.draws, rng)
        family = family_tests(effects[suspect], [effects[model] for model in shadows])
        p = {
            "image": float(holm(np.array([one.p for one in tested.values()])).min()),
            **{name: one.p for name, one in tested.items()},
            **{_short(row.name): row.p for row in family if row.p is not None},
        }
        if suspect in published:
            p["published"] = published[suspect]
        gaps = {name: one.effect for name, one in tested.items()}
        rows.append(Suspect(owner=owner, suspect=suspect, guilty=suspect == owner, p=p, effects=gaps))
    return tuple(rows)


def _geometry(found: Answers, design: Design) -> Geometry:
    vectors = np.stack([geometry(wide[0], small[0]) for wide, small in found])
    guilty = np.array([model == 0 or model >= design.owners for model in range(len(found))])
    return Geometry(scores=tuple(geometry_scores(vectors, guilty).tolist()), guilty=tuple(guilty.tolist()))


def _audit(found: Answers, design: Design, suspect: int) -> dict[str, Any]:
    """One suspect of the first owner as a user's audit would judge it: the other owners' encoders are the shadows, the
    replicas the guilty ones."""
    shadows = [model for model in range(1, design.owners) if model != suspect]
    names = {suspect: "suspect"}
    names |= {model: f"shadow_{number:03d}" for number, model in enumerate(shadows)}
    names |= {design.owners + number: f"guilty_{number:03d}" for number in range(design.replicas)}
    arrays = {"public": np.arange(2 * design.images) < design.images}
    for model, name in names.items():
        arrays |= {f"{name}_global": found[model][0][:1], f"{name}_local": found[model][1][:1]}
    settings = {"seed": 0, "test": "permutation", "alpha": 0.05, "a": 1.0, "draws": design.draws, "repeats": 1}
    return analyse(arrays, settings | {"private_is": "held out", "split": None}).to_json()


def _short(name: str) -> str:
    kind, _, statistic = name.partition(", ")
    return f"{kind.split()[0]} {statistic}"


def _answers(setting: Setting, owner: int) -> Answers:
    """Every encoder on one owner's views."""
    places = owned(setting)[owner]
    pictures = np.load(setting.folder / f"{setting.data}.npy", mmap_mode="r")[places]
    index = np.arange(len(places))
    views = [
        tuple(
            make_views(pictures, index, VIEWS, kind, 1000 * setting.seed + owner, draw) for kind in ("global", "local")
        )
        for draw in range(BANK)
    ]
    found = []
    for number, task in enumerate(trainings(setting)):
        model = load_model(task.folder)
        draws = BANK if number in _three(setting, owner) else 1
        wide, small = (
            np.stack(
                [embed(model, shown.reshape(-1, *shown.shape[2:])) for shown in (views[d][kind] for d in range(draws))]
            )
            for kind in (0, 1)
        )
        count = len(places)
        found.append((wide.reshape(draws, count, -1, wide.shape[-1]), small.reshape(draws, count, -1, small.shape[-1])))
    return found


def _three(setting: Setting, owner: int) -> tuple[int, int, int]:
    """Thief, one innocent, and one shadow."""
    return owner, (owner + 1) % setting.design.owners, (owner + 2) % setting.design.owners


def _published(setting: Setting, owner: int, found: Answers) -> dict[int, float]:
    """The published test's p for the thief and one innocent against one shadow: K rounds of k = 32 pictures a set."""
    n, k = setting.design.images, min(32, setting.design.images)
    rng = np.random.default_rng([setting.seed, owner, 50])
    rounds = [
        (rng.integers(BANK), np.concatenate([rng.choice(n, k, replace=False), n + rng.choice(n, k, replace=False)]))
        for _ in range(setting.design.rounds)
    ]
    public = np.arange(2 * k) < k

    def vector(model: int) -> np.ndarray:
        wide, small = (np.stack([kind[draw, chosen] for draw, chosen in rounds]) for kind in found[model])
        return paper_vector(wide, small, public, 1.0)

    thief, innocent, shadow = _three(setting, owner)
    usual = vector(shadow)
    return {model: paper_p(vector(model), [usual]) for model in (thief, innocent)}
