"""What finding a method imports, told by a fresh interpreter; and what ``check`` writes and starts, heard from inside.

``python -m burnish.testing.probe METHOD MODULE...`` prints, as JSON, which of the modules finding the method imported.
"""

from __future__ import annotations

import _posixsubprocess
import json
import os
import platform
import sys
import tempfile
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
        first = str(arguments[0]) if arguments else ""
        what = first if event == "open" else f"{event} {first}".rstrip()
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


def listen_to_check(recipe: str, temporary: str) -> dict[str, Any]:
    """Call ``check`` in this process, which must be one that ends after it: an audit hook stays.

    Args:
        recipe: a YAML file.
        temporary: the folder for temporary files.

    Returns:
        ``wrote`` and ``started``, in words, and ``forecast``, numbers by name; or ``failed``, why it did.
    """
    from burnish import api
    from burnish.core.forecast import NAMES
    from burnish.core.method import load_recipe

    os.environ["TMPDIR"], tempfile.tempdir = temporary, None
    watch = Watch()
    _hear_spawned(watch)
    platform.processor()  # asks the system once, in a process; libraries ask it for their user agent
    try:
        load_recipe(Path(recipe))[0].load("check")
        watch.on = True
        rows = {row["what"]: row["value"] for row in api.check(Path(recipe))}
        forecast = {name: float(rows[name]) for name in NAMES if name in rows}
    except Exception as error:  # noqa: BLE001 - whatever it raises is what the contract wants to know
        return {"failed": f"{type(error).__name__}: {error}"}
    finally:
        watch.on = False
    return {"wrote": watch.wrote, "started": watch.started, "forecast": forecast}


def main() -> None:
    """See the module."""
    name, *heavy = sys.argv[1:]
    from burnish.core.method import find_method

    find_method(name)
    print(json.dumps([module for module in heavy if module in sys.modules]))


if __name__ == "__main__":
    main()
