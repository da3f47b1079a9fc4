"""The reference: every public function is on a page, and its example runs."""

import doctest
import importlib
import inspect
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import burnish
from burnish.core.parallel import one_thread
from burnish.testbeds.models import prepare_model
from tests.forked import in_child
from tests.generate.untrained import equip_easel
from tests.once import shared_cache
from tests.prove.noise_evidence import write_noise
from tests.test_cli import SHORT, equip_service

PAGES = Path(__file__).parents[1] / "docs" / "reference"
SHOWN = re.findall(r"^::: (\S+)$", "\n".join(path.read_text() for path in sorted(PAGES.glob("*.md"))), re.MULTILINE)
MINE = '''
from burnish.core.method import Method
from burnish.core.recipe import Recipe


class Mine(Recipe):
    """A method of a user's own."""

    method: str = "mine:METHOD"
    """The name."""
    steps: int = 3
    """Steps."""


class Sum:
    total = 0

    def state_dict(self):
        return {"total": self.total}

    def load_state_dict(self, state):
        self.total = state["total"]


def loop(recipe, run):
    state = Sum()
    for step in range(run.restore(state), recipe.steps):
        state.total += int(run.rng("draws").integers(100))
        run.checkpoint(step, state)
    return state.total


METHOD = Method(name="mine", recipe=Mine, run=loop)
'''


def public() -> dict[str, Callable[..., Any]]:
    """Every function that the face and the capabilities show, by the name of the page's entry."""
    modules = [burnish, *(importlib.import_module(f"burnish.{name}") for name in burnish._MODULES)]
    found = [getattr(module, name) for module in modules for name in module.__all__]
    functions = [each for each in found if inspect.isfunction(each)]
    functions.sort(key=lambda each: (each.__module__, inspect.unwrap(each).__code__.co_firstlineno))
    return {f"{each.__module__}.{each.__name__}": each for each in functions}


FUNCTIONS = public()


def test_every_public_name_is_on_a_page() -> None:
    shown = {inspect.unwrap(resolve(name)) if inspect.isfunction(resolve(name)) else resolve(name) for name in SHOWN}
    for name, function in FUNCTIONS.items():
        assert inspect.unwrap(function) in shown, f"{name} is on no page of docs/reference"


def resolve(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


MODELS = {"tiny-llama": "tiny", "tiny-llava": "tiny-llava", "vit-experts": "vit-experts", "ways": "ways"}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the examples speak of."""
    folder = tmp_path_factory.mktemp("desk")
    with pytest.MonkeyPatch.context() as patch:
        cache = str(shared_cache(tmp_path_factory, *MODELS))
        patch.setenv("BURNISH_CACHE", cache)
        for name, path in MODELS.items():
            prepare_model(name, folder / path)
    in_child(searched, str(folder), cache)
    (folder / "lines.txt").write_text("one line of text\nand another one\n" * 4)
    (folder / "mine.py").write_text(MINE)
    write_noise(folder / "evidence")
    equip_service(folder)
    equip_easel(folder)
    return folder


def searched(folder: str, cache: str) -> None:
    os.environ["BURNISH_CACHE"] = cache
    os.chdir(folder)
    with one_thread():
        burnish.run("rftt/tiny", overrides=[word for word in SHORT if word != "--set"])


@pytest.mark.slow
def test_the_example_of_every_public_function_runs(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the modules: a later example may use what an earlier one of its page left."""
    monkeypatch.chdir(desk)
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    runner = doctest.DocTestRunner(optionflags=options)
    for name, function in FUNCTIONS.items():
        names = {"burnish": burnish, **vars(importlib.import_module(function.__module__))}
        (found,) = doctest.DocTestFinder(recurse=False).find(inspect.unwrap(function), name, globs=names)
        assert found.examples, f"{name} has no example"
        said: list[str] = []
        assert runner.run(found, out=said.append).failed == 0, "".join(said)
