"""Pictures and models of the TrainProVe study, one seed: plain arrays in and out. Knows no statistics and no report.

A seed has one defender (the DDPM), its hidden few-step twin, and innocent sources: other families of generators, real
pictures, cheap sources. The real pictures that models are asked about are held out of all of them. Of the rest, the
trained generators learn from the same half (other families differ from the defender's in the generator alone), and
every cheap source and `real` has a random half of its own, so that which pictures a source knows does not give away who
is guilty. Shadows and suspects of a source see different drawings of it; every model varies in what it sees and how it
learns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from burnish.core.files import temporary
from burnish.core.parallel import one_thread
from burnish.prove.trainprove.recipe import Training, Variation
from burnish.prove.trainprove.training import draw_variation, predict, train_classifier
from burnish.testbeds.classifiers import FACTORIES
from burnish.testbeds.generator_training import distill, train_cascade, train_ddpm, train_flow
from burnish.testbeds.generators import Generator, Spend
from burnish.testbeds.sources import CHEAP, Real, Source

SIDE, CLASSES = 14, 10
MINE, TWIN = "ddpm", "twin"
REFERENCES = ("dit", "cascade", "real")
MIXED = "mixed"
TEMPERATURES = (0.85, 1.0, 1.15)
SAME_HALF = (MINE, TWIN, "dit", "cascade")
"""Trained generators: they learn from the very real pictures that the defender's learned from."""
FAMILIES = ("ddpm", "dit", "cascade", "cheap")
"""What is trained together: the twin needs its teacher, cheap sources cost nothing."""


@dataclass(frozen=True)
class Design:
    """What one size of the study spends on a seed.

    Attributes:
        spend: of the generators.
        cheap: names of cheap innocent sources.
        real: real pictures in all, those held out for validation among them.
        pool: pictures a source for shadows, and as many for suspects.
        own, reference: validation pictures of the defender's generator, and of each reference source.
        shadow_kinds: architectures of shadows.
        mine_each, others_each: shadows an architecture, on the defender's pictures and on each innocent source.
        suspects_each: suspects an architecture and source (all four architectures).
        mine_suspects: the same for the defender's generator and its twin.
        mixture_shadows, mixture_suspects: models for each fraction.
        fractions: shares of the defender's pictures in mixtures.
        training: of all models; suspects vary the loss and weight decay beside.
        budget: queries of the comparison of chosen and random images.
        alpha: nominal level.
    """

    spend: Spend = field(default_factory=Spend)
    cheap: tuple[str, ...] = CHEAP
    real: int = 5000
    pool: int = 900
    own: int = 400
    reference: int = 200
    shadow_kinds: tuple[str, ...] = ("mlp", "cnn")
    mine_each: int = 6
    others_each: int = 2
    suspects_each: int = 1
    mine_suspects: int = 3
    mixture_shadows: int = 4
    mixture_suspects: int = 8
    fractions: tuple[float, ...] = (0.25, 0.5, 0.75)
    training: Training = field(
        default_factory=lambda: Training(steps=160, batch=64, learning_rate=3e-3, weight_decay=0.05)
    )
    budget: int = 100
    alpha: float = 0.1

    @property
    def innocents(self) -> tuple[str, ...]:
        """Names of the innocent sources."""
        return (*REFERENCES, *self.cheap)

    @property
    def sources(self) -> tuple[str, ...]:
        """Whatever models are trained on, mixtures last."""
        return (MINE, TWIN, *self.innocents, MIXED)


class Job(NamedTuple):
    """One item for the executor: a family to train and draw from, or a source to train models on."""

    seed: int
    name: str
    design: Design
    folder: Path


def real_pictures(design: Design, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """MNIST at half size, ``design.real`` of them in a random order: pixels [n, 14, 14] in 0..1 and labels."""
    from burnish.testbeds.data import load_mnist

    images = load_mnist()
    rows = np.random.default_rng([seed, 0]).permutation(len(images.labels))[: design.real]
    pixels = images.pixels.reshape(-1, SIDE, 2, SIDE, 2).mean(axis=(2, 4))
    return pixels[rows].astype(np.float32), images.labels[rows]


def held_rows(design: Design, labels: np.ndarray) -> np.ndarray:
    """Rows of the real pictures that models are asked about and no source is made of, classes in turn."""
    each = design.reference // CLASSES
    return np.stack([np.flatnonzero(labels == name)[:each] for name in range(CLASSES)], axis=1).ravel()


def learned_rows(design: Design, seed: int, labels: np.ndarray, name: str) -> np.ndarray:
    """Rows of the real pictures that source ``name`` is made of: a random half of all that are not held out."""
    free = np.setdiff1d(np.arange(len(labels)), held_rows(design, labels))
    whose = MINE if name in SAME_HALF else name
    return np.sort(np.random.default_rng([seed, 3, *whose.encode()]).permutation(free)[: len(free) // 2])


def generators(
    family: str, design: Design, seed: int, pixels: np.ndarray, labels: np.ndarray
) -> dict[str, tuple[Generator, np.ndarray]]:
    """Train a family on its rows of the real pictures: its sources by name, and these rows."""
    if family == "cheap":
        found: dict[str, tuple[Generator, np.ndarray]] = {}
        for name in ("real", *design.cheap):
            rows = learned_rows(design, seed, labels, name)
            known = pixels[rows], labels[rows]
            found[name] = (Real(*known) if name == "real" else Source(name, *known), rows)
        return found
    mine = learned_rows(design, seed, labels, family)
    data = pixels[mine], labels[mine]
    if family == "ddpm":
        ddpm = train_ddpm(*data, CLASSES, design.spend, seed)
        return {MINE: (ddpm, mine), TWIN: (distill(ddpm, *data, design.spend, seed + 1), mine)}
    if family == "dit":
        return {"dit": (train_flow(*data, CLASSES, design.spend, seed + 2), mine)}
    return {"cascade": (train_cascade(*data, CLASSES, design.spend, seed + 3), mine)}


def labels_for(count: int) -> np.ndarray:
    """Classes in turn."""
    return (np.arange(count) % CLASSES).astype(np.int64)


def draw_pictures(job: Job) -> None:
    """Train a family and store what it draws: shadow pool, suspects' pool and validation pictures, as bytes.

    ``learned`` beside them: rows of the seed's real pictures that the source is made of.
    """
    design = job.design
    with one_thread():
        pixels, known = real_pictures(design, job.seed)
        family = generators(job.name, design, job.seed, pixels, known)
        for place, (name, (generator, learned)) in enumerate(family.items()):
            labels = labels_for(design.pool)
            temperature = np.array(TEMPERATURES)[np.arange(design.pool) // CLASSES % len(TEMPERATURES)]
            shadow = np.empty((design.pool, SIDE, SIDE), np.float32)
            start = 1_000_000 * (job.seed + 1) + 1000 * place
            for number, value in enumerate(TEMPERATURES):
                rows = temperature == value
                shadow[rows] = generator.draw(labels[rows], start + number, value)
            found = {"shadow": as_bytes(shadow), "temperature": temperature, "learned": learned}
            suspect = generator.draw(labels, start + 100)
            if isinstance(generator, Real):
                # real pictures end: shadows, suspects and validation share none
                shadow, suspect = real_parts(generator, design)
                found["shadow"], found["temperature"] = as_bytes(shadow), np.ones(len(shadow))
                found["validation"] = as_bytes(pixels[held_rows(design, known)])
            elif name in (MINE, *REFERENCES):
                count = design.own if name == MINE else design.reference
                found["validation"] = as_bytes(generator.draw(labels_for(count), start + 200))
            store(path(job, "pictures", name), found | {"suspect": as_bytes(suspect)})


def real_parts(real: Real, design: Design) -> tuple[np.ndarray, np.ndarray]:
    """Disjoint pools for shadows and suspects, each with its classes in turn, as :func:`labels_for` says."""
    share = np.bincount(real.labels, minlength=CLASSES).min()
    by_class = np.stack([real.pixels[real.labels == name][:share] for name in range(CLASSES)], axis=1)
    each = min(design.pool // CLASSES, len(by_class) // 2)
    shadow, suspect = by_class[:each], by_class[each : 2 * each]
    return shadow.reshape(-1, SIDE, SIDE), suspect.reshape(-1, SIDE, SIDE)


def as_bytes(pixels: np.ndarray) -> np.ndarray:
    """Grey pictures in 0..1 as bytes [n, side, side, 1]."""
    return np.asarray(np.rint(255 * pixels).astype(np.uint8)[..., None])


def train_models(job: Job) -> None:
    """Train every shadow and suspect of one source and store their labels and logits on the validation pictures."""
    design = job.design
    images, _, _ = validation(job.seed, job.folder)
    rng = np.random.default_rng([job.seed, 1, *job.name.encode()])
    found: dict[str, list[np.ndarray]] = {}
    with one_thread():
        for number, (role, kind, fraction) in enumerate(wanted(design, job.name)):
            pictures, labels, temperature = training_set(job, role, fraction, rng)
            training = design.training if role == "shadow" else suspects_way(design.training, rng)
            draw = draw_variation(Variation(shift=1, noise=0.1), temperature, rng)
            seed = int(rng.integers(2**31))
            torch.manual_seed(seed)
            model = FACTORIES[kind](CLASSES, 1, SIDE)
            train_classifier(model, pictures, labels, training, draw, seed)
            found.setdefault("logits", []).append(predict(model, images))
            found.setdefault("shadow", []).append(np.array(role == "shadow"))
            found.setdefault("kind", []).append(np.array(list(FACTORIES).index(kind)))
            found.setdefault("fraction", []).append(np.array(fraction))
            found.setdefault("number", []).append(np.array(number))
    store(path(job, "answers", job.name), {key: np.stack(values) for key, values in found.items()})


def wanted(design: Design, source: str) -> list[tuple[str, str, float]]:
    """Role, architecture and fraction of the defender's pictures of every model on a source."""
    if source == MIXED:
        return [
            (role, kinds[index % len(kinds)], fraction)
            for fraction in design.fractions
            for role, count, kinds in (
                ("shadow", design.mixture_shadows, design.shadow_kinds),
                ("suspect", design.mixture_suspects, tuple(FACTORIES)),
            )
            for index in range(count)
        ]
    share = 1.0 if source == MINE else 0.0
    shadows = 0 if source == TWIN else design.mine_each if source == MINE else design.others_each
    suspects = design.mine_suspects if source in (MINE, TWIN) else design.suspects_each
    return [("shadow", kind, share) for kind in design.shadow_kinds for _ in range(shadows)] + [
        ("suspect", kind, share) for kind in FACTORIES for _ in range(suspects)
    ]


def suspects_way(training: Training, rng: np.random.Generator) -> Training:
    """Suspects vary as the paper's do: two batch sizes, learning rates, weight decays and losses."""
    return training.model_copy(
        update={
            "batch": training.batch // int(rng.integers(1, 3)),
            "learning_rate": training.learning_rate * float(rng.choice([1.0, 0.5])),
            "weight_decay": float(rng.choice([0.5, training.weight_decay])),
            "loss": str(rng.choice(["cross_entropy", "focal"])),
        }
    )


def training_set(
    job: Job, role: str, fraction: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures, labels and temperatures that one model may see; a mixture takes the rest from one innocent source."""

    def pool(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        stored = load(path(job, "pictures", name))
        pictures = stored[role]
        temperature = stored["temperature"] if role == "shadow" else np.ones(len(pictures))
        return pictures, labels_for(len(pictures)), temperature

    if job.name != MIXED:
        return pool(job.name)
    mine, other = pool(MINE), pool(str(rng.choice(job.design.innocents)))
    count = min(len(mine[0]), len(other[0]))
    keep = round(fraction * count)
    first, second = rng.permutation(len(mine[0]))[:keep], rng.permutation(len(other[0]))[: count - keep]
    pictures, labels, _ = (np.concatenate([a[first], b[second]]) for a, b in zip(mine, other, strict=True))
    return pictures, labels, np.ones(len(labels))


def validation(seed: int, folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Validation pictures, their labels, and the set of each: 0 the defender's, then the references."""
    parts = [load(picture_path(folder, seed, name))["validation"] for name in (MINE, *REFERENCES)]
    labels = np.concatenate([labels_for(len(part)) for part in parts])
    sets = np.concatenate([np.full(len(part), number) for number, part in enumerate(parts)])
    return np.concatenate(parts), labels, sets


def path(job: Job, what: str, name: str) -> Path:
    """Where pictures or answers of a source lie."""
    return job.folder / what / f"{job.seed}-{name}.safetensors"


def picture_path(folder: Path, seed: int, name: str) -> Path:
    """Where the pictures of a source lie."""
    return folder / "pictures" / f"{seed}-{name}.safetensors"


def store(target: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays as one safetensors file that is whole or absent."""
    from safetensors.numpy import save_file

    target.parent.mkdir(parents=True, exist_ok=True)
    work = temporary(target)
    save_file({key: np.ascontiguousarray(value) for key, value in arrays.items()}, work)
    work.replace(target)


def load(target: Path) -> dict[str, Any]:
    """The arrays of a file that :func:`store` wrote."""
    from safetensors.numpy import load_file

    return dict(load_file(target))
