"""Drawing all prompts of a public benchmark into its own folders; goes on where it was stopped. Knows the steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from burnish.generate.evaluation import compbench, geneval
from burnish.generate.steps.chain import Policy, run_chain
from burnish.generate.steps.state import Artist, Picture, State


def draw_geneval(
    folder: Path,
    prompts: Sequence[Mapping[str, Any]],
    artist: Artist,
    policy: Policy,
    *,
    each: int = 4,
    seed: int = 0,
    watch: Callable[[int], None] = lambda _number: None,
) -> None:
    """Draw GenEval's prompts; those whose folder is whole are not drawn again.

    Args:
        folder: of all pictures.
        prompts: of :func:`burnish.generate.evaluation.geneval.read_prompts`.
        artist: the model.
        policy: how much to think.
        each: pictures a prompt, four in the published protocol.
        seed: of the noise; every picture has its own.
        watch: is called with the number of each prompt that is done.
    """
    for number, prompt in enumerate(prompts):
        # Written last: a prompt that was stopped half way has none.
        if not (folder / f"{number:05d}" / "metadata.jsonl").exists():
            pictures = _draw(prompt["prompt"], artist, policy, each, seed + number * each)
            geneval.write_pictures(folder, number, prompt, pictures)
        watch(number)


def draw_compbench(
    folder: Path,
    prompts: Sequence[str],
    artist: Artist,
    policy: Policy,
    *,
    each: int = compbench.PICTURES,
    seed: int = 0,
    watch: Callable[[int], None] = lambda _number: None,
) -> None:
    """Draw T2I-CompBench's prompts of a category; those whose pictures are all there are not drawn again.

    Args:
        folder: of the category.
        prompts: of :func:`burnish.generate.evaluation.compbench.read_prompts`.
        artist, policy, each, seed, watch: as of :func:`draw_geneval`.
    """
    for number, prompt in enumerate(prompts):
        first = number * each
        names = [folder / "samples" / f"{prompt}_{place:06d}.png" for place in range(first, first + each)]
        if not all(name.exists() for name in names):
            compbench.write_pictures(folder, first, prompt, _draw(prompt, artist, policy, each, seed + first))
        watch(number)


def _draw(prompt: str, artist: Artist, policy: Policy, each: int, seed: int) -> list[Picture]:
    states = run_chain([State(prompt, seed + place) for place in range(each)], artist, policy)
    return [state.picture for state in states if state.picture is not None]
