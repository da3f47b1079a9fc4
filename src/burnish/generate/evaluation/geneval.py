"""GenEval (Ghosh et al., NeurIPS 2023, arXiv 2310.11513): prompts, the folder of pictures, the rule, the scores.

Folders and files are those of the public code, so that its own scripts judge what is drawn here and the other way
round: ``00000/metadata.jsonl`` and ``00000/samples/0000.png`` a prompt, and ``results.jsonl`` with a line a picture.
What is in a picture is for a detector to say, which the user gives; the rule over its findings is here. Knows files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from burnish.core.errors import UserError
from burnish.core.files import write_atomic
from burnish.generate.picture_files import write_picture
from burnish.generate.plan import Box
from burnish.generate.steps.state import Picture

TAGS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
CONFIDENCE, COUNTING_CONFIDENCE = 0.3, 0.9
"""Least confidence of a detection, in all prompts but those that count, and in these."""
MOST = 16
"""Detections of one class that count."""
APART = 0.1
"""Of both sizes together: two centres nearer than this are in no relation."""


@dataclass(frozen=True)
class Detection:
    """One thing that a detector found.

    Attributes:
        name: of its class, as in the prompts' file.
        box: left, top, right, bottom, in any one unit.
        confidence: in 0..1.
        colour: of GenEval's ten, as a classifier says; needed for prompts with colours only.
    """

    name: str
    box: Box
    confidence: float = 1.0
    colour: str | None = None


Detector = Callable[[Picture, Mapping[str, Any]], Sequence[Detection]]
"""From a picture and its prompt's metadata to what is in it."""


def read_prompts(path: Path) -> list[dict[str, Any]]:
    """The prompts of ``evaluation_metadata.jsonl``, as they are.

    Raises:
        UserError: no such file, or a line that is no prompt, by its number.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); give GenEval's evaluation_metadata.jsonl") from None
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            _check(row)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            said = f"{type(error).__name__} {error}"
            raise UserError(f"{path}:{number}: not a prompt of GenEval ({said})") from None
        found.append(row)
    if not found:
        raise UserError(f"{path}: holds no prompts")
    return found


def _check(row: Any) -> None:
    if not isinstance(row["prompt"], str) or row["tag"] not in TAGS:
        raise ValueError(f"tag `{row['tag']}`; known: {', '.join(TAGS)}")
    for part in ("include", "exclude"):
        for clause in row.get(part, []):
            if not isinstance(clause["class"], str) or not isinstance(clause["count"], int):
                raise TypeError(f"a clause of `{part}`")
    for place, clause in enumerate(row["include"]):
        if "position" in clause and not 0 <= clause["position"][1] < place:
            raise ValueError("a position relative to what does not come before it")


def write_pictures(folder: Path, number: int, prompt: Mapping[str, Any], pictures: Sequence[Picture]) -> Path:
    """Write the pictures of one prompt where GenEval looks for them.

    Args:
        folder: of all.
        number: of the prompt, from 0.
        prompt: its metadata.
        pictures: four in the published protocol.
    """
    home = folder / f"{number:05d}"
    for place, picture in enumerate(pictures):
        write_picture(home / "samples" / f"{place:04d}.png", picture)
    write_atomic(home / "metadata.jsonl", json.dumps(prompt))
    return home


def judge(prompt: Mapping[str, Any], detections: Sequence[Detection]) -> tuple[bool, str]:
    """Whether a picture is right by GenEval's rule, and what is wrong with it, a line a fault.

    The most confident detections of a class stand for it. Colours and positions are looked at where there are enough.
    """
    found = _kept(prompt, detections)
    faults: list[str] = []
    groups: list[list[Detection] | None] = []
    for clause in prompt["include"]:
        name, count = clause["class"], clause["count"]
        group = found.get(name, [])[:count]
        fault = ""
        if len(group) < count:
            fault = f"{count} {name} expected, {len(group)} found"
        elif "color" in clause and sum(each.colour == clause["color"] for each in group) < count:
            seen = ", ".join(str(each.colour) for each in group)
            fault = f"{count} {clause['color']} {name} expected, {seen} found"
        elif "position" in clause:
            fault = _misplaced(group, groups, *clause["position"])
        faults += [fault] if fault else []
        groups.append(None if fault else group)
    for clause in prompt.get("exclude", []):
        name, count = clause["class"], clause["count"]
        if len(found.get(name, [])) >= count:
            faults.append(f"fewer than {count} {name} expected, {len(found[name])} found")
    return not faults, "\n".join(faults)


def _kept(prompt: Mapping[str, Any], detections: Sequence[Detection]) -> dict[str, list[Detection]]:
    """The detections that count, by class, the most confident first."""
    least = COUNTING_CONFIDENCE if prompt["tag"] == "counting" else CONFIDENCE
    found: dict[str, list[Detection]] = {}
    for each in sorted(detections, key=lambda each: -each.confidence):
        if each.confidence > least and len(found.setdefault(each.name, [])) < MOST:
            found[each.name].append(each)
    return found


def _misplaced(group: Sequence[Detection], groups: Sequence[list[Detection] | None], relation: str, place: int) -> str:
    targets = groups[place]
    if targets is None:
        return f"nothing that {group[0].name} could be {relation}"
    for each in group:
        for target in targets:
            if relation not in (seen := relations(each.box, target.box)):
                return f"{each.name} {relation} {target.name} expected, {' and '.join(sorted(seen)) or 'neither'} found"
    return ""


def relations(first: Box, second: Box) -> set[str]:
    """Where the first box is, seen from the second.

    >>> sorted(relations((0.0, 0.0, 2.0, 2.0), (8.0, 0.0, 10.0, 2.0)))
    ['left of']
    """
    a, b = np.array(first).reshape(2, 2), np.array(second).reshape(2, 2)
    offset = a.mean(axis=0) - b.mean(axis=0)
    sizes = np.abs(a[1] - a[0]) + np.abs(b[1] - b[0])
    beyond = np.maximum(np.abs(offset) - APART * sizes, 0) * np.sign(offset)
    if np.all(np.abs(beyond) < 1e-3):
        return set()
    across, down = beyond / np.linalg.norm(offset)
    names = {"left of": across < -0.5, "right of": across > 0.5, "above": down < -0.5, "below": down > 0.5}
    return {name for name, holds in names.items() if holds}


def evaluate(folder: Path, detector: Detector) -> Path:
    """Judge all pictures of a folder, and write its ``results.jsonl`` as GenEval does.

    Args:
        folder: as :func:`write_pictures` leaves it; prompts that are not whole are left out.
        detector: the user's.

    Raises:
        UserError: no pictures there.
    """
    from PIL import Image

    rows = []
    for home in sorted(path for path in folder.glob("*") if path.name.isdigit()):
        metadata = home / "metadata.jsonl"
        if not metadata.is_file():
            continue
        (prompt,) = read_prompts(metadata)
        for path in sorted((home / "samples").glob("*.png")):
            with Image.open(path) as file:
                detections = detector(np.asarray(file.convert("RGB")), prompt)
            correct, reason = judge(prompt, detections)
            boxes = {
                name: [[*each.box, each.confidence] for each in kept]
                for name, kept in _kept(prompt, detections).items()
            }
            rows.append(
                {
                    "filename": str(path),
                    "tag": prompt["tag"],
                    "prompt": prompt["prompt"],
                    "correct": correct,
                    "reason": reason,
                    "metadata": json.dumps(prompt),
                    "details": json.dumps(boxes),
                }
            )
    if not rows:
        raise UserError(f"{folder}: holds no pictures in GenEval's layout (00000/samples/0000.png)")
    return write_atomic(folder / "results.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def scores(results: Path) -> dict[str, float]:
    """Share of right pictures by tag, and ``overall``, the plain mean of the tags, of a ``results.jsonl``.

    Raises:
        UserError: no such file, or a line that is no result.
    """
    try:
        rows = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines() if line.strip()]
        by_tag = {tag: [bool(row["correct"]) for row in rows if row["tag"] == tag] for tag in _in_order(rows)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{results}: not GenEval's results ({type(error).__name__} {error})") from None
    if not by_tag:
        raise UserError(f"{results}: holds no results")
    shares = {tag: sum(right) / len(right) for tag, right in by_tag.items()}
    return {**shares, "overall": overall(shares)}


def overall(shares: Mapping[str, float]) -> float:
    """The plain mean of the tags' shares."""
    return sum(shares.values()) / len(shares)


def _in_order(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["tag"] for row in rows))
