"""What every command shares: options of one meaning, and how a result is printed."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from burnish.core.errors import BurnishError
from burnish.core.launch import refuse_more_ranks

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, dotted: --set a.b=1.")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Throw an earlier run in that folder away and start over.")]
AllowChangedCode = Annotated[
    bool,
    typer.Option("--allow-changed-code", help="Go on although code that the recipe lends has changed since the start."),
]
TourSize = Annotated[str, typer.Option(help="smoke (seconds; does every line run) or tour (a minute or two).")]
Size = Annotated[
    str, typer.Option(help="smoke (seconds), tour (under 90 s), quick (minutes, judged) or full (judged).")
]


RANKED = ("run", "check", "env")
"""Commands that may be started as several ranks: what a run can use is for its method to say."""


class Commands(TyperGroup):
    """A group whose list of commands shows the whole first sentence of each, wrapped, where typer would cut it off.

    A command that is one process is refused where a launcher has started several. Below the list, what each of the
    commands takes, and the group's example.
    """

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that was typed; called by typer."""
        found = super().resolve_command(ctx, args)
        if ctx.parent is None and found[0] not in RANKED:
            refuse_more_ranks(f"burnish {found[0]}")
        return found

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list; called by typer for `--help`."""
        for command in self.commands.values():
            command.short_help = command.get_short_help_str(limit=1000)
        super().format_commands(ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """How each command is called, in a group of a few; then the example."""
        if ctx.parent is not None:
            with formatter.section("Usage of each (-h after one says more)"):
                for name, command in self.commands.items():
                    pieces = [piece.strip("{}") for piece in command.collect_usage_pieces(ctx)[1:]]
                    pieces += [f"[{each.opts[0]}]" for each in command.params if each.opts[0].startswith("--")]
                    formatter.write_text(" ".join([ctx.command_path, name, *pieces]))
        super().format_epilog(ctx, formatter)


def remedy(error: BurnishError) -> str:
    """What the functions below the command line cannot know: its flags."""
    flags = ", ".join(f"--{argument.replace('_', '-')}" for argument in error.arguments)
    return f" ({flags})" if flags else ""


def working(label: str) -> contextlib.AbstractContextManager[None]:
    """Say that a command is at work, from its heavy imports on, until it has something to show."""
    from burnish.core.metrics import activity

    return activity(label)


@contextlib.contextmanager
def only_data(as_json: bool) -> Iterator[None]:
    """While a command works whose result is JSON, what anybody prints goes to standard error: the user's code, a
    library, a worker process.
    """
    if not as_json:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)  # worker processes have this one
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def print_json(data: Any, indent: int | None = 1) -> None:
    """A result as JSON that every reader takes: a number that JSON does not have (NaN, infinite) is null."""
    print(json.dumps(_finite(data), indent=indent, default=str, allow_nan=False))


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def say(found: dict[str, Any], as_json: bool) -> None:
    """A result of one line: its last value for a person, all of it as JSON."""
    if as_json:
        print_json(found)
    else:
        print(list(found.values())[-1])


def _shown(row: dict[str, Any]) -> dict[str, str]:
    """A row for a person: data has its unit in the name (``size_bytes``), a person reads 6.2 MB of ``size``."""
    if row.keys() == {"what", "value"}:
        ((name, value),) = _shown_pair(str(row["what"]), row["value"])
        return {"what": name, "value": value}
    return dict(pair for name, value in row.items() for pair in _shown_pair(str(name), value))


def _shown_pair(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        from burnish.core.metrics import bytes_shown, duration

        if name == "seconds":
            yield "time", f"about {duration(value)}"
            return

        for unit, words in (("_bytes", bytes_shown), ("_seconds", duration)):
            if name.endswith(unit):
                yield name.removesuffix(unit), words(value)
                return
        if isinstance(value, int):
            yield name, f"{value:,}"
            return
    yield name, str(value)


def print_table(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Rows for a person, or as JSON."""
    if as_json:
        print_json(rows)
        return
    if not rows:
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    for name in _shown(rows[0]):
        table.add_column(name, overflow="fold")  # a long word goes on in the next line, and is not cut
    for row in rows:
        table.add_row(*_shown(row).values())
    # A pipe has no width; cutting words there would break what reads them.
    console = Console() if sys.stdout.isatty() else Console(width=160)
    console.print(table, markup=False, highlight=False)
