"""What is missing, and the command that installs it: right in a checkout, from a wheel, with pip and without."""

import importlib.metadata
import json
import shlex
import sys
from pathlib import Path

import pytest

from burnish.core import packages
from burnish.core.errors import UserError
from burnish.core.method import load_recipe
from burnish.core.packages import Need, install_command, not_installed, require
from burnish.core.paths import shipped_recipes
from burnish.prove.suspects.settings import ONNX


@pytest.fixture
def with_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "importable", lambda name: name in ("pip", "json"))
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)


def test_everything_that_is_missing_is_said_at_once(with_pip: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "in_checkout", lambda: False)
    monkeypatch.setattr(packages, "_wheel", lambda: None)
    require("x", Need(("json",), "post"))
    with pytest.raises(UserError) as caught:
        require("x", Need(("nope", "json"), "post"), Need(("nada",), "realdata"), Need(("own_thing",)))
    said = "x needs nope, nada, own_thing; the extras `post` and `realdata` bring it: pip install "
    assert str(caught.value) == said + "'burnish[post,realdata]' own-thing"
    assert str(not_installed("y", Need(("av",), "distill"))) == (
        "y needs av; the extra `distill` brings it: pip install 'burnish[distill]'"
    )


def test_an_extra_of_another_package_is_not_looked_for_in_burnish(with_pip: None) -> None:
    assert str(not_installed("method: theirs", Need(("nope",), "more"))) == (
        "method: theirs needs nope; the extra `more` brings it"
    )


def test_a_checkout_is_named_by_where_it_is(with_pip: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    assert install_command(["post"]) == "pip install -e '.[post]'"
    monkeypatch.chdir(tmp_path)
    assert install_command(["post"]) == f"pip install -e {shlex.quote(f'{root}[post]')}"


def test_a_wheel_is_named_by_its_file_while_it_is_there(
    with_pip: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "my wheels" / "burnish-0.1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.touch()

    class Installed:
        @staticmethod
        def read_text(name: str) -> str:
            assert name == "direct_url.json"
            return json.dumps({"url": wheel.as_uri()})

    monkeypatch.setattr(packages, "in_checkout", lambda: False)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _name: Installed)
    assert install_command(["post", "ray"]) == f"pip install '{wheel}[post,ray]'"
    wheel.unlink()
    assert install_command(["post"]) == "pip install 'burnish[post]'"


def test_an_environment_without_pip_is_uvs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "importable", lambda _name: False)
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    assert install_command([], ["reasoning-gym"]) == "uv pip install reasoning-gym"
    monkeypatch.delenv("VIRTUAL_ENV")
    assert install_command([], ["reasoning-gym"]) == f"uv pip install --python {sys.executable} reasoning-gym"
    monkeypatch.setattr(packages, "importable", lambda _name: True)
    assert install_command([], ["reasoning-gym"]) == f"{sys.executable} -m pip install reasoning-gym"


@pytest.mark.parametrize(
    ("recipe", "overrides", "needed"),
    [
        ("dov4cl/tiny", [], [Need(("mlxtend",), "realdata")]),
        ("dov4cl/tiny", ["suspect.model=x.onnx"], [ONNX, Need(("mlxtend",), "realdata")]),
        ("trainprove/tiny", [], [Need(("mlxtend", "sklearn"), "realdata")]),
        ("planning_acting/tiny", ["memory=redis://127.0.0.1/0"], [Need(("redis",), "act")]),
        ("mint/tiny", ["executor=ray", "tracking.to=[wandb]"], [Need(("ray",), "ray"), Need(("wandb",))]),
    ],
)
def test_a_recipe_knows_what_it_needs(recipe: str, overrides: list[str], needed: list[Need]) -> None:
    assert sorted(map(str, load_recipe(recipe, overrides)[1].needs())) == sorted(map(str, needed))


def test_check_and_run_name_all_that_a_recipe_needs_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import burnish

    monkeypatch.chdir(tmp_path)
    for name in ("mlxtend", "sklearn", "ray"):
        monkeypatch.setitem(sys.modules, name, None)
    for call in (burnish.check, burnish.run):
        with pytest.raises(UserError, match=r"trainprove needs ray, mlxtend, sklearn; the extras `ray` and `realdata`"):
            call("trainprove/tiny", overrides={"executor": "ray"})
    assert list(tmp_path.iterdir()) == []


def test_extras_that_are_named_exist() -> None:
    """Of every shipped recipe, whatever is installed here."""
    ours = set(importlib.metadata.metadata("burnish").get_all("Provides-Extra") or ())
    for name in shipped_recipes():
        if not name.startswith("merge/"):
            method, recipe = load_recipe(name)
            assert {method.extra, *(need.extra for need in recipe.needs())} - {""} <= ours
