"""What goes between the rooms of align: records, what is asked of a generator, what it answers. Knows Pillow only."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PIL import Image

MOST_ASPECT = 200
"""A picture over so many times as long as wide is left out: processors refuse it (Qwen-VL's) in the middle of a run, or
make it as many times as long as the model's own side, which no memory holds (CLIP's)."""


@dataclass(frozen=True)
class Record:
    """A picture with an instruction and the supervised text: what one pair is made from.

    Attributes:
        sample: id, of the picture's pixels and both texts: the same in any order and any file.
        picture: hash of the decoded pixels.
        image: the picture, decoded, RGB.
        question: the instruction.
        text: the supervised answer or caption.
        row: where it came from (``file:line``), for messages.
    """

    sample: str
    picture: str
    image: Image.Image
    question: str
    text: str
    row: str = ""


@dataclass(frozen=True)
class Ask:
    """One question to a generator.

    Attributes:
        question: the user's turn.
        image: shown before it; none asks in words alone (a summary).
        seed: of this answer's own random numbers.
    """

    question: str
    image: Image.Image | None
    seed: int = 0


@dataclass(frozen=True)
class Sampling:
    """How answers are written.

    Attributes:
        tokens: the most an answer may have.
        temperature: 0 takes the likeliest token.
        top_p: nucleus; 1 is no limit.
    """

    tokens: int
    temperature: float = 0.0
    top_p: float = 1.0


@dataclass(frozen=True)
class Answer:
    """What a generator wrote.

    Attributes:
        text: without special tokens, stripped; empty where it wrote nothing.
        tokens: how many, the end mark included; 0 where an endpoint does not say.
        cut: whether the limit of tokens ended it.
    """

    text: str
    tokens: int = 0
    cut: bool = False


class Generator(Protocol):
    """Answers questions about pictures. What one answer is does not depend on who else is asked with it."""

    def answer(self, asks: Sequence[Ask], sampling: Sampling) -> list[Answer]:
        """Answers in order.

        Raises:
            UserError: a question that the model cannot take; an endpoint that stays down.
        """
        ...


def picture_hash(image: Image.Image) -> str:
    """Hash of a picture's size and pixels, whatever file it came in; 32 hexadecimal digits."""
    rgb = image.convert("RGB")
    return hashlib.sha256(f"{rgb.width} {rgb.height} ".encode() + rgb.tobytes()).hexdigest()[:32]


def make_record(image: Image.Image, question: str, text: str, row: str = "") -> Record:
    """A record with its ids.

    >>> make_record(Image.new("RGB", (2, 2)), "What is there?", "Nothing.").sample
    '2300c440f9ea2014'
    """
    picture = picture_hash(image)
    sample = hashlib.sha256("\0".join([picture, question, text]).encode()).hexdigest()[:16]
    return Record(sample, picture, image, question, text, row)


@dataclass(frozen=True)
class Triplet:
    """One line of the triplet store, as TRL reads it, with where it comes from.

    Attributes:
        sample: id of the record.
        image: the picture's file, relative to the store.
        question: the instruction.
        chosen: the winner.
        rejected: the loser.
    """

    sample: str
    image: Path
    question: str
    chosen: str
    rejected: str
