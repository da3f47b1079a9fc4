"""What a user may set on a merge method: a name's type, default and meaning. Imports nothing heavy."""

import sys
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from burnish.core.errors import UserError


class Required(Enum):
    """The type of the one value `REQUIRED`."""

    REQUIRED = "required"


REQUIRED: Final = Required.REQUIRED


@dataclass(frozen=True)
class Parameter:
    """One parameter of a merge method.

    Attributes:
        type: `float`, `int`, `bool` or `str`.
        doc: one sentence for the user.
        default: the value when nothing is set, or `REQUIRED`.
        choices: the allowed values of a `str`.
        optional: `None` is a value too (it means: leave the tensor alone).
        least: the smallest value allowed.
        most: the largest value allowed.
        inert: accepted because mergekit's files carry it, and without effect here.
        above: every value allowed is greater.
        below: every value allowed is less.
    """

    type: type
    doc: str
    default: Any = REQUIRED
    choices: tuple[str, ...] = ()
    optional: bool = False
    least: float | None = None
    most: float | None = None
    inert: bool = False
    above: float | None = None
    below: float | None = None

    @property
    def required(self) -> bool:
        """Whether the user must set it."""
        return self.default is REQUIRED

    def parse(self, name: str, value: Any) -> Any:
        """Return `value` as this parameter's type.

        Raises:
            UserError: the value is of another type, not finite, out of range, or none of the choices.
        """
        if value is None and self.optional:
            return None
        if self.choices:
            if value not in self.choices:
                raise UserError(f"{name}: {value!r} is none of {', '.join(self.choices)}")
            return value
        if self.type is str:
            if not isinstance(value, str):
                raise UserError(f"{name}: expected {_WORDS[str]}, got {value!r}")
            return value
        # bool is an int in Python; in a recipe it never means a number.
        accepted = {float: (int, float), int: (int,), bool: (bool,)}[self.type]
        if not isinstance(value, accepted) or (self.type is not bool and isinstance(value, bool)):
            raise UserError(f"{name}: expected {_WORDS[self.type]}, got {value!r}")
        if self.type is float and not abs(value) <= sys.float_info.max:
            raise UserError(f"{name}: expected a finite number, got {str(value)[:40]}")
        if not self._within(value):
            raise UserError(f"{name}: expected {_WORDS[self.type]} {self.range}, got {value!r}")
        return self.type(value)

    @property
    def range(self) -> str:
        """The bounds in words: "from 0 to 1", "of 0 or more", "greater than 0 and of 1 or less"; empty without any."""
        if self.least is not None and self.most is not None and self.above is None and self.below is None:
            return f"from {self.least:g} to {self.most:g}"
        bounds = {"greater than {:g}": self.above, "of {:g} or more": self.least}
        bounds |= {"less than {:g}": self.below, "of {:g} or less": self.most}
        return " and ".join(words.format(bound) for words, bound in bounds.items() if bound is not None)

    def _within(self, value: float) -> bool:
        return (
            (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )


_WORDS = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}
