"""One way to ask any suspect: each distinct image once, within a budget, every answer checked and kept before it is
used."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from burnish.core.errors import BurnishError, UserError
from burnish.prove.images import digests
from burnish.prove.suspects.answers import BadAnswer, checked
from burnish.prove.suspects.cache import Store, open_store, stacked
from burnish.prove.suspects.settings import Answer, SuspectSettings

DTYPES = {"labels": "<i8", "logits": "<f4", "embeddings": "<f4"}


@runtime_checkable
class Backend(Protocol):
    """A kind of suspect.

    Attributes:
        identity: what answers, with the SHA-256 of its weights where they are local, and the options that change
            answers.
        sent_bytes: bytes sent over a network so far.
        retried: images sent again after a failure.
    """

    identity: str
    sent_bytes: int
    retried: int

    def answer(self, images: UInt8[np.ndarray, "n height width channels"]) -> Any:
        """The answers to a batch: an array, or lists of numbers; the oracle checks them."""
        ...

    def refusal(self, problem: str) -> BurnishError:
        """The error for an answer that is none: says who gave it and what to do."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


Note = Callable[[str], None]
Track = Callable[[Iterable[int], str, int], Iterable[int]]


def _unseen(items: Iterable[int], _label: str, _total: int) -> Iterable[int]:
    return items


def _unheard(_message: str) -> None:
    return None


class Oracle:
    """A suspect that is asked through a store. Use it as a context manager; :func:`open_suspect` makes one.

    Attributes:
        made: images that the suspect was really asked in this session.
        saved: images answered without asking: stored before, or given more than once.
    """

    def __init__(
        self,
        backend: Backend,
        answer: Answer,
        settings: SuspectSettings,
        store: Store,
        progress: Track = _unseen,
        classes: int | None = None,
    ) -> None:
        self.answer = answer
        self.made = 0
        self.saved = 0
        self._backend = backend
        self._settings = settings
        self._store = store
        self._progress = progress
        self._width = store.width
        self._classes = classes

    @property
    def identity(self) -> str:
        """What was asked, with the SHA-256 of the weights where they are local."""
        return f"{self._backend.identity} {self.answer}"

    @property
    def sent_bytes(self) -> int:
        """Bytes sent over a network in this session."""
        return self._backend.sent_bytes

    @property
    def retried(self) -> int:
        """Images sent again after a failure; they count as one query."""
        return self._backend.retried

    @property
    def left(self) -> int | None:
        """Queries left of the budget; none where there is no budget."""
        return None if self._settings.queries is None else max(0, self._settings.queries - len(self._store))

    def announce(self, total: int) -> None:
        """Say how many different images the whole audit will ask about, before the first is asked.

        Raises:
            UserError: that is more than the budget.
        """
        refuse_beyond_budget(self._settings, total)

    def ask(
        self, images: UInt8[np.ndarray, "n height width channels"], again: Sequence[int] | None = None
    ) -> np.ndarray:
        """Answers to ``images``: labels int64 [n], logits float32 [n, classes], embeddings float32 [n, dim].

        Equal images cost one query, images answered before none; every batch is durable before the next is asked.

        Args:
            images: what to ask about.
            again: to see whether a suspect stays with its answers: a number for each image. Image and number together
                are asked once; 0 is the image's first answer.

        Raises:
            UserError: no images, more queries than the budget leaves (before any is made), a model that does not fit.
            BurnishError: an endpoint that fails or answers garbage; what it answered before is kept.
        """
        if not len(images):
            raise UserError("suspect: no images to ask about")
        keys = digests(images)
        if again is not None:
            keys = [_repeat(key, number) if number else key for key, number in zip(keys, again, strict=True)]
        first: dict[bytes, int] = {}
        for place, key in enumerate(keys):
            first.setdefault(key, place)
        missing = [place for key, place in first.items() if key not in self._store]
        self._refuse_stored([key for key in first if key in self._store])
        if self.left is not None and len(missing) > self.left:
            raise UserError(
                f"suspect: {len(missing):,} queries needed, {self.left:,} of the budget of {self._settings.queries:,} "
                "left; nothing was asked: raise `queries` or use fewer images"
            )
        for batch in self._batches(missing):
            self._ask(images[batch], [keys[place] for place in batch])
        self.saved += len(keys) - len(missing)
        rows = stacked(self._store, keys)
        if self.answer == "labels":
            return rows[:, 0].astype(np.int64)
        return rows.astype(np.float32)

    def _batches(self, missing: Sequence[int]) -> Iterator[list[int]]:
        if not missing:
            return
        left = "" if self.left is None else f" ({self.left - len(missing):,} of the budget left after these)"
        batch: list[int] = []
        for place in self._progress(missing, f"queries{left}", len(missing)):
            batch.append(place)
            if len(batch) == self._settings.batch:
                yield batch
                batch = []
        if batch:
            yield batch

    def _refuse_stored(self, keys: Sequence[bytes]) -> None:
        """An earlier session may have kept answers without knowing the classes; seen before anything is asked."""
        if not keys or self._classes is None or self.answer == "embeddings":
            return
        rows = stacked(self._store, keys)
        try:
            checked(rows[:, 0] if self.answer == "labels" else rows, self.answer, len(keys), self._width, self._classes)
        except BadAnswer as error:
            raise self._backend.refusal(str(error)) from None

    def _ask(self, images: UInt8[np.ndarray, "n height width channels"], keys: Sequence[bytes]) -> None:
        try:
            array = checked(self._backend.answer(images), self.answer, len(images), self._width, self._classes)
        except BadAnswer as error:
            raise self._backend.refusal(str(error)) from None
        rows = array.reshape(len(array), -1)
        if self.answer != "labels":
            self._width = rows.shape[1]
        self._store.add(dict(zip(keys, rows, strict=True)))
        self.made += len(images)

    def __enter__(self) -> Oracle:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._store.close()
        self._backend.close()


def _repeat(key: bytes, number: int) -> bytes:
    """The key under which a further answer to the same image is kept."""
    return hashlib.sha256(key + number.to_bytes(4, "little")).digest()


def refuse_beyond_budget(settings: SuspectSettings, total: int) -> None:
    """Before anything is paid for: does an audit of ``total`` different images fit the budget?

    Raises:
        UserError: it does not.
    """
    if settings.queries is not None and total > settings.queries:
        raise UserError(
            f"suspect: {total:,} queries needed, and the budget is {settings.queries:,}; nothing was asked: raise "
            "`queries` or use fewer images"
        )


def open_suspect(
    settings: SuspectSettings,
    answer: Answer,
    cache: Path | None = None,
    note: Note = _unheard,
    progress: Track = _unseen,
    classes: int | None = None,
) -> Oracle:
    """A suspect, ready to be asked.

    Args:
        settings: which, and how it may be asked.
        answer: labels, logits or embeddings.
        cache: folder of stored answers, shared by all suspects; none keeps them in memory.
        note: gets one line where something was assumed (no image processor, a size changed).
        progress: ``Run.progress`` or alike, called with the queries to come.
        classes: how many classes labels and logits must speak of: others are refused at the first batch, and not kept.

    Raises:
        UserError: the suspect cannot be read or does not give such answers, or another process is asking it.
    """
    backend = _backend(settings, answer, note)
    try:
        question = {"suspect": backend.identity, "answer": answer}
        store = open_store(cache, question, DTYPES[answer])
    except BaseException:
        backend.close()
        raise
    return Oracle(backend, answer, settings, store, progress, classes)


def _backend(settings: SuspectSettings, answer: Answer, note: Note) -> Backend:
    kind = settings.resolved_kind
    if kind == "http":
        from burnish.prove.suspects.endpoint import Endpoint

        return Endpoint(settings, answer)
    if kind == "onnx":
        from burnish.prove.suspects.onnx_graph import OnnxGraph

        return OnnxGraph(settings, answer, note)
    if kind == "python":
        from burnish.prove.suspects.python_function import PythonFunction

        return PythonFunction(settings)
    from burnish.prove.suspects.huggingface import HuggingFace

    return HuggingFace(settings, answer, note)
