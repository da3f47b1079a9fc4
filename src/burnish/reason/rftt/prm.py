"""A process reward model: any function, or a server. Each step of a tree is scored once, whatever path asks for it.

A step's score is that of the solution up to it, so it is kept by the question and the steps so far. Knows no model.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from burnish.core.errors import BurnishError, UserError, raised
from burnish.core.method import import_object

Steps = Sequence[str]
Scorer = Callable[[list[str], list[list[str]]], Sequence[Sequence[float]]]
"""From questions and the steps of a solution of each, to a score between 0 and 1 of every step."""

TOO_LONG = 0.2
"""Score of every step of a solution that is too long. Source: RFTT, released code."""
MOST_TOKENS = 5120
"""Longest solution that is scored, its question included. Source: RFTT, released code."""


class ProcessScores:
    """Scores of steps, each asked for once.

    Args:
        scorer: who scores; see :func:`load_scorer`.
        name: what to call it in messages.
        length: tokens of a text; none takes every solution as short enough.
        most_tokens: longer solutions (the question and all steps) get :data:`TOO_LONG` for each step that has no score
            yet, and are counted.
        batch: solutions in one call.
    """

    def __init__(
        self,
        scorer: Scorer,
        name: str,
        length: Callable[[str], int] | None = None,
        most_tokens: int = MOST_TOKENS,
        batch: int = 64,
    ) -> None:
        self._scorer = scorer
        self._name = name
        self._length = length
        self._most_tokens = most_tokens
        self._batch = batch
        self._known: dict[bytes, float] = {}
        self._counts: Counter[str] = Counter()

    def take_counts(self) -> dict[str, int]:
        """Counts since the last call.

        Returns:
            ``asked``, solutions that were shown to the scorer; ``scored``, steps that got a score; ``reused``, steps
                whose score was known when it was wanted; ``too_long``, solutions that were not shown.
        """
        found = {name: self._counts[name] for name in ("asked", "scored", "reused", "too_long")}
        self._counts.clear()
        return found

    def score(self, questions: Sequence[str], solutions: Sequence[Steps]) -> list[tuple[float, ...]]:
        """Scores of the steps of each solution.

        Only solutions with a step of no known score are shown to the scorer, and none that is the beginning of another.

        Raises:
            UserError: the scorer fails, gives too few scores, or one that is no number from 0 to 1.
            BurnishError: a server that does not answer.
        """
        keys = [_keys(question, steps) for question, steps in zip(questions, solutions, strict=True)]
        before = len(self._known)
        fresh = [place for place, path in enumerate(keys) if any(key not in self._known for key in path)]
        short = [place for place in fresh if self._is_short(questions[place], solutions[place])]
        self._counts["too_long"] += len({keys[place][-1] for place in fresh} - {keys[place][-1] for place in short})
        inner = {key for place in short for key in keys[place][:-1]}
        asked = list({keys[place][-1]: place for place in short if keys[place][-1] not in inner}.values())
        for start in range(0, len(asked), self._batch):
            part = asked[start : start + self._batch]
            found = self._ask([questions[place] for place in part], [list(solutions[place]) for place in part])
            for place, scores in zip(part, found, strict=True):
                for key, score in zip(keys[place], scores, strict=True):
                    self._known.setdefault(key, score)
        for place in fresh:  # what is left belongs to solutions that are too long
            for key in keys[place]:
                self._known.setdefault(key, TOO_LONG)
        scored = len(self._known) - before
        self._counts.update(scored=scored, reused=sum(map(len, keys)) - scored)
        return [tuple(self._known[key] for key in path) for path in keys]

    def forget(self) -> None:
        """Drop all scores: trees of another step share no step with these."""
        self._known.clear()

    def _is_short(self, question: str, steps: Steps) -> bool:
        return self._length is None or self._length("\n".join([question, *steps])) <= self._most_tokens

    def _ask(self, questions: list[str], solutions: list[list[str]]) -> list[list[float]]:
        try:
            found = self._scorer(questions, solutions)
        except BurnishError:
            raise
        except Exception as error:
            raise UserError(f"prm: {self._name} raised {raised(error)}") from error
        self._counts["asked"] += len(questions)
        return checked_scores(found, [len(steps) for steps in solutions], self._name)


def checked_scores(found: Any, lengths: Sequence[int], name: str) -> list[list[float]]:
    """The scores as numbers, one a step.

    Raises:
        UserError: too few or too many of them, or one that is no number from 0 to 1.
    """
    rows = _listed(found)
    if rows is None or len(rows) != len(lengths):
        raise UserError(
            f"prm: {name} gave {'no list' if rows is None else f'{len(rows)} lists'} of scores for "
            f"{len(lengths)} solutions; it must give one list a solution"
        )
    checked = []
    for place, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        scores = _listed(row)
        if scores is None or len(scores) != length:
            raise UserError(
                f"prm: {name} gave {'no list of' if scores is None else len(scores)} scores for the {length} steps of "
                f"solution {place + 1}; it must give one a step"
            )
        for step, score in enumerate(scores):
            try:
                fits = math.isfinite(float(score)) and 0 <= float(score) <= 1
            except (TypeError, ValueError):
                fits = False
            if not fits:
                raise UserError(
                    f"prm: {name} gave {score!r} for step {step + 1} of {length} of solution {place + 1}; "
                    "a score is a number from 0 to 1"
                )
        checked.append([float(score) for score in scores])
    return checked


def load_scorer(reference: str, timeout: float = 120.0) -> Scorer:
    """The scorer that a recipe names: ``module:function``, or the address of a server.

    A function gets a list of questions and a list of each one's steps. A server gets them as JSON by POST,
    ``{"questions": [...], "steps": [[...], ...]}``, and answers ``{"scores": [[...], ...]}``.

    Raises:
        UserError: no such function, or an object that cannot be called.
    """
    if reference.startswith(("http://", "https://")):
        return Endpoint(reference, timeout)
    found = import_object(reference, "prm")
    if not callable(found):
        raise UserError(f"prm: `{reference}` cannot be called; give a function of questions and lists of steps")
    return found  # type: ignore[no-any-return]


class Endpoint:
    """A process reward model behind an address.

    Args:
        url: where to post.
        timeout: seconds that one reply may take.
        waits: seconds before each new try; with the default a server may be away for two minutes.
        sleep: waits.

    Attributes:
        retries: tries that had to be repeated.
    """

    def __init__(
        self,
        url: str,
        timeout: float = 120.0,
        waits: Sequence[float] = (1, 2, 4, 8, 16, 32, 64),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url = url
        self._timeout = timeout
        self._waits = tuple(waits)
        self._sleep = sleep
        self.retries = 0

    def __call__(self, questions: list[str], steps: list[list[str]]) -> Any:
        """The scores of a reply.

        Raises:
            UserError: the server refuses the request (4xx), or its reply holds no scores.
            BurnishError: it does not answer, tries included.
        """
        fault = ""
        for wait in (*self._waits, None):
            reply, fault = self._post({"questions": questions, "steps": steps})
            if not fault:
                if not isinstance(reply, dict) or "scores" not in reply:
                    raise UserError(f'prm: {self._url} answered without `scores`; it must answer {{"scores": [[...]]}}')
                return reply["scores"]
            if wait is not None:
                self.retries += 1
                self._sleep(wait)
        raise BurnishError(
            f"prm: {self._url} did not answer in {len(self._waits) + 1} tries over {sum(self._waits):g} s ({fault}); "
            "start it, then run the same command again: it goes on from the last checkpoint"
        )

    def _post(self, body: dict[str, Any]) -> tuple[Any, str]:
        """The decoded reply, or what stood in its way for now."""
        import httpx

        try:
            reply = httpx.post(self._url, json=body, timeout=self._timeout)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError) as error:
            raise UserError(f"prm: {self._url} is not an address that can be asked ({error})") from None
        except httpx.TransportError as error:
            return None, f"{type(error).__name__}: {error}"
        if reply.status_code in (408, 425, 429) or reply.status_code >= 500:
            return None, f"status {reply.status_code}"
        if reply.status_code >= 300:
            raise UserError(f"prm: {self._url} refused the request with status {reply.status_code}; check the address")
        try:
            return reply.json(), ""
        except (json.JSONDecodeError, UnicodeDecodeError):
            return None, "its reply is not JSON"


def _keys(question: str, steps: Steps) -> list[bytes]:
    """A name of the solution up to each step."""
    state = hashlib.sha256(_framed(question))
    found = []
    for step in steps:
        state.update(_framed(step))
        found.append(state.digest())
    return found


def _framed(text: str) -> bytes:
    """Its length before it, so that no two lists of texts run together to the same bytes."""
    content = text.encode("utf-8", "surrogatepass")
    return len(content).to_bytes(8, "big") + content


def _listed(value: Any) -> list[Any] | None:
    """A list, tuple, array or tensor as a list."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return list(value) if isinstance(value, list | tuple) else None
