"""`burnish reason ...`."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from burnish.cli.shared import Commands, Json, print_json, working

reason_app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog='Example: burnish reason answer tiny-llava --image tiny-llava/scene.png --question "what is on the left ?"',
)


@reason_app.command("answer")
def reason_answer(
    model: Annotated[str, typer.Argument(help="Model folder or hub id (`burnish model` gives a tiny one).")],
    question: Annotated[str, typer.Option(help="What to ask.")],
    image: Annotated[list[Path] | None, typer.Option(help="A picture; repeat it for several.")] = None,
    calibrate: Annotated[
        float, typer.Option(help="How much more the picture counts; 0 decodes plainly, the paper uses 0.8.")
    ] = 0.0,
    plausibility: Annotated[
        float | None, typer.Option(help="Cut off tokens below this share of the likeliest one's probability.")
    ] = None,
    with_model: Annotated[
        str | None, typer.Option(help="A second model with the same vocabulary, which has a say in every token.")
    ] = None,
    weight: Annotated[float | None, typer.Option(help="How much it has to say, 0 to 1; default: 0.3.")] = None,
    tokens: Annotated[int, typer.Option(help="Cut the answer off after this many.")] = 1024,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token; above 0 samples.")] = 0.0,
    top_p: Annotated[float, typer.Option(help="Sample from the likeliest tokens with this much probability.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the sampling.")] = 0,
    system: Annotated[str | None, typer.Option(help="A system turn before the question.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; default: a GPU if there is one.")] = None,
    constrained: Annotated[
        bool, typer.Option("--constrained", help="A model with functional tokens keeps to their grammar.")
    ] = False,
    json_: Json = False,
) -> None:
    """Ask a language model about pictures, decoding plainly, calibrated against text bias, or with a second model.

    Example: burnish reason answer tiny-llava --image tiny-llava/scene.png --question "what is on the left ?"
    """
    from burnish.reason import answer

    with contextlib.ExitStack() as waiting:  # until the first words come
        waiting.enter_context(working("reason answer"))

        def write(text: str) -> None:
            waiting.close()
            print(text, end="", flush=True)

        found = answer(
            model,
            question,
            image or (),
            calibrate=calibrate,
            plausibility=plausibility,
            with_model=with_model,
            weight=weight,
            max_new_tokens=tokens,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
            system=system,
            device=device,
            constrained=constrained,
            write=None if json_ else write,
        )
    if json_:
        print_json(found)
        return
    print()
    if not found["finished"]:
        print(f"cut off after {found['tokens']} tokens; --tokens allows more", file=sys.stderr)


@reason_app.command("search")
def reason_search(
    model: Annotated[str, typer.Argument(help="A model with functional tokens: what `burnish run rftt/tiny` leaves.")],
    question: Annotated[str, typer.Option(help="What to ask.")],
    rollouts: Annotated[int, typer.Option(help="Walks from the question to an end; 1 is greedy decoding.")] = 8,
    vote: Annotated[
        Literal["majority", "reward", "verifier"],
        typer.Option(help="By distinct paths, by their process scores, or the path with the best score."),
    ] = "majority",
    prm: Annotated[str | None, typer.Option(help="Process reward model: module:function or an address.")] = None,
    depth: Annotated[int, typer.Option(help="Steps of a walk.")] = 18,
    step_tokens: Annotated[int | None, typer.Option(help="Longest text of a step.")] = None,
    temperature: Annotated[float, typer.Option(help="Of the text inside a step; 0 takes the likeliest.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    system: Annotated[str | None, typer.Option(help="A system turn before the question.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; default: a GPU if there is one.")] = None,
    grammar: Annotated[str | None, typer.Option(help="Its own grammar, module:OBJECT; default: the paper's.")] = None,
    json_: Json = False,
) -> None:
    """Let a model with functional tokens search for an answer, and choose by a vote.

    Example: burnish reason search runs/rftt-tiny/artifacts/model --question "7 0 5 1" --rollouts 4 --device cpu
    """
    from burnish.reason import search

    with working("reason search"):
        found = search(
            model,
            question,
            rollouts=rollouts,
            vote=vote,
            prm=prm,
            max_depth=depth,
            step_tokens=step_tokens,
            temperature=temperature,
            seed=seed,
            system=system,
            device=device,
            grammar=grammar,
        )
    if json_:
        print_json(found)
        return
    for step in found["steps"]:
        print(f"{step['action']}: {step['text']}")
    print(f"answer: {found['answer'] if found['answer'] is not None else 'none of the paths gave one'}")
    print(f"chosen: {found['chosen_by']}", end="")
    print("".join(f"; {each['answer']} ({each['weight']:g})" for each in found["candidates"]))
    print(f"tokens: {found['tokens']:,} generated, {found['tokens_read']:,} read, {found['tokens_reused']:,} reused")
