"""`burnish generate ...`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from burnish.cli.shared import Commands, Json, print_json, working

generate_app = typer.Typer(
    cls=Commands, no_args_is_help=True, rich_markup_mode=None, epilog='Example: burnish generate draw "two red circles"'
)

Model = Annotated[
    str | None,
    typer.Option(help="A unified model's folder or hub id, or a run that made one; default: runs/mint-tiny."),
]
Device = Annotated[str | None, typer.Option(help="Where the model runs: cpu, cuda, cuda:1; default: cpu.")]


@generate_app.command("draw")
def generate_draw(
    prompts: Annotated[list[str], typer.Argument(help="What to draw; several are drawn together.")],
    model: Model = None,
    out: Annotated[Path, typer.Option(help="The PNG; its plan goes beside it as YAML. Several get numbers.")] = Path(
        "picture.png"
    ),
    think: Annotated[
        str, typer.Option(help="plan (write a layout first), reflect (look, and correct), both, or none.")
    ] = "plan,reflect",
    plan: Annotated[Path | None, typer.Option(help="Draw this plan (an edited YAML) instead of the model's.")] = None,
    show_steps: Annotated[
        bool, typer.Option("--show-steps", help="Tell each step, and draw them side by side in NAME-steps.png.")
    ] = False,
    compare: Annotated[
        bool,
        typer.Option("--compare", help="Read the picture back as a plan (task `read`), and say what differs."),
    ] = False,
    steps: Annotated[int, typer.Option(help="Of the solver.")] = 20,
    guidance: Annotated[float, typer.Option(help="Weight of the prompt; 1: as it is, 0: without it.")] = 2.5,
    rounds: Annotated[int, typer.Option(help="Of correction, at most.")] = 2,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    device: Device = None,
    json_: Json = False,
) -> None:
    """Draw pictures: plan, draw, look at the draft, correct it. Edit the plan's YAML and give it back with --plan.

    Example: burnish generate draw "a red circle left of a blue square" --think plan,reflect --show-steps
    """
    from burnish.generate import draw

    thoughts = [] if think.strip() == "none" else [each.strip() for each in think.split(",") if each.strip()]
    with working("generate draw"):
        found = draw(
            prompts,
            model,
            out,
            think=thoughts,
            plan=plan,
            show_steps=show_steps,
            compare=compare,
            steps=steps,
            guidance=guidance,
            rounds=rounds,
            seed=seed,
            device=device,
            tell=(lambda line: print(line, file=sys.stderr)) if show_steps or compare else None,
        )
    if json_:
        print_json([each.row() for each in found])
        return
    for each in found:
        print(", ".join(str(path) for path in (each.picture, each.plan, each.steps) if path is not None))


@generate_app.command("describe")
def generate_describe(
    images: Annotated[list[Path], typer.Argument(help="Pictures.")],
    model: Model = None,
    question: Annotated[str, typer.Option(help="What to ask of each.")] = "what is in the picture ?",
    resize: Annotated[bool, typer.Option("--resize", help="Bring pictures of another size to the model's.")] = False,
    device: Device = None,
    json_: Json = False,
) -> None:
    """Say what is in pictures, or answer a question about them, by the model that draws.

    Example: burnish generate describe scene.png --question "how many circles ?"
    """
    from burnish.generate import describe

    with working("generate describe"):
        answers = describe(list(images), model, question=question, resize=resize, device=device)
    if json_:
        rows = [{"picture": str(image), "answer": answer} for image, answer in zip(images, answers, strict=True)]
        print_json(rows)
        return
    for image, answer in zip(images, answers, strict=True):
        print(answer if len(images) == 1 else f"{image}: {answer}")
