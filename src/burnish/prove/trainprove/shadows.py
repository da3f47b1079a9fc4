"""Shadow models: planned, trained one by one through an executor, each stored when it is whole and never trained twice.

A shadow is a folder: transformers models as `save_pretrained` leaves them, modules of the user's own as one safetensors
file; beside it its answers on the validation pictures. Knows files and torch; no test.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from burnish.core.errors import UserError, raised
from burnish.core.files import folder_atomic, read_json
from burnish.core.method import import_object
from burnish.core.parallel import one_thread
from burnish.prove.trainprove.recipe import Architecture, AuditRecipe, Training, Variation

MIXED = -1
"""Source number of a mixture."""


class Shadow(NamedTuple):
    """One model to train. ``source`` is 0 for my generator, 1.. for the others in the recipe's order, -1 for a
    mixture."""

    source: int
    architecture: int
    number: int
    fraction: float
    other: int

    @property
    def name(self) -> str:
        """Of its folder."""
        kind = f"mixture-{self.fraction:g}" if self.source == MIXED else f"source-{self.source}"
        return f"{kind}-{self.architecture}-{self.number}"


class Job(NamedTuple):
    """What a worker needs to train one shadow, wherever it runs."""

    shadow: Shadow
    recipe: AuditRecipe
    pictures: Path
    folder: Path


def planned(recipe: AuditRecipe) -> list[Shadow]:
    """Every shadow of a recipe, in the order of training."""
    kinds = range(len(recipe.architectures))
    found = [
        Shadow(source, kind, number, float(source == 0), source)
        for source in range(len(recipe.others) + 1)
        for kind in kinds
        for number in range(recipe.mine_each if source == 0 else recipe.others_each)
    ]
    # every pair of other source and architecture as often as any, in an order of its own for each fraction: neither
    # tells of the other
    pairs = [(1 + other, kind) for other in range(len(recipe.others)) for kind in kinds]
    for place, fraction in enumerate(recipe.mixtures.fractions):
        order = np.random.default_rng([recipe.seed, 2, place]).permutation(len(pairs))
        for number in range(recipe.mixtures.each):
            other, kind = pairs[order[number % len(pairs)]]
            found.append(Shadow(MIXED, kind, number, fraction, other))
    return found


def build(architecture: Architecture, classes: int, channels: int, size: int) -> Any:
    """A fresh model of an architecture; its weights come from torch's global stream.

    Raises:
        UserError: transformers knows no such configuration, or the user's function fails.
    """
    if architecture.function is not None:
        function = import_object(architecture.function, f"architectures: {architecture.name}: function")
        try:
            return function(classes, channels, size)
        except Exception as error:  # the user's own code
            raise UserError(
                f"architectures: {architecture.name}: {architecture.function} raised {raised(error)}"
            ) from error
    from transformers import AutoConfig, AutoModelForImageClassification

    settings = dict(architecture.config or {})
    kind = settings.pop("model_type")
    try:
        config = AutoConfig.for_model(kind, **settings)
        config.num_labels, config.num_channels = classes, channels
        if "image_size" not in settings and hasattr(config, "image_size"):
            config.image_size = size
        return AutoModelForImageClassification.from_config(config)
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"architectures: {architecture.name}: transformers cannot build it ({reason})") from error


def training_of(recipe: AuditRecipe, architecture: Architecture) -> Training:
    """The recipe's training with the architecture's own settings on top."""
    return Training.model_validate(recipe.training.model_dump() | architecture.training)


def made(job: Job) -> bool:
    """Whether the shadow is already there, whole."""
    return (job.folder / job.shadow.name / "shadow.json").exists()


def train_shadow(job: Job) -> str:
    """Train one shadow and store it with its answers; returns its name. Trains nothing where it is there already."""
    shadow, recipe = job.shadow, job.recipe
    if made(job):
        return shadow.name
    import torch

    from burnish.prove.trainprove.training import draw_variation, predict, train_classifier

    rng = np.random.default_rng([recipe.seed, *shadow.name.encode()])
    with one_thread():
        pictures, labels, temperature = training_set(job, rng)
        # a mixture keeps its share: it sees all of what was mixed
        variation = recipe.variation if shadow.source != MIXED else _whole(recipe.variation)
        draw = draw_variation(variation, temperature, rng)
        seed = int(rng.integers(2**31))
        torch.manual_seed(seed)
        architecture = recipe.architectures[shadow.architecture]
        model = build(architecture, len(recipe.classes), recipe.channels, recipe.size)
        training = training_of(recipe, architecture)
        train_classifier(model, pictures, labels, training, draw, seed, recipe.device)
        logits = predict(model, load_pixels(job.pictures / "validation.npy"), device=recipe.device)
    if logits.shape[1] != len(recipe.classes):
        raise UserError(
            f"architectures: {architecture.name} answers {logits.shape[1]} classes, the recipe lists "
            f"{len(recipe.classes)}"
        )
    _store(model.cpu(), logits, job, float((logits.argmax(1) == _truth(job)).mean()))
    return shadow.name


def _whole(variation: Variation) -> Variation:
    return variation.model_copy(update={"share": (1.0, 1.0)})


def _truth(job: Job) -> np.ndarray:
    return load_array(job.pictures / "validation.safetensors", "labels")


def training_set(job: Job, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures (on disk, but for a mixture), labels and drawing temperatures that a shadow may see."""

    def pool(source: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        path = job.pictures / f"source-{source}.safetensors"
        return load_pixels(path.with_suffix(".npy")), load_array(path, "labels"), load_array(path, "temperature")

    shadow = job.shadow
    if shadow.source != MIXED:
        return pool(shadow.source)
    mine, other = pool(0), pool(shadow.other)
    count = min(len(mine[0]), len(other[0]))
    keep = min(count - 1, max(1, round(shadow.fraction * count)))
    first, second = rng.permutation(len(mine[0]))[:keep], rng.permutation(len(other[0]))[: count - keep]
    pixels, labels, _ = (np.concatenate([a[first], b[second]]) for a, b in zip(mine, other, strict=True))
    return pixels, labels, np.ones(count)


def _store(model: Any, logits: np.ndarray, job: Job, accuracy: float) -> None:
    from safetensors.numpy import save_file
    from safetensors.torch import save_model

    with folder_atomic(job.folder / job.shadow.name) as work:
        if hasattr(model, "save_pretrained"):
            import transformers

            transformers.utils.logging.disable_progress_bar()
            model.save_pretrained(work)
        else:
            save_model(model, str(work / "model.safetensors"))
        save_file({"logits": np.ascontiguousarray(logits)}, work / "answers.safetensors")
        about = job.shadow._asdict() | {
            "accuracy": accuracy,
            "kind": job.recipe.architectures[job.shadow.architecture].name,
        }
        (work / "shadow.json").write_text(json.dumps(about))


def answers(folder: Path, shadow: Shadow) -> np.ndarray:
    """A stored shadow's logits [n, classes] on the validation pictures."""
    return load_array(folder / shadow.name / "answers.safetensors", "logits")


def about(folder: Path, shadow: Shadow) -> dict[str, Any]:
    """What is known of a stored shadow: what it was, and its validation accuracy."""
    found = read_json(folder / shadow.name / "shadow.json")
    if not isinstance(found, dict):
        raise UserError(
            f"{folder / shadow.name}/shadow.json: damaged; remove that folder and run the same command again"
        )
    return found


def load_array(path: Path, name: str) -> np.ndarray:
    """One array of a safetensors file, without reading the others.

    Raises:
        UserError: the file cannot be read; remove it and it is made again.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return np.asarray(file.get_tensor(name))
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be read ({error}); remove it and run the same command again") from None


def load_pixels(path: Path) -> np.ndarray:
    """Bytes [n, height, width, channels] as a memory map.

    Raises:
        UserError: the file cannot be read; remove it and it is made again.
    """
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); remove it and run the same command again") from None
