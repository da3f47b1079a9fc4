"""The samples of a recipe: prompts, pictures, plans, captions, questions and heat-maps, in a fixed order.

Pictures of files are opened when they are needed, those that a function gives are kept as bytes. Knows files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from burnish.core.errors import UserError
from burnish.core.method import import_object
from burnish.generate.picture_files import Packed, read_picture
from burnish.generate.plan import Plan, Wording, validate
from burnish.generate.recipe import SourceSettings
from burnish.generate.steps.state import Heat, Picture
from burnish.generate.training.layouts import REGIONS, Row, published_rows

METADATA = "metadata.jsonl"


@dataclass(frozen=True, eq=False)
class Sample:
    """One row of a source.

    Attributes:
        row: which, for messages.
        prompt: what is asked for.
        image: the picture, its file, or its place in a shard.
        plan: of its objects; none where they are not known.
        caption: what is in it; empty where nobody said.
        question: with ``answer``; empty where there is none.
        answer: to the question.
        heat: where it needs repair; none where nobody said.
    """

    row: str
    prompt: str
    image: Picture | Path | Packed
    plan: Plan | None = None
    caption: str = ""
    question: str = ""
    answer: str = ""
    heat: Heat | None = None

    def picture(self, size: tuple[int, int]) -> Picture:
        """In a model's size; one that is larger or smaller is brought to it.

        Raises:
            UserError: the file cannot be read.
        """
        if isinstance(self.image, Path | Packed):
            return read_picture(self.image, size, resize=True)
        return self.image


def read_samples(
    settings: SourceSettings,
    wording: Wording,
    size: tuple[int, int],
    note: Callable[[str], None] = lambda _message: None,
) -> list[Sample]:
    """All samples of a source.

    Args:
        settings: which.
        wording: of the plans that are made of ``objects``.
        size: height and width that pictures given by a function must have.
        note: told of what is left out.

    Raises:
        UserError: no such source, no row in it, or a row that gives no sample (with ``bad_files: refuse``).
    """
    found: list[Sample] = []
    left_out = 0
    for number, (where, row, root) in enumerate(islice(_rows(settings, wording), settings.limit)):
        try:
            found.append(_sample(str(row.get("row", f"{where} row {number + 1}")), row, root, wording, size))
        except UserError as error:
            if settings.bad_files == "refuse":
                raise UserError(f"{error}; mend the row, or set bad_files: skip") from None
            left_out += 1
            if left_out <= 5:
                note(f"left out: {error}")
    if left_out:
        note(f"{settings.source}: {len(found):,} samples; {left_out:,} left out")
    if not found:
        raise UserError(f"data.source: {settings.source}: not one sample in it")
    return found


def read_each_once(
    sources: Sequence[SourceSettings],
    wording: Wording,
    size: tuple[int, int],
    note: Callable[[str], None] = lambda _message: None,
) -> list[list[Sample]]:
    """The samples of each of several sources, as :func:`read_samples`; one that comes again is read once."""
    known: dict[str, list[Sample]] = {}
    for source in sources:
        key = source.model_dump_json()
        if key not in known:
            known[key] = read_samples(source, wording, size, note)
    return [known[source.model_dump_json()] for source in sources]


def _rows(settings: SourceSettings, wording: Wording) -> Iterator[Row]:
    source = settings.source
    path = Path(source).expanduser()
    pictures = None if settings.pictures is None else Path(settings.pictures).expanduser()
    published = None if (path / METADATA).is_file() else published_rows(path, pictures, wording)
    if published is not None:
        yield from published
        return
    if path.exists():
        yield from _listed(path / METADATA if path.is_dir() else path)
        return
    if ":" not in source:
        raise UserError(f"data.source: {source}: no such file or folder; nor is it module:function")
    given = import_object(source, "data.source")
    for row in given():
        yield source, row, Path.cwd()


def _listed(path: Path) -> Iterator[Row]:
    if not path.is_file():
        raise UserError(f"data.source: {path.parent}: no {METADATA}, {REGIONS} or *.tar in this folder")
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}:{number}: not JSON ({error})") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}:{number}: not a JSON object; a row is one")
        yield f"{path}:{number}:", row, path.parent


def _sample(where: str, row: Mapping[str, Any], root: Path, wording: Wording, size: tuple[int, int]) -> Sample:
    prompt = str(row.get("prompt") or row.get("text") or "")
    if not prompt.strip():
        raise UserError(f"{where}: asks for nothing; give `prompt` or `text`")
    image = _image(where, row, root, size)
    plan = None
    if row.get("objects"):
        try:
            plan = validate(Plan.from_rows(row["objects"], str(row.get("caption", "")) * wording.caption), wording)
        except UserError as error:
            raise UserError(f"{where}: objects: {error}") from None
    caption, question, answer = (str(row.get(key) or "") for key in ("caption", "question", "answer"))
    if bool(question) != bool(answer):
        raise UserError(f"{where}: a question without its answer, or the other way round")
    return Sample(where, prompt, image, plan, caption, question, answer, _heat(where, row))


def _image(where: str, row: Mapping[str, Any], root: Path, size: tuple[int, int]) -> Picture | Path | Packed:
    given = row.get("image", row.get("file_name"))
    image: Picture | Path
    if isinstance(given, Packed):
        return given
    if given is None:
        raise UserError(f"{where}: no picture; give `image` or `file_name`")
    if isinstance(given, str | Path):
        image = root / given
        if not image.is_file():
            raise UserError(f"{where}: no file {image}")
    else:
        image = np.asarray(given.convert("RGB") if hasattr(given, "convert") else given)
        if image.dtype != np.uint8 or image.shape != (*size, 3):
            raise UserError(
                f"{where}: a picture of {image.dtype} {image.shape}; this model takes bytes of {(*size, 3)}"
            )
    return image


def _heat(where: str, row: Mapping[str, Any]) -> Heat | None:
    if row.get("heat") is None:
        return None
    heat = np.asarray(row["heat"], dtype=np.float32)
    if heat.ndim != 2 or not np.isfinite(heat).all() or heat.min() < 0 or heat.max() > 1:
        raise UserError(f"{where}: heat is not rows of numbers in 0..1")
    return heat
