"""The manifest of a method: found by entry point, of the house or of a plug-in; whose fault it is if not."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from burnish.core import method as methods
from burnish.core.errors import UserError
from burnish.core.method import Method, Paper, all_methods, find_method, load_recipe, method_names
from tests.core.loops import METHOD as LOOP
from tests.core.loops import LoopRecipe

HOUSE = {
    "dov4cl", "hint_grpo", "mint", "planning_acting", "rftt", "rmm", "sakd", "secpe", "shape", "trainprove",
}  # fmt: skip


class Plugins:
    """Packages that are installed as far as importlib can tell."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(self, package: str, method: str, code: str, version: str = "1.0") -> None:
        info = self.root / f"{package}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[burnish.methods]\n{method} = {package}:METHOD\n")
        (self.root / f"{package}.py").write_text(code)


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plugins]:
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Plugins(tmp_path)
    for name in set(sys.modules) - before:
        del sys.modules[name]


GOOD = """
from burnish.core.method import Method
from burnish.core.recipe import Recipe

METHOD = Method(name="mine", recipe=Recipe, run=print)
"""


def test_the_house() -> None:
    found, faults = all_methods()
    house = [method for method in found if method.name in HOUSE]
    assert {method.name for method in house} == HOUSE
    assert faults == []
    assert [method.built for method in found] == sorted((method.built for method in found), reverse=True)
    for method in house:
        assert method.paper is not None
        assert method.paper.arxiv
        assert method.claim
        assert method.capability
        for part in methods.PARTS:
            assert method.built or getattr(method, part) is None
        if method.built:
            parts: tuple[methods.Part, ...] = ("run", "check", "report", "study")
            assert None not in [method.load(part) for part in parts]


def test_a_plugin_is_found_beside_the_house(plugins: Plugins) -> None:
    plugins.add("fine", "mine", GOOD)
    assert "mine" in method_names()
    assert find_method("mine").name == "mine"
    assert "mine" in [method.name for method in all_methods()[0]]


def test_a_plugin_that_cannot_be_imported_is_said_to_be_at_fault_and_stops_nobody_else(plugins: Plugins) -> None:
    plugins.add("torn", "mine", "import not_there_at_all\n", "3.1")
    with pytest.raises(UserError, match=r"`mine`: the package torn 3.1 that brings it is at fault: ModuleNotFoundErr"):
        find_method("mine")
    found, (fault,) = all_methods()
    assert "torn 3.1" in fault
    assert {method.name for method in found} >= HOUSE
    assert find_method("rmm").built


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("METHOD = 1\n", "`mine` of the package odd 1.0 is a int, not a burnish.core.method.Method"),
        (GOOD.replace('"mine"', '"yours"'), "the package odd 1.0 is at fault: `mine` is the method `yours`"),
        (GOOD.replace("run=print", 'run="nowhere"'), "ValueError: method mine: run: `nowhere` names nothing"),
        (GOOD.replace("recipe=Recipe, ", ""), r"ValueError: method mine: it has a loop \(`run`\) and no recipe class"),
    ],
)
def test_a_plugin_that_brings_no_method_of_that_name(plugins: Plugins, code: str, said: str) -> None:
    plugins.add("odd", "mine", code)
    with pytest.raises(UserError, match=said):
        find_method("mine")


def test_a_name_that_is_taken_is_refused_and_both_packages_are_named(plugins: Plugins) -> None:
    plugins.add("usurper", "rmm", GOOD)
    with pytest.raises(UserError, match=r"`rmm` is claimed by the packages burnish [\d.]+ and usurper 1.0; uninstall"):
        find_method("rmm")
    assert "rmm" not in [method.name for method in all_methods()[0]]


def test_a_planned_method_does_not_run() -> None:
    name = "tests.core.loops:PLANNED"
    for do in (lambda: find_method(name).load("run"), lambda: load_recipe({"method": name})):
        with pytest.raises(UserError, match=r"`someday` \(Some Day\) is planned and not built yet"):
            do()


def test_what_is_needed_and_missing_is_named_with_its_extra() -> None:
    method = Method(name="x", recipe=LoopRecipe, run="json:loads", needs=("nope",), extra="more")
    for part in ("run", "check"):
        with pytest.raises(UserError, match="needs nope"):
            method.load(part)
    assert method.load("report") is None


@pytest.mark.parametrize(
    ("paper", "said"),
    [
        (Paper("A", "ICLR", 2025, "2501.00001"), "A (ICLR 2025, arXiv:2501.00001)"),
        (Paper("A", "CVPR", 2024), "A (CVPR 2024)"),
        (Paper("A", "arXiv", 2025, "2501.00001"), "A (arXiv:2501.00001, 2025)"),
    ],
)
def test_a_paper_in_one_line(paper: Paper, said: str) -> None:
    assert str(paper) == said


def test_a_recipe_from_anything(tmp_path: Path) -> None:
    wanted = LoopRecipe(steps=7)
    (tmp_path / "loop.yaml").write_text(wanted.to_yaml())
    for given in (tmp_path / "loop.yaml", str(tmp_path / "loop.yaml"), wanted, wanted.model_dump(mode="json")):
        assert load_recipe(given) == (LOOP, wanted)
        for overrides in (["steps=9"], "steps=9", {"steps": 9}):
            assert load_recipe(given, overrides)[1] == LoopRecipe(steps=9)
    assert wanted.steps == 7


def test_a_recipe_of_another_class_is_refused() -> None:
    from burnish.core.recipe import Recipe

    with pytest.raises(UserError, match="a Recipe says `method: loop`, which takes a LoopRecipe"):
        load_recipe(Recipe(method="tests.core.loops:METHOD"))


def test_nothing_in_the_spine_names_a_method() -> None:
    """Adding one must touch its own folders: no other file may know its name."""
    root = Path(methods.__file__).parents[1]
    general = [*root.glob("*.py"), *(root / "studies").glob("*.py")]
    general += [path for room in ("core", "cli", "testing", "dialogue") for path in (root / room).rglob("*.py")]
    for path in general:
        strings = {
            node.value
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert strings.isdisjoint(HOUSE), f"{path.relative_to(root)} names {strings & HOUSE}"
