"""T2I-CompBench (Huang et al., NeurIPS 2023, arXiv 2307.06350): prompts, the folder of pictures, results.

Folders and files are those of the public code: ``samples/PROMPT_000012.png`` with a number that runs through all
pictures, and ``annotation_NAME/vqa_result.json`` with an answer in 0..1 a picture, in the order of these numbers. What
a picture is worth (BLIP-VQA, UniDet, CLIP) is for a scorer to say, which the user gives. Knows files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from burnish.core.errors import UserError, nearest
from burnish.core.files import read_json, write_atomic
from burnish.generate.picture_files import write_picture
from burnish.generate.steps.state import Picture

CATEGORIES = ("color", "shape", "texture", "spatial", "3d_spatial", "numeracy", "non_spatial", "complex")
PICTURES = 10
"""Of each prompt, in the published protocol."""
Scorer = Callable[[Picture, str], float]
"""From a picture and its prompt to how well they agree, in 0..1."""


def read_prompts(folder: Path, category: str) -> list[str]:
    """The validation prompts of a category, without their final full stop.

    Args:
        folder: ``examples/dataset`` of the public code.
        category: of :data:`CATEGORIES`.

    Raises:
        UserError: an unknown category, or no prompts there.
    """
    if category not in CATEGORIES:
        raise UserError(f"category: `{category}` is unknown; {nearest(category, CATEGORIES)}")
    path = folder / f"{category}_val.txt"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); give T2I-CompBench's examples/dataset") from None
    found = [line.strip().rstrip(".") for line in lines if line.strip()]
    if not found:
        raise UserError(f"{path}: holds no prompts")
    return found


def write_pictures(folder: Path, first: int, prompt: str, pictures: Sequence[Picture]) -> int:
    """Write the pictures of one prompt where T2I-CompBench looks for them.

    Args:
        folder: of a category.
        first: number of the first of these pictures.
        prompt: whose.
        pictures: of it.

    Returns:
        The number of the next picture.

    Raises:
        UserError: a prompt that cannot be a file's name, or with the mark that ends it there.
    """
    if "_" in prompt or "/" in prompt or len(prompt.encode()) > 240:
        raise UserError(f"prompt `{prompt[:40]}`: cannot be a file's name in T2I-CompBench (`_`, `/`, or too long)")
    for place, picture in enumerate(pictures):
        write_picture(folder / "samples" / f"{prompt}_{first + place:06d}.png", picture)
    return first + len(pictures)


def samples(folder: Path) -> list[tuple[Path, str]]:
    """The pictures of a folder and their prompts, in the order of their numbers.

    Raises:
        UserError: none there.
    """
    found = []
    for path in (folder / "samples").glob("*.png"):
        prompt, _, number = path.stem.rpartition("_")
        if number.isdigit():
            found.append((int(number), path, prompt))
    if not found:
        raise UserError(f"{folder}: holds no pictures in T2I-CompBench's layout (samples/PROMPT_000000.png)")
    return [(path, prompt) for _, path, prompt in sorted(found)]


def evaluate(folder: Path, name: str, scorer: Scorer) -> Path:
    """Score all pictures of a folder, and write ``annotation_NAME/vqa_result.json``.

    Args:
        folder: as :func:`write_pictures` leaves it.
        name: of the scorer: ``blip``, ``obj_detection``, ``clip``.
        scorer: the user's.

    Raises:
        UserError: no pictures there, or an answer beyond 0..1.
    """
    from PIL import Image

    rows = []
    for number, (path, prompt) in enumerate(samples(folder)):
        with Image.open(path) as file:
            answer = float(scorer(np.asarray(file.convert("RGB")), prompt))
        if not 0 <= answer <= 1:
            raise UserError(f"{path.name}: the scorer `{name}` says {answer}; answers lie in 0..1")
        rows.append({"question_id": number, "answer": f"{answer:.4f}"})
    return write_atomic(folder / f"annotation_{name}" / "vqa_result.json", json.dumps(rows))


def answers(path: Path) -> list[float]:
    """The answers of a ``vqa_result.json``, in order.

    Raises:
        UserError: no such file, or not of this form.
    """
    rows = read_json(path)
    try:
        found = [float(row["answer"]) for row in rows]
    except (TypeError, KeyError, ValueError):
        raise UserError(f"{path}: not T2I-CompBench's results (a list of question_id and answer)") from None
    if not found or not all(map(math.isfinite, found)):
        raise UserError(f"{path}: holds no answers, or answers that are no numbers")
    return found


def score(path: Path) -> float:
    """The mean of a ``vqa_result.json``: the score of its category."""
    found = answers(path)
    return sum(found) / len(found)


def three_in_one(folder: Path, kinds: Mapping[str, str]) -> float:
    """The score of ``complex``: for each picture the mean of the scorers that its prompt needs.

    Args:
        folder: with the results of ``blip``, ``obj_detection`` and ``clip``.
        kinds: of prompts: ``spatial`` (attributes and places), ``action`` (attributes and actions); others need all.

    Raises:
        UserError: results missing, or not as many as pictures.
    """
    parts = {
        name: answers(folder / f"annotation_{name}" / "vqa_result.json") for name in ("blip", "obj_detection", "clip")
    }
    pictures = samples(folder)
    if {len(part) for part in parts.values()} != {len(pictures)}:
        raise UserError(f"{folder}: {len(pictures)} pictures, and results of {[len(part) for part in parts.values()]}")
    needed = {"spatial": ("blip", "obj_detection"), "action": ("blip", "clip")}
    total = 0.0
    for number, (_, prompt) in enumerate(pictures):
        names = needed.get(kinds.get(prompt, ""), ("blip", "obj_detection", "clip"))
        total += sum(parts[name][number] for name in names) / len(names)
    return total / len(pictures)
