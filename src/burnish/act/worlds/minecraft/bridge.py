"""One Node child and its JSON-RPC 2.0: a line is a message; stdout carries nothing else, stderr is logged."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio

from burnish.act.world import ActionFailed
from burnish.act.worlds.minecraft.packages import BRIDGE, node

LOG = logging.getLogger(__name__)
CANCEL_SECONDS = 2.0
LONGEST_LINE = 2**22


class Died(ActionFailed):
    """The Node child ended while a call was under way."""


class Bridge:
    """A running child.

    Args:
        packages: folder with ``node_modules``.
        heard: called with the parameters of each notification.
    """

    def __init__(self, packages: Path, heard: Callable[[Mapping[str, Any]], None]) -> None:
        self._packages = packages
        self._heard = heard
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._last = 0
        self._process: asyncio.subprocess.Process | None = None
        self._readers: list[asyncio.Task[None]] = []

    @property
    def alive(self) -> bool:
        """Whether the child runs and is listened to."""
        return self._process is not None and self._process.returncode is None and not self._readers[0].done()

    @property
    def pid(self) -> int:
        """The child's process id."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start the child."""
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            node(),
            str(BRIDGE / "bridge.js"),
            str(self._packages),
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            limit=LONGEST_LINE,
        )
        self._readers = [asyncio.create_task(self._read()), asyncio.create_task(self._log())]

    async def call(self, method: str, params: Mapping[str, Any], seconds: float) -> Any:
        """Ask, and wait for the answer. When given up, the child is told, and has two seconds to acknowledge.

        Raises:
            Died: the child is gone.
            ActionFailed: its own error, or no answer within ``seconds``.
        """
        number, future = self._send(method, params)
        try:
            with anyio.fail_after(seconds):
                return await future
        except TimeoutError:
            await self._cancel(number)
            raise ActionFailed(f"{params.get('command', method)}: no end after {seconds:g} s") from None
        except asyncio.CancelledError:
            await self._cancel(number)
            raise
        finally:
            self._calls.pop(number, None)

    async def _cancel(self, number: int) -> None:
        with anyio.move_on_after(CANCEL_SECONDS, shield=True):
            try:
                asked, future = self._send("cancel", {"id": number})
                try:
                    await future
                finally:
                    self._calls.pop(asked, None)
            except ActionFailed:
                pass  # who is dead has stopped

    def _send(self, method: str, params: Mapping[str, Any]) -> tuple[int, asyncio.Future[Any]]:
        if not self.alive:
            raise Died("the connection to the game was lost")
        assert self._process is not None
        assert self._process.stdin is not None
        self._last += 1
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._calls[self._last] = future
        message = {"jsonrpc": "2.0", "id": self._last, "method": method, "params": dict(params)}
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        return self._last, future

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            async for line in self._process.stdout:
                try:
                    message = json.loads(line)
                except ValueError:
                    LOG.warning("node: not JSON: %r", line[:200])
                    continue
                if "method" in message:
                    self._heard(message["params"])
                    continue
                future = self._calls.get(message.get("id"))
                if future is None or future.done():
                    continue
                if "error" in message:
                    future.set_exception(ActionFailed(message["error"]["message"]))
                else:
                    future.set_result(message["result"])
        finally:
            for future in self._calls.values():
                if not future.done():
                    future.set_exception(Died("the connection to the game was lost"))

    async def _log(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            LOG.info("node: %s", line.decode(errors="replace").rstrip())

    async def close(self) -> None:
        """End the child: its input ends, and it leaves the game; killed after two seconds."""
        if self._process is None:
            return
        with anyio.CancelScope(shield=True):
            if self._process.stdin is not None:
                self._process.stdin.close()
            with anyio.move_on_after(CANCEL_SECONDS):
                await self._process.wait()
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()
            for reader in self._readers:
                reader.cancel()
            await asyncio.gather(*self._readers, return_exceptions=True)
