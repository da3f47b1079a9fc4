"""Pictures of given classes from any source a recipe names: a diffusers pipeline, the user's function, or a folder.

A pipeline is loaded from safetensors only and runs no code of its own. Knows recipes, diffusers and Pillow; no test.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int, UInt8

from burnish.core.errors import UserError, raised
from burnish.core.method import import_object
from burnish.core.models import offline
from burnish.core.packages import Need, not_installed
from burnish.prove.images import ImageSettings, load_images, resized, with_channels
from burnish.prove.trainprove.prompts import Strategy, class_prompts
from burnish.prove.trainprove.recipe import AuditRecipe, SourceSettings

Pictures = UInt8[np.ndarray, "n height width channels"]
Classes = Int[np.ndarray, " n"]


@runtime_checkable
class PictureGenerator(Protocol):
    """Draws pictures of classes."""

    def draw(self, labels: Classes, seed: int, temperature: float, strategy: Strategy) -> Pictures:
        """One picture a label, [n, size, size, channels]; the same seed gives the same pictures."""
        ...


class Pipeline:
    """Any diffusers text-to-image pipeline. A temperature other than 1 scales nothing: such pipelines have none.

    Raises:
        UserError: the pipeline cannot be loaded from safetensors.
    """

    def __init__(self, source: SourceSettings, recipe: AuditRecipe) -> None:
        self._source, self._recipe = source, recipe
        self._pipeline: Any = None

    def draw(self, labels: Classes, seed: int, _temperature: float, strategy: Strategy) -> Pictures:
        """See :class:`PictureGenerator`."""
        if self._pipeline is None:
            self._pipeline = load_pipeline(self._source, self._recipe.device)
        recipe, source = self._recipe, self._source
        wanted = _prompts(recipe, labels, strategy)
        parts = []
        for rows in _runs([each.guidance for each in wanted], source.batch):
            guidance = source.guidance if source.guidance is not None else wanted[rows[0]].guidance
            parts.append(self._batch([wanted[row].text for row in rows], guidance, seed, rows))
        return np.concatenate(parts)

    def _batch(self, texts: list[str], guidance: float | None, seed: int, rows: Sequence[int]) -> np.ndarray:
        import torch

        options: dict[str, Any] = {}
        if guidance is not None:
            options["guidance_scale"] = guidance
        if self._source.steps is not None:
            options["num_inference_steps"] = self._source.steps
        # one stream a picture: batches and resumption change nothing
        streams = [torch.Generator().manual_seed(seed * 1_000_003 + row) for row in rows]
        images = self._pipeline(prompt=texts, generator=streams, output_type="np", **options).images
        pixels = np.rint(255 * np.clip(np.asarray(images), 0, 1)).astype(np.uint8)
        return resized(with_channels(pixels, self._recipe.channels), self._recipe.size, self._recipe.size)


def load_pipeline(source: SourceSettings, device: str) -> Any:
    """The text-to-image pipeline that ``source.pipeline`` names, by folder or hub id, on ``device``.

    Raises:
        UserError: not installed, not found, not safetensors, or wants code of its own.
    """
    try:
        import torch
        from diffusers import AutoPipelineForText2Image, DiffusionPipeline
    except ModuleNotFoundError:
        raise not_installed(source.name, Need(("diffusers",), "prove")) from None
    name = str(source.pipeline)
    if name.startswith(("/", ".", "~")) and not Path(name).expanduser().is_dir():
        raise UserError(f"{source.name}: {name}: no such folder; give a diffusers pipeline's folder or hub id")
    options = {"dtype": getattr(torch, source.dtype), "use_safetensors": True, "variant": source.variant}
    try:
        try:
            pipeline = AutoPipelineForText2Image.from_pretrained(name, **options)
        except ValueError:
            # pipelines that the automatic class does not list name their own class; it must be one of diffusers'
            pipeline = DiffusionPipeline.from_pretrained(name, trust_remote_code=False, **options)
    except (OSError, ValueError, AttributeError, RuntimeError) as error:
        local = Path(name).expanduser().is_dir()
        reason = ("" if local else offline()) or " ".join(str(error).split())[:200]
        raise UserError(f"{source.name}: {name}: cannot be loaded as a safetensors pipeline ({reason})") from error
    pipeline.set_progress_bar_config(disable=True)
    if getattr(pipeline, "safety_checker", None) is not None:
        pipeline.safety_checker = None  # it blanks pictures, and a blank picture is no picture of its class
    return pipeline.to(device)


def _prompts(recipe: AuditRecipe, labels: np.ndarray, strategy: Strategy) -> list[Any]:
    found: list[Any] = [None] * len(labels)
    for name in np.unique(labels):
        rows = np.flatnonzero(labels == name)
        # by class alone: one guidance a class, in whatever parts its pictures are drawn
        rng = np.random.default_rng([recipe.seed, int(name)])
        gloss = recipe.glosses[name] if recipe.glosses else ""
        for row, prompt in zip(
            rows, class_prompts(strategy, recipe.classes[name], len(rows), rng, gloss=gloss), strict=True
        ):
            found[row] = prompt
    return found


def _runs(values: Sequence[Any], most: int) -> Iterator[list[int]]:
    """Consecutive indices with one value, at most ``most`` at a time."""
    run: list[int] = []
    for index, value in enumerate(values):
        if run and (len(run) == most or value != values[run[0]]):
            yield run
            run = []
        run.append(index)
    if run:
        yield run


class Function:
    """The user's own code; see ``SourceSettings.function``."""

    def __init__(self, source: SourceSettings, recipe: AuditRecipe) -> None:
        self._source, self._recipe = source, recipe

    def draw(self, labels: Classes, seed: int, temperature: float, _strategy: Strategy) -> Pictures:
        """See :class:`PictureGenerator`; the strategy is not passed on.

        Raises:
            UserError: it raises, or returns something else than pictures.
        """
        name, recipe = str(self._source.function), self._recipe
        function = import_object(name, f"{self._source.name}: function")
        try:
            found = function(list(recipe.classes), labels, seed, temperature)
        except UserError:
            raise
        except Exception as error:  # the user's own code
            raise UserError(f"{self._source.name}: {name} raised {raised(error)}") from error
        shape = (len(labels), recipe.size, recipe.size, recipe.channels)
        if not isinstance(found, np.ndarray) or found.dtype != np.uint8 or found.shape != shape:
            what = f"{found.dtype} {found.shape}" if isinstance(found, np.ndarray) else type(found).__name__
            raise UserError(f"{self._source.name}: {name} returned {what}; wanted uint8 {shape}")
        return found


class Folder:
    """Pictures already made: those of ``pictures`` for training, those of ``validation`` to ask about, class by
    class."""

    def __init__(self, source: SourceSettings, recipe: AuditRecipe) -> None:
        self._source, self._recipe = source, recipe

    def read(self, label: int, count: int, *, training: bool) -> Pictures:
        """The first ``count`` pictures of a class in one of the two folders; others are not decoded.

        Raises:
            UserError: unreadable, or no sub-folder of the class's name, or nothing in it.
        """
        recipe, name = self._recipe, self._recipe.classes[label]
        folder = Path(str(self._source.pictures if training else self._source.validation)).expanduser()
        if folder.is_dir() and not (folder / name).is_dir():
            raise UserError(
                f"{self._source.name}: {folder} has no sub-folder `{name}`; it needs one for each of the "
                f"{len(recipe.classes)} classes"
            )
        inside = ImageSettings(source=str(folder / name), size=recipe.size, channels=recipe.channels, limit=count)
        return load_images(inside).pixels


def picture_generator(source: SourceSettings, recipe: AuditRecipe) -> PictureGenerator | Folder:
    """What draws (or holds) the pictures of ``source``."""
    if source.pipeline:
        return Pipeline(source, recipe)
    return Function(source, recipe) if source.function else Folder(source, recipe)
