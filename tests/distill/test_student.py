"""What a run leaves is an ordinary model: it merges with the one it came from."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.numpy import load_file

import burnish
from tests.distill.contract import SETTINGS, write_world


def test_a_student_merges_with_its_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / "cache"))
    write_world(tmp_path, train=16)
    recipe = {"method": "sakd", **SETTINGS, "epochs": 2, "augment": {}}
    student = Path(str(burnish.run(recipe, out="run").value))
    text = f"merge_method: linear\nmodels:\n- model: student\n  parameters: {{weight: 0.5}}\n- model: {student}\n"
    (tmp_path / "half.yaml").write_text(text + "  parameters: {weight: 0.5}\ndtype: float32\n")
    burnish.run("half.yaml", out="merged")
    before, after, merged = (load_file(Path(folder) / "model.safetensors") for folder in ("student", student, "merged"))
    moved = [name for name in before if (before[name] != after[name]).any()]
    assert moved
    for name in moved:
        assert merged[name] == pytest.approx((before[name] + after[name]) / 2, abs=1e-6)
