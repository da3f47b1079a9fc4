"""Python processes that start at once: copies of one that has already imported what is heavy.

A page of the documentation types dozens of commands, and each would import torch and transformers for 3 to 9 seconds.
Here each is still a process of its own, with its own arguments, environment, folder and streams; only its imports are
there already. What a start imports, and how long it takes, is a matter for other tests.

This file is the process that is copied. It is run as a script, and imports no test.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import multiprocessing.process
import os
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

HEAVY = (
    "burnish.cli",
    "burnish.api",
    "torch._dynamo",
    "kornia.augmentation",
    "llvmlite.binding",
    "matplotlib.backends.backend_svg",
    "matplotlib.projections",
    "openai.types.chat",
    "safetensors.torch",
    "sb3_contrib",
    "sklearn.linear_model",
    "stable_baselines3",
    "transformers.models.bert.modeling_bert",
    "transformers.models.llama.modeling_llama",
    "transformers.models.resnet.modeling_resnet",
    "transformers.models.vit.modeling_vit",
    "trl.trainer.dpo_trainer",
    "trl.trainer.grpo_trainer",
    "trl.trainer.sft_trainer",
)
READY = b"ready\n"
SILENCE = 10.0
"""Seconds that who asks may take to say what for; the others wait."""

# What stands in for `burnish` and `python`: sends its line, its streams and its signals to a copy, ends as that ends.
CLIENT = """#!{python} -IS
import json, os, signal, socket, sys
args = sys.argv[1:]
if {name!r} == "python" and not (args and (args[0] == "-c" or args[0].endswith(".py"))):
    os.execv({python!r}, [{python!r}, *args])
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
socket.send_fds(server, [b"."], [0, 1, 2])
server.sendall(json.dumps([{name!r}, args, os.getcwd(), dict(os.environ)]).encode())
server.shutdown(socket.SHUT_WR)
answers = server.makefile()
child = int(answers.readline())
for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(each, lambda number, frame: os.kill(child, number))
sys.exit(int(answers.readline() or 1))
"""


@contextmanager
def warm_commands(folder: Path, environment: Mapping[str, str]) -> Iterator[Path]:
    """A folder for the front of ``PATH``, with a ``burnish`` and a ``python`` that start at once.

    Args:
        folder: an empty one, of a short path: it gets a socket.
        environment: in which the heavy imports are made; a command has its own.
    """
    address = folder / "warm"
    for name in ("burnish", "python"):
        client = folder / name
        client.write_text(CLIENT.format(python=sys.executable, name=name, address=str(address)))
        client.chmod(0o755)
    line = [sys.executable, __file__, str(address)]
    server = subprocess.Popen(line, env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        assert server.stdout.readline() == READY, "the heavy imports failed"
        yield folder
    finally:
        server.stdin.close()  # it goes when its reader goes, however that comes about
        server.wait(30)
        server.stdout.close()


def _imported() -> None:
    from burnish.core.method import all_methods

    for name in HEAVY:
        importlib.import_module(name)
    for method in all_methods()[0]:
        if method.built and isinstance(method.run, str):
            importlib.import_module(method.run.partition(":")[0])
    gc.collect()
    gc.freeze()  # what is there stays: no copy goes through it


class Copies:
    """The process that is copied: it starts copies, and tells those who asked how theirs ended."""

    def __init__(self, address: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(address)
        self._listener.listen()
        self._ended, self._wake = os.pipe()
        for end in (self._ended, self._wake):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        self._heard = select.poll()
        for descriptor in (0, self._listener.fileno(), self._ended):
            self._heard.register(descriptor, select.POLLIN)
        self._asking: dict[int, socket.socket] = {}

    def serve(self) -> tuple[str, list[str]]:
        """Return in each copy, with what it is to do; the original ends with its reader, and its copies with it."""
        os.write(1, READY)
        while True:
            for descriptor, _ in self._heard.poll():
                if descriptor == 0:
                    for child in self._asking:
                        os.kill(child, signal.SIGKILL)
                    os._exit(0)
                elif descriptor == self._ended:
                    os.read(self._ended, 4096)
                    self._tell()
                elif descriptor == self._listener.fileno():
                    work = self._start()
                    if work is not None:
                        return work
                else:
                    self._gone(descriptor)

    def _start(self) -> tuple[str, list[str]] | None:
        """Copy this process for who asks: in the copy what it is to do, in the original nothing."""
        asked, _ = self._listener.accept()
        asked.settimeout(SILENCE)
        streams: list[int] = []
        try:
            _, streams, _, _ = socket.recv_fds(asked, 1, 3)
            with asked.makefile() as lines:
                name, arguments, folder, environment = json.loads(lines.read())
        except (OSError, ValueError):  # gone before it has spoken, or silent
            for each in (asked.detach(), *streams):
                os.close(each)
            return None
        asked.settimeout(None)
        child = os.fork()
        if child == 0:
            self._leave(asked)
            _become(streams, folder, environment)
            return name, arguments
        for stream in streams:  # or a pipe would stay open after the child's end
            os.close(stream)
        self._asking[child] = asked
        self._heard.register(asked, 0)  # it has said all: only that it is gone can be heard
        with suppress(OSError):
            asked.sendall(f"{child}\n".encode())
        return None

    def _leave(self, asked: socket.socket) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for each in (self._listener, asked, *self._asking.values()):
            each.close()
        os.close(self._ended)
        os.close(self._wake)

    def _tell(self) -> None:
        with suppress(ChildProcessError):
            while (done := os.waitpid(-1, os.WNOHANG))[0]:
                code = os.waitstatus_to_exitcode(done[1])
                asked = self._asking.pop(done[0])
                with suppress(KeyError):  # gone already
                    self._heard.unregister(asked)
                with suppress(OSError), asked:
                    asked.sendall(f"{code if code >= 0 else 128 - code}\n".encode())

    def _gone(self, descriptor: int) -> None:
        with suppress(KeyError):  # heard together with its copy's end
            self._heard.unregister(descriptor)
        for child, asked in self._asking.items():
            if asked.fileno() == descriptor:
                os.kill(child, signal.SIGKILL)


def _become(streams: list[int], folder: str, environment: dict[str, str]) -> None:
    for target, stream in enumerate(streams):
        os.dup2(stream, target)
        os.close(stream)
    os.chdir(folder)
    multiprocessing.process.ORIGINAL_DIR = folder  # type: ignore[attr-defined]  # where workers look for the script
    os.environ.clear()
    os.environ.update(environment)
    random.seed()


def main() -> None:
    """Be the process that is copied, and then each of its copies."""
    del sys.path[0]  # the folder of the tests
    _imported()
    name, arguments = Copies(sys.argv[1]).serve()
    try:
        _carry_out(name, arguments)
        code = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as error:  # noqa: BLE001 - what the interpreter does at its end
        traceback.print_exc()
        code = 130 if isinstance(error, KeyboardInterrupt) else 1
    threading._shutdown()  # type: ignore[attr-defined]  # waits for those that are no daemons
    atexit._run_exitfuncs()
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)  # to take thousands of modules apart would take longer than many a command


def _carry_out(name: str, arguments: list[str]) -> None:
    if name == "burnish":
        from burnish.cli import main as burnish

        sys.argv = ["burnish", *arguments]
        burnish()
    elif arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        sys.path.insert(0, "")
        exec(compile(arguments[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = arguments
        sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main()
