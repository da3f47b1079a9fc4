"""The contract suite itself: a method that keeps the contract passes, one that breaks a point fails there."""

from pathlib import Path

import pytest

from burnish.core.method import load_recipe
from burnish.testing import CHECKS, ContractBroken, Subject, check_method, checks
from burnish.testing.child import Ended
from tests.core.test_method import GOOD as PLUGIN
from tests.core.test_method import Plugins, plugins  # noqa: F401 - a fixture

HERE = "tests.contract_cases"


def subject(name: str, folder: Path) -> Subject:
    found, recipe = load_recipe({"method": f"{HERE}:{name}"})
    return Subject(found, recipe, None, folder, ("seconds",))


def test_a_method_that_keeps_it(tmp_path: Path) -> None:
    seconds = check_method(f"{HERE}:GOOD", {"method": f"{HERE}:GOOD"}, tmp_path, clocks=["seconds"])
    assert list(seconds) == [check.__name__ for check in CHECKS]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "check", "said"),
    [
        ("EXTRALESS", checks.manifest, "it needs wave and names no extra that brings them"),
        ("WORDLESS", checks.settings_described, "settings without a description: group.odd"),
        ("DOUBLING", checks.recipe_round_trips, "it differs in steps"),
        ("LENIENT", checks.unknown_key_named, "the setting `sede` is accepted"),
        ("WRITES", checks.loads_light, "`check` wrote note.txt"),
        ("UNHEARD", checks.loads_light, "`check` wrote note.safetensors"),
        ("AT_IMPORT", checks.loads_light, "`check` wrote at_import.txt"),
        ("FORKS", checks.loads_light, "`check` started os.fork"),
        ("WORDS", checks.loads_light, "`check` failed: ValueError: could not convert string to float: 'many'"),
        ("POOL", checks.loads_light, "`check` started a process of multiprocessing"),
        ("STARTS", checks.loads_light, "`check` started subprocess.Popen true"),
        ("RAISES", checks.runs, "the run ended with UserError: .*ZeroDivisionError: of its own"),
    ],
)
def test_each_point_is_broken_by_one_that_breaks_it(name: str, check: object, said: str, tmp_path: Path) -> None:
    assert callable(check)
    with pytest.raises(ContractBroken, match=said):
        check(subject(name, tmp_path))


@pytest.mark.parametrize(
    ("name", "check", "said"),
    [
        ("FORGETFUL", checks.killed_and_resumed, "killed differs from whole in artifacts/place.json"),
        ("ANEW", checks.killed_and_resumed, "in the middle of its work, it had saved nothing to go on from"),
        ("KNOWS", checks.killed_and_resumed, "killed differs from whole in artifacts/here.txt"),
        ("COUNTS", checks.workers_equal, "workers differs from whole in artifacts/workers.txt"),
        ("FETCHES", checks.report_needs_no_network, r"the report fetches .*maps.example"),
    ],
)
def test_a_run_that_breaks_it(name: str, check: object, said: str, tmp_path: Path) -> None:
    assert callable(check)
    whole = subject(name, tmp_path)
    checks.runs(whole)
    with pytest.raises(ContractBroken, match=said):
        check(whole)


def test_a_forecast_in_numbers_of_numpy_is_one(tmp_path: Path) -> None:
    asked = subject("NUMPY", tmp_path)
    checks.loads_light(asked)
    assert asked.forecast == {"memory_bytes": 2e9, "disk_bytes": 7.0, "seconds": 1.0}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("LITTLE", r"`check` forecasts disk_bytes 10 and took [\d,]+$"),
        ("MUCH", r"`check` forecasts memory_bytes 1,000,000,000,000 and took [\d,]+; disk_bytes 1,000,000,000 and"),
        ("HALF", "`check` gives no disk_bytes, seconds: add the rows of a Forecast"),
    ],
)
def test_a_forecast_that_is_wrong_by_more_than_two_is_seen(name: str, said: str, tmp_path: Path) -> None:
    whole = subject(name, tmp_path)
    checks.loads_light(whole)
    checks.runs(whole)
    with pytest.raises(ContractBroken, match=said):
        checks.forecast_holds(whole)


def test_a_second_call_that_does_or_gives_something_else_is_seen(tmp_path: Path) -> None:
    whole = subject("GOOD", tmp_path)
    checks.runs(whole)
    checks.second_call_equal(whole)
    (tmp_path / "whole" / "report.html").unlink()  # so that the second call draws it again
    with pytest.raises(ContractBroken, match=r"a call of the finished run wrote report\.html"):
        checks.second_call_equal(whole)
    record = tmp_path / "whole" / "run.json"
    record.write_text(record.read_text().replace("artifacts/walk.json", "artifacts/other.json"))
    with pytest.raises(ContractBroken, match=r"the first call gave .*walk.json.*, the second .*other.json"):
        checks.second_call_equal(whole)


def test_a_run_that_is_over_too_soon_cannot_be_killed(tmp_path: Path) -> None:
    whole = subject("GOOD", tmp_path)
    checks.runs(whole)
    assert whole.whole is not None
    whole.whole = Ended("finished", result=whole.whole.result, writes=10_000, seconds=3000.0)
    with pytest.raises(ContractBroken, match="over before it could be killed"):
        checks.killed_and_resumed(whole)


def test_an_entry_point_that_brings_torch_is_named(plugins: Plugins, tmp_path: Path) -> None:  # noqa: F811
    plugins.add("heavy", "mine", "import torch\n" + PLUGIN)
    found, recipe = load_recipe({"method": "mine"})
    (tmp_path / "work").mkdir()
    with pytest.raises(ContractBroken, match="finding the method imports torch"):
        checks.loads_light(Subject(found, recipe, None, tmp_path / "work"))


def test_a_recipe_of_another_method_and_a_planned_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractBroken, match="the recipe is one of the method"):
        check_method("rmm", {"method": f"{HERE}:GOOD"})


@pytest.mark.parametrize(
    ("html", "fetched"),
    [
        ('<a href="https://x.example/">x</a> https://x.example <svg xmlns="http://www.w3.org/2000/svg"/>', False),
        ('<img src="data:image/png;base64,iVBO//8A">', False),
        ('<img src="//x.example/a.png">', True),
        ('<image href="https://x.example/a.png"/>', True),
        ('<img srcset="https://x.example/a.png 2x">', True),
        ("<script>fetch('https://x.example')</script>", True),
        ("<style>@import 'https://x.example/a.css'</style>", True),
        ('<meta http-equiv="refresh" content="0; url=https://x.example">', True),
        ('<object data="https://x.example/a.swf"></object>', True),
    ],
)
def test_what_a_page_fetches(html: str, fetched: bool, tmp_path: Path) -> None:
    whole = subject("GOOD", tmp_path)
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "report.html").write_text(html)
    if fetched:
        with pytest.raises(ContractBroken, match=r"x\.example"):
            checks.report_needs_no_network(whole)
    else:
        checks.report_needs_no_network(whole)
