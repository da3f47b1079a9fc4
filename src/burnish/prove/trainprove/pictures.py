"""The audit's pictures on disk: a pool to train on for every source, and one set of validation pictures to ask about.

Drawn in parts, each stored when it is whole: an interrupted audit draws none twice. Pixels lie in one plain array a
pool (``NAME.npy``, read as a memory map, so that a pool may be larger than memory), labels and drawing temperatures
beside it in
``NAME.safetensors``, written last. Knows files; no test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from burnish.core.errors import UserError
from burnish.core.files import explained, temporary, write_atomic
from burnish.prove.images import digests
from burnish.prove.overlap import near_duplicates
from burnish.prove.trainprove.generators import Folder, PictureGenerator, picture_generator
from burnish.prove.trainprove.prompts import Strategy
from burnish.prove.trainprove.recipe import AuditRecipe, SourceSettings, reference_sources
from burnish.prove.trainprove.shadows import load_array, load_pixels

PART = 200
"""Pictures a part: what a kill can lose."""


def sources(recipe: AuditRecipe) -> list[SourceSettings]:
    """Mine first."""
    return [recipe.mine, *recipe.others]


def draw_all(recipe: AuditRecipe, folder: Path) -> Iterator[str]:
    """Make whatever is not there yet; yields a line after each part, so that a loop may stop there.

    What is there already is yielded too: the lines are the same whether or not the drawing was interrupted.

    Raises:
        UserError: a source that cannot be drawn from, or validation pictures that are among the training ones.
    """
    for number, source in enumerate(sources(recipe)):
        generator = picture_generator(source, recipe)
        for what, count, strategy in _wanted(recipe, number):
            target = folder / f"{what}-{number}.safetensors"
            drawn = None if isinstance(generator, Folder) else _drawing(recipe, count, what)
            if isinstance(generator, Folder):
                read = partial(generator.read, count=count, training=what == "source")
                pieces: list[Callable[[], np.ndarray]] = [partial(read, label) for label in range(len(recipe.classes))]
            else:
                assert drawn is not None
                pieces = _pieces(recipe, generator, drawn, (number, what == "source"), strategy)
            parts = [target.with_name(f"{target.stem}.part-{place}.npy") for place in range(len(pieces))]
            for place, (piece, part) in enumerate(zip(pieces, parts, strict=True), 1):
                if not target.exists() and not part.exists():
                    _save_pixels(part, [piece()])
                yield f"{source.name}: {what} pictures {place}/{len(parts)}"
            if not target.exists():
                _join_parts(parts, target, drawn)
            for part in parts:
                part.unlink(missing_ok=True)
            yield f"{source.name}: {what} pictures"
    if not (folder / "validation.safetensors").exists():
        _join(recipe, folder)
    yield "validation pictures"


def _join_parts(parts: list[Path], target: Path, drawn: _Drawing | None) -> None:
    """The parts as one file of pictures, and one of labels and temperatures."""
    stored = [load_pixels(part) for part in parts]
    if drawn is None:
        labels = np.repeat(np.arange(len(stored)), [len(part) for part in stored]).astype(np.int64)
        temperatures = np.ones(len(labels))
    else:
        order = np.concatenate(drawn.parts)
        labels, temperatures = drawn.labels[order], drawn.temperature[order]
    _save_pixels(target.with_suffix(".npy"), stored)
    _save(target, {"labels": labels, "temperature": temperatures})


class _Drawing(NamedTuple):
    """What is drawn: class and temperature of each picture, and which are drawn at once."""

    labels: np.ndarray
    temperature: np.ndarray
    parts: list[np.ndarray]


def _drawing(recipe: AuditRecipe, count: int, what: str) -> _Drawing:
    labels = np.repeat(np.arange(len(recipe.classes)), count).astype(np.int64)
    temperature = _temperatures(recipe, labels, what)
    return _Drawing(labels, temperature, list(_parts(temperature)))


def _pieces(
    recipe: AuditRecipe, generator: PictureGenerator, drawn: _Drawing, stream: tuple[int, bool], strategy: Strategy
) -> list[Callable[[], np.ndarray]]:
    """One call a part, each with a seed of its own; ``stream`` (source, training) tells the seeds of two sets apart."""
    pieces: list[Callable[[], np.ndarray]] = []
    for place, rows in enumerate(drawn.parts):
        seed = int(np.random.default_rng([recipe.seed, *stream, place]).integers(2**31))
        temperature = float(drawn.temperature[rows[0]])
        pieces.append(partial(_drawn, generator, drawn.labels[rows], seed, temperature, strategy))
    return pieces


def _drawn(
    generator: PictureGenerator, labels: np.ndarray, seed: int, temperature: float, strategy: Strategy
) -> np.ndarray:
    return np.asarray(generator.draw(labels, seed, temperature, strategy))


def _wanted(recipe: AuditRecipe, number: int) -> Iterator[tuple[str, int, Strategy]]:
    yield "source", recipe.shadow_pictures, recipe.shadow_prompts
    if number == 0:
        yield "asked", recipe.validation_pictures, recipe.validation_prompts
    elif sources(recipe)[number].name in reference_sources(recipe):
        yield "asked", recipe.reference_pictures, recipe.validation_prompts


def _temperatures(recipe: AuditRecipe, labels: np.ndarray, what: str) -> np.ndarray:
    """Every class sees every temperature in turn; validation pictures are drawn at 1."""
    if what != "source":
        return np.ones(len(labels))
    place = np.arange(len(labels)) % recipe.shadow_pictures
    return np.array(recipe.variation.temperatures, dtype=float)[place % len(recipe.variation.temperatures)]


def _parts(temperature: np.ndarray) -> Iterator[np.ndarray]:
    for value in np.unique(temperature):
        rows = np.flatnonzero(temperature == value)
        yield from np.array_split(rows, -(-len(rows) // PART))


def _join(recipe: AuditRecipe, folder: Path) -> None:
    """One file of all validation pictures, with the set of each: 0 mine, then the references in order.

    Between two folders near copies count too (a picture saved again). A generator's pictures may be near one another by
    nature.
    """
    pixels, labels, sets = [], [], []
    names = [source.name for source in sources(recipe)]
    trained = {key for number in range(len(names)) for key in digests(load_pixels(folder / f"source-{number}.npy"))}
    held = [number for number, source in enumerate(sources(recipe)) if source.pictures]
    for place, name in enumerate([names[0], *reference_sources(recipe)]):
        path = folder / f"asked-{names.index(name)}.safetensors"
        found = load_pixels(path.with_suffix(".npy"))
        shared = {row for row, key in enumerate(digests(found)) if key in trained}
        if names.index(name) in held:
            for number in held:
                pool = load_pixels(folder / f"source-{number}.npy")
                shared |= {row for _, row in near_duplicates(pool, found)}
        if shared:
            raise UserError(
                f"{name}: {len(shared)} of {len(found)} validation pictures are, exactly or nearly, among the training "
                "pictures; keep them apart"
            )
        pixels.append(found)
        labels.append(load_array(path, "labels"))
        sets.append(np.full(len(found), place, dtype=np.int64))
    _save_pixels(folder / "validation.npy", pixels)
    _save(folder / "validation.safetensors", {"labels": np.concatenate(labels), "sets": np.concatenate(sets)})


def _save_pixels(path: Path, parts: list[np.ndarray]) -> None:
    """Write ``parts`` one after the other as one array that is whole or absent, holding no more than a part in
    memory."""
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        work = temporary(path)
        shape = (sum(len(part) for part in parts), *parts[0].shape[1:])
        array = np.lib.format.open_memmap(work, mode="w+", dtype=np.uint8, shape=shape)
        start = 0
        for part in parts:
            array[start : start + len(part)] = part
            start += len(part)
        array.flush()
        work.replace(path)


def _save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    from safetensors.numpy import save

    write_atomic(path, save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))
