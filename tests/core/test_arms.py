"""Studies of anybody's method: arms, seeds, paired claims; and runs put beside each other."""

import json
import signal
from pathlib import Path

import pytest

import burnish
from burnish.core import arms as arms_module
from burnish.core.arms import Gain, study_of_arms
from burnish.core.compare import compare_runs
from burnish.core.errors import Interrupted, UserError
from tests.core.loops import LoopRecipe

LOOP = {"method": "tests.core.loops:METHOD", "steps": 12}


def fit(run: Path) -> float:
    """How well a run of the loop fits: the last loss, the other way round."""
    return -json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["loss"]


LONGER = Gain("longer", "More steps fit better", ours="long", baseline="short")
STUDY = study_of_arms(
    "Steps of the loop",
    LOOP,
    {"short": {"steps": 2}, "long": {}},
    fit,
    [LONGER, Gain("much", "More steps fit much better", ours="long", baseline="short", bound=1e6)],
    of="fit",
    sizes={"smoke": {"width": 8}},
)
SIGNS = study_of_arms("x", LOOP, {"+": {"steps": 1}, "-": {"steps": 2}}, fit, [])
BROKEN = study_of_arms("x", LOOP, {"a": {}, "b": {"steps": 1}}, lambda run: float("nan"), [])


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_arms_whose_names_differ_in_signs_have_folders_of_their_own() -> None:
    found = burnish.study("tests.core.test_arms:SIGNS", size="smoke", seeds=1, workers=1)
    folder = found.report.parent / "artifacts"
    assert sorted(path.name for path in (folder / "runs").iterdir()) == ["-.0-0", "-.1-0"]
    assert [cell["arm"] for cell in json.loads((folder / "cells.json").read_text())] == ["+", "-"]


def test_a_study_of_ones_own_is_run_judged_and_kept() -> None:
    found = burnish.study("tests.core.test_arms:STUDY", size="quick", seeds=3, workers=1)
    assert found.report == Path("runs/study-tests-core-test_arms-quick/report.html")
    claims = {claim.name: claim for claim in found.judgement.claims}
    assert (claims["longer"].verdict, claims["much"].verdict) == ("holds", "does not hold")
    claim = claims["longer"]
    assert claim.rule == "95 % t interval over seeds of the fit of long minus that of short lies above 0"
    folder = found.report.parent / "artifacts"
    scores = json.loads((folder / "cells.json").read_text())
    assert [(cell["seed"], cell["arm"]) for cell in scores] == [(s, arm) for s in range(3) for arm in ("short", "long")]
    # paired by hand
    differences = [scores[i + 1]["score"] - scores[i]["score"] for i in (0, 2, 4)]
    assert claim.interval is not None
    assert claim.interval.mean == pytest.approx(sum(differences) / 3)
    assert claim.interval.n == 3
    # each arm is a run like any other
    record = json.loads((folder / "runs/short-1/run.json").read_text())
    assert (record["status"], record["seed"]) == ("finished", 1)
    assert fit(folder / "runs/short-1") == scores[2]["score"]
    again = burnish.study("tests.core.test_arms:STUDY", size="quick", seeds=3, workers=1)
    assert again.rows == found.rows
    page = found.report.read_bytes()
    assert b"burnish study tests.core.test_arms:STUDY --size quick --seeds 3 --out" in page
    assert b"<svg" in page
    found.report.unlink()
    assert burnish.report(found.report.parent).read_bytes() == page  # the claims and all that stands below them


def test_a_stop_inside_an_arm_goes_on_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The study stops at once and goes on with that arm: its run, which had ended, is only scored again."""
    real, calls = fit, []

    def stopping(run: Path) -> float:
        calls.append(run.name)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGTERM)
        return real(run)

    study = study_of_arms("x", LOOP, {"short": {"steps": 2}, "long": {}}, stopping, [LONGER], of="fit")
    monkeypatch.setattr("tests.core.test_arms.STUDY", study)
    with pytest.raises(Interrupted) as caught:
        burnish.study("tests.core.test_arms:STUDY", size="quick", seeds=3, workers=1)
    assert caught.value.exit_code == 143
    metrics = Path("runs/study-tests-core-test_arms-quick/artifacts/runs/long-0/metrics.jsonl")
    written = metrics.stat().st_mtime_ns
    found = burnish.study("tests.core.test_arms:STUDY", size="quick", seeds=3, workers=1)
    assert calls == ["short-0", "long-0", "long-0", "short-1", "long-1", "short-2", "long-2"]
    assert metrics.stat().st_mtime_ns == written
    assert found.judgement.claims[0].verdict == "holds"


def test_a_signal_after_an_arms_last_checkpoint_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ignoring(recipe: LoopRecipe, run: object) -> None:
        signal.raise_signal(signal.SIGUSR1)

    monkeypatch.setattr("tests.core.loops.METHOD", burnish_method(ignoring))
    job = arms_module._Job(LOOP, {"seed": 0}, "a", 0, tmp_path / "a", fit, False)
    with pytest.raises(Interrupted) as caught:
        arms_module._measured(job)
    assert caught.value.exit_code == 138


def burnish_method(run):
    from burnish.core.method import Method

    return Method(name="loop", recipe=LoopRecipe, run=run)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match=r"two arms or more; there are \['a'\]"):
        study_of_arms("x", LOOP, {"a": {}}, fit, [])
    with pytest.raises(ValueError, match=r"no \['c'\]"):
        study_of_arms("x", LOOP, {"a": {}, "b": {}}, fit, [Gain("g", "words", ours="a", baseline="c")])
    with pytest.raises(UserError, match=r"gave nan for .*; it gives a finite number"):
        burnish.study("tests.core.test_arms:BROKEN", size="smoke", workers=1)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tests.core.test_arms:LONGER", "is a Gain; give a burnish.core.study.Study"),
        ("tests.core.loops:METHOD", r"`tests.core.loops:METHOD` \(loop\) has no study"),
        ("tests.core.test_arms:STUDI", "did you mean `STUDY`"),
        ("tests.core.absent:STUDY", "no module named `tests.core.absent`"),
    ],
)
def test_what_is_no_study_is_said(name: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        burnish.study(name, size="smoke")


def test_a_study_of_ones_own_is_not_stored() -> None:
    with pytest.raises(UserError, match="a study of your own is kept by its run's folder"):
        burnish.study("tests.core.test_arms:STUDY", size="quick", store=True)


# Runs beside each other.


@pytest.fixture
def runs() -> list[Path]:
    return [
        burnish.run(LOOP, "a").path,
        burnish.run(LOOP, "b", {"steps": 6, "seed": 1}).path,
    ]


def test_settings_that_differ_numbers_and_curves(runs: list[Path]) -> None:
    found = burnish.compare(runs)
    assert found.settings == [{"setting": "seed", "a": 0, "b": 1}, {"setting": "steps", "a": 12, "b": 6}]
    numbers = {row["number"]: row for row in found.numbers}
    assert numbers["status"] == {"number": "status", "a": "finished", "b": "finished"}
    assert numbers["last loss"]["a"] == -fit(Path("a"))
    assert numbers["last loss"]["b"] == -fit(Path("b"))
    page = found.report.read_text()
    assert found.report == Path("compare.html")
    assert page.count("<svg") == 1
    assert "burnish compare a b --out compare.html" in page


def test_runs_of_two_methods_and_one_that_is_not_finished(runs: list[Path]) -> None:
    other = Path("deep/b")
    other.mkdir(parents=True)
    (other / "recipe.yaml").write_text("method: other\nseed: 0\nrate: 0.5\n")
    record = {"method": "other", "status": "interrupted", "sessions": [], "value": {"score": 3, "name": "x"}}
    (other / "run.json").write_text(json.dumps(record))
    found = compare_runs([runs[1], other], Path("page.html"))
    rows = {row["setting"]: (row["b"], row["deep/b"]) for row in found.settings}
    assert rows["method"] == ("tests.core.loops:METHOD", "other")
    assert rows["rate"] == (None, 0.5)
    assert rows["steps"] == (6, None)
    assert any(name.startswith("code of tests.core.loops") for name in rows)
    numbers = {row["number"]: (row["b"], row["deep/b"]) for row in found.numbers}
    assert numbers["result.score"] == (None, 3)
    assert numbers["status"] == ("finished", "interrupted")


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        (["a"], "two run folders or more"),
        (["a", "./a"], "the same run is given twice"),
        (["a", "none"], "none: not a run"),
    ],
)
def test_what_cannot_be_put_beside_each_other(runs: list[Path], paths: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        burnish.compare(paths)
    assert not Path("compare.html").exists()
