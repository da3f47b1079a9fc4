"""A method that keeps the contract, and one that breaks each of its points."""

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ConfigDict, Field, model_validator
from safetensors.numpy import save_file

from burnish.core.forecast import Forecast
from burnish.core.method import Method
from burnish.core.parallel import executor
from burnish.core.recipe import Recipe
from burnish.core.report import Section
from burnish.core.run import Run

HERE = "tests.contract_cases"


class Walk:
    """A random walk: where it is, and where it was."""

    def __init__(self) -> None:
        self.places: list[int] = [0]

    def state_dict(self) -> dict[str, Any]:
        return {"places": list(self.places)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.places = state["places"]


class WalkRecipe(Recipe):
    method: str = f"{HERE}:GOOD"
    """The name."""
    steps: int = 100
    """Of the walk."""


class Wordless(WalkRecipe):
    group: "Inner" = Field(default_factory=lambda: Inner(), description="A group.")


class Inner(Recipe):
    method: str = "x"
    """The name."""
    odd: int = 0


class Doubling(WalkRecipe):
    @model_validator(mode="before")
    @classmethod
    def _double(cls, data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "steps": 2 * data.get("steps", 100)}


class Lenient(WalkRecipe):
    model_config = ConfigDict(extra="ignore")


def walk(recipe: WalkRecipe, run: Run) -> Path:
    state = Walk()
    for step in run.progress(range(run.restore(state), recipe.steps), "steps"):
        state.places.append(state.places[-1] + int(run.rng("walk").integers(-1, 2)))
        run.log(step, place=state.places[-1])
        run.checkpoint(step, state)
    return run.artifact("walk.json", {"places": state.places, "seconds": os.times().elapsed})


def forgetful(recipe: WalkRecipe, run: Run) -> Path:
    """Saves nothing but the number of the step."""
    place = 0
    for step in range(run.restore(), recipe.steps):
        place += int(run.rng("walk").integers(-1, 2))
        run.checkpoint(step)
    return run.artifact("place.json", place)


def counts_workers(recipe: WalkRecipe, run: Run) -> Path:
    return run.artifact("workers.txt", str(recipe.workers))


def knows_its_folder(recipe: WalkRecipe, run: Run) -> Path:
    walk(recipe, run)
    return run.artifact("here.txt", str(run.path))


def raises(recipe: WalkRecipe, run: Run) -> Path:
    raise ZeroDivisionError("of its own")


def writes(recipe: WalkRecipe) -> list[tuple[str, str]]:
    Path("note.txt").write_text("checked")
    return []


def starts(recipe: WalkRecipe) -> list[tuple[str, str]]:
    subprocess.run(["true"], check=True)
    return []


def forks(recipe: WalkRecipe) -> list[tuple[str, str]]:
    child = os.fork()
    if child == 0:
        os._exit(0)
    return [("ended", str(os.waitpid(child, 0)[1]))]


def counts_in_numpy(recipe: WalkRecipe) -> list[tuple[str, Any]]:
    return [("memory_bytes", np.float32(2e9)), ("disk_bytes", np.int64(7)), ("seconds", 1)]


def counts_in_words(recipe: WalkRecipe) -> list[tuple[str, Any]]:
    return [("memory_bytes", 10), ("disk_bytes", "many")]


def opens_a_pool(recipe: WalkRecipe) -> list[tuple[str, str]]:
    with executor("local", 2) as workers:
        return [("sum", str(sum(workers.map(abs, [1, -2]))))]


def writes_unheard(recipe: WalkRecipe) -> list[tuple[str, str]]:
    """By code that Python's audit does not hear."""
    save_file({"a": np.zeros(1)}, "note.safetensors")
    return []


def begins_anew(recipe: WalkRecipe, run: Run) -> Path:
    """Saves nothing on its way."""
    places = [int(run.rng("walk").integers(-1, 2)) for _ in run.progress(range(recipe.steps), "steps")]
    time.sleep(1.0)
    return run.artifact("places.json", places)


def little(recipe: WalkRecipe) -> list[tuple[str, Any]]:
    return [("steps", "some"), *Forecast(memory_bytes=1, disk_bytes=10, seconds=1).rows()]


def much(recipe: WalkRecipe) -> list[tuple[str, Any]]:
    return Forecast(memory_bytes=10**12, disk_bytes=10**9, seconds=1).rows()


def half(recipe: WalkRecipe) -> list[tuple[str, Any]]:
    return Forecast(memory_bytes=10**8, disk_bytes=10**5, seconds=1).rows()[:1]


def fetches(path: Path) -> list[Section]:
    return [Section("Map", html='<script src="https://maps.example/all.js"></script>')]


GOOD = Method(name="good", recipe=WalkRecipe, run=f"{HERE}:walk", parallel="executor", needs=("wave",), extra="sound")
WORDLESS = Method(name="wordless", recipe=Wordless, run=walk)
DOUBLING = Method(name="doubling", recipe=Doubling, run=walk)
LENIENT = Method(name="lenient", recipe=Lenient, run=walk)
EXTRALESS = Method(name="extraless", recipe=WalkRecipe, run=walk, needs=("wave",))
WRITES = Method(name="writes", recipe=WalkRecipe, run=walk, check=writes)
AT_IMPORT = Method(name="at_import", recipe=WalkRecipe, run=walk, check="tests.contract_at_import:check")
FORKS = Method(name="forks", recipe=WalkRecipe, run=walk, check=forks)
WORDS = Method(name="words", recipe=WalkRecipe, run=walk, check=counts_in_words)
NUMPY = Method(name="numpy", recipe=WalkRecipe, run=walk, check=counts_in_numpy)
POOL = Method(name="pool", recipe=WalkRecipe, run=walk, check=opens_a_pool)
UNHEARD = Method(name="unheard", recipe=WalkRecipe, run=walk, check=writes_unheard)
ANEW = Method(name="anew", recipe=WalkRecipe, run=begins_anew)
STARTS = Method(name="starts", recipe=WalkRecipe, run=walk, check=starts)
RAISES = Method(name="raises", recipe=WalkRecipe, run=raises)
FORGETFUL = Method(name="forgetful", recipe=WalkRecipe, run=forgetful)
KNOWS = Method(name="knows", recipe=WalkRecipe, run=knows_its_folder)
COUNTS = Method(name="counts", recipe=WalkRecipe, run=counts_workers, parallel="executor")
LITTLE = Method(name="little", recipe=WalkRecipe, run=walk, check=little)
MUCH = Method(name="much", recipe=WalkRecipe, run=walk, check=much)
HALF = Method(name="half", recipe=WalkRecipe, run=walk, check=half)
FETCHES = Method(name="fetches", recipe=WalkRecipe, run=walk, report=fetches)
