"""`burnish prove ...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from burnish.cli.shared import Commands, Json, Sets, print_json, print_table, working

prove_app = typer.Typer(
    cls=Commands, no_args_is_help=True, rich_markup_mode=None, epilog="Example: burnish prove commit dov4cl/tiny"
)


@prove_app.command("commit")
def prove_commit(
    recipe: Annotated[str, typer.Argument(help="The audit's recipe: a YAML file, or a shipped one.")],
    out: Annotated[Path, typer.Option(help="The small file to publish; the secret one is written beside it.")] = Path(
        "commitment.json"
    ),
    set_: Sets = None,
    json_: Json = False,
) -> None:
    """Fix an audit's pictures, settings and seed before it starts, without showing them.

    Example: burnish prove commit dov4cl/tiny
    """
    from burnish.prove import commit

    with working("prove commit"):
        found = commit(recipe, out, set_ or ())
    if json_:
        print_json(found)
    else:
        print_table([{"what": key, "value": str(value)} for key, value in found.items()], False)


@prove_app.command("verify")
def prove_verify(
    evidence: Annotated[Path, typer.Argument(help="An evidence folder, as an audit left it.")],
    commitment: Annotated[
        Path | None, typer.Option(help="The commitment as it was published before the audit.")
    ] = None,
    json_: Json = False,
) -> None:
    """Compute every statistic again from the stored answers, check hashes and commitment. Exits with 1 if any differs.

    Example: burnish prove verify evidence
    """
    from burnish.prove import verify

    with working("prove verify"):
        found = verify(evidence, commitment)
    if json_:
        print_json(found)
    else:
        for line in [*found["problems"], *found["notes"]]:
            print(line)
        for name in ("seal", "root"):
            if found[name]:
                print(f"{name}: {found[name]}")
        print("everything agrees" if found["ok"] else "this evidence was changed, or does not follow from its answers")
    if not found["ok"]:
        raise typer.Exit(1)
