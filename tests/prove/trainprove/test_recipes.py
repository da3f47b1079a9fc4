"""The shipped recipes: the paper's settings, and a small audit that finds the guilty and clears the innocent."""

import json
from pathlib import Path

import pytest

import burnish
from burnish.core.paths import shipped
from burnish.core.run import Run
from burnish.prove.evidence import verify
from burnish.prove.trainprove.loop import audit
from burnish.prove.trainprove.preflight import check
from burnish.prove.trainprove.recipe import AuditRecipe
from tests.forecasts import hold_seconds

RECIPES = shipped("recipes") / "trainprove"


def test_the_papers_settings() -> None:
    paper = AuditRecipe.load(RECIPES / "paper.yaml")
    names = [str(source.pipeline).lower() for source in (paper.mine, *paper.others)]
    for part in ("stable-diffusion-v1-4", "lcm", "pixart-xl", "stable-cascade"):
        assert any(part in name for name in names)
    assert (paper.shadow_prompts, paper.validation_prompts) == ("class", "photo")
    assert (paper.shadow_pictures, paper.validation_pictures, paper.batch) == (300, 100, 16)
    training = paper.training
    assert (training.epochs, training.batch, training.learning_rate, training.weight_decay) == (100, 64, 1e-4, 0.9)
    assert (training.schedule, training.loss) == ("cosine", "cross_entropy")
    rows = dict(check(paper))
    assert "resnet-18 11." in rows["shadows"]  # million parameters
    assert "needs 19" in rows["sources"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_small_audit_convicts_the_guilty_only(tmp_path: Path) -> None:
    for suspect, outcome in (("guilty", "evidence"), ("innocent", "no evidence")):
        tiny = AuditRecipe.load(RECIPES / "tiny.yaml", [f"suspect.model=burnish.testbeds.digit_sources:{suspect}"])
        kept, needed = tmp_path / "guilty" / "artifacts", tmp_path / suspect / "artifacts"
        if kept.exists():  # the same shadows, another suspect
            with Run(tiny, tmp_path / suspect, quiet=True):
                needed.mkdir()
            for made in ("pictures", "shadows"):
                (kept / made).rename(needed / made)
        with Run(tiny, tmp_path / suspect, quiet=True) as run:
            folder = audit(tiny, run)
        found = json.loads((folder / "findings.json").read_text())
        assert found["verdict"]["outcome"] == outcome, found["verdict"]
        assert verify(folder).ok
        if outcome == "evidence":  # the other takes its shadows over
            hold_seconds(tmp_path / suspect, burnish.check(tiny))
