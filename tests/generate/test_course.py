"""Which rows a step has, and the learning rate, by hand."""

import numpy as np
import pytest

from burnish.core.errors import UserError
from burnish.core.paths import find_recipe
from burnish.generate.recipe import MintRecipe, StageSettings
from burnish.generate.training.course import TASKS, rate_of, rows_by_task, rows_of, stage_of


def stage(**settings) -> StageSettings:
    return StageSettings.model_validate({"steps": 10, **settings})


def test_a_mix_of_eight_to_one() -> None:
    assert rows_by_task(stage(batch=36, tasks={"draw": 8, "describe": 1})) == {"draw": 31, "describe": 5}
    assert rows_by_task(stage(batch=5, tasks={"draw": 1, "reflect": 1, "correct": 1})) == {
        "draw": 2, "reflect": 2, "correct": 1,
    }  # fmt: skip
    assert rows_by_task(stage(batch=2, tasks={"draw": 100, "reflect": 1})) == {"draw": 1, "reflect": 1}


def test_every_sample_comes_once_before_any_comes_again() -> None:
    seen = np.concatenate([rows_of([5, 6, 7, 8, 9], 0, 0, "draw", step, 3) for step in range(10)])
    for start in range(0, 30, 5):
        assert sorted(seen[start : start + 5].tolist()) == [5, 6, 7, 8, 9]
    assert (seen[:5] != seen[5:10]).any()


def test_stages_and_rates() -> None:
    stages = [stage(steps=3), stage(steps=2)]
    assert [stage_of(stages, step) for step in range(5)] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    slow = stage(learning_rate=1.0, warmup_steps=4)
    assert [rate_of(slow, step) for step in (0, 1, 3, 9)] == [0.25, 0.5, 1.0, 1.0]
    falling = stage(steps=10, learning_rate=1.0, schedule="cosine")
    assert rate_of(falling, 5) == pytest.approx(0.05 + 0.95 / 2)


@pytest.mark.parametrize("name", ["mint/tiny", "mint/paper"])
def test_every_stage_of_a_shipped_recipe_warms_up(name: str) -> None:
    """One optimizer goes through all: what is new to a stage would else begin at the full rate."""
    recipe = MintRecipe.load(find_recipe(name))
    assert all(stage.warmup_steps > 0 for stage in recipe.stages)
    if name == "mint/tiny":  # each command of its page finds what it needs; there is no time for reading back
        assert {task for stage in recipe.stages for task in stage.tasks} == set(TASKS) - {"read"}


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"stages": [{"steps": 1, "tasks": {"draw": 0}}]}, "shares are above 0"),
        ({"stages": [{"steps": 1, "tasks": {"drow": 1}}]}, "drow"),
        ({"stages": [{"steps": 1, "batch": 1, "tasks": {"draw": 1, "reflect": 1}}]}, "no row for each"),
        ({"stages": []}, "stages"),
        ({"flow": {"drop": 0.7, "drop_plan": 0.5}}, "more than 1"),
    ],
)
def test_wrong_settings_are_named(setting, said) -> None:
    with pytest.raises(UserError, match=said):
        MintRecipe.load({"data": {"source": "x"}, "stages": [{"steps": 1}], **setting})
