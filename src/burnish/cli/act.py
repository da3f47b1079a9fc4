"""`burnish act ...`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from burnish.cli.shared import Commands, Json, print_json, print_table
from burnish.core.errors import UserError

act_app = typer.Typer(
    cls=Commands, no_args_is_help=True, rich_markup_mode=None, epilog="Example: burnish act plan iron_pickaxe"
)


@act_app.command("plan")
def act_plan(
    goal: Annotated[str, typer.Argument(help="The item to have: iron_pickaxe.")],
    count: Annotated[int, typer.Option(help="How many shall be in the inventory; what is there already counts.")] = 1,
    have: Annotated[str, typer.Option(help='The inventory, as JSON: {"stick": 2}. Tools in it are new.')] = "{}",
    json_: Json = False,
) -> None:
    """Decompose a goal into steps with exact counts: what to mine, craft, smelt, kill and collect, and with what.

    Example: burnish act plan iron_pickaxe --have '{"stick": 2}'
    """
    from burnish.act import plan

    found = plan(goal, count, _inventory(have)).to_json()
    if json_:
        print_json(found, indent=None)
        return
    print_table(found["steps"], False)
    print("out of the world: " + (", ".join(f"{n} {item}" for item, n in found["raw"].items()) or "nothing"))


Host = Annotated[str, typer.Option(help="Address to listen at; any but this machine's own needs a --token.")]
Token = Annotated[
    str | None, typer.Option(envvar="BURNISH_TOKEN", help="What clients must know; better in the variable than here.")
]


@act_app.command("llm")
def act_llm(
    model: Annotated[str, typer.Argument(help="An embedded model (smollm2), a folder, or a hub id.")],
    port: Annotated[int, typer.Option(help="Port; 0 takes any free one.", min=0, max=65535)] = 8321,
    host: Host = "127.0.0.1",
    token: Token = None,
    device: Annotated[str, typer.Option(help="Where the model runs: cpu, cuda, cuda:1, mps.")] = "cpu",
) -> None:
    """Serve a chat model behind OpenAI's API, for agents that plan offline; JSON schemas are kept to exactly.

    Example: burnish act llm smollm2
    """
    from burnish.act.llm_server import serve_language_model

    serve_language_model(model, host, port, token, device)


RunFolder = Annotated[Path, typer.Argument(help="A run's folder.")]


@act_app.command("replay")
def act_replay(
    run: RunFolder,
    speed: Annotated[
        float | None, typer.Option(help="With the pauses as they were, so many times faster; default: none.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Play a simulated run again, and say whether every event came out the same.")
    ] = False,
    json_: Json = False,
) -> None:
    """Tell what happened in a run again, in order; with --json, all events as they are in the log, one a line.

    Example: burnish act replay runs/planning_acting-tiny --speed 20
    """
    from burnish.act import replay

    if again:
        found = replay.replay_run(run)
        if json_:
            print_json(found.__dict__, indent=None)
        else:
            print(
                f"{found.events} events: " + (f"not the same: {found.difference}" if found.difference else "the same")
            )
        if not found.same:
            raise typer.Exit(1)
        return
    from burnish.act.event_text import describe

    for event in replay.paced(replay.read_log(run), speed):
        text = replay.to_line(event) if json_ else describe(event)
        if text is not None:
            print(text if json_ else f"{event.time:8.1f} s  {text}", flush=speed is not None)


@act_app.command("watch")
def act_watch(
    run: RunFolder,
    port: Annotated[int, typer.Option(help="Port; 0 takes any free one.", min=0, max=65535)] = 8322,
    host: Host = "127.0.0.1",
    token: Token = None,
) -> None:
    """Show a run on a live page: map, agents, timeline, chat; a run in real time can be spoken to and interrupted.

    Example: burnish act watch runs/planning_acting-tiny
    """
    from burnish.act.watch.server import watch

    watch(run, host, port, token)


def _inventory(text: str) -> dict[str, int]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            f'--have: not JSON ({error.msg} at character {error.pos}); write it as {{"stick": 2}}'
        ) from None
    if not isinstance(found, dict) or not all(type(count) is int for count in found.values()):
        raise UserError('--have: not an inventory; write it as {"stick": 2}')
    return found
