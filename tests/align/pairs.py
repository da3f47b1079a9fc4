"""A tiny LLaVA and triplets of plain pictures: what the tests of training look through."""

from pathlib import Path
from typing import Any

from PIL import Image

from burnish.align.recipe import ShapeRecipe
from burnish.align.records import Triplet
from burnish.dialogue.models import ChatModel
from tests.dialogue import tiny

COLOURS = ("red", "green", "blue", "white", "black", "orange")


def llava(seed: int = 0) -> ChatModel:
    return tiny.build("llava", seed)


def triplets(folder: Path, count: int = 6) -> list[Triplet]:
    """Answers of many lengths, the winner now the longer, now the shorter."""
    found = []
    for number in range(count):
        path = folder / f"{number}.png"
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20 + number, 16), COLOURS[number % len(COLOURS)]).save(path)
        long, short = f"there is {number} " * (1 + number % 3), "no" + "!" * (number % 2)
        chosen, rejected = (long, short) if number % 2 else (short, long)
        found.append(Triplet(f"row {number}", path, f"what is it? {'?' * number}", chosen.strip(), rejected.strip()))
    return found


def recipe(training: dict[str, Any] | None = None, **settings: Any) -> ShapeRecipe:
    return ShapeRecipe.model_validate(
        {
            "model": "none",
            "data": {"source": "none.jsonl"},
            "device": "cpu",
            "training": {"learning_rate": 1e-3, "lr_scheduler": "constant", **(training or {})},
            **settings,
        }
    )
