"""`import burnish`: what it shows, to people, to completion and to mypy, and what it loads."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import burnish

REVEALED = {
    "burnish.run": "def (recipe: str | pathlib.Path | burnish.core.recipe.Recipe",
    "burnish.run('rmm/tiny')": "burnish.core.result.RunResult",
    "burnish.check('rmm/tiny')": "list[dict[str, Any]]",
    "burnish.report('runs/x')": "pathlib.Path",
    "burnish.recipes()": "list[dict[str, str]]",
    "burnish.study('rmm')": "burnish.api.StudyResult",
    "burnish.UserError": "def (message: str",
    "burnish.Interrupted": "def (message: str",
    "burnish.generate.draw": "def (prompts: str | typing.Sequence[str]",
    "burnish.merge.merge": "def (config: str | pathlib.Path",
    "burnish.prove.verify": "def (folder: str | pathlib.Path",
    "burnish.reason.answer": "def (model: str | pathlib.Path",
    "burnish.testing.check_method": "def (method: str",
}


def test_mypy_knows_every_public_name(tmp_path: Path) -> None:
    lines = ["import burnish", *(f"reveal_type({name})" for name in REVEALED)]
    (tmp_path / "user.py").write_text("\n".join(lines) + "\n")
    # Reading torch's own types takes four fifths of mypy's time, and no name below speaks of a tensor.
    libraries = ",".join(f"{name}.*" for name in ("torch", "transformers", "numpy", "matplotlib"))
    (tmp_path / "mypy.ini").write_text(f"[mypy]\n[mypy-{libraries}]\nfollow_imports = skip\n")
    line = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--hide-error-context", "--no-pretty"]
    done = subprocess.run([*line, "user.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "error:" not in done.stdout
    said = [text.partition('Revealed type is "')[2] for text in done.stdout.splitlines() if "Revealed" in text]
    for name, found in zip(REVEALED, said, strict=True):
        plain = found.replace("builtins.", "").replace("collections.abc.", "")
        assert plain.startswith(REVEALED[name]), f"{name}: {found}"


def test_completion_sees_all_of_it_and_each_name_is_there() -> None:
    assert set(burnish.__all__) <= set(dir(burnish))
    for name in burnish.__all__:
        assert getattr(burnish, name) is getattr(burnish, name)
    with pytest.raises(AttributeError, match="no attribute 'rum'"):
        _ = burnish.rum


def test_importing_it_loads_nothing_heavy() -> None:
    """The import itself, and then the one thing that even an error handler needs."""
    code = "import burnish, sys, json; a = set(sys.modules); burnish.UserError; print(json.dumps([*a, *sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert loaded.isdisjoint({"torch", "numpy", "pydantic", "yaml", "burnish.api", "burnish.core.run"})
