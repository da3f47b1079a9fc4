"""Questions as the table that TRL's trainer reads: an Arrow file, written as a stream, mapped into memory.

Knows the datasets library and how a row becomes the trainer's input; no trainer.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

from PIL import Image

from burnish.core.errors import UserError
from burnish.core.files import explained, temporary
from burnish.dialogue.rows import MOST_PIXELS, Question, open_picture
from burnish.reason.hint_grpo.steps import Style, split_steps


class StoredPicture(TypedDict):
    """A picture in the table: where it lies, or its own bytes."""

    path: str | None
    bytes: bytes | None


class StoredRow(TypedDict):
    """A row of the table, as it lies on disk; TRL and datasets want mappings."""

    number: int
    prompt: list[dict[str, str]]
    answer: str
    steps: list[str]
    pictures: list[StoredPicture]
    where: str


class QuestionRow(TypedDict):
    """A row as the trainer takes it: its pictures opened, where it has any."""

    number: int
    prompt: list[dict[str, str]]
    answer: str
    steps: list[str]
    where: str
    images: NotRequired[list[Image.Image]]


def steps_of(question: Question, style: Style = "auto") -> list[str]:
    """The steps that hints are made of: the data's own, or the rationale split; none where there is no rationale."""
    if question.steps is not None:
        return [step.strip() for step in question.steps if step.strip()]
    return split_steps(question.rationale, style) if question.rationale else []


def to_row(question: Question, number: int, system: str | None, style: Style, takes_images: bool) -> StoredRow:
    """A row of the table.

    Raises:
        UserError: the answer is empty, so that nothing could be verified; or it has images and the model takes none.
    """
    if question.images and not takes_images:
        raise UserError(
            f"{question.row or f'question {number}'}: has {len(question.images)} image(s), but the model takes none; "
            "choose an image-text model"
        )
    if not question.answer.strip():
        raise UserError(
            f"{question.row or f'question {number}'}: its answer is empty, nothing can be verified against it"
        )
    turns = [{"role": "system", "content": system}] if system else []
    return {
        "number": number,
        "prompt": [*turns, {"role": "user", "content": question.question}],
        "answer": question.answer,
        "steps": steps_of(question, style),
        "pictures": [_stored(picture) for picture in question.images],
        "where": question.row or f"question {number}",
    }


def write_table(
    path: Path,
    questions: Iterable[Question],
    system: str | None = None,
    style: Style = "auto",
    *,
    takes_images: bool = False,
) -> Path:
    """Write questions to an Arrow file that appears when it is complete; memory does not grow with their number.

    Args:
        path: the file.
        questions: read once, in order.
        system: the system turn of every conversation.
        style: how rationales are split into steps.
        takes_images: whether the model does.

    Raises:
        UserError: an empty answer, images that the model cannot take, or what reading the questions raises.
        BurnishError: the disk is full.
    """
    from datasets import Features, List, Value
    from datasets.arrow_writer import ArrowWriter

    text = Value("string")
    features = Features(
        number=Value("int64"),
        prompt=List({"role": text, "content": text}),
        answer=text,
        steps=List(text),
        pictures=List({"path": text, "bytes": Value("binary")}),
        where=text,
    )
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        work = temporary(path)
        try:
            with ArrowWriter(features=features, path=str(work), writer_batch_size=256) as writer:
                for number, question in enumerate(questions):
                    writer.write(to_row(question, number, system, style, takes_images))
                writer.finalize()
            work.replace(path)
        finally:
            work.unlink(missing_ok=True)
    return path


def read_table(path: Path) -> Any:
    """The table as a ``datasets.Dataset``, mapped into memory."""
    from datasets import Dataset

    return Dataset.from_file(str(path))


def opened(row: Mapping[str, Any], most_pixels: int = MOST_PIXELS) -> QuestionRow:
    """A row with its pictures decoded under ``images``, where TRL looks for them; without the key if it has none.

    Raises:
        UserError: a picture that can no longer be read.
    """
    pictures = [
        open_picture(Path(each["path"]) if each["path"] is not None else each["bytes"], row["where"], most_pixels)
        for each in row["pictures"]
    ]
    found = cast(QuestionRow, {key: value for key, value in row.items() if key != "pictures"})
    if pictures:
        found["images"] = pictures
    return found


def _stored(picture: Image.Image | Path) -> StoredPicture:
    if isinstance(picture, Path):
        return {"path": str(picture.resolve()), "bytes": None}
    buffer = io.BytesIO()
    # As it will be seen: PNG holds no CMYK, and no orientation beside the pixels.
    open_picture(picture, "a picture", most_pixels=picture.width * picture.height).save(buffer, "PNG")
    return {"path": None, "bytes": buffer.getvalue()}
