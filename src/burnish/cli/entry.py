"""From what is typed to an exit code: options of the whole line, and every error as one line. Knows no command."""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import signal
import sys
import traceback

import typer
from typer.exceptions import TyperException

from burnish.cli.shared import remedy
from burnish.core.errors import BurnishError

_ANYWHERE = {"--debug": "debug", "--quiet": "quiet", "-q": "quiet", "--verbose": "verbose", "-v": "verbose"}
"""Options of the whole command line; they may stand after a command as well."""


def enter(app: typer.Typer) -> int:
    """Run the command that was typed.

    Returns:
        Its exit code; the same with ``--debug``, which only shows more.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and codecs.lookup(stream.encoding).name != "utf-8":
            stream.reconfigure(errors="backslashreplace")  # a terminal of ASCII shows \u2026, and nothing fails
    before, dashes, after = _split(sys.argv[1:])
    asked = {_ANYWHERE[word] for word in before if word in _ANYWHERE}
    sys.argv = [sys.argv[0], *(word for word in before if word not in _ANYWHERE), *dashes, *after]
    if "quiet" in asked:
        from burnish.core.metrics import QUIET

        os.environ[QUIET] = "1"
    if "verbose" in asked:
        from burnish.core.logs import show_libraries

        show_libraries()
    return _guarded(app, "debug" in asked)


def _split(words: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Words before ``--``, that itself, and those after it, which are no options."""
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at : at + 1], words[at + 1 :]


INTERRUPTED = 128 + signal.SIGINT
_OF_STREAMS = (errno.EPIPE, errno.ENOSPC, errno.EIO)


def _guarded(app: typer.Typer, debug: bool) -> int:
    try:
        return _ended(app(standalone_mode=False, prog_name="burnish"))
    except TyperException as error:
        said = error.format_message()
        if said.startswith("Usage:"):  # a group without a command: its help
            print(said)
        else:
            context = getattr(error, "ctx", None)
            print(f"burnish: {said}" + (f" ({context.command_path} --help)" if context else ""), file=sys.stderr)
        return 2
    except typer.Exit as error:
        return error.exit_code
    except BurnishError as error:
        if debug:
            traceback.print_exc()
        print(f"burnish: {error}{remedy(error)}", file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):  # typer's own end for a reader that has gone
            return 0
        raise
    except Exception as error:  # noqa: BLE001 - the last resort: told in a line, with --debug where it came from
        return _fault(error, debug)


def _ended(code: object) -> int:
    if code == INTERRUPTED:  # typer's own end for Ctrl-C, without a word
        return _interrupted()
    sys.stdout.flush()
    return code if isinstance(code, int) else 0


def _interrupted() -> int:
    print("burnish: interrupted; the same command goes on from what is finished", file=sys.stderr)
    return INTERRUPTED


def _fault(error: Exception, debug: bool) -> int:
    """What no user can mend; or standard output, whose reader has gone or which is full."""
    if isinstance(error, OSError) and error.filename is None and error.errno in _OF_STREAMS:
        return _without_output(error)  # what a file is refused with has become a BurnishError
    if debug:
        traceback.print_exc()
    reason = " ".join(str(error).split())[:300]
    print(f"burnish: a fault of ours: {type(error).__name__}: {reason}; --debug shows where", file=sys.stderr)
    return 1


def _without_output(error: OSError) -> int:
    """Whoever read it has gone, or what it is written to is full."""
    with contextlib.suppress(OSError, ValueError):  # Python would write what is left when it ends, and fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno == errno.EPIPE:
        return 0
    print(f"burnish: standard output: {error.strerror}; the work may be done and is not told", file=sys.stderr)
    return 1
