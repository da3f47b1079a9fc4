"""The pictures of the page on calibrated decoding are the scenes that its commands ask about."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from burnish.dialogue.models import opened
from burnish.testbeds.shortcut import HELD_OUT, held_out

IMAGES = Path(__file__).parents[3] / "docs/images"


@pytest.mark.parametrize(
    ("name", "index", "question", "answer"),
    [
        ("helps", 137, "what is on the left in the attic ?", "disc"),
        ("hurts", 110, "what is on the left in the hall ?", "triangle"),
    ],
)
def test_the_page_shows_what_was_asked(name: str, index: int, question: str, answer: str) -> None:
    scene = held_out(2 / 3, 200, HELD_OUT + 1)[index]
    assert (scene.question, scene.answer) == (question, answer)
    shown = np.asarray(Image.open(IMAGES / f"calibration-{name}.png"))
    assert np.array_equal(shown[::8, ::8], np.asarray(opened([scene])[0][0]))
