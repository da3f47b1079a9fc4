"""A run's folder can be moved: what it wrote still finds its models, and still means the same."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from burnish.core.errors import UserError
from burnish.core.run import Run
from burnish.merge import merge
from burnish.merge.config import MergeConfig
from burnish.merge.rmm.files import portable
from burnish.merge.rmm.loop import search
from burnish.merge.rmm.recipe import SearchRecipe
from tests.merge.rmm.conftest import save_run

# Picks blocks of an expert and of both uniform merges, which the run itself saved.
ARM: dict[str, Any] = {
    "budget": 12,
    "search": "random",
    "actions": "blocks",
    "tuning_budget": 0,
    "candidates": [{"method": "task_arithmetic", "weight": weight} for weight in (0.2, 0.9)],
    "seed": 7,
}


def rebuilds(run: Path, out: Path) -> None:
    rebuilt = load_file(merge(run / "artifacts/architecture.yaml", out, progress=False) / "model.safetensors")
    held = load_file(run / "artifacts/model/model.safetensors")
    for name, tensor in rebuilt.items():
        if not name.startswith("classifier"):
            torch.testing.assert_close(tensor, held[name], rtol=0, atol=1e-6)


def test_a_project_moves_with_its_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models named by relative paths lie at the same place beside the run."""
    project = tmp_path / "project"
    project.mkdir()
    given = save_run(project, **ARM).model_dump_json().replace(f"{project}/", "")
    settings = SearchRecipe.model_validate(json.loads(given))
    monkeypatch.chdir(project)
    with Run(settings, "runs/search", quiet=True) as run:
        search(settings, run)
    moved = tmp_path / "another" / "place"
    moved.parent.mkdir()
    monkeypatch.chdir(tmp_path)
    shutil.move(project, moved)
    rebuilds(moved / "runs/search", tmp_path / "rebuilt")
    # what the merge keeps of its YAML lies in another folder, and means the same there
    rebuilds_again = merge(tmp_path / "rebuilt/mergekit_config.yml", tmp_path / "again", progress=False)
    weights = [folder / "model.safetensors" for folder in (tmp_path / "rebuilt", rebuilds_again)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_run_moves_without_its_models(tmp_path: Path) -> None:
    """Models named by absolute paths stay where they are."""
    models = tmp_path / "models"
    models.mkdir()
    settings = save_run(models, **ARM)
    with Run(settings, tmp_path / "run", quiet=True) as run:
        search(settings, run)
    moved = tmp_path / "far" / "away" / "run"
    moved.parent.mkdir(parents=True)
    shutil.move(tmp_path / "run", moved)
    rebuilds(moved, tmp_path / "rebuilt")


def test_what_becomes_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("models/base", "run/artifacts/candidates/0-ties"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    inside, run = "run/artifacts/candidates/0-ties", tmp_path / "run"
    wanted = {
        "models/base": "../../models/base",
        str(tmp_path / "models/base"): str(tmp_path / "models/base"),
        inside: "./candidates/0-ties",
        str(tmp_path / inside): "./candidates/0-ties",
        "org/name": "org/name",
        "models/base+org/adapter": "../../models/base+org/adapter",
    }
    for given, portable_path in wanted.items():
        made = portable({"models": [{"model": given}]}, run / "artifacts", run)
        assert made == {"models": [{"model": portable_path}], "relative_to": "file"}


def test_paths_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    written = {"merge_method": "passthrough", "relative_to": "file"}
    file = tmp_path / "merge.yaml"
    for given, meant in {
        "base": str(tmp_path / "base"),
        "./nowhere": str(tmp_path / "nowhere"),
        "org/name": "org/name",
        "/absolute": "/absolute",
    }.items():
        file.write_text(yaml.safe_dump(written | {"models": [{"model": given}]}))
        assert [str(each) for each in MergeConfig.load(file).references()] == [meant]
    with pytest.raises(UserError, match="`relative_to: file` needs a file"):
        MergeConfig.load(written | {"models": [{"model": "base"}]})
