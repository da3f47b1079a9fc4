"""Drawing and describing for a person: loads the model, reads and writes files, tells the steps. Knows files."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from burnish.core.errors import UserError
from burnish.core.files import write_atomic
from burnish.core.recipe import explain
from burnish.core.run import run_record
from burnish.generate.artist import DrawSettings, ModelArtist
from burnish.generate.folder import Unified, load_unified
from burnish.generate.picture_files import read_picture, write_picture
from burnish.generate.plan_diff import diff
from burnish.generate.plan_file import from_yaml, to_yaml
from burnish.generate.script import DESCRIBE
from burnish.generate.steps.chain import Policy, run_chain
from burnish.generate.steps.outcome import outcome
from burnish.generate.steps.state import State

LONGEST_ANSWER = 64
"""Tokens of an answer about a picture."""
HOME = Path("runs/mint-tiny")
"""Where `burnish run mint/tiny` leaves a model."""


@dataclass(frozen=True)
class Drawing:
    """What was drawn of one prompt.

    Attributes:
        prompt: as asked.
        picture: the PNG.
        plan: the YAML; none where nothing was planned.
        steps: the picture of all steps; none where it was not asked for.
        events: what happened, a line a step.
        seconds: of all steps, of wall time.
        differences: between the plan and what the model sees in the picture, a line each; none where they were not
            looked for, or where there is nothing to compare.
    """

    prompt: str
    picture: Path
    plan: Path | None
    steps: Path | None
    events: tuple[str, ...]
    seconds: float
    differences: tuple[str, ...] | None = None

    def row(self) -> dict[str, Any]:
        """For a table or JSON."""
        paths = {name: path and str(path) for name, path in vars(self).items() if name in ("picture", "plan", "steps")}
        found = {"prompt": self.prompt, **paths, "events": list(self.events), "seconds": round(self.seconds, 3)}
        return found if self.differences is None else {**found, "differences": list(self.differences)}


def draw_pictures(
    prompts: Sequence[str],
    model: str | Path | None = None,
    out: str | Path = "picture.png",
    *,
    think: Sequence[str] = ("plan", "reflect"),
    plan: str | Path | None = None,
    show_steps: bool = False,
    compare: bool = False,
    seed: int = 0,
    rounds: int = 2,
    settings: DrawSettings | None = None,
    device: str | None = None,
    tell: Callable[[str], None] = lambda _line: None,
) -> list[Drawing]:
    """Draw prompts, all at once; see :func:`burnish.generate.draw`."""
    if not prompts:
        raise UserError("prompts: none given; say what the picture shall show")
    if plan is not None and len(prompts) > 1:
        raise UserError("plan: is for one prompt; give one", arguments=("plan",))
    unified = _load(model, device)
    artist = ModelArtist(unified, settings)
    policy = Policy(think=tuple(think), rounds=rounds)
    asked = None if plan is None else from_yaml(Path(plan), artist.wording, artist.patches)[0]
    states = [State(prompt, seed + number, asked) for number, prompt in enumerate(prompts)]
    for state in states:
        artist.script.prompt(state.prompt)  # named before anything is drawn
    counts = dict.fromkeys(range(len(states)), 0)

    def watch(_step: str, found: list[State]) -> None:
        for number, state in enumerate(found):
            for event in state.events[counts[number] :]:
                tell(f"{state.prompt}: {event.step}: {event.said} ({event.seconds:.2f} s)")
            counts[number] = len(state.events)

    done = run_chain(states, artist, policy, watch=watch)
    if "reflect" in policy.think:
        tell(", ".join(f"{name} {count}" for name, count in outcome(done).row().items()))
    differences = _differences(done, artist, tell) if compare else [None] * len(done)
    path = Path(out).expanduser()
    path = path if path.suffix.lower() == ".png" else path.with_name(f"{path.name}.png")
    drawn = [_written(state, path, number, len(done), artist, show_steps) for number, state in enumerate(done)]
    return [replace(each, differences=lines) for each, lines in zip(drawn, differences, strict=True)]


def _differences(
    states: Sequence[State], artist: ModelArtist, tell: Callable[[str], None]
) -> list[tuple[str, ...] | None]:
    """What of each plan the model does not find in its picture."""
    seen = artist.read_plans([state.picture for state in states if state.picture is not None])
    found: list[tuple[str, ...] | None] = []
    for state, plan in zip(states, seen, strict=True):
        lines = None if state.plan is None or plan is None else diff(state.plan, plan).lines(artist.wording)
        found.append(None if lines is None else tuple(lines))
        nothing = ["nothing to compare"] if lines is None else ["drawn as planned"]
        for line in lines or nothing:
            tell(f"{state.prompt}: {line}")
    return found


def _written(state: State, out: Path, number: int, count: int, artist: ModelArtist, show_steps: bool) -> Drawing:
    stem = out.stem if count == 1 else f"{out.stem}-{number + 1}"
    assert state.picture is not None
    picture = write_picture(out.with_name(f"{stem}.png"), state.picture)
    plan = steps = None
    if state.plan is not None:
        plan = write_atomic(out.with_name(f"{stem}.yaml"), to_yaml(state.plan, artist.wording, state.prompt))
    if show_steps:
        from burnish.generate.steps_picture import steps_figure

        memory = io.BytesIO()
        steps_figure([state]).savefig(memory, format="png", dpi=140, bbox_inches="tight")
        steps = write_atomic(out.with_name(f"{stem}-steps.png"), memory.getvalue())
    events = tuple(f"{event.step}: {event.said}" for event in state.events)
    return Drawing(state.prompt, picture, plan, steps, events, sum(event.seconds for event in state.events))


def describe_pictures(
    images: Sequence[str | Path],
    model: str | Path | None = None,
    *,
    question: str = DESCRIBE,
    resize: bool = False,
    settings: DrawSettings | None = None,
    device: str | None = None,
) -> list[str]:
    """What the model says of pictures; see :func:`burnish.generate.describe`."""
    unified = _load(model, device)
    settings = settings or DrawSettings(longest=LONGEST_ANSWER)
    pictures = [read_picture(Path(image).expanduser(), unified.codec.size, resize=resize) for image in images]
    return ModelArtist(unified, settings).describe(pictures, question)


def draw_settings(**given: Any) -> DrawSettings:
    """Settings from arguments.

    Raises:
        UserError: one that is out of range.
    """
    try:
        return DrawSettings.model_validate(given)
    except ValidationError as error:
        raise UserError(explain(error, DrawSettings, lambda _path: "draw")) from None


def _load(model: str | Path | None, device: str | None) -> Unified:
    """The model of a folder, a hub id, or a run that made one."""
    name = HOME if model is None else model
    run = Path(name).expanduser()
    if model is None and not run.exists():
        raise UserError(
            f"model: none given, and there is no {HOME}; `burnish run mint/tiny` makes one in minutes",
            arguments=("model",),
        )
    if run_record(run):
        name = run / "artifacts" / "model"
        if not name.is_dir():
            raise UserError(f"{run}: this run has no model yet; run it to its end first", arguments=("model",))
    unified = load_unified(name)
    if device is not None:
        unified.model.to(device)
    return unified
