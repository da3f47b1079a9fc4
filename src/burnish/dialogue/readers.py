"""Questions from wherever they lie, in one pass: bad rows named and skipped or fatal, the paper's filters, a limit.

Knows sources and layouts; knows no model (prompt lengths come from a function).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

from pydantic import Field

from burnish.core.errors import UserError
from burnish.core.recipe import Settings
from burnish.core.streams import batched
from burnish.dialogue.layouts import BadRow, Columns, Filtered, Filters, Layout, check_question, detect, to_question
from burnish.dialogue.rows import Question
from burnish.dialogue.sources import Row, rows

NAMED = 5
"""Bad rows named one by one; the rest are counted."""
AT_ONCE = 256
"""Prompts whose lengths are measured together."""


class QuestionSettings(Settings):
    """Where questions are and which of them are wanted."""

    source: str
    """A file (.jsonl, .parquet), a folder of them, a hub id (`org/name`), or `module:function` of your own."""
    layout: Literal["auto", "llava", "llava_cot", "geo170k", "generic"] = "auto"
    """What a row looks like; `auto` sees it from the first row's columns."""
    columns: Columns = Field(default_factory=Columns)
    """Names of the columns, for the layout `generic`."""
    filters: Filters = Field(default_factory=Filters)
    """Which rows are kept."""
    bad_rows: Literal["skip", "fatal"] = "skip"
    """A row that makes no question or whose picture cannot be read: named and skipped, or the end."""
    limit: int | None = Field(default=None, ge=1)
    """Stop after this many questions."""
    image_root: str | None = None
    """Folder that relative image paths start from; none takes the source's own folder."""
    split: str = "train"
    """Split of a hub's data set."""
    config: str | None = None
    """Configuration of a hub's data set, where it has several."""


Note = Callable[[str], None]
Measure = Callable[[Sequence[Question]], Sequence[int]]


def read_questions(
    settings: QuestionSettings, note: Note = lambda _line: None, measure: Measure | None = None
) -> Iterator[Question]:
    """The questions of a source, in its order, as a stream.

    Args:
        settings: what to read.
        note: gets one line for each of the first few bad rows, and one at the end that counts what was left out.
        measure: prompt lengths in tokens of a batch of questions, for ``filters.max_prompt_tokens``
            (:meth:`burnish.dialogue.models.ChatModel.prompt_lengths`).

    Raises:
        UserError: no such source, not one usable question in it, or (``bad_rows: fatal``) the first bad row.
    """
    left_out: Counter[str] = Counter()
    named: list[str] = []

    def tell(line: str) -> None:
        named.append(line)
        note(line)

    questions = _questions(settings, tell, left_out)
    longest = settings.filters.max_prompt_tokens
    if longest is not None:
        if measure is None:
            raise UserError(
                "filters.max_prompt_tokens: a model's tokenizer is needed to measure prompts; none was given"
            )
        questions = _short_enough(questions, measure, longest, left_out)
    kept = 0
    for question in islice(questions, settings.limit):
        kept += 1
        yield question
    counts = ", ".join(f"{count:,} {reason}" for reason, count in left_out.items())
    if not kept:
        first = f"; the first: {named[0]}" if named else ""
        first += "; `columns` says which column is what" if "is missing" in first else ""
        raise UserError(f"source: {settings.source}: not one usable question in it ({counts or 'it is empty'}){first}")
    if counts:
        note(f"{settings.source}: {kept:,} questions; left out: {counts}")


def _questions(settings: QuestionSettings, note: Note, left_out: Counter[str]) -> Iterator[Question]:
    layout: Layout | None = None if settings.layout == "auto" else settings.layout
    root = _root(settings)
    bad = 0
    for where, row in rows(settings.source, settings.split, settings.config):
        try:
            if layout is None and not isinstance(row, str | Question):
                layout = detect(row)
            yield _question(where, row, layout or "generic", settings, root)
        except Filtered as reason:
            left_out[str(reason)] += 1
        except BadRow as reason:
            if settings.bad_rows == "fatal":
                raise UserError(f"{where}: {reason}; correct the row, or set bad_rows: skip") from None
            bad += 1
            left_out["bad rows"] += 1
            if bad <= NAMED:
                note(f"{where}: skipped: {reason}")


def _question(where: str, row: Row, layout: Layout, settings: QuestionSettings, root: Path) -> Question:
    if isinstance(row, str):
        raise BadRow(row)
    if isinstance(row, Question):
        return check_question(row)
    return to_question(row, layout, settings.columns, settings.filters, root, where)


def _root(settings: QuestionSettings) -> Path:
    if settings.image_root is not None:
        root = Path(settings.image_root).expanduser()
        if not root.is_dir():
            raise UserError(f"image_root: {root}: no such folder")
        return root
    source = Path(settings.source).expanduser()
    return source if source.is_dir() else source.parent


def _short_enough(
    questions: Iterable[Question], measure: Measure, longest: int, left_out: Counter[str]
) -> Iterator[Question]:
    for batch in batched(questions, AT_ONCE):
        for question, length in zip(batch, measure(batch), strict=True):
            if length <= longest:
                yield question
            else:
                left_out[f"longer than {longest} tokens"] += 1
