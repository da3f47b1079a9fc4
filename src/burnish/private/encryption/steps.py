"""Where in a circuit a computation is: a name that errors and plans repeat. Knows no arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_HERE: ContextVar[tuple[str, ...]] = ContextVar("step", default=())


@contextmanager
def step(name: str) -> Iterator[None]:
    """What is computed inside belongs to this step; steps nest."""
    token = _HERE.set((*_HERE.get(), name))
    try:
        yield
    finally:
        _HERE.reset(token)


def here() -> str:
    """The steps that are open, outermost first: ``argmax, sign, stage 2``; empty outside of any."""
    return ", ".join(_HERE.get())


def outermost() -> str:
    """The widest step that is open: what a plan adds its costs up by."""
    return next(iter(_HERE.get()), "")


def at_step(text: str) -> str:
    """An error's text with the step that it happened in."""
    return f"{text} (step: {here()})" if here() else text
