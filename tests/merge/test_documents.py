"""Merges that build on one another by name, against the same merges one by one, and mergekit-multi's."""

from pathlib import Path

import pytest
import torch

import burnish
from burnish.core.errors import UserError
from burnish.merge import merge, plan

from .checkpoints import plain, tensors_of


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    made = {}
    for name in "abc":
        made[name] = torch.randn(6, 4, generator=generator)
        plain(tmp_path / name, {"layers.0.q.weight": made[name]})
    monkeypatch.chdir(tmp_path)
    return made


THREE = """\
merge_method: task_arithmetic   # the result stands first: the order is that of the needs
base_model: a
models:
  - {model: both, parameters: {weight: 0.5}}
  - {model: first, parameters: {weight: 2.0}}
---
name: both
merge_method: linear
models:
  - {model: first, parameters: {weight: 0.25}}
  - {model: c, parameters: {weight: 0.75}}
---
# a comment of its own
---
name: first
merge_method: linear
models:
  - {model: a, parameters: {weight: 0.5}}
  - {model: b, parameters: {weight: 0.5}}
"""


def test_named_merges_are_made_first_and_kept(models: dict[str, torch.Tensor], tmp_path: Path) -> None:
    (tmp_path / "three.yaml").write_text(THREE)
    first = (models["a"] + models["b"]) / 2
    both = 0.25 * first + 0.75 * models["c"]
    expected = models["a"] + 0.5 * (both - models["a"]) + 2 * (first - models["a"])
    out = merge("three.yaml", "out", progress=False)
    torch.testing.assert_close(tensors_of(out)["layers.0.q.weight"], expected)
    torch.testing.assert_close(tensors_of(tmp_path / "out-parts/both")["layers.0.q.weight"], both)
    made = (tmp_path / "out-parts/first/model.safetensors").stat().st_mtime_ns
    # Again, into another folder: what is made is kept. The recorded YAML repeats the result by itself.
    merge("three.yaml", "again", intermediate="out-parts", progress=False)
    assert (tmp_path / "out-parts/first/model.safetensors").stat().st_mtime_ns == made
    repeated = merge("out/mergekit_config.yml", "repeated", progress=False)
    assert (tmp_path / "out/model.safetensors").read_bytes() == (repeated / "model.safetensors").read_bytes()


def test_settings_that_are_replaced_are_the_results(models: dict[str, torch.Tensor], tmp_path: Path) -> None:
    (tmp_path / "three.yaml").write_text(THREE)
    first = (models["a"] + models["b"]) / 2
    both = 0.25 * first + 0.75 * models["c"]
    out = merge("three.yaml", "out", overrides=["models.0.parameters.weight=1"], progress=False)
    expected = models["a"] + (both - models["a"]) + 2 * (first - models["a"])
    torch.testing.assert_close(tensors_of(out)["layers.0.q.weight"], expected)


def test_as_mergekit_multi(models: dict[str, torch.Tensor], tmp_path: Path) -> None:
    pytest.importorskip("mergekit")
    from mergekit.scripts.multimerge import load_config

    # It stops at a document that is empty.
    configs, needs = load_config(THREE.replace("# a comment of its own\n---\n", ""), "parts")
    assert needs["both"] == {"first"}
    assert needs[None] == {"both", "first"}
    assert set(configs) == {None, "both", "first"}


def test_a_plan_is_of_one_merge(models: dict[str, torch.Tensor], tmp_path: Path) -> None:
    (tmp_path / "three.yaml").write_text(THREE)
    with pytest.raises(UserError, match=r"three.yaml:6: a second document starts here"):
        plan(tmp_path / "three.yaml")


def test_check_plans_what_it_can_and_run_makes_all(models: dict[str, torch.Tensor], tmp_path: Path) -> None:
    (tmp_path / "three.yaml").write_text(THREE)
    rows = {row["what"]: row["value"] for row in burnish.check("three.yaml", out="out")}
    assert rows["merges"] == "first -> both -> out"
    assert rows["first: memory_bytes"] > 0
    assert rows["both"] == "builds on first: planned once that is made"
    assert rows["out"] == "builds on both, first: planned once that is made"
    assert not (tmp_path / "out-parts").exists()
    assert burnish.run("three.yaml", out="out").path == Path("out")
    rows = {row["what"]: row["value"] for row in burnish.check("three.yaml", out="out")}
    assert rows["out: disk_bytes"] > 0
    (tmp_path / "circle.yaml").write_text(THREE.replace("model: b,", "model: both,"))
    with pytest.raises(UserError, match="in a circle"):
        burnish.check("circle.yaml")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("name: first", "name: both", r"three.yaml:15: `name`: 'both' is given twice"),
        ("name: first\n", "", "2 of 3 documents have no `name`"),
        ("model: b,", "model: both,", "three.yaml:.*in a circle: (both -> first -> both|first -> both -> first)"),
        ("model: both,", "model: c,", "three.yaml:7: no merge uses 'both'"),
        ("name: first", "name: ../first", "three.yaml:15: `name`: '../first' is no name"),
        ("{model: c, parameters: {weight: 0.75}}", "{model: c, parameterz: {}}", "three.yaml:11: .*parameterz"),
        (
            "merge_method: linear\nmodels:\n  - {model: a",
            "merge_methodd: linear\nmodels:\n  - {model: a",
            "three.yaml:16",
        ),
    ],
)
def test_what_does_not_fit_is_named(
    old: str, new: str, said: str, models: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    assert old in THREE
    (tmp_path / "three.yaml").write_text(THREE.replace(old, new))
    with pytest.raises(UserError, match=said):
        merge("three.yaml", "out", progress=False)
    assert not (tmp_path / "out-parts").exists()
