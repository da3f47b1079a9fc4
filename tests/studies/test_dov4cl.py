"""The DOV4CL study: verdicts from results made by hand, a real smoke run, exact resume, no encoder trained twice."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish.core.errors import Interrupted
from burnish.core.intervals import mean_share_interval
from burnish.core.looks import Look, plan_looks
from burnish.core.run import Run
from burnish.core.study import Glance, Outcome, Study, StudyRecipe, decide
from burnish.prove.statistics import uniformity_p
from burnish.studies.dov4cl import study
from burnish.studies.dov4cl.claims import Uniform, area, false_interval, judge_cells, power_interval, rows_of, share
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
                result["geometry"] = geometry(1 + seed % 2)
            results.append(OwnerCell.model_validate(result))
    return results


def geometry(wrong: int) -> dict[str, Any]:
    """Ten thieves and ten innocents, one of whom is above so many thieves: an area of 1 - wrong / 100."""
    return {"scores": [*range(1, 11), *[0.0] * 9, wrong + 0.5], "guilty": [True] * 10 + [False] * 10}


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
    many = {claim.name: claim for claim in judged(judge_cells(made(accused=0.001, seeds=12)))}
    assert many["false-accusations"].verdict == "holds"


def test_the_area_counts_seeds_and_needs_three() -> None:
    results = made(owners=2, seeds=3)
    by_name = {question.name: question for question in judge_cells(results)}
    area_of = by_name["geometry"].judged(Look())
    assert area_of.interval == mean_share_interval([0.99, 0.98, 0.99])
    twice = [*results, *(each.model_copy(update={"epochs": 5}) for each in results)]
    again = next(each for each in judge_cells(twice) if each.name == "geometry").judged(Look())
    assert again.interval == area_of.interval, "two settings of one seed are one value"
    assert verdicts(made(owners=2, seeds=2))["geometry"] == "undecided"
    alike = [each.model_copy(update={"geometry": None if each.owner else results[0].geometry}) for each in results]
    assert verdicts(alike)["geometry"] == "undecided", "three equal areas have no spread"


def test_a_suspect_counts_once_however_many_owners_accuse_it() -> None:
    results = made(owners=6, seeds=2)
    rows = rows_of(results, guilty=False)
    for row in rows:
        row.row.p["image"] = 0.01 if row.row.suspect == 0 else 0.5
    found = false_interval(rows, "image", 0.975)
    assert found == mean_share_interval([1.0, 0, 0, 0, 0, 0] * 2, level=0.975)


def test_no_departure_is_said_at_the_last_look_only() -> None:
    looks = plan_looks(3, 24)
    flat, bent, slightly = (np.linspace(0.01, 0.99, 48) ** power for power in (1.0, 4.0, 1.7))
    assert 0.025 < uniformity_p(slightly) < 0.05

    def at(values: np.ndarray) -> list[str]:
        return [Uniform(values).judged(look).verdict for look in looks]

    assert at(flat) == ["undecided", "undecided", "undecided", "holds"]
    assert at(bent) == ["does not hold"] * 4
    assert at(slightly) == ["undecided"] * 4, "not as sure as the last look asks, nor free of doubt at the full level"
    assert Uniform(slightly).judged(Look()).verdict == "does not hold"
    assert Uniform(flat).judged(Look()).verdict == "holds"
    assert Uniform(flat).judged(looks[0]).open, "more seeds are asked for"
    assert Uniform(bent[::4]).judged(Look()).verdict == "undecided", "twelve are fewer than twenty"
    assert "p > 0.05 on 20 suspects or more (it does not hold where p <= 0.00625" in Uniform(flat).judged(looks[0]).rule


def test_a_study_goes_on_for_a_claim_without_an_interval(tmp_path: Path) -> None:
    asked: list[int] = []

    def run(recipe: StudyRecipe, _run: Run) -> Outcome:
        asked.append(recipe.seeds)
        return Outcome([Uniform(np.linspace(0.01, 0.99, 16 * recipe.seeds))], [], Glance("", None))

    recipe = StudyRecipe(method="study:dov4cl", seeds=3, max_seeds=12)
    with Run(recipe, tmp_path / "run", quiet=True) as folder:
        found = decide(Study("uniform", run), recipe, folder)
    assert asked == [3, 6, 12]
    assert (found.claims[0].verdict, found.claims[0].seeds) == ("holds", 12)


def test_numbers_by_hand() -> None:
    results = made(owners=4, seeds=1, accused=1.0)
    assert len(rows_of(results, guilty=False)) == 12
    assert share(rows_of(results, guilty=True), "published") == (4, 4)
    assert power_interval(rows_of(results, guilty=True), "image").low == pytest.approx(0.3976, abs=1e-4)
    interval = false_interval(rows_of(results, guilty=False), "image")
    assert (interval.mean, interval.high, interval.n) == (1.0, 1.0, 4)
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
    with pytest.raises(Interrupted), Run(recipe, tmp_path / "cut", quiet=True) as run:
        real = run.log

        def log(step: int, **values: Any) -> None:
            real(step, **values)
            if step == 1:
                run._signals.number = 15

        monkeypatch.setattr(run, "log", log)
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
