"""What a notebook calls: anything that is a recipe goes in, the same comes out on every call."""

import json
import linecache
import math
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import burnish
from burnish.core.result import from_plain, to_plain
from burnish.testbeds.models import prepare_model
from tests.core.loops import LoopRecipe
from tests.once import shared_cache

LOOP = {"method": "tests.core.loops:METHOD", "steps": 3}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_same_on_the_first_and_on_every_later_call() -> None:
    first = burnish.run(LOOP, out="x")
    again = burnish.run(LOOP, out=Path("x"))
    assert first == again
    assert (first.resumed, again.resumed) == (False, True)
    assert first.path == Path("x")
    assert first.value == Path("x/artifacts/weights.json")
    assert first.value.is_file()
    assert first.report == burnish.report("x")
    assert first.report.is_file()


def test_what_a_run_gave_back_stands_for_its_folder() -> None:
    one, other = burnish.run(LOOP, out="x"), burnish.run(LOOP, out="y", overrides={"steps": 4})
    assert burnish.report(one) == Path("x/report.html")
    assert [row["setting"] for row in burnish.compare([one, other]).settings] == ["steps"]
    with pytest.raises(burnish.UserError, match="compare: x alone; give the runs as a list"):
        burnish.compare("x", "y")
    with pytest.raises(burnish.UserError, match="compare: x alone"):
        burnish.compare(one, "y.html")  # type: ignore[arg-type]


def test_a_run_that_never_began_has_nothing_to_show(tmp_path: Path) -> None:
    burnish.run(LOOP, out="x")
    Path("x/recipe.yaml").unlink()
    with pytest.raises(burnish.UserError, match="x: stopped before it began, so there is nothing to show yet; start"):
        burnish.report("x")


def test_a_recipe_object_and_its_default_folder() -> None:
    found = burnish.run(LoopRecipe(steps=2))
    assert found.path == Path("runs/loop")
    with pytest.raises(
        burnish.UserError, match=r"differs in steps\); choose another folder, or start afresh"
    ) as caught:
        burnish.run(LoopRecipe(steps=2), overrides={"steps": 3})
    assert caught.value.arguments == ("out", "fresh")
    assert burnish.run(LoopRecipe(steps=2), overrides={"steps": 3}, fresh=True).resumed is False


def test_a_run_that_is_moved_keeps_its_result() -> None:
    burnish.run(LOOP, out="x")
    shutil.move("x", "y")
    assert burnish.run(LOOP, out="y").value == Path("y/artifacts/weights.json")


def test_a_report_that_is_gone_is_drawn_again() -> None:
    burnish.run(LOOP, out="x").report.unlink()
    assert burnish.run(LOOP, out="x").report.is_file()


@pytest.mark.parametrize("value", [None, 3, 0.5, "text", [1, {"a": None}], {"b": [True]}])
def test_plain_values_are_kept_as_they_are(value: object, tmp_path: Path) -> None:
    assert from_plain(json.loads(json.dumps(to_plain(value, tmp_path))), tmp_path) == value


@pytest.mark.parametrize("value", [object(), {1, 2}, [object()]])
def test_what_cannot_be_kept_is_named(value: object, tmp_path: Path) -> None:
    with pytest.raises(burnish.BurnishError, match="which cannot be kept with the run"):
        to_plain(value, tmp_path)


def test_numbers_of_numpy_and_paths_at_any_depth_are_kept(tmp_path: Path) -> None:
    value = {"score": np.float32(0.5), "count": np.int64(3), "files": [tmp_path / "a", (tmp_path / "b",)]}
    kept = json.loads(json.dumps(to_plain(value, tmp_path)))
    assert from_plain(kept, tmp_path / "moved") == {
        "score": 0.5,
        "count": 3,
        "files": [tmp_path / "moved" / "a", [tmp_path / "moved" / "b"]],
    }
    assert math.isnan(from_plain(json.loads(json.dumps(to_plain(float("nan"), tmp_path))), tmp_path))


@pytest.mark.parametrize(
    ("overrides", "wanted"),
    [
        ({"steps": np.int64(9)}, {"steps": 9}),
        ({"method": "tests.core.loops:METHOD", "tracking": {"project": "a=b 😀"}}, {"tracking.project": "a=b 😀"}),
        ({"tracking.project": "yes"}, {"tracking.project": "yes"}),
        ({"tracking": {}}, {"tracking.project": "burnish"}),
        (["tracking.project='1e-4'"], {"tracking.project": "1e-4"}),
        ((), {}),
    ],
)
def test_overrides_are_values(overrides: Any, wanted: dict[str, Any]) -> None:
    from burnish.core.recipe import flatten

    found = flatten(LoopRecipe.load(LOOP, overrides).model_dump(mode="json"))
    assert {key: found[key] for key in wanted} == wanted
    assert LoopRecipe.load(LoopRecipe.load(LOOP, overrides).to_yaml()) == LoopRecipe.load(LOOP, overrides)


def test_a_misspelt_setting_is_named_before_a_missing_one_and_where_it_was_given() -> None:
    with pytest.raises(burnish.UserError, match="`stpes` is not a setting; did you mean `steps`"):
        burnish.check({**LOOP, "stpes": 1})
    with pytest.raises(burnish.UserError, match=r"override trackin\.project: `trackin` is not a setting"):
        burnish.check(LOOP, ["trackin.project=x"])


def test_a_path_elsewhere_stays_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert from_plain(to_plain(tmp_path / "else", tmp_path / "run"), tmp_path / "moved") == tmp_path / "else"


def test_a_merge_runs_too(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURNISH_CACHE", str(shared_cache(tmp_path_factory, "tiny-llama")))
    prepare_model("tiny-llama", Path("tiny"))
    merge = {"merge_method": "linear", "models": [{"model": "tiny", "parameters": {"weight": 1.0}}], "dtype": "float32"}
    first, again = burnish.run(merge, "merged"), burnish.run(merge, "merged")
    assert first == again
    assert (first.resumed, again.resumed) == (False, True)
    assert first.value == Path("merged")
    assert first.report.read_text().startswith("---")
    Path("merge.yaml").write_text(json.dumps(merge))
    assert burnish.run("merge.yaml").path == Path("runs/merge-merge")
    assert burnish.check(merge)[0] == burnish.check("merge.yaml")[0]
    for config in (merge, "merge.yaml"):
        half = burnish.run(config, "half", overrides=["dtype=bfloat16", "models.0.parameters.weight=0.5"], fresh=True)
        assert json.loads((half.path / "config.json").read_text())["dtype"] == "bfloat16"
        assert "weight: 0.5" in half.report.read_text()
    with pytest.raises(burnish.UserError, match="`7` is no index of a list of 1"):
        burnish.check("merge.yaml", overrides={"models.7.model": "x"})


def test_a_recipe_that_says_so_pushes_what_the_run_left(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[object] = []

    def push(*given: object) -> None:
        assert Path("run/report.html").exists()  # a hub that cannot be reached costs nobody the report
        sent.append(given)

    monkeypatch.setattr("burnish.api.push_model", push)
    recipe = LoopRecipe(steps=2, push="org/name")
    done = burnish.run(recipe, "run")
    assert sent == [(done.value, "org/name", Path("run"))]
    burnish.run(LoopRecipe(steps=2), "run")  # the same run: where its model goes changes nothing in it
    assert len(sent) == 1
    assert {"what": "push", "value": "the model goes to org/name of the hub when the run is finished"} in burnish.check(
        recipe
    )


OWN = """from burnish.core.method import Method
from burnish.core.report import Section
from tests.core.loops import LoopRecipe


def run(recipe, run):
    run.log(0, loss=1.0)
    return run.artifact("x.json", {{}})


def report(folder):
    {report}


def check(recipe):
    {check}


METHOD = Method(name="own", recipe=LoopRecipe, run=run, report=report, check=check)
"""
FINE = "return [Section('Mine', table=[{'a': 1}])]"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., dict[str, str]]]:
    """Writes a method of the user's anew: what its report and its check do."""
    monkeypatch.setattr("sys.path", list(sys.path))

    def write(report: str = FINE, check: str = "return []") -> dict[str, str]:
        sys.modules.pop("own_method", None)
        linecache.clearcache()
        (tmp_path / "own_method.py").write_text(OWN.format(report=report, check=check))
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
        return {"method": "own_method:METHOD"}

    yield write
    sys.modules.pop("own_method", None)


@pytest.mark.parametrize(
    ("report", "said"),
    [
        ("return 1 / 0", r"own_method.py:12: ZeroDivisionError: division by zero \(in your report\)"),
        ("return {'a': 1}", r"report: of own_method:METHOD gave a dict; give a list of Section"),
        ("return None", "gave a NoneType"),
        ("return ['words']", r"part 1 of own_method:METHOD is a str; give burnish.core.report.Section"),
        ("return [Section('Mine', table=[('a', 1)])]", "section `Mine` of .*: a table is a list of mappings"),
        ("return [Section('Mine', figure='x.png')]", "section `Mine` of .*: a figure is matplotlib's"),
        ("return [Section('Mine', parts=[3])]", "part 1 of .* is a int"),
    ],
)
def test_a_report_that_fails_is_said_as_the_users_and_the_page_is_there(
    own: Callable[..., dict[str, str]], report: str, said: str
) -> None:
    recipe = own(report)
    for _ in range(2):  # the second call finds a finished run, and says it too
        with pytest.raises(burnish.UserError, match=said):
            burnish.run(recipe, "x")
        assert json.loads(Path("x/run.json").read_text())["status"] == "finished"
        assert "What is missing here" in Path("x/report.html").read_text()
    own()
    page = burnish.report("x")
    assert "Mine" in page.read_text()
    assert "report_error" not in json.loads(Path("x/run.json").read_text())
    time = page.stat().st_mtime_ns
    assert burnish.run(recipe, "x", allow_changed_code=True).resumed
    assert page.stat().st_mtime_ns == time


def test_a_run_of_a_module_that_lies_elsewhere_is_reported_from_any_folder(
    own: Callable[..., dict[str, str]], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = burnish.run(own(), "x").path.resolve()
    sys.modules.pop("own_method")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    monkeypatch.setattr("sys.path", [place for place in sys.path if place != str(path.parent)])
    assert "Mine" in burnish.report(path).read_text()


@pytest.mark.parametrize("rows", ["[('a', 1)]", "[{'what': 'a', 'value': 1}]", "iter([['a', 1]])"])
def test_rows_of_a_check_as_pairs_or_as_check_itself_gives_them(own: Callable[..., dict[str, str]], rows: str) -> None:
    assert burnish.check(own(check=f"return {rows}"))[-1] == {"what": "a", "value": 1}


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ("return [][1]", r"own_method.py:16: IndexError: .* \(in your check\)"),
        ("yield 1 / 0", r"own_method.py:16: ZeroDivisionError: .* \(in your check\)"),
        ("return {'a': 1}", "the check of own_method:METHOD gave a dict; give a list"),
        ("return None", "gave a NoneType"),
        ("return [('a',)]", r"row 1 of the check of own_method:METHOD is \('a',\); give a list of"),
        ("return [{'a': 1}]", "row 1 of the check"),
    ],
)
def test_a_check_that_fails_is_said_as_the_users(own: Callable[..., dict[str, str]], check: str, said: str) -> None:
    with pytest.raises(burnish.UserError, match=said):
        burnish.check(own(check=check))
