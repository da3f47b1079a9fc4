"""Labelled texts from a source, and their parts: to fit on, to choose by, to measure on. Knows no model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from burnish.core.errors import UserError
from burnish.dialogue.sources import Row, rows
from burnish.private.prompts import refuse_classes
from burnish.private.recipe import TextSettings

Note = Callable[[str], None]
NAMED = 5
"""So many of the rows that are left out are named."""


@dataclass(frozen=True)
class Texts:
    """Texts with their classes.

    Attributes:
        texts: in the order of the source; one may be empty.
        labels: places in ``classes``.
        classes: names.
    """

    texts: tuple[str, ...]
    labels: Int64[np.ndarray, " texts"]
    classes: tuple[str, ...]

    def some(self, places: Int64[np.ndarray, " some"]) -> Texts:
        """Those at the places."""
        return Texts(tuple(self.texts[at] for at in places), self.labels[places], self.classes)


@dataclass(frozen=True)
class Parts:
    """No text is in two of them."""

    train: Texts
    validation: Texts
    test: Texts


def read_texts(settings: TextSettings, note: Note = lambda _: None) -> Texts:
    """All rows of a source that have a text and a class.

    Args:
        settings: where they are.
        note: gets a line for the first few rows that are left out, and one that counts them.

    Raises:
        UserError: no such source, no row that can be used, fewer than two classes, or duplicate names of classes.
    """
    found: list[tuple[str, str]] = []
    bad: list[str] = []
    wanted = None if settings.classes is None else set(settings.classes)
    for place, row in rows(settings.source, settings.split):
        read = _read(row, settings)
        if isinstance(read, str):
            bad.append(f"{place}: left out: {read}")
        elif wanted is None or read[1] in wanted:
            found.append(read)
    for line in bad[:NAMED]:
        note(line)
    if bad:
        note(f"{settings.source}: {len(found):,} texts; {len(bad):,} rows left out")
    if not found:
        raise UserError(f"data.source: {settings.source}: no row of it has `{settings.text}` and `{settings.label}`")
    classes = tuple(settings.classes or sorted({label for _, label in found}))
    refuse_classes(classes)
    places = {name: place for place, name in enumerate(classes)}
    labels = np.array([places[label] for _, label in found], np.int64)
    return Texts(tuple(text for text, _ in found), labels, classes)


def _read(row: Row, settings: TextSettings) -> tuple[str, str] | str:
    if isinstance(row, str):
        return row
    if not isinstance(row, Mapping):
        return "a question, not a text with a class"
    text, label = row.get(settings.text), row.get(settings.label)
    if not isinstance(text, str):
        return f"its `{settings.text}` is {'missing' if text is None else f'a {type(text).__name__}'}"
    if label is None or isinstance(label, bool | dict | list | float):
        return f"its `{settings.label}` is {'missing' if label is None else f'a {type(label).__name__}'}"
    return text, str(label)


def split_texts(texts: Texts, settings: TextSettings, rng: np.random.Generator) -> Parts:
    """Parts of the asked-for sizes, drawn with each class as often as its texts last; equal texts stay together.

    Raises:
        UserError: fewer texts than asked for, or a class without a text.
    """
    first = {text: place for place, text in reversed(list(enumerate(texts.texts)))}
    own = sorted(first.values())  # a text that comes twice would be fitted on and measured on
    total = settings.train + settings.validation + settings.test
    if len(own) < total:
        raise UserError(
            f"data: {settings.source}: {len(own):,} different texts; data.train, data.validation and data.test ask for "
            f"{total:,}"
        )
    counts = np.bincount(texts.labels[own], minlength=len(texts.classes))
    if (counts == 0).any():
        raise UserError(f"data: {settings.source}: no text of class `{texts.classes[int(counts.argmin())]}`")
    order = _in_turn(texts.labels[own], rng)
    picked = rng.permutation(np.array(own)[order[:total]])
    train, validation, test = np.split(picked, [settings.train, settings.train + settings.validation])
    return Parts(texts.some(train), texts.some(validation), texts.some(test))


def _in_turn(labels: Int64[np.ndarray, " texts"], rng: np.random.Generator) -> Int64[np.ndarray, " texts"]:
    """Places in an order that takes one of each class in turn while they last."""
    rank = np.zeros(len(labels))
    for name in np.unique(labels):
        places = np.flatnonzero(labels == name)
        rank[rng.permutation(places)] = np.arange(len(places))
    return np.asarray(np.lexsort((rng.random(len(labels)), rank)), np.int64)
