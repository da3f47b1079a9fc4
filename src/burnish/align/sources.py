"""Records from a source of questions: one picture, an instruction and its text each; each once; none of the probes'.

A stream: of what went by only hashes are held. Knows the readers of dialogue and Pillow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator
from itertools import islice
from pathlib import Path

from PIL import Image

from burnish.align.records import MOST_ASPECT, Record, make_record
from burnish.core.errors import UserError
from burnish.dialogue.readers import NAMED, Note, QuestionSettings, read_questions
from burnish.dialogue.rows import MOST_PIXELS, Question, open_picture

ANIMATED = "animated, of which the first frame is shown"


def read_records(
    settings: QuestionSettings,
    note: Note = lambda _line: None,
    *,
    most_pixels: int = MOST_PIXELS,
    exclude: Container[str] = (),
) -> Iterator[Record]:
    """The records of a source, in its order.

    Args:
        settings: what to read; ``answer`` is the supervised text, ``limit`` counts records.
        note: gets one line for each of the first few rows that make no record, and one at the end with the counts.
        most_pixels: larger pictures are shrunk to this many, while they are decoded where the format lets one.
        exclude: hashes of the pictures of a probe set.

    Raises:
        UserError: no such source, no record in it, (``bad_rows: fatal``) the first row that makes none, or a picture
            that is also in the probe set.
    """
    left_out: Counter[str] = Counter()
    kept = 0
    for record in islice(_new_records(settings, note, most_pixels, exclude, left_out), settings.limit):
        kept += 1
        yield record
    counts = ", ".join(f"{count:,} {reason}" for reason, count in left_out.items())
    if not kept:
        raise UserError(f"source: {settings.source}: no row has both a picture and a text ({counts})")
    if counts:
        note(f"{settings.source}: {kept:,} records; {counts}")


def _new_records(
    settings: QuestionSettings,
    note: Note,
    most_pixels: int,
    exclude: Container[str],
    left_out: Counter[str],
) -> Iterator[Record]:
    seen: set[str] = set()
    for question in _with_a_picture(settings, note, left_out):
        if _animated(question.images[0]):
            left_out[ANIMATED] += 1
        image = open_picture(question.images[0], f"{question.row}: its picture", most_pixels)
        if max(image.size) > MOST_ASPECT * min(image.size):
            _leave_out(question, f"over {MOST_ASPECT} times as long as wide", settings, note, left_out)
            continue
        record = make_record(image, question.question, question.answer, question.row)
        if record.picture in exclude:
            raise UserError(
                f"{question.row}: its picture is in the probe set too, which then measures what was trained on; "
                "take it out of one of them"
            )
        if record.sample in seen:
            left_out["seen before"] += 1
            continue
        seen.add(record.sample)
        yield record


def _with_a_picture(settings: QuestionSettings, note: Note, left_out: Counter[str]) -> Iterator[Question]:
    """Questions with one picture. A row without a text is no question to begin with."""
    for question in read_questions(settings.model_copy(update={"limit": None}), note):
        if len(question.images) == 1:
            yield question
        else:
            reason = "several pictures" if question.images else "no picture"
            _leave_out(question, reason, settings, note, left_out)


def _leave_out(question: Question, reason: str, settings: QuestionSettings, note: Note, left_out: Counter[str]) -> None:
    """Count a row that makes no record, and name the first few.

    Raises:
        UserError: ``bad_rows: fatal``.
    """
    if settings.bad_rows == "fatal":
        raise UserError(f"{question.row}: {reason}; correct the row, or set bad_rows: skip")
    left_out[reason] += 1
    if left_out[reason] <= NAMED:
        note(f"{question.row}: skipped: {reason}")


def _animated(picture: Image.Image | Path) -> bool:
    if isinstance(picture, Path):
        with Image.open(picture) as opened:  # its header; the reader has decoded it
            return bool(getattr(opened, "is_animated", False))
    return bool(getattr(picture, "is_animated", False))
