"""A small vocabulary, and texts read by it."""

from burnish.align.facts import Reading
from burnish.align.reading import Vocabulary, read

VOCABULARY = Vocabulary(
    {
        "circle": ("disc",),
        "square": (),
        "cross": (),
        "dog": ("puppy",),
        "hot dog": (),
        "person": ("man", "woman"),
        "owl": (),
    },
    {
        "colour": {"red": ("scarlet",), "blue": (), "green": (), "yellow": (), "brown": ()},
        "size": {"big": ("large", "very large"), "small": ("tiny",)},
    },
)


def said(text: str) -> Reading:
    return read(text, VOCABULARY)
