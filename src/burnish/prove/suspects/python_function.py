"""A suspect behind a function of the auditor's own: `module:function`, images in, answers out."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from burnish.core.errors import BurnishError, UserError, raised
from burnish.core.files import sha256
from burnish.core.method import import_object
from burnish.prove.suspects.answers import BadAnswer
from burnish.prove.suspects.settings import SuspectSettings


class PythonFunction:
    """Calls the function with uint8 images [n, height, width, channels].

    Raises:
        UserError: no such function.
    """

    def __init__(self, settings: SuspectSettings) -> None:
        self._name = settings.model
        self._function = import_object(settings.model, "model")
        if not callable(self._function):
            raise UserError(f"model: {settings.model} is a {type(self._function).__name__}, not a function")
        self.sent_bytes = 0
        self.retried = 0
        self.identity = f"python {settings.model}{self._source()}"

    def _source(self) -> str:
        """The hash of the module's file: stored answers of an earlier version are not this one's."""
        try:
            file = inspect.getsourcefile(inspect.unwrap(self._function))
        except TypeError:
            return ""
        return f" sha256:{sha256(Path(file))}" if file and Path(file).is_file() else ""

    def answer(self, images: UInt8[np.ndarray, "n height width channels"]) -> Any:
        """What the function returns, as an array.

        Raises:
            UserError: it raised.
            BadAnswer: it returned nothing that is an array.
        """
        try:
            found = self._function(images)
        except Exception as error:  # the auditor's own code
            raise UserError(f"model: {self._name} raised {raised(error)}") from error
        try:
            return np.asarray(found)
        except (ValueError, TypeError, RuntimeError) as error:
            raise BadAnswer(f"a {type(found).__name__} that is no array ({error})") from None

    def refusal(self, problem: str) -> BurnishError:
        """The function's author is the user."""
        return UserError(f"model: {self._name} returned {problem}")

    def close(self) -> None:
        """Nothing is held."""
