"""A row of a data set as a :class:`Question`: LLaVA's and LLaVA-CoT's conversations, Geo170K's test file, columns.

Pure but for Pillow: it knows what a row means, not where it comes from. A row that makes no question raises
:class:`BadRow`; one that a filter of the paper leaves out raises :class:`Filtered`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from PIL import Image
from pydantic import Field

from burnish.core.errors import UserError
from burnish.core.recipe import Settings
from burnish.dialogue.answers import bare
from burnish.dialogue.choices import to_open
from burnish.dialogue.rewards import reference_in
from burnish.dialogue.rows import Question, check_picture, open_picture

Layout = Literal["llava", "llava_cot", "geo170k", "generic"]
_PLACEHOLDER = re.compile(r"\s*<image>\s*")
_TAG = r"<{name}>(.*?)</{name}>"
_TAGGED = re.compile(r"<(?:SUMMARY|CAPTION|REASONING|CONCLUSION)>", re.IGNORECASE)


class BadRow(Exception):
    """Why a row makes no question, in a few words."""


class Filtered(Exception):
    """Which filter leaves a row out, in a few words."""


class Columns(Settings):
    """What the columns of a data set of one's own are called (layout ``generic``)."""

    question: str = "question"
    """The text of the question; no row may lack it."""
    answer: str = "answer"
    """The reference answer, text or a number; no row may lack it."""
    rationale: str | None = "rationale"
    """The reference reasoning; may be absent from a row."""
    steps: str | None = "steps"
    """The reasoning as a list of steps; may be absent from a row."""
    image: str | None = "image"
    """A path, or an image as Parquet holds it; may be absent from a row."""
    images: str | None = "images"
    """A list of them; may be absent from a row."""


class Filters(Settings):
    """Which rows are kept. The defaults keep all; ``paper.yaml`` sets what the paper did."""

    folders: tuple[str, ...] = ()
    """Keep rows whose image path has one of these folders (the paper: `geoqa+`, `CLEVR_v1.0`); none keeps all."""
    open_questions: bool = False
    """Turn multiple-choice questions into open ones where the conclusion names one option."""
    numeric: bool = False
    """Keep only answers with a number in them."""
    max_prompt_tokens: int | None = Field(default=None, ge=1)
    """Keep prompts of at most this many tokens, image tokens counted (the released data: 511)."""


def detect(row: Mapping[str, Any]) -> Layout:
    """The layout of a data set, from the names of a row's columns; of conversations, from the tags of LLaVA-CoT."""
    if "conversations" in row:
        return "llava_cot" if _TAGGED.search(str(row["conversations"])) else "llava"
    return "geo170k" if {"image_path", "ground_truth"} <= row.keys() else "generic"


def to_question(
    row: Mapping[str, Any], layout: Layout, columns: Columns, filters: Filters, root: Path, where: str
) -> Question:
    """One row as a question, its pictures checked.

    Args:
        row: a decoded JSON object or a row of a table.
        root: folder that relative image paths start from.
        where: the row's place, for messages.

    Raises:
        BadRow: something is missing, of the wrong kind, or a picture cannot be read.
        Filtered: a filter leaves it out.
    """
    if layout in ("llava", "llava_cot"):
        found = _conversation(row, tagged=layout == "llava_cot")
    elif layout == "geo170k":
        found = _Found(_text(row, "question"), _text(row, "ground_truth"), pictures=[_text(row, "image_path")])
    else:
        found = _generic(row, columns)
    question, answer = found.question, found.answer
    paths = [str(picture) for picture in found.pictures if isinstance(picture, str | Path)]
    if filters.folders and not any(folder in Path(path).parts for path in paths for folder in filters.folders):
        raise Filtered(f"not in the folders {', '.join(filters.folders)}")
    if filters.open_questions and (opened := to_open(question, answer)):
        question, answer = opened
    if filters.numeric and not re.search(r"\d", answer):
        raise Filtered("the answer has no number")
    _answered(answer)
    images = tuple(_image(picture, root) for picture in found.pictures)
    return Question(question, answer, found.rationale, found.steps, images, where)


def check_question(question: Question) -> Question:
    """A question that came ready made, held to what :func:`to_question` holds a row to.

    Raises:
        BadRow: no text, no answer, half a character, or a picture that cannot be read.
    """
    for name in ("question", "answer"):
        text = getattr(question, name)
        _encodable(text, name)
        if not text.strip():
            raise BadRow(f"`{name}` is empty")
    _answered(question.answer)
    for text in (question.rationale or "", *(question.steps or ())):
        _encodable(text, "rationale")
    try:
        for picture in question.images:
            check_picture(picture, "its picture")
    except UserError as error:
        raise BadRow(str(error)) from None
    return question


@dataclass(frozen=True)
class _Found:
    """What a row holds, before any filter; pictures as the data has them."""

    question: str
    answer: str
    rationale: str | None = None
    steps: tuple[str, ...] | None = None
    pictures: Sequence[Any] = ()


def _conversation(row: Mapping[str, Any], *, tagged: bool) -> _Found:
    """The first turn of a user and the first of the assistant; what later turns ask may rest on what was said before.

    Source: LLaVA's and LLaVA-CoT's released data; in the latter the assistant's turn is in tag blocks of capitals.
    """
    turns = row.get("conversations")
    if not isinstance(turns, Sequence) or isinstance(turns, str) or len(turns) < 2:
        raise BadRow("`conversations` is not a list of at least two turns")
    if not all(isinstance(turn, Mapping) for turn in turns):
        raise BadRow("a turn of `conversations` is not an object")
    by_speaker = {str(turn.get("from")): turn for turn in reversed(turns)}
    if not {"human", "gpt"} <= by_speaker.keys():
        raise BadRow("`conversations` has no turn from `human` or none from `gpt`")
    question = _PLACEHOLDER.sub("\n", _text(by_speaker["human"], "value")).strip()
    reply = _text(by_speaker["gpt"], "value")
    conclusion = _block(reply, "CONCLUSION") if tagged else reply
    if not conclusion:
        raise BadRow("the reply has no <CONCLUSION> block")
    if not question:
        raise BadRow("the question is empty")
    image = row.get("image")
    pictures = [] if image is None else [image]
    if not tagged:
        return _Found(question, conclusion, pictures=pictures)
    return _Found(question, conclusion, _block(reply, "REASONING"), _steps(row.get("reasoning_steps")), pictures)


def _generic(row: Mapping[str, Any], columns: Columns) -> _Found:
    question = _PLACEHOLDER.sub("\n", _text(row, columns.question)).strip()
    if not question:
        raise BadRow(f"`{columns.question}` is empty")
    rationale = _optional(row, columns.rationale)
    if rationale is not None and not isinstance(rationale, str):
        raise BadRow(f"`{columns.rationale}` is not text")
    if isinstance(rationale, str):
        _encodable(rationale, str(columns.rationale))
    one, many = _optional(row, columns.image), _optional(row, columns.images)
    if many is not None and (not isinstance(many, Sequence) or isinstance(many, str | bytes)):
        raise BadRow(f"`{columns.images}` is not a list")
    pictures = [*([] if one is None else [one]), *(many or [])]
    steps = _steps(_optional(row, columns.steps), str(columns.steps))
    return _Found(question, _text(row, columns.answer), rationale or None, steps, pictures)


def _optional(row: Mapping[str, Any], column: str | None) -> Any:
    return None if column is None else row.get(column)


def _text(row: Mapping[str, Any], column: str) -> str:
    """A text or a number; an answer of `5` is often stored as a number."""
    value = row.get(column)
    if value is None:
        raise BadRow(f"`{column}` is missing")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadRow(f"`{column}` is neither text nor a number")
    try:
        text = str(value).strip()
    except ValueError:  # an integer of more digits than Python prints
        raise BadRow(f"`{column}` is a number of thousands of digits") from None
    _encodable(text, column)
    if not text:
        raise BadRow(f"`{column}` is empty")
    return text


def _answered(answer: str) -> None:
    """An answer of which nothing is left without its tags, box or dollars is none: no completion could be right."""
    if not bare(reference_in(answer)):
        raise BadRow("`answer` is empty")


def _encodable(text: str, column: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadRow(f"`{column}` is not valid Unicode (half a surrogate pair)") from None


def _steps(value: Any, column: str = "reasoning_steps") -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(step, str) for step in value):
        raise BadRow(f"`{column}` is not a list of texts")
    for step in value:
        _encodable(step, column)
    return tuple(step.strip() for step in value if step.strip()) or None


def _block(text: str, name: str) -> str | None:
    found = re.search(_TAG.format(name=name), text, re.DOTALL | re.IGNORECASE)
    return (found.group(1).strip() or None) if found else None


def _image(value: Any, root: Path) -> Image.Image | Path:
    """A picture from a path, bytes, an opened picture, or the ``{bytes, path}`` in which Parquet keeps images."""
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    try:
        if isinstance(value, str | Path):
            path = root / value
            check_picture(path)
            return path
        if isinstance(value, bytes):
            return open_picture(value, "its picture")
        if isinstance(value, Image.Image):
            check_picture(value, "its picture")
            return value
    except UserError as error:
        raise BadRow(str(error)) from None
    raise BadRow("its image is neither a path nor a picture")
