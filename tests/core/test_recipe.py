import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from burnish.core.errors import UserError
from burnish.core.recipe import Recipe, Settings, method_of
from burnish.core.yaml_marks import load_yaml
from tests.core.loops import LoopRecipe


class Optimizer(Settings):
    lr: float = Field(default=1e-3, gt=0)
    """Learning rate."""
    betas: tuple[float, float] = (0.9, 0.999)


class Expert(Settings):
    model: str
    weight: float = 1.0


class Example(Recipe):
    method: str = "example"
    steps: int = Field(default=10, ge=1)
    optimizer: Optimizer = Field(default_factory=Optimizer)
    experts: list[Expert] = Field(default_factory=list)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("steps: 3\nstesp: 4", 2, "`stesp` is not a setting; did you mean `steps`?"),
        ("\n\nsteps: many", 3, "`steps`: input should be a valid integer"),
        ("steps: 0", 1, "greater than or equal to 1, not 0"),
        ("optimizer:\n  lr: 0.1\n  beta: [1, 2]", 3, "`optimizer.beta` is not a setting; did you mean `betas`?"),
        ("optimizer:\n  lr: -1", 2, "`optimizer.lr`: input should be greater than 0, not -1"),
        (
            "experts:\n- model: a\n- wieght: 2\n  model: b",
            3,
            "`experts.1.wieght` is not a setting; did you mean `weight`?",
        ),
        ("experts:\n- weight: 1", 2, "`experts.0.model` is missing"),
        ("seed: 1\nseed: 2", 2, "`seed` is given twice"),
        ("steps: 3\non: 4", 2, "the key `on` is read as bool, not as text; put it in quotes"),
        ("optimizer:\n  ~: 4", 2, "the key `~` is read as null"),
        ("steps: [1", 1, "not valid YAML"),
        ("a: &x\n  b: *x", 1, "an alias contains itself"),
        ("- 1", 1, "a recipe is a mapping"),
        ("", 1, "a recipe is a mapping"),
        ("? [a, b]\n: 1", 1, "a key must be a plain word"),
        ("steps: !!python/object:os.system x", 1, "not valid YAML"),
    ],
)
def test_one_line_says_what_and_where(tmp_path: Path, text: str, line: int, said: str) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        Example.load(file)
    message = str(caught.value)
    assert message.startswith(f"{file}:{line}: ")
    assert said in message
    assert "\n" not in message


def test_overrides_reach_everywhere() -> None:
    text = "experts:\n- model: a\n"
    recipe = Example.load(text, ["optimizer.lr=1e-4", "experts.0.weight=.5", "steps=7"])
    assert (recipe.optimizer.lr, recipe.experts[0].weight, recipe.steps) == (1e-4, 0.5, 7)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("steps", "write it as key=value"),
        ("steps=x", "override steps: `steps`: input should be a valid integer"),
        ("optimizer.l=1", "override optimizer.l: `optimizer.l` is not a setting; did you mean `lr`?"),
        ("experts.3.weight=1", "`3` is no index of a list of 1"),
        ("seed=[", "not valid YAML"),
    ],
)
def test_wrong_override_is_named(override: str, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        Example.load("experts:\n- model: a\n", [override])


def test_round_trip_and_differences() -> None:
    recipe = Example.load("steps: 3\noptimizer: {lr: 1e-2}")
    again = Example.load(recipe.to_yaml())
    assert again == recipe
    other = Example(steps=4, workers=8, optimizer=Optimizer(lr=0.5))
    assert recipe.differences(other.model_dump(mode="json")) == ["steps", "optimizer.lr"]


def test_recipe_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Example().steps = 3


def test_schema_carries_the_docs() -> None:
    schema = Example.model_json_schema()
    assert schema["properties"]["seed"]["description"].startswith("Root of every random stream")


def test_missing_file_and_method(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        method_of(tmp_path / "none.yaml")
    file = tmp_path / "merge.yaml"
    file.write_text("merge_method: ties\n")
    with pytest.raises(UserError, match=r"mergekit.s format, give `merge_method`"):
        method_of(file)
    file.write_bytes(b"method: \xff\xfe")
    with pytest.raises(UserError, match="not UTF-8"):
        method_of(file)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    try:
        Example.load(text)
    except UserError as error:
        assert "\n" not in str(error)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=12,
    )
)
def test_any_structure_is_read_or_refused_in_one_line(data: object) -> None:
    import yaml

    for text in (yaml.safe_dump(data), yaml.safe_dump({"optimizer": data}), yaml.safe_dump({"experts": [data]})):
        try:
            Example.load(text)
        except UserError as error:
            assert "\n" not in str(error)


def test_numbers_as_people_write_them() -> None:
    data, _ = load_yaml("a: 1e-4\nb: 1e5\nc: 1.5\nd: 12\ne: '1e-4'\nf: .5")
    assert data == {"a": 1e-4, "b": 1e5, "c": 1.5, "d": 12, "e": "1e-4", "f": 0.5}


def test_a_yaml_bomb_is_refused_at_once() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    with pytest.raises(UserError, match="more than 100,000 values once its aliases are written out"):
        load_yaml("\n".join(lines))


def test_a_recipe_lies_over_another(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        "method: tests.core.loops:METHOD\nsteps: 5\ntracking: {to: [tensorboard], project: a}\n"
    )
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "mine.yaml").write_text("extends: ../base.yaml\nseed: 3\ntracking: {project: b}\n")
    (tmp_path / "last.yaml").write_text("extends: below/mine.yaml\ntracking: {to: []}\n")
    recipe = LoopRecipe.load(tmp_path / "last.yaml", ["seed=4"])
    assert (recipe.steps, recipe.seed, recipe.tracking.project, recipe.tracking.to) == (5, 4, "b", [])
    assert method_of(tmp_path / "last.yaml") == "tests.core.loops:METHOD"
    assert "extends" not in recipe.to_yaml()
    assert LoopRecipe.load({"extends": str(tmp_path / "base.yaml"), "seed": 1}).steps == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("extends: base.yaml\nsteps: 1\n", r"base.yaml:2: `stepps` is not a setting; did you mean `steps`\?"),
        ("extends: nowhere.yaml\n", r"mine.yaml:1: `extends`: .*nowhere.yaml: no such file, and no shipped recipe"),
        ("seed: 1\nextends: rmm/tinny\n", r"mine.yaml:2: .*did you mean `rmm/tiny`\?"),
        ("extends: mine.yaml\n", r"mine.yaml:1: `extends` goes in a circle: mine.yaml -> mine.yaml"),
        ("extends: [base.yaml]\n", r"mine.yaml:1: `extends` names one recipe"),
        ("extends: base.yaml\nsteps: few\n", r"mine.yaml:2: `steps`: input should be a valid integer"),
    ],
)
def test_what_is_wrong_with_it_is_said_where_it_stands(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "base.yaml").write_text("method: tests.core.loops:METHOD\nstepps: 5\n")
    (tmp_path / "mine.yaml").write_text(text)
    if "few" in text:
        (tmp_path / "base.yaml").write_text("method: tests.core.loops:METHOD\n")
    with pytest.raises(UserError, match=said):
        LoopRecipe.load(tmp_path / "mine.yaml")


def test_a_variable_stands_for_a_text_and_is_what_is_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM", "secret")
    settings = {"method": "x", "ray_address": "ray://${TEAM}:1", "tracking": {"project": "$${TEAM} of ${TEAM}"}}
    recipe = Recipe.load(settings)
    assert (recipe.ray_address, recipe.tracking.project) == ("ray://secret:1", "${TEAM} of secret")
    stored = recipe.to_yaml()
    assert "secret" not in stored
    assert "ray://${TEAM}:1" in stored
    assert Recipe.load(stored) == recipe
    assert recipe.differences(load_yaml(stored)[0]) == []
    assert "secret" not in recipe.changed(["seed=1"]).to_yaml()
    assert Recipe.load({"method": "x"}, ["ray_address=${TEAM}"]).ray_address == "secret"
    monkeypatch.setenv("TEAM", "other")  # another machine, another path: the same recipe
    assert Recipe.load(stored).differences(load_yaml(stored)[0]) == []


def test_what_is_kept_of_an_error_does_not_quote_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TOKEN": "abcdef", "LONGER": "abcdefgh", "SHORT": "e", "OTHER": "unused"}.items():
        monkeypatch.setenv(name, value)
    recipe = Recipe.load(
        {"method": "x", "ray_address": "${TOKEN} ${LONGER}${SHORT}", "tracking": {"project": "$${OTHER}"}}
    )
    assert recipe.hidden("refused: abcdefgh, abcdef, unused") == "refused: ${LONGER}, ${TOKEN}, unused"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ray_address": "${NOT_SET_HERE}"}, "recipe: `.*`: the variable NOT_SET_HERE is not set"),
        ({"seed": "${ONE}"}, "recipe: `seed`: a variable stands for a path or a secret; write this one out"),
        ({"executor": "${WORD}"}, "recipe: `executor`: a variable stands for a path or a secret"),
        ({"tracking": {"to": ["${TRACKER}"]}}, r"recipe: `tracking.to.0`: a variable stands for a path or a secret"),
    ],
)
def test_a_variable_stands_for_nothing_else(
    settings: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"ONE": "1", "WORD": "local", "TRACKER": "wandb"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=said):
        Recipe.load({"method": "x", **settings})
