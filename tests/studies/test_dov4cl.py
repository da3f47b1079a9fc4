"""The DOV4CL study: verdicts from results made by hand, a real smoke run, exact resume, no encoder trained twice."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish.core.errors import Interrupted
from burnish.core.run import Run
from burnish.core.study import StudyRecipe
from burnish.studies.dov4cl import study
from burnish.studies.dov4cl.claims import area, false_interval, judge_cells, power_interval, rows_of, share
from burnish.studies.dov4cl.experiment import Setting, owned, trainings
from burnish.studies.dov4cl.records import Geometry, OwnerCell
from burnish.studies.dov4cl.report import sections
from tests.judging import judged
from tests.once import smoke_study

TESTS = ("image", "unary", "binary", "mean unary", "mean binary", "rank unary", "rank binary")


def made(owners: int = 12, seeds: int = 3, thief: float = 0.001, accused: float = 0.0) -> list[OwnerCell]:
    """Results in which every thief has p ``thief`` and a share ``accused`` of the innocents is accused."""
    rng = np.random.default_rng(0)
    results = []
    for seed in range(seeds):
        for owner in range(owners):
            rows = []
            for suspect in range(owners):
                p = thief if suspect == owner else float(rng.uniform())
                if suspect != owner and accused:
                    p = 0.01 if rng.uniform() < accused else 0.5
                row: dict[str, Any] = {"owner": owner, "suspect": suspect, "guilty": suspect == owner}
                row["p"] = dict.fromkeys(TESTS, p)
                row["effects"] = {"unary": 1 - p, "binary": 1 - p}
                if suspect in (owner, (owner + 1) % owners):
                    row["p"]["published"] = p
                rows.append(row)
            result: dict[str, Any] = {
                "seed": seed,
                "objective": "simclr",
                "data": "mnist",
                "epochs": 3,
                "owner": owner,
                "suspects": rows,
            }
            if owner == 0:
                result["geometry"] = {"scores": [0.9, 0.8, -0.1, 0.2], "guilty": [True, True, False, False]}
            results.append(OwnerCell.model_validate(result))
    return results


def verdicts(results: list[OwnerCell]) -> dict[str, str]:
    return {claim.name: claim.verdict for claim in judged(judge_cells(results))}


def test_verdicts_by_hand() -> None:
    good = verdicts(made())
    assert good["power"] == good["published-power"] == good["uniform"] == good["geometry"] == "holds"
    bad = verdicts(made(thief=0.4, accused=0.3))
    assert bad["power"] == "does not hold"
    assert bad["false-accusations"] == "does not hold"
    assert bad["published-false-accusations"] == "does not hold"
    assert bad["uniform"] == "does not hold"
    assert verdicts(made(owners=4, seeds=1))["power"] == "undecided"
    assert verdicts(made(owners=4, seeds=1))["uniform"] == "undecided"
    without = made(owners=4, seeds=1)
    without[0] = without[0].model_copy(update={"geometry": None})
    assert verdicts(without)["geometry"] == "undecided"
    borderline = {claim.name: claim for claim in judged(judge_cells(made(owners=4, seeds=1, accused=0.001)))}
    assert borderline["false-accusations"].verdict == "undecided"
    assert "at or below .05" in borderline["false-accusations"].note
    many = {claim.name: claim for claim in judged(judge_cells(made(accused=0.001)))}
    assert many["false-accusations"].verdict == "holds"


def test_numbers_by_hand() -> None:
    results = made(owners=4, seeds=1, accused=1.0)
    assert len(rows_of(results, guilty=False)) == 12
    assert share(rows_of(results, guilty=True), "published") == (4, 4)
    assert power_interval(rows_of(results, guilty=True), "image").low == pytest.approx(0.3976, abs=1e-4)
    interval = false_interval(rows_of(results, guilty=False), "image")
    assert (interval.mean, interval.high, interval.n) == (1.0, 1.0, 12)
    assert area(Geometry(scores=(1.0, 0.5, 0.7), guilty=(True, True, False))) == 0.5


def test_owners_share_no_picture(tmp_path: Path) -> None:
    setting = Setting(1000, "simclr", "digits", 3, study.DESIGNS["smoke"], tmp_path)
    places = owned(setting)
    assert places.shape == (4, 80)
    assert len(np.unique(places)) == 320
    tasks = trainings(setting)
    assert [task.rows for task in tasks[:4]] == [tuple(row[:40]) for row in places.tolist()]
    assert tasks[4].rows == tasks[0].rows
    assert tasks[4].seed != tasks[0].seed


def test_smoke_run_resumes_exactly(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = StudyRecipe(method="study:dov4cl", size="smoke", seeds=1)
    smoke_study(tmp_path_factory, "dov4cl", tmp_path / "whole")
    with Run(recipe, tmp_path / "whole", quiet=True) as run:
        whole = study.run(recipe, run)
    assert len(judged(whole.questions)) == 8
    assert whole.sections[0].title == "Thieves found, innocents accused"
    with Run(recipe, tmp_path / "cut", quiet=True) as run:
        real = run.log

        def log(step: int, **values: Any) -> None:
            real(step, **values)
            if step == 1:
                run._signal = 15

        monkeypatch.setattr(run, "log", log)
        with pytest.raises(Interrupted):
            study.run(recipe, run)
    monkeypatch.setattr("burnish.prove.contrastive.train.fit", None)  # a second training would fail
    with Run(recipe, tmp_path / "cut", quiet=True) as run:
        again = study.run(recipe, run)
    assert judged(again.questions) == judged(whole.questions)
    one, other = (tmp_path / name / "artifacts" / "cells.json" for name in ("whole", "cut"))
    assert one.read_bytes() == other.read_bytes()


def test_report_of_made_results() -> None:
    parts = sections(made(owners=3, seeds=1))
    assert parts[1].title == "p-values"
    table = parts[0].table
    assert table is not None
    assert table[0]["thieves found"].startswith("1.00")
