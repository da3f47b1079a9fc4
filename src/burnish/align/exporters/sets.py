"""What is exported: probes, pictures to describe, answers; checked before anything is written. Knows no layout."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image

from burnish.align.facts import Thing
from burnish.align.pope import Probe
from burnish.align.probes import ProbeSet
from burnish.align.winners import render
from burnish.core.errors import UserError

Pictures = Mapping[str, Image.Image]
"""The pictures of a probe set by their ids."""


@dataclass(frozen=True)
class Description:
    """A picture that is to be described.

    Attributes:
        image: id of the picture.
        question: as asked.
        references: true descriptions of it, at least one.
    """

    image: str
    question: str
    references: tuple[str, ...]


Asked = Sequence[Probe | Description]
"""Questions of one kind, in the order of their answers."""


def description(image: str, question: str, truth: Sequence[Thing]) -> Description:
    """A picture to describe whose reference is its annotation as a sentence.

    >>> description("a", "Describe the picture.", [Thing("circle", ("red",)), Thing("owl")]).references
    ('There is a red circle and an owl.',)
    """
    return Description(image, question, (render(truth, "sentence") or "There is nothing.",))


def from_probe_set(probes: ProbeSet, question: str) -> tuple[dict[str, Image.Image], list[Description]]:
    """The pictures of a run's probe set, opened, and each of them to be described; its ``probes`` are POPE's.

    Args:
        probes: of :func:`burnish.align.probes.read_probes`.
        question: what is asked about each picture.

    Raises:
        UserError: a picture that can no longer be read.
    """
    pictures = {each.picture: each.open() for each in probes.pictures}
    return pictures, [description(each.picture, question, each.truth) for each in probes.pictures]


def check_set(name: str, asked: Asked, pictures: Pictures) -> None:
    """Refuse what would give a file that cannot be used.

    Raises:
        UserError: a name that is none for a file, nothing to ask, or a picture that is not there.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise UserError(f"name: {name!r}: becomes the name of a file; use letters, digits, `_`, `-` and `.`")
    if not asked:
        raise UserError(f"{name}: nothing to export; the probe set is empty")
    for each in asked:
        if each.image not in pictures:
            raise UserError(f"{name}: no picture {each.image!r}, which {each.question!r} is asked about")


def check_answers(name: str, asked: Asked, answers: Sequence[str]) -> None:
    """Refuse answers that are not one to a question.

    Raises:
        UserError: more or fewer answers than questions.
    """
    if len(asked) != len(answers):
        raise UserError(f"{name}: {len(asked)} questions and {len(answers)} answers; give one answer to each, in order")


def png(picture: Image.Image) -> bytes:
    """A picture as a PNG file of RGB: nothing of it is lost, as a JPEG would."""
    file = io.BytesIO()
    picture.convert("RGB").save(file, format="PNG")
    return file.getvalue()
