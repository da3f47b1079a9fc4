"""One model that plans, draws, reflects and corrects.

``burnish run mint/tiny`` makes a small one; ``burnish.generate.draw`` and ``describe`` use it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from burnish.core.method import Method, Paper
from burnish.generate.recipe import MintRecipe

if TYPE_CHECKING:
    from burnish.generate.studio import Drawing

__all__ = ["METHOD", "describe", "draw"]


def draw(
    prompts: str | Sequence[str],
    model: str | Path | None = None,
    out: str | Path = "picture.png",
    *,
    think: Sequence[str] = ("plan", "reflect"),
    plan: str | Path | None = None,
    show_steps: bool = False,
    compare: bool = False,
    steps: int = 20,
    guidance: float = 2.5,
    rounds: int = 2,
    seed: int = 0,
    device: str | None = None,
    tell: Callable[[str], None] | None = None,
) -> list[Drawing]:
    """Draw pictures of prompts, all at once, and write each as PNG with its plan as YAML beside it.

    Examples:
        >>> draw("a red circle left of a blue square", "runs/mint-tiny", "circles.png")[0].plan
        PosixPath('circles.yaml')

    Args:
        prompts: one, or several.
        model: a unified model's folder or hub id, or a run that made one; none: ``runs/mint-tiny``.
        out: the PNG of a single prompt; of several, each has its number in the name.
        think: ``plan`` writes a layout before drawing, ``reflect`` looks at the draft and corrects it.
        plan: a YAML to draw instead of a plan of the model's own.
        show_steps: also draw all steps side by side, into ``NAME-steps.png``.
        compare: have the model read its picture back as a plan, and say what differs from the one that was drawn. Only
            a model that was trained on the task ``read`` can.
        steps: of the solver.
        guidance: weight of the prompt: 1 takes the model at its word, 0 draws without it.
        rounds: of correction, at most.
        seed: of the noise; the n-th prompt has the n-th after it.
        device: where the model runs; none: the CPU.
        tell: gets a line a step.

    Raises:
        UserError: no such model, a prompt that asks for nothing or in words that the model does not have, a plan that
            contradicts itself, or a setting out of range.
    """
    from burnish.generate.studio import draw_pictures, draw_settings

    return draw_pictures(
        [prompts] if isinstance(prompts, str) else prompts,
        model,
        out,
        think=think,
        plan=plan,
        show_steps=show_steps,
        compare=compare,
        seed=seed,
        rounds=rounds,
        settings=draw_settings(steps=steps, guidance=guidance),
        device=device,
        tell=tell or (lambda _line: None),
    )


def describe(
    images: str | Path | Sequence[str | Path],
    model: str | Path | None = None,
    *,
    question: str = "what is in the picture ?",
    resize: bool = False,
    device: str | None = None,
) -> list[str]:
    """Say what is in pictures, or answer a question about each.

    Examples:
        >>> len(describe(["circles.png", "scene.png"], "runs/mint-tiny", question="how many circles ?"))
        2

    Args:
        images: a file, or several.
        model: as of :func:`draw`.
        question: in the model's words.
        resize: bring pictures of another size to the model's; otherwise they are refused.
        device: where the model runs; none: the CPU.

    Raises:
        UserError: no such model, a file that is no picture or of another size, or a question in unknown words.
    """
    from burnish.generate.studio import describe_pictures

    files = [images] if isinstance(images, str | Path) else images
    return describe_pictures(files, model, question=question, resize=resize, device=device)


METHOD = Method(
    name="mint",
    recipe=MintRecipe,
    run="burnish.generate.loop:train",
    check="burnish.generate.preflight:check",
    report="burnish.generate.report:run_sections",
    study="burnish.studies.mint.study:STUDY",
    label="MINT",
    capability="generate",
    paper=Paper(
        "Towards Enhanced Image Generation via Multi-modal Chain of Thought in Unified Generative Models",
        "arXiv",
        2025,
        "2503.01298",
    ),
    claim="planning, drawing, reflecting and correcting in one model",
    parallel="ranks",
)
