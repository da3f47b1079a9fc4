"""What counts as an answer: complete, of the right shape and type, finite. Anything else is refused in one line."""

from __future__ import annotations

from typing import Any

import numpy as np

from burnish.prove.suspects.settings import Answer

LABELS = 2**31  # more classes than any model has; keeps a wild number out of arrays indexed by label


class BadAnswer(Exception):
    """What is wrong with an answer, in a few words; whoever asked turns it into an error that says who gave it."""


def checked(
    values: Any, answer: Answer, count: int, width: int | None = None, classes: int | None = None
) -> np.ndarray:
    """An answer as an array: labels int64 [n]; logits and embeddings float32 [n, width].

    Args:
        values: an array or (from JSON) lists of numbers.
        answer: what was asked for.
        count: images asked about.
        width: classes or embedding size of the answers before, if there were any.
        classes: how many classes labels and logits speak of, if whoever asks knows.

    Raises:
        BadAnswer: it is incomplete, ragged, of another type, not finite, of another width than before, or of other
            classes.
    """
    if isinstance(values, list):
        _plain_numbers(values, 1 if answer == "labels" else 2)
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, OverflowError, RuntimeError):
        raise BadAnswer(f"{answer} of unequal length") from None
    if array.dtype.kind not in ("iu" if answer == "labels" else "iuf"):
        wanted = "whole numbers" if answer == "labels" else "numbers"
        raise BadAnswer(f"{answer} of type {array.dtype}, not {wanted}")
    if answer == "labels":
        return _labels(array, count, classes)
    return _vectors(array, answer, count, width, classes)


def _labels(array: np.ndarray, count: int, classes: int | None) -> np.ndarray:
    if array.shape != (count,):
        raise BadAnswer(f"labels of shape {_shape(array)} for {count} images; wanted ({count})")
    if ((array < 0) | (array >= LABELS)).any():
        raise BadAnswer("a label below 0 or beyond any number of classes")
    if classes is not None and (array >= classes).any():
        raise BadAnswer(f"label {array.max()}, but {classes} classes (labels 0 to {classes - 1}) are asked about")
    return array.astype(np.int64)


def _vectors(array: np.ndarray, answer: Answer, count: int, width: int | None, classes: int | None) -> np.ndarray:
    if array.ndim != 2 or len(array) != count or not array.shape[1]:
        raise BadAnswer(f"{answer} of shape {_shape(array)} for {count} images; wanted ({count}, a fixed size)")
    if answer == "logits" and classes is not None and array.shape[1] != classes:
        raise BadAnswer(f"logits of size {array.shape[1]}, but {classes} classes are asked about")
    if width is not None and array.shape[1] != width:
        raise BadAnswer(f"{answer} of size {array.shape[1]}, but {width} before; is this still the same model?")
    with np.errstate(over="ignore"):  # beyond float32 becomes infinite, and is refused as such
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        image = int(np.flatnonzero(~np.isfinite(array).all(1))[0])
        raise BadAnswer(f"{answer} of image {image} of the batch not finite (NaN or infinite)")
    return array


def _plain_numbers(values: list[Any], depth: int) -> None:
    """JSON's true, null, texts and objects are no numbers, even where numpy would take them for some."""
    rows = [values] if depth == 1 else values
    for row in rows:
        if not isinstance(row, list):
            raise BadAnswer("a flat list where a list of lists of numbers was wanted")
        strange = set(map(type, row)) - {int, float}
        if strange:
            raise BadAnswer(f"a {strange.pop().__name__} where a number was wanted")


def _shape(array: np.ndarray) -> str:
    return f"({', '.join(map(str, array.shape))})"
