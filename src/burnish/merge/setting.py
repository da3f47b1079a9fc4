"""A parameter as a merge's YAML writes it: a value, a gradient over the layers, or conditions on tensors' names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BeforeValidator

from burnish.core.recipe import Settings


class Condition(Settings):
    """One entry of a setting: the value (or gradient) for tensors whose name contains `filter`."""

    value: Any
    """A value, or a list of values from the first layer to the last (a gradient)."""
    filter: str | None = None
    """Part of the names of the tensors it is for; none or `*`: all."""

    def applies_to(self, tensor: str) -> bool:
        """Whether the tensor's name contains the filter; no filter and `*` match every name."""
        return self.filter in (None, "*") or str(self.filter) in tensor


class Setting(Settings):
    """A parameter as written: conditions tried in order. A bare value is one condition without a filter."""

    conditions: tuple[Condition, ...]
    """In the order in which they are tried."""

    def at(self, tensor: str, t: float, convert: Callable[[Any], Any]) -> Any:
        """The value for a tensor at depth `t` (0 first layer, 1 last), or `None` where no condition applies.

        Args:
            tensor: the tensor's name, which filters look into.
            t: where a gradient is read.
            convert: turns a scalar as written into the parameter's type; numbers are interpolated after it.
        """
        for condition in self.conditions:
            if condition.applies_to(tensor):
                return _interpolate(condition.value, t, convert)
        return None


def _interpolate(value: Any, t: float, convert: Callable[[Any], Any]) -> Any:
    if not isinstance(value, list):
        return convert(value)
    anchors = [convert(anchor) for anchor in value]
    position = t * (len(anchors) - 1)
    below = int(position)
    if any(isinstance(anchor, bool | str) or anchor is None for anchor in anchors):
        return anchors[below]
    above = min(below + 1, len(anchors) - 1)
    fraction = position - below
    return convert((1 - fraction) * anchors[below] + fraction * anchors[above])


def _setting(value: Any) -> Any:
    if isinstance(value, Setting):
        return value
    if _is_value(value):
        return Setting(conditions=(Condition(value=value),))
    entries = value if isinstance(value, list) else [value]
    if not entries:
        raise ValueError("an empty list sets nothing; give a value")
    conditions = []
    for entry in entries:
        if not isinstance(entry, dict) or not set(entry) <= {"filter", "value"} or not _is_value(entry.get("value")):
            raise ValueError("expected a value, a list of values (a gradient), or entries of `filter` and `value`")
        if not isinstance(entry.get("filter"), str | None):
            raise ValueError("`filter` must be text, a part of the tensor's name")
        conditions.append(Condition(value=entry["value"], filter=entry.get("filter")))
    return Setting(conditions=tuple(conditions))


def _is_value(value: Any) -> bool:
    scalar = bool | int | float | str
    return isinstance(value, scalar) or (
        isinstance(value, list) and bool(value) and all(isinstance(entry, scalar) for entry in value)
    )


Parameters = dict[str, Annotated[Setting, BeforeValidator(_setting)]]
