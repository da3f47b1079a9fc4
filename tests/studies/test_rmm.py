"""The RMM study: verdicts from results made by hand, the rank rule's numbers, a real smoke run, exact resume."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish.core.run import Run
from burnish.core.study import StudyRecipe
from burnish.merge.rmm.reward import items_for_correlation, rank_correlation_bound
from burnish.studies.rmm import study
from burnish.studies.rmm.claims import by_seed, difference, judge_cells
from burnish.studies.rmm.cost import correlation, rank_rows, true_spread
from burnish.studies.rmm.experiment import ARMS, Job
from burnish.studies.rmm.records import Cell
from tests.judging import judged
from tests.once import smoke_study

GAINS = {
    "published": -2.0,
    "corrected": 1.0,
    "cma": 3.0,
    "cma, task scales": 2.0,
    "greedy": 1.0,
    "random": -1.0,
}


def made_cell(regime: str, seed: int, noise: float = 0.0) -> dict[str, Any]:
    """A cell whose tuned merge scores 80, and whose arms are ``GAINS`` above it plus ``noise`` times the seed (for
    CMA-ES; thrice that for the corrected search, twice for others). Costs and ranks differ by up to a hundredth."""
    little = min(noise, 0.01) * (seed - 1)

    def scores(test: float) -> dict[str, Any]:
        return {"validation": test + 1, "test": test, "tasks": [test, test]}

    spent = {"cpu_seconds": 1.0, "evaluated": 3, "length": 2, "update_seconds": 0.01}
    arms = {
        name: {
            **scores(80 + gain + {"cma": 1, "corrected": 3}.get(name, 2) * noise * seed),
            "sampled": 70.0,
            "rewards": [1.0, 3.0, 2.0],
            **spent,
        }
        for name, gain in GAINS.items()
    }
    merges = {"untuned": 60.0, "tuned": 80.0, "tuned by cross-entropy": 79.5}
    ranks = [
        {
            "group": group,
            "fraction": s,
            "images": n,
            "spread": 0.05,
            "accuracy": 0.7,
            "rule": rule,
            "cycling": rule + little,
            "linear": rule,
            "same": 0.95,
        }
        for group in ("far", "near")
        for s, n, rule in ((0.01, 20, 0.5), (0.1, 200, 0.9))
    ]
    return {
        "regime": regime,
        "seed": seed,
        "experts": [90.0, 91.0],
        "merges": {name: {"what": "made by hand", **scores(test)} for name, test in merges.items()},
        "arms": arms,
        "pictures": {
            "corrected": {
                "architecture": {"kind": "blocks", "blocks": [[0, 0, 2], [0, 1, 0]]},
                "candidates": ["a", "b", "ties"],
                "layers": [2],
            },
            "cma": {
                "architecture": {"kind": "scales", "values": [[0.4, 0.5], [0.1, 0.9]]},
                "candidates": ["a", "b", "ties"],
                "layers": [2],
            },
        },
        "cost": {
            "images": 2200,
            "seconds": {
                "1.0": 0.6,
                "1.0, one pass a task": 0.9,
                "0.1": 0.05 + 0.05 * little,
                "0.01": 0.015 + 0.015 * little,
            },
            "ranks": ranks,
        },
    }


def read(cells: list[dict[str, Any]]) -> list[Cell]:
    return [Cell.model_validate(cell) for cell in cells]


def test_verdicts_by_hand() -> None:
    cells = [made_cell(regime, seed, noise=0.01) for seed in (0, 1, 2) for regime in ("two", "half")]
    claims = {claim.name: claim for claim in judged(judge_cells(read(cells)))}
    verdicts = {name: claim.verdict for name, claim in claims.items()}
    assert verdicts == {
        "a1": "holds",  # 78 against 60
        "a2": "does not hold",  # 78 against 80
        "b": "holds",
        "c": "holds",
        "c2-random": "holds",
        "c2-cma": "does not hold",
        "d-cost-.1": "holds",  # 12 times
        "d-cost-.01": "does not hold",  # 40 times
        "d-ranks": "holds",
    }
    interval = claims["c"].interval
    assert interval is not None
    # gains 3, 3.01, 3.02: mean 3.01, t(.975, 2) = 4.3027, sd .01, n 3
    assert interval.mean == pytest.approx(3.01)
    assert interval.high - interval.mean == pytest.approx(4.302653 * 0.01 / np.sqrt(3), rel=1e-5)
    assert claims["a1"].baseline == 60
    assert "-10" in claims["a2"].note  # sampled episodes: 70 against 80
    assert "with it the ratio is 10.2" in claims["d-cost-.1"].note  # .61 / .06


def test_regimes_are_averaged_within_a_seed() -> None:
    cells = [made_cell("two", 0), made_cell("half", 0), made_cell("two", 1), made_cell("half", 1)]
    cells[0]["arms"]["cma"]["test"] = 90.0  # gain 10 beside 3: one value of 6.5
    interval = difference(read(cells), "cma", "tuned")
    assert interval.n == 2
    assert by_seed(read(cells), lambda cell: cell.test("cma")) == [86.5, 83.0]
    assert interval.mean == pytest.approx((6.5 + 3) / 2)


def test_wide_intervals_and_missing_arms_are_undecided() -> None:
    cells = [made_cell("two", seed, noise=3.0) for seed in (-1, 0, 1)]
    claims = {claim.name: claim for claim in judged(judge_cells(read(cells)))}
    assert claims["c"].verdict == "undecided"
    for cell in cells:
        del cell["arms"]["random"]
        for row in cell["cost"]["ranks"]:
            row["rule"] = 0.5
    claims = {claim.name: claim for claim in judged(judge_cells(read(cells)))}
    assert (claims["c2-random"].verdict, claims["c2-random"].note) == ("undecided", "not run at this size")
    assert claims["d-ranks"].ours is None
    assert {claim.verdict for claim in judged(judge_cells(read(cells[:1])))} == {"undecided"}


def test_rule_by_hand() -> None:
    assert items_for_correlation(0.8, 0.05, 0.5) == 178
    # .05 / sqrt(.0025 + .25 / 100) = 1 / sqrt(2)
    assert rank_correlation_bound(0.05, 0.5, 100) == pytest.approx(0.70710678)
    assert true_spread(np.array([[1.0, 1, 1, 1], [0, 0, 0, 0]])) == pytest.approx(np.sqrt(0.5))
    # means 1/2 and 1/4, variance 1/32; interactions -1/8, 3/8, -1/8, -1/8 and back: .375 / 3 / 4 = 1/32 of noise
    assert true_spread(np.array([[1.0, 1, 0, 0], [1, 0, 0, 0]])) == 0.0


def test_measured_correlation_follows_the_rule() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(0.6, 0.05, 400).clip(0, 1)
    answers = [(rng.random((400, 2000)) < truth[:, None]).astype(float) for _ in range(2)]
    rows = {row.fraction: row for row in rank_rows("far", answers)}
    assert rows[0.1].images == 400
    assert rows[0.1].spread == pytest.approx(0.05, abs=0.005)
    for row in rows.values():
        # Spearman's is a little lower than Pearson's; a part of everything is a little closer to everything
        assert row.cycling == pytest.approx(row.rule, abs=0.06)
    assert correlation([1.0, 1.0, 1.0], truth[:3]) == 0.0


def _recipe(**settings: Any) -> StudyRecipe:
    return StudyRecipe.model_validate({"method": "study:rmm", "checkpoint_every": 0, **settings})


def test_smoke_runs_every_line(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    smoke_study(tmp_path_factory, "rmm", tmp_path / "run")
    with Run(_recipe(size="smoke", seeds=1), tmp_path / "run", quiet=True) as run:
        outcome = study.STUDY.run(_recipe(size="smoke", seeds=1), run)
    assert len(judged(outcome.questions)) == 9
    assert {claim.verdict for claim in judged(outcome.questions)} == {"undecided"}  # one seed decides nothing
    assert sum(section.figure is not None for section in outcome.sections) == 5
    from burnish.core.report import run_report

    html = run_report(tmp_path / "run", outcome.sections).read_text()
    assert html.count("<svg") >= 5
    assert "CMA-ES, layer x expert scales" in html


def test_interrupted_study_goes_on_with_the_cell_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    def cell(job: Job) -> Cell:
        asked.append((job.regime, job.seed))
        if len(asked) == 4:
            raise RuntimeError("killed")
        return Cell.model_validate(made_cell(job.regime, job.seed))

    monkeypatch.setattr(study, "run_cell", cell)
    recipe = _recipe(size="quick", seeds=2)
    with pytest.raises(RuntimeError, match="killed"), Run(recipe, tmp_path / "run", quiet=True) as run:
        study.run(recipe, run)
    with Run(recipe, tmp_path / "run", quiet=True) as run:
        outcome = study.run(recipe, run)
    cells = [(regime, study.FIRST_SEED + number) for number in range(2) for regime in ("half", "two")]
    assert asked == [*cells, cells[3]]
    with Run(recipe, tmp_path / "whole", quiet=True) as run:
        whole = study.run(recipe, run)
    assert judged(outcome.questions) == judged(whole.questions)
    assert (tmp_path / "run/metrics.jsonl").read_text().count("cma_task_scales") == 4


def test_every_size_has_a_design_and_known_arms() -> None:
    assert set(study.DESIGNS) == {"smoke", "tour", "quick", "full"}
    for design in study.DESIGNS.values():
        assert set(design.arms) <= set(ARMS)
        assert {"published", "corrected", "cma"} <= set(design.arms)  # what the pictures and the costs are drawn from
    assert study.DESIGNS["full"].regimes == ("two", "half", "far")
    assert (study.DESIGNS["quick"].budget, study.DESIGNS["quick"].tuning) == (160, 60)
