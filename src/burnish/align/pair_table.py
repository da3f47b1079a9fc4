"""Triplets as the table that a preference trainer reads: rendered, tokenised and measured once, mapped into memory.

Knows chat models and the datasets library; no trainer. Nothing is ever cut: a pair that is too long is left out and
counted. What is learnt is what the model would have to write: its template's text of an answer, tokenised after the
prompt and not by itself, and an end. Templates that write no end (LLaVA-1.5's) would teach to go on for ever.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from burnish.align.records import Triplet
from burnish.core.errors import UserError
from burnish.core.files import explained, sha256, temporary
from burnish.core.streams import batched
from burnish.dialogue.models import ChatModel
from burnish.dialogue.rows import Question

AT_ONCE = 256
"""Triplets that are tokenised together."""


class PairRow(TypedDict):
    """A row of the table; datasets and TRL want mappings.

    ``where`` names it in messages; ``picture`` is its file, relative to the table's folder where it lies below that (so
    that a run can be moved); ``prompt`` the rendered text up to the assistant's turn;
    ``chosen_ids`` and ``rejected_ids`` the tokens after it, the end among them; ``key`` is the hash of all of these.
    With a table of the reference its log-probabilities of the two answers stand beside them.
    """

    where: str
    picture: str
    prompt: str
    chosen_ids: list[int]
    rejected_ids: list[int]
    key: str
    ref_chosen_logps: NotRequired[float]
    ref_rejected_logps: NotRequired[float]


def read_triplets(file: Path, system: str | None = None) -> Iterator[Triplet]:
    """Triplets of a JSONL file in TRL's layout (``images``, ``prompt``, ``chosen``, ``rejected``), whoever wrote it.

    Args:
        file: one conversation a line; pictures are paths, relative ones from the file's folder.
        system: the system turn that every row must have; none: none may.

    Raises:
        UserError: no such file, or a line that is no triplet; it is named.
    """
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                yield _triplet(line, f"{file}:{number}", file.parent, system)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"triplets: {file}: cannot be read ({getattr(error, 'strerror', None) or error}); "
            "give a folder of triplets or a JSONL file in TRL's layout"
        ) from None


def _triplet(line: str, where: str, root: Path, system: str | None) -> Triplet:
    try:
        row = json.loads(line)
        (picture,) = row["images"] if "images" in row else [row["image"]]
        *before, user = [(str(turn["role"]), _text(turn["content"])) for turn in row["prompt"]]
        chosen, rejected = (_one(row[name]) for name in ("chosen", "rejected"))
        path = root / (picture if isinstance(picture, str) else picture["path"])
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{where}: no triplet in TRL's layout ({type(error).__name__}: {error}); a line has `images` (one path), "
            "and `prompt`, `chosen`, `rejected` as lists of messages"
        ) from None
    if user[0] != "user" or [role for role, _ in before] not in ([], ["system"]):
        raise UserError(f"{where}: its prompt is not one user turn, after a system turn or none")
    if (before[0][1] if before else None) != system:
        raise UserError(f"{where}: its system turn is not the recipe's `system`; set it to the rows' own")
    return Triplet(where, path, user[1], chosen, rejected)


def _one(turns: Any) -> str:
    (turn,) = turns
    return _text(turn["content"])


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text") or "" for part in content)


def write_pairs(
    path: Path,
    triplets: Iterable[Triplet],
    chat: ChatModel,
    system: str | None = None,
    *,
    longest: int | None = None,
    note: Callable[[str], None] = lambda _line: None,
) -> int:
    """Write triplets as an Arrow file that appears when it is complete; memory does not grow with their number.

    Args:
        path: the file.
        triplets: read once, in order.
        chat: whose template and tokens they get.
        system: the system turn of every conversation.
        longest: tokens of prompt and answer, those of the picture among them; none: what the model's context holds.
        note: gets a line on what was left out.

    Returns:
        How many pairs the table has.

    Raises:
        UserError: no triplet that fits; a picture that cannot be read, a tokenizer without chat template or
            end-of-sequence token.
        BurnishError: the disk is full.
    """
    from datasets import Features, List, Value
    from datasets.arrow_writer import ArrowWriter

    text, ids = Value("string"), List(Value("int32"))
    features = Features(where=text, picture=text, prompt=text, chosen_ids=ids, rejected_ids=ids, key=text)
    kept, left_out, bound = 0, _LeftOut(), _bound(chat, longest)
    usable = _without_marks(triplets, getattr(chat.processor, "image_token", None), left_out)
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        work = temporary(path)
        try:
            with ArrowWriter(features=features, path=str(work), writer_batch_size=256) as writer:
                for row, length in _rows(usable, chat, system, path.parent.resolve()):
                    if bound is not None and length > bound:
                        left_out.add(f"longer than {bound:,} tokens", f"{row['where']} with {length:,}")
                    elif row["chosen_ids"] == row["rejected_ids"]:
                        left_out.add("whose answers are the same tokens", row["where"])
                    else:
                        kept += 1
                        writer.write(row)
                if kept:
                    writer.finalize()
            if not kept:
                raise UserError(f"training: not one pair to learn from ({left_out or 'there are no triplets'})")
            if left_out:
                note(f"pairs left out: {left_out}")
            work.replace(path)
        finally:
            work.unlink(missing_ok=True)
    return kept


def read_pairs(path: Path) -> Any:
    """The table as a ``datasets.Dataset`` of :class:`PairRow`, mapped into memory."""
    from datasets import Dataset

    return Dataset.from_file(str(path))


class _LeftOut:
    """What makes no row: how many by reason, and the first of each."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def add(self, reason: str, which: str) -> None:
        self._counts[reason] += 1
        self._first.setdefault(reason, which)

    def __bool__(self) -> bool:
        return bool(self._counts)

    def __str__(self) -> str:
        return ", ".join(
            f"{count:,} {reason} (the first: {self._first[reason]})" for reason, count in self._counts.items()
        )


def _without_marks(triplets: Iterable[Triplet], mark: str | None, left_out: _LeftOut) -> Iterator[Triplet]:
    """Triplets whose texts are text: a mark of an image in them would be read as one more picture."""
    for each in triplets:
        if mark and any(mark in text for text in (each.question, each.chosen, each.rejected)):
            left_out.add(f"with {mark}, the mark of an image, in a text", each.sample)
        else:
            yield each


def _bound(chat: ChatModel, longest: int | None) -> int | None:
    context = getattr(chat.model.config.get_text_config(), "max_position_embeddings", None)
    limits = [int(limit) for limit in (longest, context) if limit is not None]
    return min(limits, default=None)


def _rows(
    triplets: Iterable[Triplet], chat: ChatModel, system: str | None, root: Path
) -> Iterator[tuple[PairRow, int]]:
    """Each triplet as a row, with the tokens of its longer conversation."""
    for batch in batched(triplets, AT_ONCE):
        questions = [Question(each.question, "", images=(each.image,), row=each.sample) for each in batch]
        prompts = chat.render(questions, system)
        lengths = chat.prompt_lengths(questions, system)
        chosen = answer_ids(chat, questions, [each.chosen for each in batch], system)
        rejected = answer_ids(chat, questions, [each.rejected for each in batch], system)
        for each, prompt, length, won, lost in zip(batch, prompts, lengths, chosen, rejected, strict=True):
            picture = each.image.resolve()
            key = hashlib.sha256(json.dumps([sha256(each.image), prompt, won, lost]).encode()).hexdigest()
            row = PairRow(
                where=each.sample,
                picture=str(picture.relative_to(root) if picture.is_relative_to(root) else picture),
                prompt=prompt,
                chosen_ids=won,
                rejected_ids=lost,
                key=key,
            )
            yield row, length + max(len(won), len(lost))


def answer_ids(
    chat: ChatModel, questions: Sequence[Question], answers: Sequence[str], system: str | None = None
) -> list[list[int]]:
    """The tokens that the model would write for each answer after its prompt, up to its end.

    Raises:
        UserError: as :meth:`burnish.dialogue.models.ChatModel.render_answered`; no end-of-sequence token.
    """
    prompts = chat.render(questions, system)
    whole = chat.render_answered(questions, answers, system)
    # Some templates render a prompt otherwise once it is answered: there the answer follows as it is.
    texts = [
        text.removeprefix(prompt) if text.startswith(prompt) else answer
        for text, prompt, answer in zip(whole, prompts, answers, strict=True)
    ]
    stops = _stops(chat)
    found = _tokens_after(chat, prompts, texts)
    endless = [place for place, ids in enumerate(found) if not stops & set(ids)]
    bare = _tokens_after(chat, [prompts[place] for place in endless], [texts[place].rstrip() for place in endless])
    for place, ids in zip(endless, bare, strict=True):
        found[place] = [*ids, int(chat.tokenizer.eos_token_id)]
    # What a template writes after the end (a line break, as a rule) no model ever writes.
    return [ids[: 1 + min(ids.index(stop) for stop in stops & set(ids))] for ids in found]


def _stops(chat: ChatModel) -> set[int]:
    """The tokens that end an answer: the tokenizer's, and those at which generation stops."""
    if chat.tokenizer.eos_token_id is None:
        raise UserError(
            f"{chat.name}: its tokenizer has no end-of-sequence token, so no answer ends; set its `eos_token`"
        )
    own = chat.model.generation_config.eos_token_id
    more = [] if own is None else own if isinstance(own, list) else [own]
    return {int(chat.tokenizer.eos_token_id), *map(int, more)}


def _tokens_after(chat: ChatModel, prompts: Sequence[str], texts: Sequence[str]) -> list[list[int]]:
    """Tokens of texts that follow prompts. By themselves many tokenizers would begin them with a blank of their own."""
    if not prompts:
        return []

    def ids(parts: Sequence[str]) -> list[list[int]]:
        found: list[list[int]] = chat.tokenizer(list(parts), add_special_tokens=False)["input_ids"]
        return found

    joint = ids([prompt + text for prompt, text in zip(prompts, texts, strict=True)])
    return [
        # where a token would reach over the border the prompt must stay as generation begins with it
        both[len(before) :] if both[: len(before)] == before else alone
        for both, before, alone in zip(joint, ids(prompts), ids(texts), strict=True)
    ]
