"""`burnish merge ...`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from burnish.cli.mergekit_flags import translate
from burnish.cli.shared import Commands, Fresh, Json, Sets, print_table, say, working


class _Merge(Commands):
    """`burnish merge YAML OUT` beside `burnish merge stats ...`: what is no sub-command is a YAML file.

    Flags of `mergekit-yaml` are understood there.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            found, notes = translate(args)
            for note in notes:
                print(f"burnish: {note}", file=sys.stderr)
            args = ["yaml", *found]
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        """Both ways to write it; called by typer for `--help`."""
        formatter.write_usage(ctx.command_path, "YAML OUT [OPTIONS]")
        formatter.write_usage(ctx.command_path, "COMMAND [ARGS]...")

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """What a merge itself takes, then the other commands."""
        own = self.commands["yaml"]
        records = [record for each in own.get_params(ctx) if (record := each.get_help_record(ctx)) is not None]
        with formatter.section("A merge"):
            formatter.write_dl(records)
        self.format_commands(ctx, formatter)


merge_app = typer.Typer(
    cls=_Merge,
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog="Example: burnish merge merge.yaml merged --set parameters.weight=0.5",
)


@merge_app.command("yaml")
def merge_yaml(
    recipe: Annotated[str, typer.Argument(metavar="YAML", help="A merge in mergekit's format, or a shipped one.")],
    out: Annotated[Path, typer.Argument(help="Folder for the merged model.")],
    threads: Annotated[int | None, typer.Option(help="Worker threads; default: the machine's cores.")] = None,
    device: Annotated[str, typer.Option(help="Where the arithmetic runs: cpu, cuda, cuda:1, mps.")] = "cpu",
    shard_size: Annotated[str, typer.Option(help="Largest size of an output file.")] = "5GB",
    set_: Sets = None,
    allow_nan: Annotated[bool, typer.Option("--allow-nan", help="Go on when a weight is NaN or infinite.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Throw an unfinished or earlier merge there away.")] = False,
    intermediate: Annotated[
        Path | None, typer.Option(help="Where named merges of several documents go; default: OUT-parts.")
    ] = None,
    json_: Json = False,
) -> None:
    """Merge models by a YAML in mergekit's format (the word `yaml` may be left out).

    Example: burnish merge merge.yaml merged
    """
    from burnish.core.errors import UserError
    from burnish.core.paths import find_recipe
    from burnish.merge import merge
    from burnish.merge.documents import first_document

    config = find_recipe(recipe)
    data = first_document(config)
    if isinstance(data, dict) and "method" in data and "merge_method" not in data:
        raise UserError(f"{config}: a recipe (`method: {data['method']}`); it is run by `burnish run {recipe}`")
    with working("merge"):
        made = merge(
            config,
            out,
            overrides=set_ or (),
            threads=threads,
            device=device,
            shard_size=shard_size,
            allow_nan=allow_nan,
            fresh=fresh,
            intermediate=intermediate,
        )
    say({"model": made}, json_)


@merge_app.command("methods")
def merge_methods(json_: Json = False) -> None:
    """The merge methods, what each may be told (with its default), and its paper.

    Example: burnish merge methods
    """
    from burnish.merge.methods.registry import table

    print_table(table(), json_)


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

    with working("merge stats"):
        found = collect_statistics(model, data, out, kind=kind, limit=limit, device=device)
    say({"statistics": found}, json_)


@merge_app.command("extract-lora")
def merge_extract_lora(
    model: Annotated[str, typer.Argument(help="The fine-tune: a folder or hub id.")],
    base: Annotated[str, typer.Argument(help="The model that it started from.")],
    out: Annotated[Path, typer.Argument(help="Folder for the adapter.")],
    rank: Annotated[int | None, typer.Option(help="Highest rank; default: 32, or no limit with --energy.")] = None,
    energy: Annotated[float | None, typer.Option(help="Share of squared singular values to keep, up to 1.")] = None,
    device: Annotated[str, typer.Option(help="Where the decomposition runs: cpu, cuda.")] = "cpu",
    json_: Json = False,
) -> None:
    """Store a fine-tune as a LoRA adapter on its base (SVD of every weight's change).

    Example: burnish merge extract-lora tuned tiny-llama-too adapter --rank 8
    """
    from dataclasses import asdict

    from burnish.merge import extract_lora

    limit = 32 if rank is None and energy is None else rank
    with working("merge extract-lora"):
        found = extract_lora(model, base, out, rank=limit, energy=energy, device=device)
    if json_:
        say(asdict(found), json_)
    else:
        print(f"{found.path}: rank {found.rank}, error {found.error:.3g} of the change")


@merge_app.command("moe")
def merge_moe(
    recipe: Annotated[Path, typer.Argument(metavar="YAML", help="A mixture in mergekit-moe's format.")],
    out: Annotated[Path, typer.Argument(help="Folder for the mixture.")],
    shard_size: Annotated[str, typer.Option(help="Largest size of an output file.")] = "5GB",
    json_: Json = False,
) -> None:
    """Make dense models the experts of one mixture (Mixtral, Qwen2-MoE, Qwen3-MoE).

    Example: burnish merge moe moe.yaml mixture
    """
    from burnish.merge import moe_merge

    with working("merge moe"):
        made = moe_merge(recipe, out, shard_size=shard_size)
    say({"model": made}, json_)


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
    from burnish.cli import run

    run(recipe, out, set_, fresh, json_)


@merge_app.command("tokensurgeon")
def merge_tokensurgeon(
    model: Annotated[str, typer.Argument(help="The model that keeps its network: a folder or hub id.")],
    donor: Annotated[str, typer.Argument(help="The model that gives the tokenizer.")],
    out: Annotated[Path, typer.Argument(help="Folder for the result.")],
    method: Annotated[str, typer.Option(help="omp (orthogonal matching pursuit) or interpolation.")] = "omp",
    neighbours: Annotated[int, typer.Option(help="Shared tokens that a new row is made of.")] = 64,
    shard_size: Annotated[str, typer.Option(help="Largest size of an output file.")] = "5GB",
    json_: Json = False,
) -> None:
    """Give a model another model's tokenizer, without training.

    Example: burnish merge tokensurgeon tiny-llama-too ways transplanted --neighbours 8
    """
    from dataclasses import asdict
    from typing import cast

    from burnish.merge import tokensurgeon

    with working("merge tokensurgeon"):
        found = tokensurgeon(model, donor, out, method=cast(Any, method), neighbours=neighbours, shard_size=shard_size)
    if json_:
        say(asdict(found), json_)
    else:
        print(f"{found.path}: {found.kept} rows kept, {found.rebuilt} rebuilt with error {found.error:.3g}")
