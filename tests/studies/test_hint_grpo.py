"""The Hint-GRPO study: a smoke run that is resumed, verdicts and pictures from made-up cells, word problems."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish.core.run import Run
from burnish.core.study import StudyRecipe
from burnish.studies.hint_grpo.claims import judge_training
from burnish.studies.hint_grpo.experiment import ARMS
from burnish.studies.hint_grpo.real import word_problems
from burnish.studies.hint_grpo.records import AT_EQUAL_STEPS, TrainingCell
from burnish.studies.hint_grpo.report import _mean_course, accuracy_figure, arm_table, course_figure
from burnish.studies.hint_grpo.study import DESIGNS, STUDY
from tests.judging import judged
from tests.once import smoke_study


@pytest.mark.slow
def test_smoke_and_resume(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    path = smoke_study(tmp_path_factory, "hint_grpo", tmp_path / "run")
    claims = json.loads((path / "artifacts" / "claims.json").read_text())
    names = [claim["name"] for claim in claims]
    assert len(set(names)) == len(names) == 11
    assert all(claim["verdict"] == "undecided" for claim in claims)
    recipe = StudyRecipe(method="study:hint_grpo", size="smoke", seeds=1)
    with Run(recipe, path, quiet=True) as run:
        again = STUDY.run(recipe, run)  # nothing is left to do: the cells come from the checkpoint
    assert [claim.model_dump(mode="json") for claim in judged(again.questions)] == claims


def cell(world: int, gains: dict[str, float], base: float = 0.2) -> dict[str, Any]:
    rng, others = np.random.default_rng(world), np.random.default_rng([world, 1])
    names = ("GRPO", "GRPO, groups of 12", "exhaustive", "ladder", AT_EQUAL_STEPS)
    arms = {
        name: {
            "30000": {
                "accuracy": 0.5 + gains.get(name, 0.0) + float(rng.normal(0, 0.01)),
                "utilisation": 0.5 + gains.get(name, 0.0) + float(others.normal(0, 0.01)),
                "steps": 10,
                "completions": 40,
                "tokens": 1000,
            }
        }
        for name in names
    }
    course = [
        {"tokens": 100.0 * step, "utilisation": 0.5, "selected/0": 0.75, "selected/1": 0.25, "selected/2": 0.0}
        for step in range(1, 11)
    ]
    courses = dict.fromkeys(names, course)
    return {"world": world, "base": base, "judged": "30000", "arms": arms, "courses": courses, "seconds": 1.0}


def read(cells: list[dict[str, Any]]) -> list[TrainingCell]:
    return [TrainingCell.model_validate(each) for each in cells]


def test_verdicts_follow_the_arms() -> None:
    cells = [cell(world, {"ladder": 0.2, "exhaustive": -0.2}) for world in range(5)]
    verdicts = {claim.name: claim.verdict for claim in judged(judge_training(read(cells)))}
    assert verdicts == {
        "utilisation": "holds",
        "equal_steps": "undecided",
        "published_equal_tokens": "does not hold",
        "ladder_equal_tokens": "holds",
        "ladder_large_groups": "holds",
        "ladder_exhaustive": "holds",
    }
    worse = copy.deepcopy(cells)
    for each in worse:
        each["arms"]["ladder"]["30000"]["accuracy"] -= 0.5
    assert (
        next(c for c in judged(judge_training(read(worse))) if c.name == "ladder_equal_tokens").verdict
        == "does not hold"
    )


def test_pictures_and_table() -> None:
    cells = read([cell(world, {}) for world in range(2)])
    table = arm_table(cells)
    assert [row["arm"] for row in table] == list(cells[0].arms)
    assert table[0]["steps"] == "10"
    axis = accuracy_figure(cells).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == list(cells[0].arms)
    assert len(course_figure(cells).axes) == 2


def test_a_mean_course_ends_where_the_data_do() -> None:
    curve = _mean_course(read([cell(0, {})]), "ladder", "selected/0", np.array([100.0, 550.0, 2000.0]))
    assert curve[:2].tolist() == [0.75, 0.75]
    assert np.isnan(curve[2])
    assert np.isnan(_mean_course(read([cell(0, {})]), "ladder", "absent", np.array([0.0]))).all()


def test_full_has_every_arm_and_a_real_model() -> None:
    assert DESIGNS["full"].training.arms == tuple(ARMS)
    assert DESIGNS["full"].training.real
    assert DESIGNS["quick"].training.real is None


def test_word_problems_bring_their_steps() -> None:
    first, second = word_problems(2, seed=1)
    assert first.steps
    assert len(first.steps) >= 3
    assert not any("####" in step or step.startswith("Therefore") for step in first.steps)
    assert first.answer == "288"
    assert (first.row, second.row) == ("gsm_symbolic:0", "gsm_symbolic:1")
