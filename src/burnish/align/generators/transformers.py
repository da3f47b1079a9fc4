"""A chat model in this process, asked in batches: each picture is read once a batch, each shared beginning once.

Every answer has noise of its own and nothing of a neighbour, so it is the same in any batch (but for the rounding of
the model's own arithmetic). Prompts are shared where every layer of the model keeps all keys and values, tokens stand
at plain positions, and a trial gives what the model's own forward pass gives; any other model re-encodes each prompt in
transformers' own loop, which is said once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from burnish.align.generators.counts import TokenCounts
from burnish.align.generators.prompts import LEAST_SAVED, Prompts, beginnings, embedded, encode_prompts
from burnish.align.records import Answer, Ask, Sampling, picture_hash
from burnish.core.errors import UserError, one_line
from burnish.dialogue.drawing import Replies
from burnish.dialogue.generation import accepts, end_tokens, generate, reading
from burnish.dialogue.input_check import image_token_id
from burnish.dialogue.models import ChatModel
from burnish.dialogue.prefixes import Batch, Room, Slice, probe_cache, why_not_reusable
from burnish.dialogue.rows import Question


@dataclass(frozen=True)
class _Row:
    """An ask as it is batched."""

    number: int
    text: str
    image: Image.Image | None
    picture: str
    seed: int


class TransformersGenerator:
    """See the module.

    Args:
        chat: the model; it may be trained between two calls.
        system: system turn of every conversation; none leaves it out.
        batch: the most rows of one forward pass.
        note: told, once, why prompts are not shared; none writes it to the log.

    Attributes:
        counts: tokens since it was made.
        why_not_shared: why each prompt is re-encoded; empty where they are shared.

    Raises:
        UserError: ``batch`` is below 1; the model has no chat template.
    """

    def __init__(
        self,
        chat: ChatModel,
        *,
        system: str | None = None,
        batch: int = 32,
        note: Callable[[str], object] | None = None,
    ) -> None:
        if batch < 1:
            raise UserError(f"generator: a batch of {batch} rows; it takes at least 1")
        self.chat, self.system, self.batch = chat, system, batch
        self.counts = TokenCounts()
        config = chat.model.config.get_text_config()
        self._context: int | None = getattr(config, "max_position_embeddings", None)
        self._ends = end_tokens(chat.model, chat.tokenizer)
        self._size = len(chat.tokenizer)
        mark = image_token_id(chat)
        self._banned = [mark] if 0 <= mark < self._size else []  # it would stand for a picture that is not there
        self._last_logits = {"logits_to_keep": 1} if accepts(chat.model, "logits_to_keep") else {}
        self.why_not_shared = self._why_not_shared()
        if self.why_not_shared:
            told = note or logging.getLogger(__name__).warning
            told(f"generator: each prompt is read in whole, shared beginnings too: {self.why_not_shared}")

    def answer(self, asks: Sequence[Ask], sampling: Sampling) -> list[Answer]:
        """See the protocol. A prompt that leaves no room in the model's context gets an empty answer that is cut.

        Raises:
            UserError: a picture for a model that takes none; a prompt that the model's template refuses.
        """
        rows = self._rows(asks) if asks else []
        # those of one picture together; prompts without a picture apart, by length
        seeing = [row for row in rows if row.image is not None]
        first = {row.picture: row.number for row in reversed(seeing)}
        seeing.sort(key=lambda row: first[row.picture])
        blind = sorted((row for row in rows if row.image is None), key=lambda row: len(row.text))
        found: dict[int, Answer] = {}
        memory = Room()
        with reading(self.chat.model):
            for kind in (seeing, blind):
                for start in range(0, len(kind), self.batch):
                    part = kind[start : start + self.batch]
                    answers = (
                        self._reencoded(part, sampling) if self.why_not_shared else self._shared(part, sampling, memory)
                    )
                    found |= {row.number: answer for row, answer in zip(part, answers, strict=True)}
        return [found[number] for number in range(len(asks))]

    def _rows(self, asks: Sequence[Ask]) -> list[_Row]:
        names: dict[int, str] = {}
        for ask in asks:
            if ask.image is not None and id(ask.image) not in names:
                names[id(ask.image)] = picture_hash(ask.image)
        questions = [
            Question(self._unmarked(ask.question), "", images=() if ask.image is None else (ask.image,)) for ask in asks
        ]
        return [
            _Row(number, text, ask.image, names.get(id(ask.image), ""), ask.seed)
            for number, (ask, text) in enumerate(zip(asks, self.chat.render(questions, self.system), strict=True))
        ]

    def _shared(self, rows: Sequence[_Row], sampling: Sampling, memory: Room) -> list[Answer]:
        """Answers of rows that all have a picture, or all have none; equal prompts are read once."""
        distinct: dict[tuple[str, str], _Row] = {}
        for row in rows:
            distinct.setdefault((row.text, row.picture), row)
        prompts = self._encoded(list(distinct.values()))
        places = {each: number for number, each in enumerate(distinct)}
        of_row = [places[row.text, row.picture] for row in rows]
        lengths = [len(prompts.keys[place]) for place in of_row]
        rooms = [self._room(length, sampling) for length in lengths]
        if min(rooms) < 1:
            return self._without(rows, rooms, lambda fitting: self._shared(fitting, sampling, memory))
        pictures = [row.picture for row in distinct.values()]
        batch, logits, encoded = self._read(prompts, pictures, max(rooms), memory)
        if of_row != list(range(len(distinct))):
            expanded = torch.tensor(of_row, device=logits.device)
            batch.only(expanded)
            logits = logits[expanded]
        self.counts += TokenCounts(encoded=encoded, reused=sum(lengths) - encoded, pictures=prompts.pictures)
        replies = self._replies(rows, rooms, sampling)
        self._write(batch, logits, replies)
        return self._answers(replies)

    def _encoded(self, rows: Sequence[_Row]) -> Prompts:
        images = [row.image for row in rows if row.image is not None]
        return encode_prompts(
            self.chat, [row.text for row in rows], images or None, [row.picture for row in rows] if images else ()
        )

    def _read(
        self, prompts: Prompts, pictures: Sequence[str], room: int, memory: Room, least: int = LEAST_SAVED
    ) -> tuple[Batch, Float[Tensor, "prompts vocab"], int]:
        """Read distinct prompts: first what all begin with, then what those of one picture do, then the rest.

        Returns:
            The batch with room to go on, the logits after each prompt's last token, and how many tokens were read.
        """
        held: list[list[Slice]] = [[] for _ in prompts.keys]
        begun = [0] * len(held)
        encoded = 0
        for groups in ([""] * len(held), pictures):
            found = beginnings(prompts.keys, groups, begun, least)
            if not found:
                continue
            parts = [prompts.keys[each.members[0]][begun[each.members[0]] : each.end] for each in found]
            batch, _ = self._forward([held[each.members[0]] for each in found], parts, prompts, 0, memory)
            for row, (each, part) in enumerate(zip(found, parts, strict=True)):
                piece = batch.cut(row, batch.filled - len(part), tuple(part.tolist()))
                encoded += len(part)
                for member in each.members:
                    held[member].append(piece)
                    begun[member] = each.end
        parts = [keys[start:] for keys, start in zip(prompts.keys, begun, strict=True)]
        batch, logits = self._forward(held, parts, prompts, room, memory)
        return batch, logits, encoded + sum(map(len, parts))

    def _forward(
        self, held: Sequence[Sequence[Slice]], parts: Sequence[np.ndarray], prompts: Prompts, room: int, memory: Room
    ) -> tuple[Batch, Float[Tensor, "rows vocab"]]:
        """Read a part of each prompt after what is held of it."""
        longest = max(map(len, parts))
        batch = Batch(held, longest + room, self._shape, memory, self._like)
        keys = np.zeros((len(parts), longest), np.int64)
        for row, part in enumerate(parts):
            keys[row, longest - len(part) :] = part
        skipped = torch.tensor([longest - len(part) for part in parts], device=self._like.device)
        fed = torch.from_numpy(keys).to(self._like.device)
        inputs = batch.inputs(fed, skipped)
        inputs["inputs_embeds"] = embedded(self.chat.model, inputs.pop("input_ids"), prompts.features)
        return batch, self.chat.model(**inputs, **self._last_logits).logits[:, -1]

    def _write(self, batch: Batch, logits: Float[Tensor, "rows vocab"], replies: Replies) -> None:
        """Draw until every row is done. Rows that are leave once they are half: they cost as much as the others."""
        rows = torch.arange(len(logits), device=logits.device)
        while True:
            tokens = replies.step(logits, rows)
            left = ~replies.done[rows]
            live = int(left.sum())
            if not live:
                return
            if 2 * live <= len(rows):
                rows, tokens = rows[left], tokens[left]
                batch.only(torch.nonzero(left)[:, 0])
            logits = self.chat.model(**batch.inputs(tokens[:, None]), **self._last_logits).logits[:, -1]

    def _reencoded(self, rows: Sequence[_Row], sampling: Sampling) -> list[Answer]:
        """The same in transformers' own loop, each row with a prompt and a picture of its own."""
        images = [[row.image] for row in rows if row.image is not None]
        inputs = self.chat.encode([row.text for row in rows], images or None)
        lengths: list[int] = inputs["attention_mask"].sum(1).tolist()
        rooms = [self._room(length, sampling) for length in lengths]
        if min(rooms) < 1:
            return self._without(rows, rooms, lambda fitting: self._reencoded(fitting, sampling))
        self.counts += TokenCounts(encoded=sum(lengths), pictures=len(images))
        replies = self._replies(rows, rooms, sampling)
        all_rows = torch.arange(len(rows), device=self.chat.model.device)
        generate(
            self.chat.model,
            inputs,
            lambda logits: replies.step(logits, all_rows),
            lambda: replies.done,
            replies.longest,
        )
        return self._answers(replies)

    def _without(
        self, rows: Sequence[_Row], rooms: Sequence[int], answered: Callable[[list[_Row]], list[Answer]]
    ) -> list[Answer]:
        """Empty answers where there is no room, and those of the others."""
        fitting = [row for row, room in zip(rows, rooms, strict=True) if room > 0]
        found = iter(answered(fitting) if fitting else [])
        return [next(found) if room > 0 else Answer("", cut=True) for room in rooms]

    def _room(self, length: int, sampling: Sampling) -> int:
        return sampling.tokens if self._context is None else min(sampling.tokens, self._context - length)

    def _replies(self, rows: Sequence[_Row], rooms: Sequence[int], sampling: Sampling) -> Replies:
        return Replies(
            rooms,
            [row.seed for row in rows],
            ends=self._ends,
            size=self._size,
            banned=self._banned,
            device=self.chat.model.device,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
        )

    def _answers(self, replies: Replies) -> list[Answer]:
        written = replies.finish()
        self.counts += TokenCounts(generated=sum(len(ids) for ids, _ in written))
        texts = self.chat.tokenizer.batch_decode([ids for ids, _ in written], skip_special_tokens=True)
        return [
            Answer(self._unmarked(text).strip(), len(ids), cut=not ended)
            for text, (ids, ended) in zip(texts, written, strict=True)
        ]

    def _unmarked(self, text: str) -> str:
        """Without the mark of an image, which a model can spell too: in a conversation it would ask for a picture."""
        return text.replace(str(getattr(self.chat.processor, "image_token", None) or "\0"), " ")

    def _why_not_shared(self) -> str:
        """Why prompts cannot be read piece by piece; empty if two of them, tried so, give the model's own logits."""
        model = self.chat.model
        if reason := why_not_reusable(model):
            return reason
        self._shape, self._like = probe_cache(model)[0]
        image = Image.new("RGB", (64, 64), (200, 120, 40)) if self.chat.takes_images else None
        rows = self._rows([Ask(question, image) for question in ("What is it?", "What is it like?")])
        with reading(model):
            try:
                _, logits, _ = self._read(self._encoded(rows), [row.picture for row in rows], 0, Room(), least=0)
            # The model is anyone's: whatever an unforeseen way to embed or to mask raises, it is no reason to end.
            except Exception as error:  # noqa: BLE001
                cause = one_line(f"{type(error).__name__}: {error}")[:200]
                return f"{type(model).__name__} refuses embeddings in place of tokens ({cause})"
            alone = [self.chat.encode([row.text], None if image is None else [[image]]) for row in rows]
            whole = torch.cat([model(**inputs, **self._last_logits).logits[:, -1] for inputs in alone])
        allowed = torch.finfo(whole.dtype).eps ** 0.5 * whole.abs().max()
        if not bool((logits - whole).abs().max() <= allowed):
            return f"{type(model).__name__} reads a prompt in pieces otherwise than whole"
        return ""
