"""What finding a method imports, and what ``check`` writes and starts: run in a fresh interpreter, tells in JSON.

``python -m burnish.testing.probe METHOD RECIPE MODULE...``
"""

from __future__ import annotations

import _posixsubprocess
import json
import os
import platform
import sys
from pathlib import Path
from types import FrameType
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
STARTING = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system", "socket.connect")
CHANGING = ("sqlite3.connect", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate")


class Watch:
    """Hears the interpreter's audit events while it is on."""

    def __init__(self) -> None:
        self.on = False
        self.wrote: list[str] = []
        self.started: list[str] = []
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Called by the interpreter."""
        if not self.on:
            return
        what = str(arguments[0]) if event == "open" else f"{event} {arguments[0]}"
        if event in STARTING:
            heard = self.started
        elif event in CHANGING or (event == "open" and _writes(*arguments)):
            heard = self.wrote
        else:
            return
        if "__pycache__" not in what and not _importing():
            heard.append(what)


def _importing() -> bool:
    """Whether a module is being imported: what a library does then is not the method's doing."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _writes(path: Any, mode: Any, flags: Any) -> bool:
    lasting = not isinstance(path, int) and not str(path).startswith("/dev/")
    return lasting and (bool(set(mode or "") & set("wax+")) or bool((flags or 0) & WRITING))


def _hear_spawned(watch: Watch) -> None:
    """multiprocessing starts its processes by a call that raises no audit event."""
    real = _posixsubprocess.fork_exec

    def heard(*arguments: Any) -> int:
        if watch.on:
            watch.started.append("a process of multiprocessing")
        return int(real(*arguments))

    _posixsubprocess.fork_exec = heard


def main() -> None:
    """See the module."""
    name, recipe, *heavy = sys.argv[1:]
    from burnish.core.errors import BurnishError
    from burnish.core.forecast import NAMES
    from burnish.core.method import find_method

    watch = Watch()
    _hear_spawned(watch)
    method = find_method(name)
    loaded = [module for module in heavy if module in sys.modules]
    from burnish import api

    method.load("check")
    platform.processor()  # asks the system once, in a process; libraries ask it for their user agent
    watch.on = True
    try:
        rows = {row["what"]: row["value"] for row in api.check(Path(recipe))}
    except BurnishError as error:
        sys.exit(str(error))
    finally:
        watch.on = False
    forecast = {name: rows[name] for name in NAMES if name in rows}
    print(json.dumps({"heavy": loaded, "wrote": watch.wrote, "started": watch.started, "forecast": forecast}))


if __name__ == "__main__":
    main()
