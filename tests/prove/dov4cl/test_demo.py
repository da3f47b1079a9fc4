"""The audit that needs no hub: its pictures, its recipes, and (slow) the whole of it, thief and innocent."""

import json
from pathlib import Path

import pytest

import burnish
from burnish.core.paths import find_recipe
from burnish.core.run import Run
from burnish.prove.dov4cl import METHOD, demo
from burnish.prove.dov4cl.recipe import AuditRecipe
from burnish.prove.images import digests
from burnish.prove.overlap import refuse_overlap
from tests.forecasts import hold_seconds
from tests.once import shared_cache


def test_pictures_are_apart() -> None:
    public, private, others = demo.public(), demo.private(), demo.others()
    assert public.pixels.shape == private.pixels.shape == (100, 14, 14, 1)
    assert len({*digests(public.pixels), *digests(private.pixels), *digests(others.pixels)}) == 3200
    refuse_overlap(public, private, ("public", "private"))


def test_recipes_are_whole() -> None:
    tiny = AuditRecipe.load(find_recipe("dov4cl/tiny"))
    rows = dict(METHOD.load("check")(tiny))
    assert rows["queries"] == "up to 1,600 to the suspect, as many to each of 12 other models"
    paper = AuditRecipe.load(find_recipe("dov4cl/paper"))
    assert (paper.test, paper.rounds, paper.images_per_round, paper.repeats) == ("paper", 50, 32, 3)
    assert (paper.views.global_views, paper.views.local_views, paper.views.local_size) == (2, 6, "half")


@pytest.mark.slow
def test_the_tiny_audit(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BURNISH_CACHE", str(shared_cache(tmp_path_factory, "dov4cl-demo")))
    recipe = AuditRecipe.load(find_recipe("dov4cl/tiny"))
    with Run(recipe, tmp_path / "thief", quiet=True) as run:
        METHOD.load("run")(recipe, run)
    found = json.loads((tmp_path / "thief" / "artifacts" / "findings.json").read_text())
    assert found["verdict"]["outcome"] == "evidence"
    assert found["power"]["reached"] > 0.8
    hold_seconds(tmp_path / "thief", burnish.check(recipe))
    # the same shadows, another suspect
    model = recipe.suspect.model_copy(update={"model": "burnish.prove.dov4cl.demo:innocent"})
    other = recipe.model_copy(update={"suspect": model})
    with Run(other, tmp_path / "innocent", quiet=True):
        (tmp_path / "innocent" / "artifacts").mkdir()
        (tmp_path / "thief" / "artifacts" / "shadows").rename(tmp_path / "innocent" / "artifacts" / "shadows")
    with Run(other, tmp_path / "innocent", quiet=True) as run:
        METHOD.load("run")(other, run)
    found = json.loads((tmp_path / "innocent" / "artifacts" / "findings.json").read_text())
    assert found["verdict"]["outcome"] == "no evidence"
