"""A user's world as the runtime sees it: what is wrong with it is said as the user's, by method and line."""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from burnish.act.world import Happening, World
from burnish.core.errors import BurnishError, UserError, raised


class OwnWorld:
    """See :class:`~burnish.act.world.World`.

    Args:
        name: what the recipe calls it (``module:function``).
        world: what that function gave.

    Raises:
        UserError: a method that has to be ``async`` is not.
    """

    def __init__(self, name: str, world: World) -> None:
        self._name = name
        self._world = world
        for method in (world.observe, world.act):
            if not inspect.iscoroutinefunction(inspect.unwrap(method)):
                raise UserError(f"world.function: {name}: `{method.__name__}` must be `async def`")
        if inspect.iscoroutinefunction(world.happenings):
            raise UserError(
                f"world.function: {name}: `happenings` must yield; a world without any yields in `if False`"
            )

    def __getattr__(self, name: str) -> Any:
        """What else it may have: ``close``, ``render``."""
        return getattr(self._world, name)

    async def observe(self, agent: str) -> dict[str, Any]:
        """See :class:`World`."""
        return await self._asked("observe", self._world.observe, agent)

    async def act(self, agent: str, command: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """See :class:`World`."""
        return await self._asked("act", self._world.act, agent, command, arguments)

    async def happenings(self) -> AsyncIterator[Happening]:
        """See :class:`World`."""
        try:
            async for happening in self._world.happenings():
                if not isinstance(happening, Happening):
                    raise self._wrong(
                        "happenings", f"gave a {type(happening).__name__}; give Happening(kind, agent, data)"
                    )
                yield happening
        except BurnishError:
            raise
        except Exception as error:
            raise self._wrong("happenings", f"raised {raised(error)}") from error

    async def _asked(self, method: str, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        try:
            found = await function(*arguments)
        except BurnishError:  # ActionFailed among them
            raise
        except Exception as error:
            raise self._wrong(method, f"raised {raised(error)}") from error
        if not isinstance(found, dict):
            raise self._wrong(method, f"returned a {type(found).__name__}; return a dict")
        try:
            json.dumps(found)
        except (TypeError, ValueError) as error:
            raise self._wrong(method, f"returned what is no JSON ({error})") from error
        return found

    def _wrong(self, method: str, what: str) -> UserError:
        return UserError(f"world.function: {self._name}: `{method}` {what}")
